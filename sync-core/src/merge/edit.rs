//! Single fields of a document.
//!
//! Owns reading and setting them, for steps such as the Matrix login. Never decides which.

use super::{
    apply::Document,
    document::{Node, Object, Value, to_text},
    error::MergeError,
    rules::FieldPath,
};
use crate::report::Side;

/// `text` with `field` set to `value`; objects on the way are made where there are none. A text that already has the value
/// is given back as it is, any other one as JSON.
pub fn set_field(
    text: &str,
    field: &FieldPath,
    value: &serde_json::Value,
) -> Result<String, MergeError> {
    let document = Document::parse(Side::Local, text)?;
    let new = from_json(value);
    if document.get(field)? == Some(&new) {
        return Ok(text.to_owned());
    }
    let mut root = document.root;
    root.put(field.keys(), new);
    Ok(to_text(&root))
}

/// The text at `field`; `None` when it is absent or no text.
pub fn text_field(text: &str, field: &FieldPath) -> Result<Option<String>, MergeError> {
    let document = Document::parse(Side::Local, text)?;
    Ok(
        match document.root.descend(field.keys()).map(|node| &node.value) {
            Some(Value::Text(text)) => Some(text.clone()),
            Some(
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Object(_),
            )
            | None => None,
        },
    )
}

/// True when `field` is there and neither null nor false.
pub fn has_field(text: &str, field: &FieldPath) -> Result<bool, MergeError> {
    let document = Document::parse(Side::Local, text)?;
    Ok(document
        .root
        .descend(field.keys())
        .is_some_and(Node::is_set))
}

/// The document as a value, for readers that only look. Numbers beyond 64 bits lose digits here.
pub fn value(text: &str) -> Result<serde_json::Value, MergeError> {
    Ok(to_json(&Document::parse(Side::Local, text)?.root))
}

fn to_json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => serde_json::from_str(number).unwrap_or(serde_json::Value::Null),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, item)| (key.to_owned(), to_json(item)))
            .collect(),
    }
}

fn from_json(value: &serde_json::Value) -> Node {
    Node::new(match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Number(number.to_string()),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => {
            let mut object = Object::default();
            for (key, item) in entries {
                *object.entry(key) = from_json(item);
            }
            Value::Object(object)
        }
    })
}

#[cfg(test)]
mod tests;

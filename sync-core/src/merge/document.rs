//! A JSON document as both sides wrote it: order of keys, digits of numbers and places of values are kept.
//!
//! Owns the tree and its JSON form. Never interprets fields.

use std::collections::HashMap;

/// A value and where it starts in its text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Byte offset in the text of the side it came from; meaningless for made values.
    pub(super) offset: usize,
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// A number in its JSON spelling: never interpreted, so no digit is lost.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Object),
}

/// Equality is about values: places don't count, nor does the order of keys.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Node {
    pub(super) fn new(value: Value) -> Self {
        Self { value, offset: 0 }
    }

    /// True unless it is null or false.
    pub(super) fn is_set(&self) -> bool {
        !matches!(self.value, Value::Null | Value::Bool(false))
    }

    pub(super) fn as_object(&self) -> Option<&Object> {
        if let Value::Object(object) = &self.value {
            Some(object)
        } else {
            None
        }
    }

    /// The value at `keys` below this one; `None` when it is absent or something on the way is no object.
    pub(super) fn descend(&self, keys: &[String]) -> Option<&Node> {
        keys.iter()
            .try_fold(self, |node, key| node.as_object()?.get(key))
    }

    /// Puts `value` at `keys`, making objects on the way of what is absent or no object.
    pub(super) fn put(&mut self, keys: &[String], value: Node) {
        let Some((key, rest)) = keys.split_first() else {
            *self = value;
            return;
        };
        if self.as_object().is_none() {
            self.value = Value::Object(Object::default());
        }
        if let Value::Object(object) = &mut self.value {
            object.entry(key).put(rest, value);
        }
    }

    /// The kind of value, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(true) => "true",
            Value::Bool(false) => "false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// Keys and values, with the order in which the keys were first seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Object(HashMap<String, (usize, Node)>);

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .all(|(key, (_, node))| other.get(key).is_some_and(|there| node == there))
    }
}

impl Object {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|(_, node)| node)
    }

    /// The value of `key`; a key that is absent is added at the end, with null.
    pub(super) fn entry(&mut self, key: &str) -> &mut Node {
        let order = self.0.len();
        let (_, node) = self
            .0
            .entry(key.to_owned())
            .or_insert_with(|| (order, Node::new(Value::Null)));
        node
    }

    /// Keys and values in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_unstable_by_key(|(_, (order, _))| *order);
        entries
            .into_iter()
            .map(|(key, (_, node))| (key.as_str(), node))
    }
}

/// The document as JSON text: two spaces of indent, a line feed at the end.
pub(super) fn to_text(node: &Node) -> String {
    let mut text = String::new();
    write_node(&mut text, node, 0);
    text.push('\n');
    text
}

fn write_node(text: &mut String, node: &Node, depth: usize) {
    match &node.value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(number),
        Value::Text(string) => write_string(text, string),
        Value::List(items) => {
            let write_item = |text: &mut String, item: &Node| write_node(text, item, depth + 1);
            write_all(text, ['[', ']'], depth, items.iter(), write_item);
        }
        Value::Object(object) => write_all(
            text,
            ['{', '}'],
            depth,
            object.iter(),
            |text, (key, item)| {
                write_string(text, key);
                text.push_str(": ");
                write_node(text, item, depth + 1);
            },
        ),
    }
}

fn write_all<T>(
    text: &mut String,
    [open, close]: [char; 2],
    depth: usize,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut String, T),
) {
    text.push(open);
    let mut empty = true;
    for item in items {
        if !empty {
            text.push(',');
        }
        empty = false;
        indent(text, depth + 1);
        write(text, item);
    }
    if !empty {
        indent(text, depth);
    }
    text.push(close);
}

fn indent(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' || control == '\u{7f}' => {
                text.push_str("\\u00");
                for digit in [u32::from(control) >> 4, u32::from(control) & 0xf] {
                    text.extend(char::from_digit(digit, 16));
                }
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

//! The merge itself.
//!
//! Owns the order in which rows are applied and what each of them does.

use super::{
    document::{Node, Object, Value, to_text},
    error::{MergeError, Position},
    json5,
    rules::{FieldPath, MergeRules, Take},
};
use crate::report::Side;

/// The document after a merge.
#[derive(Clone, PartialEq, Eq)]
pub struct Merged {
    /// Its text. It may hold secrets.
    pub text: String,
    /// Whether it differs from the local text.
    pub outcome: Outcome,
}

impl Merged {
    fn new(text: impl Into<String>, outcome: Outcome) -> Self {
        let text = text.into();
        Self { text, outcome }
    }
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merged")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// Whether a merge changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The local document already has these values; the text is the local one, byte for byte.
    Unchanged,
    /// The text is new, and is to be published.
    Changed,
}

/// Merges the remote text into the local one.
///
/// Without a remote text the local one stands, whatever it holds. Without a local text the remote one is taken as it is,
/// provided that it is an object. Rows are applied from the outermost field to the innermost, all of them to what the two
/// sides wrote, so that a row for `channels.matrix.accessToken` has the last word over one for `channels`.
pub fn merge(
    rules: &MergeRules,
    local: Option<&str>,
    remote: Option<&str>,
) -> Result<Merged, MergeError> {
    let (local_text, remote_text) = match (local, remote) {
        (None, None) => return Err(MergeError::Nothing),
        (Some(local), None) => return Ok(Merged::new(local, Outcome::Unchanged)),
        (None, Some(remote)) => {
            Document::parse(Side::Remote, remote)?;
            return Ok(Merged::new(remote, Outcome::Changed));
        }
        (Some(local), Some(remote)) => (local, remote),
    };
    let local = Document::parse(Side::Local, local_text)?;
    let remote = Document::parse(Side::Remote, remote_text)?;
    let merged = combine(rules, &local, &remote)?;
    let has = |root: &Node, field: &FieldPath| root.descend(field.keys()).is_some_and(Node::is_set);
    let lost = |field: &&FieldPath| has(&local.root, field) && !has(&merged, field);
    if let Some(field) = rules.protect.iter().find(lost).cloned() {
        return Err(MergeError::Protected { field });
    }
    if merged == local.root {
        return Ok(Merged::new(local_text, Outcome::Unchanged));
    }
    Ok(Merged::new(to_text(&merged), Outcome::Changed))
}

/// One side's document, with its text for positions.
pub(super) struct Document<'a> {
    side: Side,
    text: &'a str,
    pub(super) root: Node,
}

impl<'a> Document<'a> {
    /// Reads a text whose root is an object.
    pub(super) fn parse(side: Side, text: &'a str) -> Result<Self, MergeError> {
        let root = json5::parse(text).map_err(|error| MergeError::Syntax {
            side,
            position: Position::of_offset(text, error.offset),
            reason: error.reason,
        })?;
        if root.as_object().is_none() {
            return Err(MergeError::NotAnObject {
                side,
                found: root.kind(),
            });
        }
        Ok(Self { side, text, root })
    }

    /// The value of `field`, `None` when it is absent. A null on the way counts as absent; anything else that is no object
    /// is a clash.
    pub(super) fn get(&self, field: &FieldPath) -> Result<Option<&Node>, MergeError> {
        let mut node = &self.root;
        for (depth, key) in field.keys().iter().enumerate() {
            let object = match &node.value {
                Value::Object(object) => object,
                Value::Null => return Ok(None),
                Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                    let on_the_way = field.keys().get(..depth).unwrap_or_default().join(".");
                    return Err(self.clash(on_the_way, node, "an object"));
                }
            };
            match object.get(key) {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The value of `field` when it is there and neither null nor false.
    fn get_set(&self, field: &FieldPath) -> Result<Option<&Node>, MergeError> {
        Ok(self.get(field)?.filter(|node| node.is_set()))
    }

    /// The object at `field`, if the side has one.
    fn get_object(&self, field: &FieldPath) -> Result<Option<&Node>, MergeError> {
        match self.get_set(field)? {
            Some(node) if node.as_object().is_none() => {
                Err(self.clash(field.to_string(), node, "an object"))
            }
            object_or_nothing => Ok(object_or_nothing),
        }
    }

    /// The texts of the list at `field`, if the side has one.
    fn get_texts(&self, field: &FieldPath) -> Result<Option<Vec<&str>>, MergeError> {
        let Some(node) = self.get_set(field)? else {
            return Ok(None);
        };
        let Value::List(items) = &node.value else {
            return Err(self.clash(field.to_string(), node, "a list of texts"));
        };
        let texts = items.iter().map(|item| match &item.value {
            Value::Text(text) => Ok(text.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Object(_) => {
                Err(self.clash(format!("{field}[]"), item, "a text"))
            }
        });
        texts.collect::<Result<_, _>>().map(Some)
    }

    fn clash(&self, field: String, node: &Node, expected: &'static str) -> MergeError {
        let position = Position::of_offset(self.text, node.offset);
        MergeError::TypeClash {
            side: self.side,
            field,
            position,
            found: node.kind(),
            expected,
        }
    }
}

fn combine(
    rules: &MergeRules,
    local: &Document<'_>,
    remote: &Document<'_>,
) -> Result<Node, MergeError> {
    let mut merged = match rules.rest {
        Side::Local => local.root.clone(),
        Side::Remote => remote.root.clone(),
    };
    // Of two rows for one field the first holds, so it is applied last; the sort keeps the order of equal depths.
    let mut rows: Vec<_> = rules.fields.iter().rev().collect();
    rows.sort_by_key(|row| row.field.keys().len());
    for row in rows {
        if let Some(value) = take(row.take, &row.field, local, remote)? {
            merged.put(row.field.keys(), value);
        }
    }
    Ok(merged)
}

/// What a row puts at its field; `None` leaves what is there.
fn take(
    take: Take,
    field: &FieldPath,
    local: &Document<'_>,
    remote: &Document<'_>,
) -> Result<Option<Node>, MergeError> {
    Ok(match take {
        Take::Remote => first_of(remote.get_set(field)?, local.get(field)?),
        Take::Local => first_of(local.get_set(field)?, remote.get_set(field)?),
        Take::DeepRemote => deep(local.get_object(field)?, remote.get_object(field)?),
        Take::DeepLocal => deep(remote.get_object(field)?, local.get_object(field)?),
        Take::Union => union(local.get_texts(field)?, remote.get_texts(field)?),
    })
}

fn first_of(preferred: Option<&Node>, other: Option<&Node>) -> Option<Node> {
    preferred.or(other).cloned()
}

fn deep(base: Option<&Node>, winner: Option<&Node>) -> Option<Node> {
    match (base, winner) {
        (Some(base), Some(winner)) => Some(deep_merge(base, winner)),
        (one, other) => one.or(other).cloned(),
    }
}

/// Objects key by key; of anything else `winner` stands.
fn deep_merge(base: &Node, winner: &Node) -> Node {
    let (Value::Object(base_object), Value::Object(winner_object)) = (&base.value, &winner.value)
    else {
        return winner.clone();
    };
    let mut merged: Object = base_object.clone();
    for (key, theirs) in winner_object.iter() {
        let value = base_object
            .get(key)
            .map_or_else(|| theirs.clone(), |ours| deep_merge(ours, theirs));
        *merged.entry(key) = value;
    }
    Node::new(Value::Object(merged))
}

fn union(local: Option<Vec<&str>>, remote: Option<Vec<&str>>) -> Option<Node> {
    if local.is_none() && remote.is_none() {
        return None;
    }
    let mut texts: Vec<_> = local.into_iter().chain(remote).flatten().collect();
    texts.sort_unstable();
    texts.dedup();
    let items = texts
        .into_iter()
        .map(|text| Node::new(Value::Text(text.to_owned())))
        .collect();
    Some(Node::new(Value::List(items)))
}

#[cfg(test)]
mod tests;

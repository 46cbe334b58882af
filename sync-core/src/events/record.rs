//! One line of a stream of events: what it says, whatever else it holds.
//!
//! Owns the reading of records. Knows nothing of mounts. A record that can't be read spoils no other one.
//!
//! | in the line | is |
//! |---|---|
//! | `{"Records":null}`, `{"Records":[]}`, `{}` | a ping |
//! | `s3:ObjectCreated:…` with a key | the object was written; with its tag where there is one |
//! | `s3:ObjectRemoved:…` with a key | the object is gone; a tag would be that of a marker and is not read |
//! | another event name | ignored: it was not asked for |
//! | no name, no key, another type, no JSON | malformed |
//!
//! Keys are taken as they are: on this stream nothing encodes them.

use serde_json::{Map, Value};

use crate::digest::ETag;

/// What was said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// It was written.
    Written(ETag),
    /// It was deleted.
    Removed,
    /// Something happened to it.
    Unknown,
}

/// One line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// Keys and what was said of them, in order.
    pub(super) events: Vec<(String, Hint)>,
    /// Records, or the whole line, that could not be read.
    pub(super) malformed: u64,
}

impl Records {
    /// True for a line that says nothing but that somebody is there.
    pub(super) fn is_ping(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Records {
    let mut found = Records::default();
    let document = serde_json::from_slice::<Map<String, Value>>(line);
    let none = Value::Null;
    let records = match document
        .as_ref()
        .map(|all| all.get("Records").unwrap_or(&none))
    {
        Ok(Value::Null) => &[][..],
        Ok(Value::Array(records)) => records,
        Ok(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) | Err(_) => {
            found.malformed = 1;
            &[]
        }
    };
    for record in records {
        match event(record) {
            Ok(Some(event)) => found.events.push(event),
            Ok(None) => {}
            Err(Malformed) => found.malformed += 1,
        }
    }
    found
}

struct Malformed;

/// What a record says; nothing, where it is about something else than an object's content.
fn event(record: &Value) -> Result<Option<(String, Hint)>, Malformed> {
    let name = text(record, "/eventName")?;
    let kind = name.strip_prefix("s3:").unwrap_or(name);
    let is_removal = kind.starts_with("ObjectRemoved:");
    if !is_removal && !kind.starts_with("ObjectCreated:") {
        return Ok(None);
    }
    let key = text(record, "/s3/object/key")?;
    if key.is_empty() {
        return Err(Malformed);
    }
    let tag = record.pointer("/s3/object/eTag").and_then(Value::as_str);
    let hint = match (is_removal, tag) {
        (true, _) => Hint::Removed,
        (false, Some(tag)) if !tag.is_empty() => Hint::Written(ETag::new(tag)),
        (false, _) => Hint::Unknown,
    };
    Ok(Some((key.to_owned(), hint)))
}

fn text<'a>(record: &'a Value, pointer: &str) -> Result<&'a str, Malformed> {
    let found = record.pointer(pointer).and_then(Value::as_str);
    found.ok_or(Malformed)
}

//! Who owns which field.
//!
//! Owns the form of the rules and which of them holds for a field.

use std::fmt;

use crate::report::Side;

/// A field of a JSON document, its keys joined by dots: `channels.matrix.accessToken`.
///
/// - at least one key, none of them empty; a key that itself holds a dot cannot be named
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<String>);

/// A text that names no field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no field; write keys joined by dots, like `channels.matrix`")]
pub struct FieldPathError {
    text: String,
}

impl FieldPath {
    /// Splits `text` at its dots.
    pub fn new(text: &str) -> Result<Self, FieldPathError> {
        let keys: Vec<_> = text.split('.').map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) {
            return Err(FieldPathError {
                text: text.to_owned(),
            });
        }
        Ok(Self(keys))
    }

    /// The keys from the root.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl fmt::Debug for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How a field is made from both sides. A side "has" a field when it is there and neither null nor false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Take {
    /// The remote value replaces the local one, if the remote has the field.
    Remote,
    /// The local value stands, if the local side has the field; else the remote one, if the remote has it.
    Local,
    /// Objects are merged key by key; where both have a value, the remote one wins; keys of one side stay.
    DeepRemote,
    /// The same with the local value winning.
    DeepLocal,
    /// The texts of both arrays, sorted and without repeats.
    Union,
}

impl Take {
    /// All of them, for messages.
    pub const ALL: [Self; 5] = [
        Self::Remote,
        Self::Local,
        Self::DeepRemote,
        Self::DeepLocal,
        Self::Union,
    ];

    /// The word in layouts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Local => "local",
            Self::DeepRemote => "deep-remote",
            Self::DeepLocal => "deep-local",
            Self::Union => "union",
        }
    }
}

/// One row: what to take for a field and everything in it that no more specific row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRule {
    /// The field.
    pub field: FieldPath,
    /// What to take.
    pub take: Take,
}

/// All rows for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRules {
    /// The rows. The row with the most keys holds for a field; of two rows for one field the first holds.
    pub fields: Vec<FieldRule>,
    /// Whose document all other fields come from, the absent ones included: what only the other side has is dropped.
    pub rest: Side,
    /// Fields that the local document may have and the merged one must then have too.
    pub protect: Vec<FieldPath>,
}

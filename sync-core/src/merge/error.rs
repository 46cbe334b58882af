//! Why two documents cannot be merged.
//!
//! Owns the messages. They name the side, the field and the position, and never a value: it may be a secret.

use std::fmt;

use super::rules::FieldPath;
use crate::report::Side;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The place of the byte at `offset` of `text`.
    pub(super) fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why there is no merged document. The local text is to be kept as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Neither side has a text.
    #[error("there is neither a local nor a remote text")]
    Nothing,
    /// The text of one side is no JSON5.
    #[error("the {side} text is no valid JSON: {reason} at {position}")]
    Syntax {
        /// Whose text it is.
        side: Side,
        /// Where it ends to be valid.
        position: Position,
        /// What is wrong, without quoting the text.
        reason: &'static str,
    },
    /// The document of one side is something other than an object.
    #[error("the {side} document is {found}, not an object")]
    NotAnObject {
        /// Whose document it is.
        side: Side,
        /// What it is.
        found: &'static str,
    },
    /// A field has a type that its rule cannot work with.
    #[error(
        "field `{field}` of the {side} document, at {position}, is {found}; {expected} is needed there"
    )]
    TypeClash {
        /// Whose document it is.
        side: Side,
        /// The field.
        field: String,
        /// Where its value starts.
        position: Position,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The merged document would lack a field that the local one has and that must not be lost.
    #[error("the merged document would lose field `{field}`, which the local one has")]
    Protected {
        /// The field.
        field: FieldPath,
    },
}

//! Field by field merge of a JSON file that two sides write, such as openclaw.json.
//!
//! Owns the rules of who owns which field, and the promise that nothing is lost on the way: the text is JSON5 on the way
//! in, JSON on the way out, numbers keep their digits, keys their order, and a text whose values would not change is left
//! as it is, byte for byte. Never reads or writes a file, and never quotes a value in an error: values may be secrets.

mod apply;
mod document;
mod edit;
mod error;
mod json5;
mod number;
mod rules;

pub use self::{
    apply::{Merged, Outcome, merge},
    edit::{has_field, set_field, text_field, value},
    error::{MergeError, Position},
    rules::{FieldPath, FieldPathError, FieldRule, MergeRules, Take},
};

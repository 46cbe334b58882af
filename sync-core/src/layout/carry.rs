//! `[[carry]]`: inner files, which a runtime's agent edits, and the outer file that travels for them.
//!
//! Owns its form. When something is carried is decided by [`crate::carry`].

use crate::path::RelPath;

/// Inner files that stand for one outer file of the same mount.
///
/// - inner files fall to rules with `sync = "none"`, the outer one to a rule that pushes
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carry {
    /// The inner files; the first that is there counts. Never empty.
    pub from: Vec<RelPath>,
    /// The outer file.
    pub to: RelPath,
}

impl Carry {
    /// True for the inner files.
    #[must_use]
    pub fn is_inner(&self, path: &RelPath) -> bool {
        self.from.contains(path)
    }
}

//! What is written down before a version is moved out of the way.

use crate::{digest::Digest, local::Fingerprint, path::RelPath};

/// A version of a file that was moved out of the way and not yet dealt with: the intent is written before the move, so
/// that a crash in between loses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displacement {
    /// Name in the staging directory.
    pub staged_name: String,
    /// Path that it comes from.
    pub path: RelPath,
    /// What the displaced file is expected to be; anything else found under the name is a version to keep.
    pub expected: Fingerprint,
    /// The content it is expected to have, where that is known: a stat alone may hide a write.
    pub digest: Option<Digest>,
    /// Inode of our own new version, which stands under the name before the exchange.
    pub staged_inode: u64,
    /// What becomes of the expected version.
    pub fate: Fate,
    /// What becomes of any other version.
    pub surprise: Surprise,
}

/// What becomes of a displaced version that isn't the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surprise {
    /// It becomes a conflict copy; the new version stands.
    Copy,
    /// It goes back to its place: what displaced it was made for another version and is worthless now.
    PutBack,
}

/// What becomes of a version that is displaced as expected. Any other version is always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is an older version of the file and known to both sides.
    Superseded,
    /// It lost a conflict and becomes a copy.
    Kept,
}

//! Whether a new version may be published: asked of whoever knows the runtime that is to read it.
//!
//! Owns the question. Never answers it, and starts no process.

use std::path::PathBuf;

use futures_util::future::BoxFuture;

use crate::path::RelPath;

/// A new version of a file, complete and not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The reload group of its path.
    pub group: String,
    /// Name of the mount.
    pub mount: String,
    /// Where it is to stand, relative to the mount.
    pub path: RelPath,
    /// Where it is now; the end of this path is `path`. It is there until the answer came, and must not be written to.
    pub file: PathBuf,
}

/// Knows what a runtime would say of its files.
pub trait Validate: Send + Sync {
    /// Whether files of this group are to be shown at all.
    fn wants(&self, group: &str) -> bool;

    /// Accepts a candidate, or says why not, for people and without secrets. What an error stands for stays unpublished, with
    /// its whole unit, until a later version is accepted. Cancelling must leave nothing running.
    fn validate<'a>(&'a self, candidate: &'a Candidate) -> BoxFuture<'a, Result<(), String>>;
}

//! Moving a file out of the way: it becomes a conflict copy and leaves its path free.

use std::io;

use rustix::fs::RenameFlags;

use super::copies::keep_copy;
use crate::{
    local::{Fingerprint, LocalKind},
    path::RelPath,
    report::Side,
    root::{self, LocalError, Root},
};

/// How moving a file out of the way ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptAside {
    /// It is this conflict copy now.
    Copy(RelPath),
    /// The file isn't the version to move, or gone; nothing was touched.
    Stale,
}

/// Makes the file at `path` a conflict copy if it is still the version `expected`. The displacement must have been
/// written down under `staged_name`, to be kept.
///
/// A version written between the look and the move is what becomes the copy: it is as much in the way, and as safe.
pub fn keep_aside(
    root: &Root,
    staged_name: &str,
    path: &RelPath,
    expected: &Fingerprint,
) -> Result<KeptAside, LocalError> {
    let failed = |error: io::Error| LocalError::new("move aside", path, error);
    match root.look(path)? {
        Some((LocalKind::File | LocalKind::Symlink, found)) if found == *expected => {}
        Some(_) | None => return Ok(KeptAside::Stale),
    }
    let parent = root.open_parent(path).map_err(failed)?;
    match root::rename(
        &parent,
        path.file_name(),
        root.staging(),
        staged_name,
        RenameFlags::NOREPLACE,
    ) {
        Ok(()) => {}
        Err(rustix::io::Errno::NOENT) => return Ok(KeptAside::Stale),
        Err(error) => return Err(failed(error.into())),
    }
    keep_copy(root, staged_name, path, Side::Local).map(KeptAside::Copy)
}

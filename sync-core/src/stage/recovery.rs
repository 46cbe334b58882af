//! What a crash has left in the staging directory.
//!
//! Owns what becomes of it. Never touches a file of the tree but to put a displaced version back to its place.

use std::io;

use rustix::fs::{AtFlags, RenameFlags};

use super::{copies::keep_copy, directory::remove_tree, displaced, staged_fingerprint};
use crate::{
    baseline::{Baseline, BaselineError, Displacement, Fate, Surprise},
    failpoint::Point,
    path::RelPath,
    report::Side,
    root::{self, LocalError, Root},
};

/// After a crash: versions that stand displaced in the staging directory go back to their place or are kept as conflict
/// copies, as they would have been without the crash, unless they are what was to be displaced, or our own. Everything
/// else in staging is removed. Gives the copies made.
pub fn recover(root: &Root, baseline: &mut Baseline) -> Result<Vec<RelPath>, RecoverError> {
    let mut copies = Vec::new();
    let mut settled = Vec::new();
    for displacement in baseline.displacements() {
        if is_to_be_kept(root, &displacement)? {
            if displacement.surprise == Surprise::PutBack && goes_back(root, &displacement)? {
                root.reached(Point::RecoveredPutBack);
            }
            // Still, or what somebody wrote to the place just now.
            if is_to_be_kept(root, &displacement)? {
                let (name, path) = (&displacement.staged_name, &displacement.path);
                copies.push(keep_copy(root, name, path, Side::Local)?);
                root.reached(Point::RecoveredCopyKept);
            }
        }
        settled.push(displacement.staged_name);
    }
    // Only now: a copy that could not be made ended this with an error, and its version is still there.
    sweep(root)?;
    root.reached(Point::Swept);
    baseline.finish_displacements(&settled)?;
    Ok(copies)
}

fn is_to_be_kept(root: &Root, displacement: &Displacement) -> Result<bool, LocalError> {
    let found = staged_fingerprint(root, &displacement.staged_name)
        .map_err(|error| LocalError::new("recover", &displacement.path, error))?;
    Ok(found.is_some_and(|found| {
        let as_expected = displaced::is(
            root,
            &displacement.staged_name,
            found,
            &displacement.expected,
            displacement.digest.as_ref(),
        );
        found.inode != displacement.staged_inode
            && (!as_expected || displacement.fate == Fate::Kept)
    }))
}

/// Puts a displaced version back where nothing is, or where what displaced it still stands; else it is left alone.
fn goes_back(root: &Root, displacement: &Displacement) -> Result<bool, LocalError> {
    let path = &displacement.path;
    let failed = |error: io::Error| LocalError::new("put back", path, error);
    let flags = match root.look(path)? {
        None => RenameFlags::NOREPLACE,
        Some((_, found)) if found.inode == displacement.staged_inode => RenameFlags::EXCHANGE,
        Some(_) => return Ok(false),
    };
    let parent = root.make_parent(path).map_err(failed)?;
    let name = path.file_name();
    match root::rename(
        root.staging(),
        &displacement.staged_name,
        &parent,
        name,
        flags,
    ) {
        Ok(()) => Ok(true),
        // Somebody was faster.
        Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(failed(error.into())),
    }
}

/// Recovering after a crash failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A file could not be moved or removed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The baseline could not be read or written.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
}

fn sweep(root: &Root) -> Result<(), LocalError> {
    let failed = |error: io::Error| {
        LocalError::new(
            "sweep the staging directory of",
            root.path().display(),
            error,
        )
    };
    let directory =
        rustix::fs::Dir::read_from(root.staging()).map_err(|error| failed(error.into()))?;
    for entry in directory {
        let entry = entry.map_err(|error| failed(error.into()))?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        match rustix::fs::unlinkat(root.staging(), name, AtFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {
                remove_tree(root.staging(), name).map_err(failed)?;
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(())
}

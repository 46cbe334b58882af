//! Conflict copies on disk: making one, and finding one that is there already.

use std::io;

use rustix::fs::RenameFlags;

use crate::{
    conflict, content,
    digest::SizedDigest,
    local::LocalKind,
    path::RelPath,
    report::Side,
    root::{self, LocalError, Root},
};

/// Moves a staged file to a free conflict-copy name for `path`.
pub(super) fn keep_copy(
    root: &Root,
    staged_name: &str,
    path: &RelPath,
    side: Side,
) -> Result<RelPath, LocalError> {
    let failed = |error: io::Error| LocalError::new("keep a conflict copy of", path, error);
    for copy in conflict::copy_paths(path, side, jiff::Timestamp::now()) {
        let parent = root.make_parent(&copy).map_err(failed)?;
        match root::rename(
            root.staging(),
            staged_name,
            &parent,
            copy.file_name(),
            RenameFlags::NOREPLACE,
        ) {
            // Durable before the version that wins can replace the object: the copy may be all that is left.
            Ok(()) => {
                rustix::fs::fsync(&parent).map_err(|error| failed(error.into()))?;
                return Ok(copy);
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(failed(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "all names for a conflict copy are taken",
    )))
}

/// A copy of `path` with this very content: after a crash or a lost baseline the same version comes up once more.
pub(super) fn existing(
    root: &Root,
    path: &RelPath,
    hash: &SizedDigest,
    kind: LocalKind,
) -> Result<Option<RelPath>, LocalError> {
    let Some(directory) = conflict::copy_paths(path, Side::Local, jiff::Timestamp::UNIX_EPOCH)
        .next()
        .and_then(|copy| copy.parent())
    else {
        return Ok(None);
    };
    let failed = |error| LocalError::new("look for conflict copies of", path, error);
    let entries = match std::fs::read_dir(root.path().join(directory.as_str())) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some(copy) = name.to_str().and_then(|name| directory.join(name).ok()) else {
            continue;
        };
        // What can't be read is not known to be the same.
        if conflict::origin(&copy).as_ref() == Some(path)
            && holds(root, &copy, hash, kind).unwrap_or(false)
        {
            return Ok(Some(copy));
        }
    }
    Ok(None)
}

fn holds(
    root: &Root,
    copy: &RelPath,
    hash: &SizedDigest,
    kind: LocalKind,
) -> Result<bool, LocalError> {
    let same_kind_and_size = root.look(copy)?.is_some_and(|(found, fingerprint)| {
        found == kind && fingerprint.size_bytes == hash.size_bytes
    });
    Ok(same_kind_and_size && content::hash(root, copy)?.0.digest == hash.digest)
}

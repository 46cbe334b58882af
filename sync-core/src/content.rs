//! What stands at a path, as content: the bytes of a file, or the target of a symbolic link.

use std::io::Read as _;

use crate::{
    digest::{ContentHash, ContentHasher},
    local::Fingerprint,
    path::RelPath,
    root::{LocalError, Root},
};

/// Reads and hashes a file as a whole, or a link's target. The fingerprint is taken after reading: one that equals an
/// earlier look proves that nothing was written meanwhile.
pub(crate) fn hash(root: &Root, path: &RelPath) -> Result<(ContentHash, Fingerprint), LocalError> {
    let mut hasher = ContentHasher::default();
    let mut file = match root.open_file(path) {
        Err(error) if is_link(&error) => {
            let (target, fingerprint) = root.read_link(path)?;
            hasher.update(&target);
            return Ok((hasher.finish(), fingerprint));
        }
        opened => opened?.0,
    };
    let failed = |error| LocalError::new("read", path, error);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    let metadata = file.metadata().map_err(failed)?;
    Ok((hasher.finish(), Fingerprint::of(&metadata)))
}

/// True when a file could not be opened because a link stands at its place or above.
pub(crate) fn is_link(error: &LocalError) -> bool {
    error.source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

//! What stands at a path, as content: the bytes of a file, what a database holds, or the target of a symbolic link.

use std::io;

use crate::{
    digest::{ContentHash, ContentHasher},
    local::Fingerprint,
    path::RelPath,
    root::{LocalError, Root},
    sqlite::{self, Capture},
};

/// Reads and hashes a file as a whole, or a link's target. The fingerprint is taken after reading: one that equals an
/// earlier look proves that nothing was written meanwhile. That of a database is taken before it is captured: what was
/// committed since shows against it at the next look.
pub(crate) fn hash(root: &Root, path: &RelPath) -> Result<(ContentHash, Fingerprint), LocalError> {
    let mut hasher = ContentHasher::default();
    match sqlite::capture(root, path)? {
        Capture::Whole(snapshot) => {
            update(&mut hasher, snapshot.file).map_err(|error| read_failed(path, error))?;
            return Ok((hasher.finish(), snapshot.fingerprint));
        }
        Capture::Changing => {
            let locked = "another process has locked the database";
            let error = io::Error::new(io::ErrorKind::WouldBlock, locked);
            return Err(read_failed(path, error));
        }
        Capture::Ordinary => {}
    }
    let mut file = match root.open_file(path) {
        Err(error) if is_link(&error) => {
            let (target, fingerprint) = root.read_link(path)?;
            hasher.update(&target);
            return Ok((hasher.finish(), fingerprint));
        }
        opened => opened?.0,
    };
    update(&mut hasher, &mut file).map_err(|error| read_failed(path, error))?;
    let after = root.fingerprint_of(path, &file);
    let after = after.map_err(|error| read_failed(path, error))?;
    Ok((hasher.finish(), after))
}

fn update(hasher: &mut ContentHasher, mut file: impl io::Read) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

fn read_failed(path: &RelPath, error: io::Error) -> LocalError {
    LocalError::new("read", path, error)
}

/// True when a file could not be opened because a link stands at its place or above.
pub(crate) fn is_link(error: &LocalError) -> bool {
    error.source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

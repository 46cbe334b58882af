//! Whether a displaced file is the version that was to be displaced.

use std::{fs::File, io::Read as _};

use rustix::fs::{Mode, OFlags};

use crate::{
    digest::{ContentHasher, Digest},
    local::{Fingerprint, LocalKind},
    root::Root,
    sqlite::ContentFile,
};

/// Displaced versions up to this size are read. A larger one is taken for the expected one when its stat says so: a write
/// that keeps the size and puts the mtime back between our last look and the exchange would go unseen, and reading
/// gigabytes for each replaced file is no price for that.
const READ_BYTES: u64 = 16 * 1024 * 1024;

/// True when what stands displaced under `staged_name`, with the stat `found`, is the version `expected`. The exchange
/// changed the ctime, so that the stat can't show a write that put the mtime back, nor one within the same tick of the
/// clock as the expected version's: where the content is known it decides. What can't be read is not known to be it.
pub(super) fn is(
    root: &Root,
    staged_name: &str,
    found: Fingerprint,
    expected: &Fingerprint,
    digest: Option<&Digest>,
) -> bool {
    if !found.is_same_but_renamed(expected) {
        return false;
    }
    match digest {
        Some(digest) if found.kind() == LocalKind::File && found.size_bytes <= READ_BYTES => {
            content(root, staged_name).is_ok_and(|content| content == *digest)
        }
        Some(_) | None => true,
    }
}

fn content(root: &Root, staged_name: &str) -> std::io::Result<Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = ContentFile::new(File::from(rustix::fs::openat(
        root.staging(),
        staged_name,
        flags,
        Mode::empty(),
    )?));
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish().digest);
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

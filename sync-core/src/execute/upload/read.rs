//! Reading a file that is to be sent, and hashing it.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

use super::{Context, Failure};
use crate::{
    baseline::LocalVersion,
    content,
    digest::{Digest, DigestHasher, PartedDigest, PartedHasher, SizedDigest},
    link,
    local::Fingerprint,
    mount::OpenMount,
    path::RelPath,
    report::ProblemKind,
    root::LocalError,
    sqlite::{self, Capture},
    store::{
        PutBody,
        parts::{MultipartStore, PartLimits},
    },
};

/// Files up to this size are read once, hashed and sent from memory; larger ones are read twice.
const IN_MEMORY_BYTES: u64 = 256 * 1024;
/// Bytes of a larger file read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A file's content as it was at one moment, or a file that proves by its hash that it still is.
pub(super) struct Content {
    pub(super) body: Body,
    pub(super) local: LocalVersion,
    hash: SizedDigest,
}

/// How the content goes up.
pub(super) enum Body {
    /// In one request.
    Whole(PutBody),
    /// In parts.
    Parts(PartedFile),
}

/// An open file and the hashes of its parts.
pub(super) struct PartedFile {
    pub(super) file: Arc<File>,
    pub(super) content: PartedDigest,
}

impl Content {
    pub(super) fn digest(&self) -> Digest {
        self.hash.digest
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.hash.size_bytes
    }
}

pub(super) async fn read(context: &Context, path: &RelPath) -> Result<Content, Failure> {
    let mount = context.mount.clone();
    let limits = context.store.multipart().map(MultipartStore::part_limits);
    let path = path.clone();
    tokio::task::spawn_blocking(move || read_blocking(&mount, &path, limits))
        .await
        .map_err(|error| Failure::Problem(ProblemKind::Io, error.to_string()))?
}

fn read_blocking(
    mount: &OpenMount,
    path: &RelPath,
    limits: Option<PartLimits>,
) -> Result<Content, Failure> {
    let failed = |error| LocalError::new("read", path, error);
    let begun = SystemTime::now();
    match sqlite::capture(&mount.root, path)? {
        Capture::Ordinary => {}
        Capture::Changing => return Err(Failure::Changing),
        Capture::Whole(snapshot) => {
            // Nobody else has this file: it can't change while it is read and sent.
            let local = LocalVersion::seen(snapshot.fingerprint, begun);
            let size_bytes = snapshot.file.metadata().map_err(failed)?.len();
            let file = Arc::new(snapshot.file);
            let (body, hash) = hashed(&file, size_bytes, limits).map_err(failed)?;
            return Ok(Content { body, local, hash });
        }
    }
    let (file, fingerprint) = match mount.root.open_file(path) {
        Err(error) if content::is_link(&error) => return read_link(mount, path),
        opened => opened?,
    };
    let file = Arc::new(file.into_file().map_err(failed)?);
    let local = LocalVersion::seen(fingerprint, SystemTime::now());
    let size_bytes = fingerprint.size_bytes;
    let (body, hash) = hashed(&file, size_bytes, limits).map_err(failed)?;
    let after = Fingerprint::of(&file.metadata().map_err(failed)?);
    // Written to while it was read: what was read may be half of each version.
    if hash.size_bytes != size_bytes {
        return Err(Failure::Changing);
    }
    let before = fingerprint.with_wal(0);
    if after != before && !is_beginning(&file, &before, &hash).map_err(failed)? {
        return Err(Failure::Changing);
    }
    Ok(Content { body, local, hash })
}

/// The content, in parts where it is large, and its hash.
fn hashed(
    file: &Arc<File>,
    size_bytes: u64,
    limits: Option<PartLimits>,
) -> io::Result<(Body, SizedDigest)> {
    let part_bytes = limits
        .filter(|limits| size_bytes > limits.threshold_bytes)
        .map(|limits| limits.part_bytes_for(size_bytes));
    match part_bytes {
        Some(part_bytes) => in_parts(file, size_bytes, part_bytes),
        None if size_bytes <= IN_MEMORY_BYTES => in_memory(file, size_bytes),
        None => whole(file, size_bytes),
    }
}

/// True for a large file that was only appended to while it was read: what was read is what the file held when it was
/// opened. A log that never rests would else never be sent. Read a second time, because nothing says that the writer has
/// not written elsewhere in it too.
fn is_beginning(file: &File, before: &Fingerprint, hash: &SizedDigest) -> io::Result<bool> {
    let size_bytes = before.size_bytes;
    if size_bytes <= IN_MEMORY_BYTES {
        return Ok(false);
    }
    let now = Fingerprint::of(&file.metadata()?);
    if now.size_bytes <= size_bytes {
        return Ok(false);
    }
    let mut hasher = DigestHasher::default();
    read_to(file, size_bytes, |piece| hasher.update(piece))?;
    Ok(hasher.finish() == *hash)
}

/// A link is sent as its target. It is checked here once more: what was planned may be another link by now.
fn read_link(mount: &OpenMount, path: &RelPath) -> Result<Content, Failure> {
    let (target, fingerprint) = mount.root.read_link(path)?;
    if let Err(refusal) = link::check(path, &target, &mount.rules) {
        let message = format!("the link is not synchronised: {refusal}");
        return Err(Failure::Problem(ProblemKind::Unsupported, message));
    }
    let mut hasher = DigestHasher::default();
    hasher.update(&target);
    Ok(Content {
        body: Body::Whole(PutBody::Bytes(Bytes::from(target))),
        hash: hasher.finish(),
        local: LocalVersion::seen(fingerprint, SystemTime::now()),
    })
}

fn in_memory(file: &File, size_bytes: u64) -> io::Result<(Body, SizedDigest)> {
    let mut content = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0) + 1);
    file.take(IN_MEMORY_BYTES + 1).read_to_end(&mut content)?;
    let mut hasher = DigestHasher::default();
    hasher.update(&content);
    let body = PutBody::Bytes(Bytes::from(content));
    Ok((Body::Whole(body), hasher.finish()))
}

fn whole(file: &File, size_bytes: u64) -> io::Result<(Body, SizedDigest)> {
    let mut hasher = DigestHasher::default();
    read_to(file, size_bytes, |piece| hasher.update(piece))?;
    let file = file.try_clone()?;
    let body = PutBody::File { file, size_bytes };
    Ok((Body::Whole(body), hasher.finish()))
}

fn in_parts(file: &Arc<File>, size_bytes: u64, part_bytes: u64) -> io::Result<(Body, SizedDigest)> {
    let mut hasher = PartedHasher::new(part_bytes);
    read_to(file, size_bytes, |piece| hasher.update(piece))?;
    let content = hasher.finish();
    let whole = content.whole;
    let file = file.clone();
    Ok((Body::Parts(PartedFile { file, content }), whole))
}

/// Reads from the beginning, so many bytes or to an earlier end.
fn read_to(file: &File, size_bytes: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut position = 0;
    while position < size_bytes {
        let left = usize::try_from(size_bytes - position).unwrap_or(usize::MAX);
        let window = buffer.get_mut(..left.min(PIECE_BYTES)).unwrap_or_default();
        let read = file.read_at(window, position)?;
        if read == 0 {
            return Ok(());
        }
        take(window.get(..read).unwrap_or_default());
        position += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    /// A file, and what is known of it, and then what somebody does to it.
    fn is_beginning_after(size_bytes: u64, meanwhile: impl FnOnce(&mut File)) -> bool {
        let mut file = tempfile::tempfile().unwrap();
        let content = vec![b'a'; usize::try_from(size_bytes).unwrap()];
        file.write_all(&content).unwrap();
        let before = Fingerprint::of(&file.metadata().unwrap());
        let (_, hash) = whole(&file, size_bytes).unwrap();
        meanwhile(&mut file);
        is_beginning(&file, &before, &hash).unwrap()
    }

    #[test]
    fn a_large_file_that_only_grew_is_what_was_read_and_more() {
        let large = 2 * IN_MEMORY_BYTES;
        let append = |file: &mut File| file.write_all(b"more").unwrap();
        assert!(is_beginning_after(large, append));
        assert!(!is_beginning_after(IN_MEMORY_BYTES, append), "read again");
        assert!(!is_beginning_after(large, |_| ()), "written to within");
        assert!(!is_beginning_after(large, |file| {
            file.write_all(b"more").unwrap();
            file.seek(SeekFrom::Start(1)).unwrap();
            file.write_all(b"b").unwrap();
        }));
        assert!(!is_beginning_after(large, |file| file.set_len(1).unwrap()));
    }
}

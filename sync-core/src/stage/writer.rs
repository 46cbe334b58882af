//! A file growing in the staging directory.
//!
//! Content comes in order and is hashed as it comes, or in stretches from several connections at once, which are hashed
//! from the file as soon as everything before them is there.

use std::{
    fs::File,
    io::{self, Write as _},
    num::NonZeroU64,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    sync::Arc,
    time::SystemTime,
};

use rustix::fs::{Advice, FallocateFlags, Mode, OFlags};

use super::{Disposal, Durability, Slot, Staged, Synced, staging_name};
use crate::{
    digest::{ContentHash, ContentHasher, DigestHasher, SizedDigest},
    local::Fingerprint,
    root::{LocalError, Root},
};

/// A file from this size on is made durable by itself, while others still come in: at the end of a batch the disk would
/// have to write all of them while nothing else happens.
const SYNC_ALONE_BYTES: u64 = 1024 * 1024;
/// After so many bytes the disk is told to begin with them, so that it works while the rest still comes in.
const WRITEBACK_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes read at once to hash them.
const PIECE_BYTES: usize = 256 * 1024;

/// A file growing in the staging directory. Removed when dropped unfinished.
#[derive(Debug)]
pub struct StageWriter {
    slot: Slot,
    file: Arc<File>,
    hasher: Hasher,
    writeback: Writeback,
}

/// How far the disk has been told to write a file that grows.
#[derive(Debug)]
pub(crate) struct Writeback {
    begun: u64,
}

impl Writeback {
    /// For content that begins at `position`.
    pub(crate) fn from(position: u64) -> Self {
        Self { begun: position }
    }

    /// Everything up to `position` was written to the file.
    pub(crate) fn reached(&mut self, file: &File, position: u64) {
        let waiting = position.saturating_sub(self.begun);
        if waiting >= WRITEBACK_BYTES {
            // Linux begins to write what it is to forget, and forgets only what is on the disk already. An advice that
            // isn't taken costs a longer sync at the end.
            let advised =
                rustix::fs::fadvise(file, self.begun, NonZeroU64::new(waiting), Advice::DontNeed);
            if let Err(error) = advised {
                tracing::debug!(%error, "the disk can't be told to begin writing");
            }
            self.begun = position;
        }
    }
}

/// What is computed of the content while it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashes {
    /// SHA-256.
    Digest,
    /// MD5 too, to compare it with an `ETag`.
    DigestAndMd5,
}

#[derive(Debug)]
enum Hasher {
    Digest(DigestHasher),
    Both(ContentHasher),
}

impl StageWriter {
    /// Creates an empty staged file, readable by its owner only until it has its mode.
    pub fn create(root: &Arc<Root>) -> Result<Self, LocalError> {
        Self::with(root, Hashes::Digest)
    }

    /// The same with the hashes that are wanted.
    pub fn with(root: &Arc<Root>, hashes: Hashes) -> Result<Self, LocalError> {
        let name = staging_name();
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let descriptor = rustix::fs::openat(
            root.staging(),
            name.as_str(),
            flags,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|error| LocalError::new("stage a file in", root.path().display(), error))?;
        let slot = Slot {
            root: root.clone(),
            name,
            disposal: Disposal::RemoveOnDrop,
        };
        Ok(Self {
            slot,
            file: Arc::new(File::from(descriptor)),
            hasher: match hashes {
                Hashes::Digest => Hasher::Digest(DigestHasher::default()),
                Hashes::DigestAndMd5 => Hasher::Both(ContentHasher::default()),
            },
            writeback: Writeback::from(0),
        })
    }

    /// Takes the space for this many bytes, so that a disk that is too full is found before anything is transferred. A
    /// file system that can't is not asked for it.
    pub fn reserve(&self, size_bytes: u64) -> Result<(), LocalError> {
        use rustix::io::Errno;
        if size_bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&*self.file, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    /// Appends content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), LocalError> {
        (&*self.file)
            .write_all(bytes)
            .map_err(|error| self.failed(error))?;
        self.hasher.update(bytes);
        self.writeback.reached(&self.file, self.hasher.size_bytes());
        Ok(())
    }

    /// The file, to be written to by position.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Hashes what lies in the file behind what was hashed, up to `end`.
    pub(crate) fn hash_up_to(&mut self, end: u64) -> Result<(), LocalError> {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let position = self.hasher.size_bytes();
            let wanted = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
            if wanted == 0 {
                return Ok(());
            }
            let window = buffer
                .get_mut(..wanted.min(PIECE_BYTES))
                .unwrap_or_default();
            let read = self.file.read_exact_at(window, position);
            read.map_err(|error| self.failed(error))?;
            self.hasher.update(window);
        }
    }

    /// Sets permission bits and, where known, the modification time, and closes the file. A file system that keeps no
    /// such attributes, or lets others set them only, gets the file without.
    pub fn finish(
        self,
        mode: u32,
        modified: Option<SystemTime>,
        durability: Durability,
    ) -> Result<Staged, LocalError> {
        let (hash, md5_hex) = self.hasher.finish();
        let alone = durability == Durability::Each || hash.size_bytes >= SYNC_ALONE_BYTES;
        let file = self.file;
        let finished = || -> io::Result<Fingerprint> {
            let attributes = file
                .set_permissions(std::fs::Permissions::from_mode(mode))
                .and_then(|()| modified.map_or(Ok(()), |time| file.set_modified(time)));
            if let Err(error) = attributes {
                tracing::debug!(%error, "a file has not all of its attributes");
            }
            if alone {
                file.sync_all()?;
            }
            Ok(Fingerprint::of(&file.metadata()?))
        };
        let fingerprint = finished().map_err(|error| {
            LocalError::new("stage a file in", self.slot.root.path().display(), error)
        })?;
        Ok(Staged {
            slot: self.slot,
            fingerprint,
            hash,
            md5_hex,
            synced: if alone { Synced::Yes } else { Synced::No },
            displaces: None,
        })
    }

    fn failed(&self, error: io::Error) -> LocalError {
        LocalError::new("stage a file in", self.slot.root.path().display(), error)
    }
}

/// The hashes of a staged file.
pub(super) fn hash_staged(slot: &Slot) -> Result<ContentHash, LocalError> {
    use io::Read as _;
    let failed =
        |error| LocalError::new("read what was staged in", slot.root.path().display(), error);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let descriptor = rustix::fs::openat(
        slot.root.staging(),
        slot.name.as_str(),
        flags,
        Mode::empty(),
    )
    .map_err(|error| failed(error.into()))?;
    let mut file = File::from(descriptor);
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Digest(hasher) => hasher.update(bytes),
            Self::Both(hasher) => hasher.update(bytes),
        }
    }

    fn size_bytes(&self) -> u64 {
        match self {
            Self::Digest(hasher) => hasher.size_bytes(),
            Self::Both(hasher) => hasher.size_bytes(),
        }
    }

    fn finish(self) -> (SizedDigest, Option<String>) {
        match self {
            Self::Digest(hasher) => (hasher.finish(), None),
            Self::Both(hasher) => {
                let hash = hasher.finish();
                (hash.sized_digest(), Some(hash.md5_hex))
            }
        }
    }
}

//! Staging and publishing: how a new version gets to its place without ever being seen half-written and without ever
//! overwriting a version that nobody decided about.
//!
//! Order of a batch: stage every file, sync them all, write down what will be displaced, publish each by one rename,
//! look at what came out. A crash at any point leaves the tree with old or new versions only; [`recover`] deals with
//! what stands in the staging directory afterwards.

mod aside;
mod copies;
mod directory;
mod displaced;
mod link;
mod recovery;
mod take;
mod writer;

use std::{fs::File, io, os::fd::OwnedFd, sync::Arc};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use self::copies::keep_copy;
pub(crate) use self::directory::{StagedTree, create_directory};
pub(crate) use self::writer::Writeback;
pub use self::{
    aside::{KeptAside, keep_aside},
    recovery::{RecoverError, recover},
    take::{Taken, take_copy},
    writer::{Hashes, StageWriter},
};
use crate::{
    baseline::{Displacement, Fate, Surprise},
    digest::{ContentHash, Digest, SizedDigest},
    failpoint::{self, Point},
    local::{Fingerprint, LocalKind},
    path::RelPath,
    report::Side,
    root::{self, LocalError, Root},
};

/// A complete file in the staging directory, no longer open: a batch may be larger than the limit of open files.
/// Removed when dropped unpublished.
#[derive(Debug)]
pub struct Staged {
    slot: Slot,
    fingerprint: Fingerprint,
    hash: SizedDigest,
    md5_hex: Option<String>,
    synced: Synced,
    /// Content of the version that it displaces, where that is known.
    displaces: Option<Digest>,
}

/// Whether a staged file is on the disk already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// It is.
    Yes,
    /// It waits for the sync of its batch.
    No,
}

/// A name in the staging directory and whether it is ours to remove.
#[derive(Debug)]
struct Slot {
    root: Arc<Root>,
    name: String,
    disposal: Disposal,
}

#[derive(Debug, PartialEq, Eq)]
enum Disposal {
    RemoveOnDrop,
    Published,
}

/// When a staged file is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// By itself, when it is finished.
    Each,
    /// Together with its batch, by one sync of the file system: cheaper for many files.
    Batch,
}

/// How publishing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The new version stands at its place, with this fingerprint.
    Done(Fingerprint),
    /// It stands there, and what it replaced was a version that the plan didn't know: kept as this conflict copy.
    Displaced {
        /// Fingerprint of the new version.
        fingerprint: Fingerprint,
        /// Where the displaced version is.
        copy: RelPath,
    },
    /// Somebody changed the place first; nothing was touched.
    Stale,
}

impl Staged {
    /// The hash of the content.
    #[must_use]
    pub fn hash(&self) -> &SizedDigest {
        &self.hash
    }

    /// Whether it is a file or a link.
    #[must_use]
    pub fn kind(&self) -> LocalKind {
        self.fingerprint.kind()
    }

    /// The MD5 of the content, where it was asked for.
    #[must_use]
    pub fn md5_hex(&self) -> Option<&str> {
        self.md5_hex.as_deref()
    }

    /// Whether it is on the disk already.
    pub(crate) fn synced(&self) -> Synced {
        self.synced
    }

    /// Hashes the content once more, with MD5.
    pub(crate) fn content_hash(&self) -> Result<ContentHash, LocalError> {
        writer::hash_staged(&self.slot)
    }

    /// Its name in the staging directory.
    pub(crate) fn name(&self) -> &str {
        &self.slot.name
    }

    /// Tells what content the version to be displaced has, so that a write that its stat doesn't show is found.
    #[must_use]
    pub fn displacing(mut self, digest: Option<Digest>) -> Self {
        self.displaces = digest;
        self
    }

    /// What must be written down before [`Staged::replace`]: the version it expects to displace.
    #[must_use]
    pub fn displacement(
        &self,
        path: &RelPath,
        expected: Fingerprint,
        fate: Fate,
        surprise: Surprise,
    ) -> Displacement {
        Displacement {
            staged_name: self.slot.name.clone(),
            path: path.clone(),
            expected,
            digest: self.displaces,
            staged_inode: self.fingerprint.inode,
            fate,
            surprise,
        }
    }

    /// Publishes where nothing was.
    pub fn create_at(mut self, path: &RelPath) -> Result<Published, LocalError> {
        let failed = |error: io::Error| LocalError::new("publish", path, error);
        let root = self.slot.root.clone();
        let parent = root.make_parent(path).map_err(failed)?;
        match root::rename(
            root.staging(),
            &self.slot.name,
            &parent,
            path.file_name(),
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                root.reached(Point::Created);
                self.slot.disposal = Disposal::Published;
                Ok(Published::Done(self.published_fingerprint(path)))
            }
            Err(rustix::io::Errno::EXIST) => Ok(Published::Stale),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Publishes as a conflict copy of `side`'s version of `path`, unless there is one with the same content; gives where.
    pub fn keep_as_copy(mut self, path: &RelPath, side: Side) -> Result<RelPath, LocalError> {
        if let Some(copy) = copies::existing(&self.slot.root, path, &self.hash, self.kind())? {
            return Ok(copy);
        }
        let copy = keep_copy(&self.slot.root, &self.slot.name, path, side)?;
        self.slot.disposal = Disposal::Published;
        Ok(copy)
    }

    /// Publishes over the version `expected`; the displacement must have been written down.
    ///
    /// RACE: a program that holds the replaced file open may still write to it after the exchange. What it writes after
    /// we looked is lost with its unlinked file, as with any rename over an open file.
    pub fn replace(
        self,
        path: &RelPath,
        expected: &Fingerprint,
        fate: Fate,
        surprise: Surprise,
    ) -> Result<Published, LocalError> {
        self.replace_after(path, expected, fate, surprise, || ())
    }

    /// The same with something that happens between the look and the exchange, for tests of that window.
    fn replace_after(
        mut self,
        path: &RelPath,
        expected: &Fingerprint,
        fate: Fate,
        surprise: Surprise,
        meanwhile: impl FnOnce(),
    ) -> Result<Published, LocalError> {
        let failed = |error: io::Error| LocalError::new("publish", path, error);
        let root = self.slot.root.clone();
        match root.look(path)? {
            Some((_, found)) if found == *expected => {}
            Some(_) | None => return Ok(Published::Stale),
        }
        root.reached(Point::BeforeExchange);
        meanwhile();
        let parent = root.open_parent(path).map_err(failed)?;
        match root::rename(
            root.staging(),
            &self.slot.name,
            &parent,
            path.file_name(),
            RenameFlags::EXCHANGE,
        ) {
            Ok(()) => {}
            Err(rustix::io::Errno::NOENT) => return Ok(Published::Stale),
            Err(error) => return Err(failed(error.into())),
        }
        self.slot.disposal = Disposal::Published;
        root.reached(Point::Exchanged);
        let fingerprint = self.published_fingerprint(path);
        let found = staged_fingerprint(&root, &self.slot.name).map_err(failed)?;
        let digest = self.displaces.as_ref();
        let surprised = found
            .is_some_and(|found| !displaced::is(&root, &self.slot.name, found, expected, digest));
        if surprised && surprise == Surprise::PutBack {
            return self.put_back(path, &parent).map(|()| Published::Stale);
        }
        if found.is_some() && (surprised || fate == Fate::Kept) {
            let copy = keep_copy(&root, &self.slot.name, path, Side::Local)?;
            root.reached(Point::LocalCopyKept);
            return Ok(Published::Displaced { fingerprint, copy });
        }
        remove_staged(&root, &self.slot.name).map_err(failed)?;
        root.reached(Point::ReplacedRemoved);
        Ok(Published::Done(fingerprint))
    }

    /// Undoes an exchange. What comes out now should be our own version; one that was written in between is kept.
    fn put_back(&self, path: &RelPath, parent: &OwnedFd) -> Result<(), LocalError> {
        let failed = |error: io::Error| LocalError::new("put back", path, error);
        let root = &self.slot.root;
        root::rename(
            root.staging(),
            &self.slot.name,
            parent,
            path.file_name(),
            RenameFlags::EXCHANGE,
        )
        .map_err(|error| failed(error.into()))?;
        root.reached(Point::PutBack);
        match staged_fingerprint(root, &self.slot.name).map_err(failed)? {
            Some(found) if found.inode != self.fingerprint.inode => {
                keep_copy(root, &self.slot.name, path, Side::Local).map(drop)
            }
            _ => remove_staged(root, &self.slot.name).map_err(failed),
        }
    }

    /// The fingerprint to record: the one after the rename, unless somebody wrote to the file since it was staged; then
    /// the staged one, which no longer matches and so shows the change to the next look.
    fn published_fingerprint(&self, path: &RelPath) -> Fingerprint {
        match self.slot.root.look(path) {
            Ok(Some((_, now)))
                if now.is_same_but_renamed(&self.fingerprint)
                    && now.mode == self.fingerprint.mode =>
            {
                now
            }
            Ok(_) | Err(_) => self.fingerprint,
        }
    }
}

/// A new name for the staging directory.
pub(crate) fn staging_name() -> String {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.disposal == Disposal::RemoveOnDrop
            && !failpoint::has_ended(self.root.path())
            && let Err(error) = remove_staged(&self.root, &self.name)
        {
            tracing::debug!(name = self.name, %error, "a staged file stays until the next start");
        }
    }
}

/// Removes the local file if it is still the version `expected`, with the content `digest` where that is known, and the
/// directories that it leaves empty. The displacement must have been written down under `staged_name`.
///
/// The file is moved to the staging directory first: only what can no longer be reached by its name is looked at and
/// then removed, so that a version written in between is found and put back.
pub fn remove(
    root: &Root,
    staged_name: &str,
    path: &RelPath,
    expected: &Fingerprint,
    digest: Option<&Digest>,
) -> Result<Removed, LocalError> {
    let failed = |error: io::Error| LocalError::new("delete", path, error);
    match root.look(path)? {
        None => return Ok(Removed::Done),
        Some((_, found)) if found.is_same_version(expected) => {}
        Some(_) => return Ok(Removed::Stale),
    }
    root.reached(Point::BeforeMovedAway);
    let parent = root.open_parent(path).map_err(failed)?;
    match root::rename(
        &parent,
        path.file_name(),
        root.staging(),
        staged_name,
        RenameFlags::NOREPLACE,
    ) {
        Ok(()) => {}
        Err(rustix::io::Errno::NOENT) => return Ok(Removed::Done),
        Err(error) => return Err(failed(error.into())),
    }
    root.reached(Point::MovedAway);
    let displaced = staged_fingerprint(root, staged_name).map_err(failed)?;
    if displaced.is_some_and(|found| !displaced::is(root, staged_name, found, expected, digest)) {
        return match root::rename(
            root.staging(),
            staged_name,
            &parent,
            path.file_name(),
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                root.reached(Point::MovedBack);
                Ok(Removed::Stale)
            }
            // A third version took the place: the second becomes a copy.
            Err(rustix::io::Errno::EXIST) => {
                keep_copy(root, staged_name, path, Side::Local).map(|_| Removed::Stale)
            }
            Err(error) => Err(failed(error.into())),
        };
    }
    remove_staged(root, staged_name).map_err(failed)?;
    root.reached(Point::DeletedLocally);
    root.prune_parents(path).map_err(failed)?;
    root.reached(Point::ParentsPruned);
    Ok(Removed::Done)
}

/// How a removal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The file is gone.
    Done,
    /// The file isn't the version to delete; it is where it was.
    Stale,
}

fn staged_fingerprint(root: &Root, staged_name: &str) -> io::Result<Option<Fingerprint>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(root.staging(), staged_name, flags, Mode::empty()) {
        Ok(descriptor) => Ok(Some(Fingerprint::of(&File::from(descriptor).metadata()?))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn remove_staged(root: &Root, staged_name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(root.staging(), staged_name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;

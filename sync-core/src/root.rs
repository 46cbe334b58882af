//! A mount's directory as the one descriptor that every local access goes through.
//!
//! Invariant: no operation here leaves the directory or follows a symbolic link, whatever the path says and whatever
//! others do to the tree meanwhile; the kernel checks (`openat2`, `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`).

mod beside;
mod copies;

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags};

use self::beside::wal_in;
use crate::{
    failpoint::{self, Point},
    local::{Fingerprint, LocalKind},
    path::RelPath,
    spill::Spill,
    sqlite::ContentFile,
};

/// The engine's own directory in a mount.
pub const STATE_DIRECTORY: &str = ".hiclaw-sync";
/// Staging, relative to the mount.
pub(crate) const STAGING: &str = ".hiclaw-sync/tmp";

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// A local operation failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} {path}")]
pub struct LocalError {
    /// What was tried.
    pub operation: &'static str,
    /// On which path, relative to the mount, or the mount itself.
    pub path: String,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl LocalError {
    pub(crate) fn new(
        operation: &'static str,
        path: impl std::fmt::Display,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            operation,
            path: path.to_string(),
            source: source.into(),
        }
    }

    /// The kind of the cause.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

/// An open mount directory.
#[derive(Debug)]
pub struct Root {
    descriptor: OwnedFd,
    staging: OwnedFd,
    path: PathBuf,
    contents_opened: AtomicU64,
    residue: Residue,
}

/// What becomes of the directories that were made for staging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Residue {
    /// They are the engine's, and stay.
    Stays,
    /// They go when the last user of the root does.
    GoesWhenEmpty,
}

/// What keeps a file from being put at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InTheWay {
    /// Nothing.
    Nothing,
    /// A directory stands there.
    Directory,
    /// A file stands where one of its directories would be.
    FileAbove,
    /// A symbolic link stands where one of its directories would be.
    LinkAbove,
}

/// Whether the mount's directory is still the one that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootState {
    /// It is.
    InPlace,
    /// It was removed, replaced or unmounted.
    Gone,
}

impl Root {
    /// Opens the directory, creating it and the staging area where they are missing. The state directory is readable
    /// by its owner only.
    pub fn open(path: &Path) -> Result<Self, LocalError> {
        let failed =
            |operation| move |error: io::Error| LocalError::new(operation, path.display(), error);
        std::fs::create_dir_all(path).map_err(failed("create"))?;
        let descriptor = rustix::fs::openat(
            CWD,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| LocalError::new("open", path.display(), error))?;
        for directory in [STATE_DIRECTORY, STAGING] {
            make_directory(&descriptor, directory, Mode::RWXU)
                .map_err(failed("create the state directory in"))?;
        }
        let staging = open_directory(&descriptor, STAGING)
            .map_err(failed("open the staging directory of"))?;
        Ok(Self {
            descriptor,
            staging,
            path: path.to_owned(),
            contents_opened: AtomicU64::new(0),
            residue: Residue::Stays,
        })
    }

    /// A failpoint of the session over this directory.
    pub(crate) fn reached(&self, point: Point) {
        failpoint::reached(point, &self.path);
    }

    /// How many files were opened to read their content since the mount was opened.
    #[must_use]
    pub fn contents_opened(&self) -> u64 {
        self.contents_opened.load(Ordering::Relaxed)
    }

    /// Where the mount was when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the directory: what ties a baseline to it.
    pub fn identity(&self) -> Result<String, LocalError> {
        let stat = rustix::fs::fstat(&self.descriptor)
            .map_err(|error| LocalError::new("look at", self.path.display(), error))?;
        Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
    }

    /// Looks whether the path still leads to the directory that was opened.
    #[must_use]
    pub fn state(&self) -> RootState {
        let here = rustix::fs::fstat(&self.descriptor);
        let there = rustix::fs::stat(&self.path);
        match (here, there) {
            (Ok(here), Ok(there)) if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) => {
                RootState::InPlace
            }
            _ => RootState::Gone,
        }
    }

    /// Opens a regular file for reading and takes its fingerprint from the open file.
    pub fn open_file(&self, path: &RelPath) -> Result<(ContentFile, Fingerprint), LocalError> {
        let failed = |error: io::Error| LocalError::new("read", path, error);
        let file = self.open_regular(path).map_err(failed)?;
        self.contents_opened.fetch_add(1, Ordering::Relaxed);
        let fingerprint = self.fingerprint_of(path, &file).map_err(failed)?;
        Ok((file, fingerprint))
    }

    /// Opens a regular file for reading.
    pub(crate) fn open_regular(&self, path: &RelPath) -> io::Result<ContentFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = rustix::fs::openat2(
            &self.descriptor,
            path.as_str(),
            flags,
            Mode::empty(),
            BENEATH,
        )?;
        let file = ContentFile::new(File::from(descriptor));
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(file)
    }

    /// What lies at `path`; `None` for nothing, also where its directory is missing, is a file or is a link.
    pub fn look(&self, path: &RelPath) -> Result<Option<(LocalKind, Fingerprint)>, LocalError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let parent = match self.open_parent(path) {
            Ok(parent) => parent,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(LocalError::new("look at", path, error)),
        };
        let descriptor =
            match rustix::fs::openat2(&parent, path.file_name(), flags, Mode::empty(), resolve) {
                Ok(descriptor) => descriptor,
                Err(error) if is_absence(&error.into()) => return Ok(None),
                Err(error) => return Err(LocalError::new("look at", path, error)),
            };
        let metadata = File::from(descriptor)
            .metadata()
            .map_err(|error| LocalError::new("look at", path, error))?;
        let kind = kind_of(metadata.file_type());
        let mut fingerprint = Fingerprint::of(&metadata);
        if kind == LocalKind::File {
            fingerprint = fingerprint.with_wal(wal_in(&parent, path.file_name()));
        }
        Ok(Some((kind, fingerprint)))
    }

    /// What keeps a file from being put at `path`, where a scan has found none.
    pub(crate) fn in_the_way(&self, path: &RelPath) -> Result<InTheWay, LocalError> {
        match self.open_parent(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(InTheWay::Nothing),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Ok(InTheWay::FileAbove);
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Ok(InTheWay::LinkAbove);
            }
            Err(error) => return Err(LocalError::new("look at", path, error)),
        }
        Ok(match self.look(path)? {
            Some((LocalKind::Directory, _)) => InTheWay::Directory,
            // Come since the scan: whoever acts looks again.
            Some((LocalKind::File | LocalKind::Symlink | LocalKind::Special, _)) | None => {
                InTheWay::Nothing
            }
        })
    }

    /// The target of a symbolic link, and the link's fingerprint. Not followed, of course.
    pub fn read_link(&self, path: &RelPath) -> Result<(Vec<u8>, Fingerprint), LocalError> {
        let failed = |error: io::Error| LocalError::new("read the link", path, error);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = self.open_parent(path).map_err(failed)?;
        let descriptor = rustix::fs::openat(&parent, path.file_name(), flags, Mode::empty())
            .map_err(|error| failed(error.into()))?;
        // Of the link that was opened, whatever has its name by now.
        let target = rustix::fs::readlinkat(&descriptor, c"", Vec::new())
            .map_err(|error| failed(error.into()))?;
        let metadata = File::from(descriptor).metadata().map_err(failed)?;
        Ok((target.into_bytes(), Fingerprint::of(&metadata)))
    }

    /// Gives a file other permission bits if it is still the version `expected`; `None` if it isn't, or if it has other
    /// names, which would change with it. The fingerprint is the one to record: after the change, unless somebody wrote
    /// meanwhile; then one that shows the write to the next look.
    pub(crate) fn set_permissions(
        &self,
        path: &RelPath,
        expected: &Fingerprint,
        permissions: u32,
    ) -> Result<Option<Fingerprint>, LocalError> {
        let failed = |error: io::Error| LocalError::new("change the mode of", path, error);
        let (file, found) = self.open_file(path)?;
        if found != *expected || file.metadata().map_err(failed)?.nlink() > 1 {
            return Ok(None);
        }
        let descriptor = file.file().map_err(failed)?;
        rustix::fs::fchmod(descriptor, Mode::from_raw_mode(permissions & 0o777))
            .map_err(|error| failed(error.into()))?;
        let after = self.fingerprint_of(path, &file).map_err(failed)?;
        Ok(Some(if after.is_same_but_renamed(expected) {
            after
        } else {
            expected.with_permissions(permissions)
        }))
    }

    /// The outermost place above `path` that is something other than a directory.
    pub(crate) fn not_a_directory_above(
        &self,
        path: &RelPath,
    ) -> Result<Option<RelPath>, LocalError> {
        let mut above: Vec<RelPath> =
            std::iter::successors(path.parent(), RelPath::parent).collect();
        above.reverse();
        for place in above {
            match self.look(&place)? {
                Some((LocalKind::Directory, _)) => {}
                Some((LocalKind::File | LocalKind::Symlink | LocalKind::Special, _)) => {
                    return Ok(Some(place));
                }
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The staging directory.
    pub(crate) fn staging(&self) -> &OwnedFd {
        &self.staging
    }

    /// Where more than fits in memory goes.
    pub(crate) fn spill(&self) -> io::Result<Spill> {
        self.staging.try_clone().map(Spill::new)
    }

    /// Opens the directory that `path` lies in.
    pub(crate) fn open_parent(&self, path: &RelPath) -> io::Result<OwnedFd> {
        match path.parent() {
            Some(parent) => open_directory(&self.descriptor, parent.as_str()),
            None => self.descriptor.try_clone(),
        }
    }

    /// Opens the directory that `path` lies in, creating it and those above it.
    pub(crate) fn make_parent(&self, path: &RelPath) -> io::Result<OwnedFd> {
        match self.open_parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut above = self.descriptor.try_clone()?;
        if let Some(parent) = path.parent() {
            for component in parent.components() {
                make_directory(&above, component, Mode::from_raw_mode(0o755))?;
                above = open_directory(&above, component)?;
            }
        }
        Ok(above)
    }

    /// Removes the directories above `path` that are empty now, up to the mount.
    pub(crate) fn prune_parents(&self, path: &RelPath) -> io::Result<()> {
        let mut directory = path.parent();
        while let Some(empty) = directory {
            let parent = self.open_parent(&empty)?;
            match rustix::fs::unlinkat(&parent, empty.file_name(), AtFlags::REMOVEDIR) {
                Ok(()) => directory = empty.parent(),
                Err(
                    rustix::io::Errno::NOTEMPTY
                    | rustix::io::Errno::EXIST
                    | rustix::io::Errno::NOENT,
                ) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Makes everything written below the mount's file system durable.
    pub(crate) fn sync_file_system(&self) -> io::Result<()> {
        rustix::fs::syncfs(&self.descriptor).map_err(io::Error::from)
    }
}

/// Renames between two directories.
pub(crate) fn rename(
    from: impl AsFd,
    from_name: &str,
    to: impl AsFd,
    to_name: &str,
    flags: RenameFlags,
) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(from, from_name, to, to_name, flags)
}

fn open_directory(at: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(at, path, flags, Mode::empty(), BENEATH).map_err(io::Error::from)
}

fn make_directory(at: &OwnedFd, name: &str, mode: Mode) -> io::Result<()> {
    match rustix::fs::mkdirat(at, name, mode) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// True for the errors that mean that there is nothing at a path.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// The kind of a directory entry.
pub(crate) fn kind_of(file_type: std::fs::FileType) -> LocalKind {
    if file_type.is_file() {
        LocalKind::File
    } else if file_type.is_symlink() {
        LocalKind::Symlink
    } else if file_type.is_dir() {
        LocalKind::Directory
    } else {
        LocalKind::Special
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn links_are_never_followed_and_never_left_through() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
        assert!(root.open_file(&path("out/secret")).is_err());
        assert!(root.open_file(&path("link")).is_err());
        assert!(root.make_parent(&path("out/new/file")).is_err());
        assert!(!outside.path().join("new").exists());
        assert_eq!(
            root.look(&path("link")).unwrap().unwrap().0,
            LocalKind::Symlink
        );
    }

    #[test]
    fn nothing_at_a_path_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        assert!(root.look(&path("none")).unwrap().is_none());
        assert!(root.look(&path("no/such/dir")).unwrap().is_none());
        assert!(root.look(&path("file/below")).unwrap().is_none());
    }

    #[test]
    fn what_is_in_the_way_of_a_file_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        std::fs::create_dir(dir.path().join("directory")).unwrap();
        std::os::unix::fs::symlink("directory", dir.path().join("link")).unwrap();
        for (text, expected) in [
            ("none", InTheWay::Nothing),
            ("no/such/file", InTheWay::Nothing),
            ("directory", InTheWay::Directory),
            ("directory/new", InTheWay::Nothing),
            ("file/below", InTheWay::FileAbove),
            ("file/further/below", InTheWay::FileAbove),
            ("link/below", InTheWay::LinkAbove),
        ] {
            assert_eq!(root.in_the_way(&path(text)).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn emptied_parents_are_pruned_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::write(dir.path().join("a/keep"), "").unwrap();
        root.prune_parents(&path("a/b/c/gone")).unwrap();
        assert!(!dir.path().join("a/b").exists());
        assert!(dir.path().join("a/keep").exists());
    }

    #[test]
    fn a_replaced_directory_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().join("mount");
        let root = Root::open(&mount).unwrap();
        assert_eq!(root.state(), RootState::InPlace);
        std::fs::rename(&mount, dir.path().join("moved")).unwrap();
        assert_eq!(root.state(), RootState::Gone);
        std::fs::create_dir(&mount).unwrap();
        assert_eq!(root.state(), RootState::Gone);
    }
}

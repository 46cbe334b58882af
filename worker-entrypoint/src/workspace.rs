//! The agent's directory as steps change it.
//!
//! Owns the operations on files that steps are made of. Invariant: none of them leaves the directory or follows a symbolic
//! link, whatever lies in it; the kernel checks (`openat2`). Contents are published by rename, so nobody sees a half-written
//! file. Never decides what is changed.

mod tree;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags},
    io::Errno,
};
use sync_core::{
    conflict::{CONFLICTS_DIRECTORY, copy_paths},
    path::RelPath,
    report::Side,
    root::STATE_DIRECTORY,
};

pub use self::tree::Descend;

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
/// Larger files are no configuration.
const MAX_READ_BYTES: u64 = 16 * 1024 * 1024;

/// An operation on a path of the workspace failed.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} {path}")]
pub struct WorkspaceError {
    /// What was tried.
    pub operation: &'static str,
    /// On which path, relative to the workspace, or the workspace itself.
    pub path: String,
    /// The cause.
    #[source]
    pub source: io::Error,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and what it says.
    Link(PathBuf),
    /// Something else.
    Special,
}

/// The open workspace.
#[derive(Debug)]
pub struct Workspace {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Workspace {
    /// Opens the directory, creating it where it is missing.
    pub fn open(path: &Path) -> Result<Self, WorkspaceError> {
        let failed = |operation| {
            move |source| WorkspaceError {
                operation,
                path: path.display().to_string(),
                source,
            }
        };
        std::fs::create_dir_all(path).map_err(failed("create"))?;
        let descriptor = rustix::fs::openat(
            CWD,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(io::Error::from)
        .map_err(failed("open"))?;
        Ok(Self {
            descriptor,
            path: path.to_owned(),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What lies at `path`; `None` for nothing, also where its directory is missing or is a file.
    pub fn look(&self, path: &RelPath) -> Result<Option<Entry>, WorkspaceError> {
        let look = || -> io::Result<Option<Entry>> {
            let parent = match self.parent(path) {
                Ok(parent) => parent,
                Err(error) if is_absence(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            look_in(&parent, path.file_name())
        };
        look().map_err(error("look at", path))
    }

    /// The content of a regular file; `None` where there is nothing.
    pub fn read(&self, path: &RelPath) -> Result<Option<Vec<u8>>, WorkspaceError> {
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = match self.open_file(path) {
                Ok(file) => file,
                Err(error) if is_absence(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let mut content = Vec::new();
            file.take(MAX_READ_BYTES + 1).read_to_end(&mut content)?;
            if content.len() as u64 > MAX_READ_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "it is larger than 16 MiB",
                ));
            }
            Ok(Some(content))
        };
        read().map_err(error("read", path))
    }

    /// Makes `content` the file at `path`, in one instant. A file that was there keeps its mode.
    pub fn publish(&self, path: &RelPath, content: &[u8]) -> Result<(), WorkspaceError> {
        let publish = || -> io::Result<()> {
            let mode = match self.open_file(path) {
                Ok(file) => Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode & 0o777),
                Err(error) if is_absence(&error) => Mode::from_raw_mode(0o600),
                Err(error) => return Err(error),
            };
            let (staging, name) = self.stage(content, mode)?;
            let parent = self.make_parent(path)?;
            rustix::fs::renameat(&staging, &name, &parent, path.file_name()).or_else(|error| {
                rustix::fs::unlinkat(&staging, &name, AtFlags::empty()).and(Err(error))
            })?;
            Ok(())
        };
        publish().map_err(error("write", path))
    }

    /// Makes a symbolic link where there is nothing. Its target is relative, so that it holds where the workspace moves.
    pub fn link(&self, at: &RelPath, to: &RelPath) -> Result<(), WorkspaceError> {
        let parent = self
            .make_parent(at)
            .map_err(error("make the directory of", at))?;
        rustix::fs::symlinkat(link_target(at, to), &parent, at.file_name())
            .map_err(io::Error::from)
            .map_err(error("link", at))
    }

    /// Moves what is at `from` to `to`, where there must be nothing.
    pub fn rename(&self, from: &RelPath, to: &RelPath) -> Result<(), WorkspaceError> {
        let rename = || -> io::Result<()> {
            let (old, new) = (self.parent(from)?, self.make_parent(to)?);
            let flags = RenameFlags::NOREPLACE;
            Ok(rustix::fs::renameat_with(
                &old,
                from.file_name(),
                &new,
                to.file_name(),
                flags,
            )?)
        };
        rename().map_err(error("move", from))
    }

    /// Moves a file to where conflict copies are kept; gives its new place.
    pub fn keep_as_conflict(
        &self,
        path: &RelPath,
        now: jiff::Timestamp,
    ) -> Result<RelPath, WorkspaceError> {
        for copy in copy_paths(path, Side::Local, now) {
            match self.rename(path, &copy) {
                Ok(()) => return Ok(copy),
                Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(error("find a name for a copy of", path)(
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// Removes a file or a link. Nothing there is no error.
    pub fn remove_file(&self, path: &RelPath) -> Result<(), WorkspaceError> {
        self.unlink(path, AtFlags::empty())
            .map_err(error("remove", path))
    }

    /// Removes a directory if it is empty. Nothing there is no error.
    pub fn remove_empty_directory(&self, path: &RelPath) -> Result<(), WorkspaceError> {
        self.unlink(path, AtFlags::REMOVEDIR)
            .map_err(error("remove", path))
    }

    /// Adds the right to execute for everybody who may read.
    pub fn make_executable(&self, path: &RelPath) -> Result<(), WorkspaceError> {
        let change = || -> io::Result<()> {
            let file = self.open_file(path)?;
            let mode = rustix::fs::fstat(&file)?.st_mode & 0o7777;
            let wanted = mode | ((mode & 0o444) >> 2);
            if wanted != mode {
                rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted))?;
            }
            Ok(())
        };
        change().map_err(error("make executable", path))
    }

    /// Writes a new file into the staging directory, durably; gives the directory and its name in it.
    fn stage(&self, content: &[u8], mode: Mode) -> io::Result<(OwnedFd, String)> {
        let staging = self.staging()?;
        let name = format!("step-{:032x}", fastrand::u128(..));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(rustix::fs::openat(
            &staging,
            &name,
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        let written = file
            .write_all(content)
            // The mode of a file that was there may be wider than the mask lets a new one be.
            .and_then(|()| rustix::fs::fchmod(&file, mode).map_err(io::Error::from))
            .and_then(|()| file.sync_all());
        if let Err(error) = written {
            rustix::fs::unlinkat(&staging, &name, AtFlags::empty())?;
            return Err(error);
        }
        Ok((staging, name))
    }

    /// The engine's staging directory: what is left in it is cleaned up by the engine, and never mirrored.
    fn staging(&self) -> io::Result<OwnedFd> {
        make_directory(&self.descriptor, STATE_DIRECTORY, Mode::RWXU)?;
        let state = open_directory(&self.descriptor, STATE_DIRECTORY)?;
        make_directory(&state, "tmp", Mode::RWXU)?;
        open_directory(&state, "tmp")
    }

    fn open_file(&self, path: &RelPath) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat2(
            &self.descriptor,
            path.as_str(),
            flags,
            Mode::empty(),
            BENEATH,
        )?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile {
            Ok(File::from(file))
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no regular file",
            ))
        }
    }

    fn parent(&self, path: &RelPath) -> io::Result<OwnedFd> {
        match path.parent() {
            Some(parent) => open_directory(&self.descriptor, parent.as_str()),
            None => self.descriptor.try_clone(),
        }
    }

    fn make_parent(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let mut above = self.descriptor.try_clone()?;
        if let Some(parent) = path.parent() {
            // Copies may hold what only their owner may read.
            let mode = if parent.components().next() == Some(CONFLICTS_DIRECTORY) {
                0o700
            } else {
                0o755
            };
            for component in parent.components() {
                make_directory(&above, component, Mode::from_raw_mode(mode))?;
                above = open_directory(&above, component)?;
            }
        }
        Ok(above)
    }

    fn unlink(&self, path: &RelPath, flags: AtFlags) -> io::Result<()> {
        match self.parent(path) {
            Ok(parent) => match rustix::fs::unlinkat(&parent, path.file_name(), flags) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(error) => Err(error.into()),
            },
            Err(error) if is_absence(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What the link `at` must say to lead to `to`.
#[must_use]
pub fn link_target(at: &RelPath, to: &RelPath) -> PathBuf {
    let from: Vec<_> = at
        .parent()
        .map(|parent| parent.components().map(str::to_owned).collect())
        .unwrap_or_default();
    let to: Vec<_> = to.components().collect();
    let shared = from
        .iter()
        .zip(&to)
        .take_while(|(left, right)| left == right)
        .count();
    // A link to a directory that it lies in still needs a name to say.
    let shared = shared.min(to.len() - 1);
    let up = (shared..from.len()).map(|_| "..");
    up.chain(to.into_iter().skip(shared)).collect()
}

fn look_in(directory: &OwnedFd, name: &str) -> io::Result<Option<Entry>> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(Some(if kind == FileType::RegularFile {
        Entry::File
    } else if kind == FileType::Directory {
        Entry::Directory
    } else if kind == FileType::Symlink {
        use std::os::unix::ffi::OsStringExt as _;
        let target = rustix::fs::readlinkat(directory.as_fd(), name, Vec::new())?;
        Entry::Link(std::ffi::OsString::from_vec(target.into_bytes()).into())
    } else {
        Entry::Special
    }))
}

fn open_directory(at: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(
        at,
        path,
        flags,
        Mode::empty(),
        BENEATH,
    )?)
}

fn make_directory(at: &OwnedFd, name: &str, mode: Mode) -> io::Result<()> {
    match rustix::fs::mkdirat(at, name, mode) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn error(operation: &'static str, path: &RelPath) -> impl FnOnce(io::Error) -> WorkspaceError {
    let path = path.to_string();
    move |source| WorkspaceError {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;

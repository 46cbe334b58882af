//! Where a database lies, as SQLite can be told: it knows paths only.
//!
//! Owns the way from a path below a root to connections, and what their errors mean.
//!
//! RACE: the directory's path is taken from its open descriptor, and SQLite refuses links on it; a directory that is
//! replaced between its check and its open leads it to another file. That file is only read, and what came of it is thrown
//! away, because the look afterwards doesn't find the same file at the path.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::AtFlags;

use super::locks::{FileId, Working};
use crate::{
    path::RelPath,
    root::{LocalError, Root},
};

/// How long a reader waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A database's directory and file.
pub(super) struct Place<'a> {
    pub(super) root: &'a Root,
    pub(super) path: &'a RelPath,
    parent: OwnedFd,
    id: FileId,
}

/// What an error of SQLite means for whoever works on a database.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody has a lock.
    Busy,
    /// A crashed writer's journal has to be rolled back first, which a reader can't.
    HotJournal,
    /// It is no database, or a damaged one.
    Damaged,
    /// Anything else.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error() else {
            return Self::Failed(Box::new(error));
        };
        let busy = [
            ErrorCode::DatabaseBusy,
            ErrorCode::DatabaseLocked,
            ErrorCode::FileLockingProtocolFailed,
        ];
        let damaged = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt];
        if busy.contains(&code.code) {
            Self::Busy
        } else if damaged.contains(&code.code) {
            Self::Damaged
        } else if code.extended_code == rusqlite::ffi::SQLITE_READONLY_ROLLBACK {
            Self::HotJournal
        } else {
            Self::Failed(Box::new(error))
        }
    }
}

impl<'a> Place<'a> {
    pub(super) fn of(root: &'a Root, path: &'a RelPath) -> Result<Self, LocalError> {
        let failed = |error: io::Error| LocalError::new("read", path, error);
        let parent = root.open_parent(path).map_err(failed)?;
        let id = file_id(parent.as_fd(), path.file_name()).map_err(failed)?;
        Ok(Self {
            root,
            path,
            parent,
            id,
        })
    }

    /// Keeps the locks of connections that are opened from here on; to be dropped after them.
    pub(super) fn working(&self) -> Working {
        Working::on(self.id)
    }

    /// Device and inode of the file.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// True while the file that was found at first is at its path.
    pub(super) fn holds(&self) -> bool {
        file_id(self.parent.as_fd(), self.path.file_name()).is_ok_and(|id| id == self.id)
    }

    /// Ends a connection; what goes wrong then is not swallowed.
    pub(super) fn close(connection: Connection) -> Result<(), Trouble> {
        Ok(connection.close().map_err(|(_, error)| error)?)
    }

    /// The path that leads to the file, for SQLite.
    fn full_path(&self) -> io::Result<PathBuf> {
        Ok(directory_of(self.parent.as_fd())?.join(self.path.file_name()))
    }

    /// A connection that changes nothing.
    pub(super) fn reader(&self) -> Result<Connection, Trouble> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY, BUSY_TIMEOUT)
    }

    /// A connection that may change the database.
    pub(super) fn writer(&self) -> Result<Connection, Trouble> {
        self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE, Duration::ZERO)
    }

    fn connect(&self, access: OpenFlags, timeout: Duration) -> Result<Connection, Trouble> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(self.full_path()?, flags)?;
        connection.busy_timeout(timeout)?;
        Ok(connection)
    }

    /// The failure of an operation on this file.
    pub(super) fn failed(
        &self,
        operation: &'static str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LocalError {
        LocalError::new(operation, self.path, io::Error::other(error))
    }

    /// Removes a file that SQLite keeps beside the database.
    pub(super) fn remove_beside(&self, suffix: &str) -> io::Result<()> {
        let name = format!("{}{suffix}", self.path.file_name());
        match rustix::fs::unlinkat(&self.parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The path of an open directory.
pub(super) fn directory_of(descriptor: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn file_id(parent: BorrowedFd<'_>, name: &str) -> io::Result<FileId> {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// A file of the staging directory, open, and without a name from now on: nobody has to remove it.
pub(super) fn take_staged(root: &Root, name: &str) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let descriptor = rustix::fs::openat(root.staging(), name, flags, Mode::empty())?;
    rustix::fs::unlinkat(root.staging(), name, AtFlags::empty())?;
    Ok(File::from(descriptor))
}

//! SQLite databases among the files: telling them, capturing them while they are written to, settling them before they are
//! replaced.
//!
//! Owns every look into a database of the tree and the rule about its locks (in `locks`). Never checkpoints, changes or
//! locks a database for writing while it is only read; never touches the engine's own.
//!
//! Cases, as the tests have them:
//! - a file that begins with `SQLite format 3\0` is a database, whatever its name; any other file is an ordinary one
//! - a file named `X-wal`, `X-shm` or `X-journal` beside a database `X` is part of it and never travels by itself; without
//!   a database `X` it is an ordinary file
//! - in WAL mode with a log beside it, a database is captured through SQLite's online backup; without one the file holds
//!   everything and is copied; in the rollback modes it is copied under a shared lock
//! - a hot journal, which a crashed writer leaves, is rolled back in a copy: the tree's own is left to the writer's next start
//! - a database that stays locked, or is written to outside of SQLite's rules, counts as changing
//! - a database that SQLite finds damaged is an ordinary file: sent as it is, rather than not at all
//! - before a database is replaced or deleted its log is brought home, by SQLite itself and under its exclusive lock, so that
//!   no log of the old file is ever found beside the new one

mod capture;
mod locks;
mod place;
mod settle;
#[cfg(test)]
mod tests;

use std::io::Read as _;

pub use self::locks::ContentFile;
pub(crate) use self::{
    capture::{Capture, capture},
    settle::{Settled, is_staged_database, keep_strays, settle},
};
use crate::{
    local::LocalKind,
    path::RelPath,
    root::{LocalError, Root},
};

/// What every database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The magic and what follows it, up to the version bytes that tell the journal mode.
const HEADER_BYTES: usize = 20;
/// The version byte of a database in WAL mode.
const WAL_VERSION: u8 = 2;
/// What SQLite keeps beside a database.
const SUFFIXES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// What of it SQLite would take for that of another database put in the place.
const STRAYS: [&str; 2] = ["-wal", "-journal"];

/// Whether what comes for databases is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Databases {
    /// It is, where no other process has the database open.
    #[default]
    Free,
    /// The runtime runs and may have any of them open: what comes is held until its next start.
    InUse,
}

/// How a database keeps what it may have to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journalling {
    /// In a journal that goes with the end of the transaction.
    Rollback,
    /// In a log of what is new.
    WriteAhead,
}

/// The database that a path would be a part of, if there is one.
///
/// ```
/// use sync_core::{path::RelPath, sqlite::main_of};
/// assert_eq!(main_of(&RelPath::new("a/x.db-wal")?), Some(RelPath::new("a/x.db")?));
/// assert_eq!(main_of(&RelPath::new("a/-wal")?), None);
/// assert_eq!(main_of(&RelPath::new("a/x.db")?), None);
/// # Ok::<(), sync_core::path::PathError>(())
/// ```
#[must_use]
pub fn main_of(path: &RelPath) -> Option<RelPath> {
    let main = SUFFIXES
        .iter()
        .find_map(|suffix| path.as_str().strip_suffix(suffix))?;
    RelPath::new(main).ok()
}

/// True for a file that is part of a database beside it.
pub(crate) fn is_part(root: &Root, path: &RelPath) -> bool {
    main_of(path).is_some_and(|main| is_database(root, &main))
}

/// True for a database. What can't be read is none.
pub(crate) fn is_database(root: &Root, path: &RelPath) -> bool {
    journalling(root, path).is_some()
}

/// True where some process may have a database open: there is one, or what is to come is one (asked only then) and there
/// is an empty file, which is what SQLite makes at first, or what was left beside one.
pub(crate) fn may_be_open(
    root: &Root,
    path: &RelPath,
    becomes_one: impl FnOnce() -> bool,
) -> Result<bool, LocalError> {
    match root.look(path)? {
        Some((LocalKind::File, found)) if found.size_bytes == 0 => Ok(becomes_one()),
        Some((LocalKind::File, _)) => Ok(is_database(root, path)),
        Some((LocalKind::Symlink | LocalKind::Special | LocalKind::Directory, _)) => Ok(false),
        None => Ok(root.stands_beside(path, &STRAYS) && becomes_one()),
    }
}

/// How a database is written to; `None` for anything else.
fn journalling(root: &Root, path: &RelPath) -> Option<Journalling> {
    let mut file = root.open_regular(path).ok()?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let read = (&mut file)
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut header);
    read.ok()?;
    of_header(&header)
}

fn of_header(header: &[u8]) -> Option<Journalling> {
    let versions = header.strip_prefix(MAGIC.as_slice())?;
    let reads_as = versions.get(3).copied()?;
    Some(if reads_as == WAL_VERSION {
        Journalling::WriteAhead
    } else {
        Journalling::Rollback
    })
}

//! One consistent version of a database, while others write to it.

use std::{
    fs::File,
    io::{self, Seek as _},
    os::fd::AsFd as _,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::{
    Journalling, STRAYS, journalling,
    place::{Place, Trouble, directory_of, take_staged},
};
use crate::{
    local::{Fingerprint, LocalKind},
    path::RelPath,
    root::{LocalError, Root},
    stage::staging_name,
};

/// What capturing a file came to.
#[derive(Debug)]
pub(crate) enum Capture {
    /// It is no database that SQLite can read: the file is its content.
    Ordinary,
    /// This is what the database held at one moment.
    Whole(Snapshot),
    /// It can't be had now.
    Changing,
}

/// A version of a database in a file of its own that has no name.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Open at its beginning.
    pub(crate) file: File,
    /// What the database looked like *before* it was captured: a commit since then may be in the file, and then the next
    /// look finds a difference and hashes once more; one that isn't in the file always shows.
    pub(crate) fingerprint: Fingerprint,
}

/// Captures what stands at `path`. Blocks while SQLite waits for a writer, for a second at most.
pub(crate) fn capture(root: &Root, path: &RelPath) -> Result<Capture, LocalError> {
    let Some(journalling) = journalling(root, path) else {
        return Ok(Capture::Ordinary);
    };
    let Some((LocalKind::File, before)) = root.look(path)? else {
        return Ok(Capture::Ordinary);
    };
    let place = Place::of(root, path)?;
    let working = place.working();
    let file = match journalling {
        Journalling::WriteAhead if !root.stands_beside(path, &["-wal"]) => quiet(&place, &before)?,
        Journalling::WriteAhead => concluded(&place, backup(&place))?,
        Journalling::Rollback => match under_lock(&place) {
            Err(Trouble::HotJournal) => concluded(&place, rolled_back(&place, &before))?,
            other => concluded(&place, other)?,
        },
    };
    drop(working);
    Ok(match file {
        Got::File(file) if place.holds() => Capture::Whole(Snapshot {
            file,
            fingerprint: before,
        }),
        Got::File(_) | Got::Changing => Capture::Changing,
        Got::Damaged => Capture::Ordinary,
    })
}

/// What one way of capturing gave.
enum Got {
    File(File),
    Changing,
    Damaged,
}

fn concluded(place: &Place<'_>, result: Result<Option<File>, Trouble>) -> Result<Got, LocalError> {
    match result {
        Ok(Some(file)) => Ok(Got::File(file)),
        Ok(None) | Err(Trouble::Busy | Trouble::HotJournal) => Ok(Got::Changing),
        Err(Trouble::Damaged) => {
            tracing::warn!(path = %place.path, "SQLite finds this database damaged; it is treated as an ordinary file");
            Ok(Got::Damaged)
        }
        Err(Trouble::Failed(error)) => Err(place.failed("read the database", error)),
    }
}

/// In WAL mode without a log: everything is in the file, as long as nobody opens it.
fn quiet(place: &Place<'_>, before: &Fingerprint) -> Result<Got, LocalError> {
    let file = copy(place.root, place.path, &staging_name())
        .map_err(|error| LocalError::new("read", place.path, error))?;
    let unchanged = is_still(place, before)? && !place.root.stands_beside(place.path, &STRAYS);
    Ok(if unchanged {
        Got::File(file)
    } else {
        Got::Changing
    })
}

/// In WAL mode: writers go on meanwhile.
fn backup(place: &Place<'_>) -> Result<Option<File>, Trouble> {
    let source = place.reader()?;
    begin_reading(&source)?;
    let name = staging_name();
    let result = write_backup(place.root, &source, &name);
    // Whatever came of it, nothing is left under the name.
    let taken = take_staged(place.root, &name);
    let is_done = result? == StepResult::Done;
    Ok(is_done.then_some(taken?))
}

fn write_backup(root: &Root, source: &Connection, name: &str) -> Result<StepResult, Trouble> {
    let mut target = staged_database(root, name)?;
    let off = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    target.execute_batch(off)?;
    let step = Backup::new(source, &mut target).and_then(|backup| backup.step(-1))?;
    Place::close(target)?;
    Ok(step)
}

/// In the rollback modes the file changes only under an exclusive lock, which our shared one keeps away. A copy is the
/// same as the file, byte for byte, so that it is found equal where the file was sent as it is.
fn under_lock(place: &Place<'_>) -> Result<Option<File>, Trouble> {
    let reader = place.reader()?;
    begin_reading(&reader)?;
    let file = copy(place.root, place.path, &staging_name())?;
    Place::close(reader)?;
    Ok(Some(file))
}

/// The writer crashed within a transaction and nobody rolls it back before its next start: done here in a copy.
fn rolled_back(place: &Place<'_>, before: &Fingerprint) -> Result<Option<File>, Trouble> {
    let name = staging_name();
    let journal = format!("{name}-journal");
    let result = roll_back_copy(place, &name, &journal);
    let taken = take_staged(place.root, &name);
    match rustix::fs::unlinkat(place.root.staging(), &journal, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(io::Error::from(error).into()),
    }
    result?;
    let unchanged = is_still(place, before).is_ok_and(|still| still);
    let whole = unchanged && place.root.stands_beside(place.path, &["-journal"]);
    Ok(whole.then_some(taken?))
}

fn roll_back_copy(place: &Place<'_>, name: &str, journal: &str) -> Result<(), Trouble> {
    let beside = RelPath::new(format!("{}-journal", place.path));
    let beside = beside.map_err(io::Error::other)?;
    write_copy(place.root, &beside, journal)?;
    write_copy(place.root, place.path, name)?;
    let copy = staged_database(place.root, name)?;
    begin_reading(&copy)?;
    Place::close(copy)
}

/// A transaction that reads: takes the lock and finds out whether it is a database at all. The schema is not looked at.
fn begin_reading(connection: &Connection) -> Result<(), Trouble> {
    Ok(connection.execute_batch("BEGIN; PRAGMA schema_version;")?)
}

fn staged_database(root: &Root, name: &str) -> Result<Connection, Trouble> {
    let directory = directory_of(root.staging().as_fd())?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Ok(Connection::open_with_flags(directory.join(name), flags)?)
}

/// A copy of a file without a name.
fn copy(root: &Root, path: &RelPath, name: &str) -> io::Result<File> {
    let mut file = write_copy(root, path, name)?;
    rustix::fs::unlinkat(root.staging(), name, AtFlags::empty())?;
    file.rewind()?;
    Ok(file)
}

fn write_copy(root: &Root, path: &RelPath, name: &str) -> io::Result<File> {
    let source = root.open_regular(path)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let mut file = File::from(rustix::fs::openat(root.staging(), name, flags, mode)?);
    // Between two files the kernel copies, or shares the blocks where the file system can.
    if let Err(error) = io::copy(&mut source.file()?, &mut file) {
        rustix::fs::unlinkat(root.staging(), name, AtFlags::empty())?;
        return Err(error);
    }
    Ok(file)
}

fn is_still(place: &Place<'_>, before: &Fingerprint) -> Result<bool, LocalError> {
    let now = place.root.look(place.path)?;
    Ok(now.is_some_and(|(_, now)| now == *before))
}

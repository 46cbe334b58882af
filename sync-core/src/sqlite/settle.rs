//! Bringing a database's log home before the database is replaced, moved or deleted.
//!
//! SQLite does it itself: its checkpoint is safe at every moment of a crash, and its exclusive lock proves that nobody else
//! has the log open. From then on the file is the whole database, and what is done to files is done to it.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
};

use rustix::fs::{Mode, OFlags, RenameFlags};

use super::{
    Journalling, MAGIC, STRAYS, journalling,
    locks::FileId,
    place::{Place, Trouble},
};
use crate::{
    conflict,
    digest::{Digest, DigestHasher},
    local::{Fingerprint, LocalKind},
    path::RelPath,
    report::Side,
    root::{self, LocalError, Root},
};

/// What settling a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is no database: nothing to do.
    Ordinary,
    /// The file is all of the database. Its fingerprint now, and its content where bringing the log home has changed it.
    Whole(Fingerprint, Option<Digest>),
    /// It isn't the version that was expected.
    Changed,
    /// Somebody uses it; who, for people.
    InUse(String),
}

/// Makes the file the whole database, if it is the version `expected`; content that came in between is not touched.
pub(crate) fn settle(
    root: &Root,
    path: &RelPath,
    expected: &Fingerprint,
) -> Result<Settled, LocalError> {
    if expected.kind() != LocalKind::File {
        return Ok(Settled::Ordinary);
    }
    let Some(journalling) = journalling(root, path) else {
        return Ok(Settled::Ordinary);
    };
    let place = match Place::of(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settled::Changed),
        other => other?,
    };
    if let Some(user) = other_user(place.id()) {
        return Ok(Settled::InUse(user));
    }
    let working = place.working();
    let locked = match journalling {
        Journalling::Rollback => try_lock(&place, expected),
        Journalling::WriteAhead => bring_home(&place, expected),
    };
    drop(working);
    let settled = match locked {
        Ok(settled) => settled,
        Err(Trouble::Busy | Trouble::HotJournal) => {
            return Ok(Settled::InUse("another process has locked it".to_owned()));
        }
        Err(Trouble::Damaged) => return Ok(Settled::Ordinary),
        Err(Trouble::Failed(error)) => return Err(place.failed("settle the database", error)),
    };
    match settled {
        Some(now) if now == *expected => Ok(Settled::Whole(now, None)),
        Some(now) => {
            let digest = read(root, path)?;
            let still = root.look(path)?.is_some_and(|(_, found)| found == now);
            Ok(if still {
                Settled::Whole(now, Some(digest))
            } else {
                Settled::Changed
            })
        }
        None => Ok(Settled::Changed),
    }
}

/// The lock shows that no transaction is under way; it rolls a hot journal back, which makes it another version.
fn try_lock(place: &Place<'_>, expected: &Fingerprint) -> Result<Option<Fingerprint>, Trouble> {
    let writer = place.writer()?;
    let begin = "BEGIN EXCLUSIVE; PRAGMA schema_version;";
    writer.execute_batch(begin)?;
    let found = look(place);
    writer.execute_batch("ROLLBACK")?;
    Place::close(writer)?;
    Ok(found.filter(|found| found == expected))
}

/// Under the exclusive lock nobody else can open the database, so what is looked at is what is brought home.
fn bring_home(place: &Place<'_>, expected: &Fingerprint) -> Result<Option<Fingerprint>, Trouble> {
    let writer = place.writer()?;
    let begin = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; PRAGMA schema_version;";
    writer.execute_batch(begin)?;
    let is_expected = look(place).is_some_and(|found| found == *expected);
    writer.execute_batch("ROLLBACK")?;
    if !is_expected {
        Place::close(writer)?;
        return Ok(None);
    }
    let busy: i64 = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        return Err(Trouble::Busy);
    }
    // Whoever opens the database next makes its own; while we have the lock nobody else uses this one.
    place.remove_beside("-shm")?;
    let now = look(place);
    Place::close(writer)?;
    Ok(now)
}

fn look(place: &Place<'_>) -> Option<Fingerprint> {
    let found = place.root.look(place.path).ok().flatten();
    found.map(|(_, fingerprint)| fingerprint)
}

fn read(root: &Root, path: &RelPath) -> Result<Digest, LocalError> {
    let failed = |error| LocalError::new("read", path, error);
    let mut file = root.open_regular(path).map_err(failed)?;
    let mut hasher = DigestHasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(hasher.finish().digest);
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Another process that has the file open, as far as we may see: in the rollback modes one that is idle has no lock.
fn other_user(file: FileId) -> Option<String> {
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(id) = name
            .to_str()
            .filter(|name| is_number(name) && **name != own)
        else {
            continue;
        };
        let descriptors = fs::read_dir(process.path().join("fd"));
        let has_it = descriptors.into_iter().flatten().flatten().any(|entry| {
            fs::metadata(entry.path()).is_ok_and(|found| (found.dev(), found.ino()) == file)
        });
        if has_it {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {id} ({}) has it open", program.trim()));
        }
    }
    None
}

fn is_number(text: &&str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A log or journal without its database, beside which a database is about to be put: SQLite would take it for that
/// one's. It becomes a conflict copy.
pub(crate) fn keep_strays(
    root: &Root,
    path: &RelPath,
    staged_name: &str,
) -> Result<Vec<RelPath>, LocalError> {
    if !root.stands_beside(path, &STRAYS) || !is_staged_database(root, staged_name) {
        return Ok(Vec::new());
    }
    STRAYS
        .into_iter()
        .filter(|suffix| root.stands_beside(path, &[*suffix]))
        .filter_map(|suffix| RelPath::new(format!("{path}{suffix}")).ok())
        .map(|stray| keep(root, &stray))
        .collect()
}

fn keep(root: &Root, stray: &RelPath) -> Result<RelPath, LocalError> {
    let failed = |error: io::Error| LocalError::new("keep a conflict copy of", stray, error);
    let from = root.open_parent(stray).map_err(failed)?;
    for copy in conflict::copy_paths(stray, Side::Local, jiff::Timestamp::now()) {
        let to = root.make_parent(&copy).map_err(failed)?;
        let flags = RenameFlags::NOREPLACE;
        match root::rename(&from, stray.file_name(), &to, copy.file_name(), flags) {
            Ok(()) => {
                rustix::fs::fsync(&to).map_err(|error| failed(error.into()))?;
                return Ok(copy);
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    let taken = io::Error::new(
        io::ErrorKind::AlreadyExists,
        "all names for a conflict copy are taken",
    );
    Err(failed(taken))
}

/// True for a staged file that is a database.
pub(crate) fn is_staged_database(root: &Root, staged_name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(root.staging(), staged_name, flags, Mode::empty());
    let mut magic = [0; MAGIC.len()];
    opened.is_ok_and(|descriptor| {
        fs::File::from(descriptor).read_exact(&mut magic).is_ok() && magic == *MAGIC
    })
}

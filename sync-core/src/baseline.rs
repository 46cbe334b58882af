//! The baseline: what both sides held when they last agreed, per path, in SQLite.
//!
//! Owns `<mount>/.hiclaw-sync/state.db` and, beside it, the journal of displacements. Invariants:
//! - a row is written only after its state was observed on both sides
//! - the file is bound to one endpoint, bucket, prefix and root directory and starts empty under any other
//! - rows come in the order that the table was last arranged for: byte order, or that of a store that lists in tree order
//!
//! Losing rows (power failure) costs a comparison, never a file: a path without a row is never deleted.

mod displacement;
mod error;
mod journal;
mod memory;
mod order;
mod remote;
mod uploads;

use std::{path::Path, time::SystemTime};

use rusqlite::{Connection, OptionalExtension as _, params};

pub use self::{
    displacement::{Displacement, Fate, Surprise},
    error::BaselineError,
    remote::{RemoteVersion, Written},
    uploads::{Refusals, UnfinishedUpload},
};
use self::{
    error::{failed, unwritten},
    journal::Journal,
};

use crate::{
    digest::{Digest, ETag},
    local::Fingerprint,
    order::KeyOrder,
    path::RelPath,
};

/// Raised whenever the tables change; another version's baseline is thrown away.
const SCHEMA_VERSION: i64 = 4;

/// NORMAL: a power failure may lose the newest rows, which costs a comparison; a fsync per row would cost more.
const PRAGMAS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2000;";

/// What is known of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Relative to the mount.
    pub path: RelPath,
    /// The file as it was; `None` when it was gone here and that was not to travel.
    pub local: Option<LocalVersion>,
    /// The object as it was; `None` when it was gone there and that was not to travel.
    pub remote: Option<RemoteVersion>,
    /// The content both held.
    pub digest: Digest,
}

/// The local half of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalVersion {
    /// The stat.
    pub fingerprint: Fingerprint,
    /// Whether the stat can be trusted to show the next write.
    pub certainty: Certainty,
}

impl LocalVersion {
    /// A version as a look at `now` showed it.
    #[must_use]
    pub fn seen(fingerprint: Fingerprint, now: SystemTime) -> Self {
        Self::new(fingerprint, fingerprint.is_racy(now))
    }

    /// A version that we put in place at `now`.
    #[must_use]
    pub fn published(fingerprint: Fingerprint, now: SystemTime) -> Self {
        Self::new(fingerprint, fingerprint.is_racy_as_published(now))
    }

    fn new(fingerprint: Fingerprint, is_racy: bool) -> Self {
        let certainty = if is_racy {
            Certainty::Racy
        } else {
            Certainty::Settled
        };
        Self {
            fingerprint,
            certainty,
        }
    }
}

/// Whether an equal stat proves an unchanged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It does.
    Settled,
    /// The file was written in the same tick of the clock as it was looked at: hash it once more.
    Racy,
}

/// An open baseline. Not shared between processes: the engine's lock sees to it.
pub struct Baseline {
    connection: Connection,
    journal: Journal,
    order: KeyOrder,
}

impl Baseline {
    /// Opens or creates it. `binding` names endpoint, bucket, prefix and root; rows of another binding are dropped. A
    /// damaged file is replaced by an empty one.
    pub fn open(file: &Path, binding: &str) -> Result<Self, BaselineError> {
        match Self::try_open(file, binding) {
            Err(error) if error.is_damage() => {
                tracing::warn!(file = %file.display(), "the baseline is damaged; starting a new one, files are compared by content");
                for suffix in ["", "-wal", "-shm"] {
                    let mut name = file.as_os_str().to_owned();
                    name.push(suffix);
                    if let Err(error) = std::fs::remove_file(&name)
                        && error.kind() != std::io::ErrorKind::NotFound
                    {
                        tracing::warn!(%error, "can't remove the damaged baseline");
                    }
                }
                Self::try_open(file, binding)
            }
            other => other,
        }
    }

    fn try_open(file: &Path, binding: &str) -> Result<Self, BaselineError> {
        let is_new = !file.exists();
        let connection = Connection::open(file).map_err(failed("open"))?;
        order::register(&connection).map_err(failed("open"))?;
        // A new file holds nothing that could be lost: not waiting for the disk saves a start a good part of its time.
        let pragmas = if is_new {
            "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL; PRAGMA cache_size = -2000;"
        } else {
            PRAGMAS
        };
        connection.execute_batch(pragmas).map_err(failed("open"))?;
        let version: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(failed("open"))?;
        let sound: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(failed("check"))?;
        if sound != "ok" {
            let damage = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(failed("check")(rusqlite::Error::SqliteFailure(
                damage,
                Some(sound),
            )));
        }
        let journal = Journal::open(&file.with_file_name("displaced")).map_err(unwritten)?;
        let mut baseline = Self {
            connection,
            journal,
            order: KeyOrder::Bytes,
        };
        if version != SCHEMA_VERSION {
            baseline.create_tables()?;
        }
        baseline.create_upload_tables()?;
        baseline.order = order::of_rows(&baseline.connection).map_err(failed("open"))?;
        baseline
            .connection
            .execute_batch(memory::TABLES)
            .map_err(failed("create"))?;
        if baseline.value("binding")?.as_deref() != Some(binding) {
            baseline.rebind(binding)?;
        }
        if is_new {
            let connection = &baseline.connection;
            connection.execute_batch(PRAGMAS).map_err(failed("open"))?;
        }
        Ok(baseline)
    }

    fn create_tables(&mut self) -> Result<(), BaselineError> {
        self.connection
            .execute_batch(&format!(
                "BEGIN;
                 DROP TABLE IF EXISTS path; DROP TABLE IF EXISTS setting; DROP TABLE IF EXISTS sent;
                 CREATE TABLE path ({PATH_COLUMNS}) WITHOUT ROWID;
                 CREATE TABLE sent (path TEXT PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID;
                 CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
                 PRAGMA user_version = {SCHEMA_VERSION};
                 COMMIT;"
            ))
            .map_err(failed("create"))
    }

    fn rebind(&mut self, binding: &str) -> Result<(), BaselineError> {
        let transaction = self.connection.transaction().map_err(failed("bind"))?;
        transaction
            .execute("DELETE FROM path", [])
            .map_err(failed("bind"))?;
        transaction
            .execute("DELETE FROM sent", [])
            .map_err(failed("bind"))?;
        transaction
            .execute_batch("DELETE FROM tombstone; DELETE FROM deleted;")
            .map_err(failed("bind"))?;
        transaction
            .execute("DELETE FROM setting", [])
            .map_err(failed("bind"))?;
        transaction
            .execute(
                "INSERT INTO setting (name, value) VALUES ('binding', ?1)",
                [binding],
            )
            .map_err(failed("bind"))?;
        transaction.commit().map_err(failed("bind"))
    }

    /// A remembered setting, such as what the store was found to do.
    pub fn value(&self, name: &str) -> Result<Option<String>, BaselineError> {
        self.connection
            .query_row("SELECT value FROM setting WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(failed("read"))
    }

    /// Remembers a setting.
    pub fn set_value(&self, name: &str, value: &str) -> Result<(), BaselineError> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO setting (name, value) VALUES (?1, ?2)",
                [name, value],
            )
            .map(drop)
            .map_err(failed("write"))
    }

    /// What is known of `path`.
    pub fn row(&self, path: &RelPath) -> Result<Option<Row>, BaselineError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM path WHERE path = ?1"))
            .map_err(failed("read"))?;
        statement
            .query_row([path.as_str()], read_row)
            .optional()
            .map_err(failed("read"))
            .map(Option::flatten)
    }

    /// Up to `limit` rows after `after` and before `end`, in [`Baseline::order`].
    pub fn rows_between(
        &self,
        after: &str,
        end: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, BaselineError> {
        // Two statements: an end that may be NULL would not keep SQLite from reading on to the end of the table.
        let before = end.map_or("?2 IS NULL", |_| "path < ?2");
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM path WHERE path > ?1 AND {before} ORDER BY path LIMIT ?3"
            ))
            .map_err(failed("read"))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement
            .query_map(params![after, end, limit], read_row)
            .map_err(failed("read"))?;
        rows.filter_map(Result::transpose)
            .collect::<Result<_, _>>()
            .map_err(failed("read"))
    }

    /// Notes what is about to be sent: when neither the answer nor a row follows, an object with this content is an
    /// earlier version of our own and nobody else's.
    pub fn note_sending(&self, path: &RelPath, digest: &Digest) -> Result<(), BaselineError> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO sent (path, digest) VALUES (?1, ?2)")
            .and_then(|mut statement| {
                statement.execute(params![path.as_str(), digest.as_bytes().as_slice()])
            })
            .map(drop)
            .map_err(failed("write"))
    }

    /// What was last about to be sent for `path`, if no row followed.
    pub fn sending(&self, path: &RelPath) -> Result<Option<Digest>, BaselineError> {
        self.connection
            .prepare_cached("SELECT digest FROM sent WHERE path = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([path.as_str()], |row| row.get::<_, Vec<u8>>(0))
                    .optional()
            })
            .map(|digest| digest.as_deref().and_then(Digest::from_slice))
            .map_err(failed("read"))
    }

    /// Number of paths held present on both sides.
    pub fn known(&self) -> Result<u64, BaselineError> {
        self.connection
            .query_row(
                "SELECT count(*) FROM path WHERE inode IS NOT NULL AND etag IS NOT NULL",
                [],
                |row| row.get::<_, i64>(0),
            )
            .map(|count| u64::try_from(count).unwrap_or(0))
            .map_err(failed("read"))
    }

    /// Calls `take` with the stat of every file that both sides hold.
    pub(crate) fn each_fingerprint(
        &self,
        mut take: impl FnMut(Fingerprint),
    ) -> Result<(), BaselineError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT local_size, mtime, ctime, inode, mode FROM path WHERE inode IS NOT NULL AND etag IS NOT NULL",
            )
            .map_err(failed("read"))?;
        let mut rows = statement.query([]).map_err(failed("read"))?;
        while let Some(row) = rows.next().map_err(failed("read"))? {
            take(read_fingerprint(row, 0).map_err(failed("read"))?);
        }
        Ok(())
    }

    /// Applies several changes as one.
    pub fn apply(&mut self, changes: &[RowChange]) -> Result<(), BaselineError> {
        let transaction = self.connection.transaction().map_err(failed("write"))?;
        for change in changes {
            match change {
                RowChange::Record(row) => write_row(&transaction, row),
                RowChange::Forget(path) => forget(&transaction, path),
                RowChange::Bury(path) => memory::bury(&transaction, path),
            }
            .map_err(failed("write"))?;
        }
        transaction.commit().map_err(failed("write"))
    }

    /// Writes down what is about to be moved out of the way; it is on disk when this returns.
    pub fn plan_displacements(
        &mut self,
        displacements: &[Displacement],
    ) -> Result<(), BaselineError> {
        self.journal.note(displacements).map_err(unwritten)
    }

    /// Displacements that were planned and not finished.
    #[must_use]
    pub fn displacements(&self) -> Vec<Displacement> {
        self.journal.pending().cloned().collect()
    }

    /// Forgets displacements that were dealt with.
    pub fn finish_displacements(&mut self, staged_names: &[String]) -> Result<(), BaselineError> {
        self.journal.settle(staged_names).map_err(unwritten)
    }
}

/// One change of the baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange {
    /// Write this row.
    Record(Row),
    /// Drop the path's row.
    Forget(RelPath),
    /// Drop the path's row and remember that the object it knew was deleted.
    Bury(RelPath),
}

/// The table of rows; the collation of its key is the order that rows come in.
const PATH_COLUMNS: &str = "path TEXT PRIMARY KEY, digest BLOB NOT NULL,
    local_size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, mode INTEGER, racy INTEGER,
    etag TEXT, remote_size INTEGER, written INTEGER, wal INTEGER";
const COLUMNS: &str =
    "path, digest, local_size, mtime, ctime, inode, mode, racy, etag, remote_size, written, wal";

/// Reads a row; `None` for one that isn't ours (an unsafe path, a digest of another length).
fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Row>> {
    let path: String = row.get(0)?;
    let digest: Vec<u8> = row.get(1)?;
    let (Ok(path), Some(digest)) = (RelPath::new(path), Digest::from_slice(&digest)) else {
        return Ok(None);
    };
    let local = match row.get::<_, Option<i64>>(2)? {
        None => None,
        Some(_) => Some(LocalVersion {
            fingerprint: read_fingerprint(row, 2)?.with_wal(row.get(11)?),
            certainty: if row.get::<_, i64>(7)? == 0 {
                Certainty::Settled
            } else {
                Certainty::Racy
            },
        }),
    };
    let remote = match row.get::<_, Option<String>>(8)? {
        None => None,
        Some(etag) => Some(RemoteVersion {
            etag: ETag::new(&etag),
            size_bytes: row.get::<_, i64>(9)?.cast_unsigned(),
            written: remote::read_time(row.get(10)?),
        }),
    };
    Ok(Some(Row {
        path,
        local,
        remote,
        digest,
    }))
}

/// Size, mtime, ctime, inode, mode from five columns, beside no write-ahead log. SQLite's integers are signed; the bits are kept.
fn read_fingerprint(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Fingerprint> {
    Ok(Fingerprint {
        size_bytes: row.get::<_, i64>(first)?.cast_unsigned(),
        mtime_nanoseconds: row.get(first + 1)?,
        ctime_nanoseconds: row.get(first + 2)?,
        inode: row.get::<_, i64>(first + 3)?.cast_unsigned(),
        mode: row.get(first + 4)?,
        wal_nanoseconds: 0,
    })
}

fn forget(connection: &Connection, path: &RelPath) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM path WHERE path = ?1")?
        .execute([path.as_str()])
        .map(drop)
}

fn write_row(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    memory::unearth(connection, &row.path)?;
    connection
        .prepare_cached("DELETE FROM sent WHERE path = ?1")?
        .execute([row.path.as_str()])?;
    let fingerprint = row.local.map(|local| local.fingerprint);
    connection
        .prepare_cached(&format!("INSERT OR REPLACE INTO path ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"))?
        .execute(params![
            row.path.as_str(),
            row.digest.as_bytes().as_slice(),
            fingerprint.map(|fingerprint| fingerprint.size_bytes.cast_signed()),
            fingerprint.map(|fingerprint| fingerprint.mtime_nanoseconds),
            fingerprint.map(|fingerprint| fingerprint.ctime_nanoseconds),
            fingerprint.map(|fingerprint| fingerprint.inode.cast_signed()),
            fingerprint.map(|fingerprint| fingerprint.mode),
            row.local.map(|local| local.certainty == Certainty::Racy),
            row.remote.as_ref().map(|remote| remote.etag.as_str()),
            row.remote.as_ref().map(|remote| remote.size_bytes.cast_signed()),
            row.remote.as_ref().and_then(|remote| remote::write_time(remote.written)),
            fingerprint.map(|fingerprint| fingerprint.wal_nanoseconds),
        ])
        .map(drop)
}

impl std::fmt::Debug for Baseline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Baseline").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

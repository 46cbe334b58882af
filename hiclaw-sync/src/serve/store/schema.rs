//! The catalogue's tables and how its connections are set up.
//!
//! Owns DDL and pragmas. Never reads or writes rows.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::OpenError;

/// Number of the format, kept as SQLite's `user_version`; raise it with every change of the tables.
const FORMAT: i64 = 1;

/// Keys are blobs: SQLite then compares them bytewise, which is the order of a listing, and a bound of a range need not
/// be text.
const TABLES: &str = "
CREATE TABLE bucket (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL
);
CREATE TABLE object (
    bucket INTEGER NOT NULL,
    key BLOB NOT NULL,
    content INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified INTEGER NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE segment (
    content INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    blob INTEGER NOT NULL,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (content, ordinal)
) WITHOUT ROWID;
CREATE INDEX segment_of_blob ON segment (blob);
-- data is NULL for a blob that is a file
CREATE TABLE blob (
    id INTEGER PRIMARY KEY,
    data BLOB
);
CREATE TABLE upload (
    id TEXT PRIMARY KEY,
    bucket INTEGER NOT NULL,
    key BLOB NOT NULL,
    started INTEGER NOT NULL,
    headers TEXT NOT NULL,
    algorithm TEXT,
    span TEXT
) WITHOUT ROWID;
CREATE INDEX upload_of_key ON upload (bucket, key, id);
CREATE TABLE part (
    upload TEXT NOT NULL,
    number INTEGER NOT NULL,
    content INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified INTEGER NOT NULL,
    checksums TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
";

/// Opens the writer's connection, creating the tables if the file is new.
pub(super) fn open(data: &Path, path: &Path) -> Result<Connection, OpenError> {
    let failed = |operation| {
        move |source| OpenError::Catalogue {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let connection = Connection::open(path).map_err(failed("open"))?;
    // The page size has to be set before the first page is written; bigger pages suit the small blobs kept in the tables.
    connection
        .execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;")
        .map_err(failed("set up"))?;
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA cache_size = -32768;
             PRAGMA wal_autocheckpoint = 2048; PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(failed("set up"))?;
    connection.set_prepared_statement_cache_capacity(64);
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed("read"))?;
    match found {
        FORMAT => {}
        0 => {
            let script =
                format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT;");
            connection
                .execute_batch(&script)
                .map_err(failed("create"))?;
        }
        other => {
            return Err(OpenError::TooNew {
                path: data.to_owned(),
                found: other,
                known: FORMAT,
            });
        }
    }
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.execute_batch(
        "PRAGMA query_only = ON; PRAGMA cache_size = -2048; PRAGMA mmap_size = 268435456;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

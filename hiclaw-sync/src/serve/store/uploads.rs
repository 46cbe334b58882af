//! Multipart uploads that are under way, and their parts: rows and looks at them.
//!
//! Changes nothing; `changes` below does.

mod changes;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

pub(crate) use self::changes::{CompleteUpload, CreateUpload, NamedPart, PutPart};
use super::{
    super::{
        checksum::{Algorithm, Checksums, Span},
        details::Headers,
    },
    StoreError,
    query::{bucket_id, signed, unsigned},
};

/// An upload that is under way.
#[derive(Debug, Clone)]
pub(crate) struct UploadRow {
    pub(crate) id: String,
    pub(crate) key: String,
    /// Milliseconds since 1970.
    pub(crate) started: i64,
    pub(crate) headers: Headers,
    /// The checksum the object is to have.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) span: Option<Span>,
}

/// A part that was uploaded.
#[derive(Debug, Clone)]
pub(crate) struct PartRow {
    pub(crate) number: i32,
    pub(crate) content: i64,
    pub(crate) size_bytes: u64,
    /// Without quotes.
    pub(crate) etag: String,
    /// Milliseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) checksums: Checksums,
}

const UPLOAD_COLUMNS: &str = "id, key, started, headers, algorithm, span";
const PART_COLUMNS: &str = "number, content, size, etag, modified, checksums";

fn upload_row(row: &Row<'_>) -> rusqlite::Result<UploadRow> {
    let key = String::from_utf8(row.get(1)?);
    let (algorithm, span): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    Ok(UploadRow {
        id: row.get(0)?,
        key: key.map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(
                1,
                rusqlite::types::Type::Blob,
                Box::new(error),
            )
        })?,
        started: row.get(2)?,
        headers: row.get(3)?,
        algorithm: algorithm.as_deref().and_then(Algorithm::from_name),
        span: span.as_deref().and_then(Span::from_name),
    })
}

fn part_row(row: &Row<'_>) -> rusqlite::Result<PartRow> {
    Ok(PartRow {
        number: row.get(0)?,
        content: row.get(1)?,
        size_bytes: unsigned(row, 2)?,
        etag: row.get(3)?,
        modified: row.get(4)?,
        checksums: row.get(5)?,
    })
}

/// An upload, which must be one of this bucket and key.
pub(crate) fn upload(
    connection: &Connection,
    bucket: &str,
    key: &str,
    id: &str,
) -> Result<UploadRow, StoreError> {
    let bucket = bucket_id(connection, bucket)?;
    let look = || {
        let sql = format!(
            "SELECT {UPLOAD_COLUMNS} FROM upload WHERE id = ?1 AND bucket = ?2 AND key = ?3"
        );
        connection
            .prepare_cached(&sql)?
            .query_row(params![id, bucket, key.as_bytes()], upload_row)
            .optional()
    };
    look()
        .map_err(StoreError::catalogue("look up an upload"))?
        .ok_or_else(|| StoreError::NoSuchUpload {
            upload: id.to_owned(),
        })
}

/// At most `limit` uploads with this prefix, by key and id, behind the marker.
pub(crate) fn uploads(
    connection: &Connection,
    bucket: &str,
    prefix: &str,
    marker: (&str, &str),
    limit: usize,
) -> Result<Vec<UploadRow>, StoreError> {
    let bucket = bucket_id(connection, bucket)?;
    let look = || {
        let sql = format!(
            "SELECT {UPLOAD_COLUMNS} FROM upload WHERE bucket = ?1 AND (key, id) > (?2, ?3)
             AND substr(key, 1, length(?4)) = ?4 ORDER BY key, id LIMIT ?5"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let values = params![
            bucket,
            marker.0.as_bytes(),
            marker.1,
            prefix.as_bytes(),
            signed(limit as u64)
        ];
        statement
            .query_map(values, upload_row)?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    look().map_err(StoreError::catalogue("list uploads"))
}

/// One part of an upload.
fn part(connection: &Connection, upload: &str, number: i32) -> Result<Option<PartRow>, StoreError> {
    let look = || {
        let sql = format!("SELECT {PART_COLUMNS} FROM part WHERE upload = ?1 AND number = ?2");
        connection
            .prepare_cached(&sql)?
            .query_row(params![upload, number], part_row)
            .optional()
    };
    look().map_err(StoreError::catalogue("look up a part"))
}

/// At most `limit` parts of an upload with numbers above `after`, in order.
pub(crate) fn parts(
    connection: &Connection,
    upload: &str,
    after: i32,
    limit: usize,
) -> Result<Vec<PartRow>, StoreError> {
    let look = || {
        let sql = format!(
            "SELECT {PART_COLUMNS} FROM part WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        statement
            .query_map(params![upload, after, signed(limit as u64)], part_row)?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    look().map_err(StoreError::catalogue("list parts"))
}

//! Looks at single rows of the catalogue.
//!
//! Owns the statements and the types of rows. Changes nothing.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{super::details::Details, StoreError};

/// A bucket.
#[derive(Debug)]
pub(crate) struct BucketRow {
    pub(crate) name: String,
    /// Milliseconds since 1970.
    pub(crate) created: i64,
}

/// An object, without its content.
#[derive(Debug, Clone)]
pub(crate) struct ObjectRow {
    pub(crate) content: i64,
    pub(crate) size_bytes: u64,
    /// Without quotes.
    pub(crate) etag: String,
    /// Milliseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) details: Details,
}

/// A stretch of a content.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) source: SegmentSource,
    /// Where in the blob it starts.
    pub(crate) start: u64,
    pub(crate) length_bytes: u64,
}

/// Where the bytes of a segment are.
#[derive(Debug)]
pub(crate) enum SegmentSource {
    /// Read from the catalogue; the whole blob.
    Inline(Bytes),
    /// In the file of this blob.
    File(i64),
}

/// SQLite knows no unsigned numbers; sizes and times fit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// The number of a bucket.
pub(crate) fn bucket_id(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    let look = || {
        let mut statement = connection.prepare_cached("SELECT id FROM bucket WHERE name = ?1")?;
        statement.query_row([name], |row| row.get(0)).optional()
    };
    look()
        .map_err(StoreError::catalogue("look up a bucket"))?
        .ok_or_else(|| StoreError::NoSuchBucket {
            bucket: name.to_owned(),
        })
}

/// All buckets by name.
pub(crate) fn buckets(connection: &Connection) -> Result<Vec<BucketRow>, StoreError> {
    let look = || {
        let mut statement =
            connection.prepare_cached("SELECT name, created FROM bucket ORDER BY name")?;
        let rows = statement.query_map([], |row| {
            Ok(BucketRow {
                name: row.get(0)?,
                created: row.get(1)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    look().map_err(StoreError::catalogue("list buckets"))
}

/// An object, if it is there.
pub(crate) fn object(
    connection: &Connection,
    bucket: i64,
    key: &str,
) -> Result<Option<ObjectRow>, StoreError> {
    let look = || {
        let mut statement = connection.prepare_cached(
            "SELECT content, size, etag, modified, details FROM object WHERE bucket = ?1 AND key = ?2",
        )?;
        let row = statement.query_row((bucket, key.as_bytes()), |row| {
            Ok(ObjectRow {
                content: row.get(0)?,
                size_bytes: unsigned(row, 1)?,
                etag: row.get(2)?,
                modified: row.get(3)?,
                details: row.get(4)?,
            })
        });
        row.optional()
    };
    look().map_err(StoreError::catalogue("look up an object"))
}

/// The segments of a content, first to last.
pub(crate) fn segments(connection: &Connection, content: i64) -> Result<Vec<Segment>, StoreError> {
    let look = || {
        let mut statement = connection.prepare_cached(
            "SELECT blob.id, segment.start, segment.length, blob.data FROM segment JOIN blob ON blob.id = segment.blob
             WHERE segment.content = ?1 ORDER BY segment.ordinal",
        )?;
        let rows = statement.query_map([content], |row| {
            let data: Option<Vec<u8>> = row.get(3)?;
            let source = match data {
                Some(data) => SegmentSource::Inline(data.into()),
                None => SegmentSource::File(row.get(0)?),
            };
            Ok(Segment {
                source,
                start: unsigned(row, 1)?,
                length_bytes: unsigned(row, 2)?,
            })
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    look().map_err(StoreError::catalogue("look up content"))
}

//! Listings: keys of a bucket in byte order, grouped by a delimiter.
//!
//! Owns order, grouping and where a page ends. Below a common prefix nothing is scanned: the walk seeks behind it.

use rusqlite::Connection;

use super::{
    StoreError,
    query::{bucket_id, unsigned},
};

/// What to list.
#[derive(Debug, Default)]
pub(crate) struct ListRequest {
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// Keys that hold it behind the prefix are listed as one common prefix; empty for none.
    pub(crate) delimiter: String,
    /// Only keys behind this one, and only common prefixes behind it.
    pub(crate) after: Option<String>,
    /// Where an earlier page ended ([`Page::next`]); makes `after` void.
    pub(crate) resume: Option<Vec<u8>>,
    /// Most entries of the page.
    pub(crate) limit: usize,
}

/// One page of a listing.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    /// Where the next page starts; `None` when this is the last.
    pub(crate) next: Option<Vec<u8>>,
}

/// One line of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Object {
        key: String,
        size_bytes: u64,
        etag: String,
        modified: i64,
    },
    CommonPrefix(String),
}

impl Entry {
    /// The key or the common prefix.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }

    /// The first key that can come after this entry.
    fn successor(&self) -> Vec<u8> {
        match self {
            Self::Object { key, .. } => just_after(key),
            Self::CommonPrefix(prefix) => behind_all_of(prefix),
        }
    }
}

/// Lists one page.
pub(crate) fn list(connection: &Connection, request: &ListRequest) -> Result<Page, StoreError> {
    let bucket = bucket_id(connection, &request.bucket)?;
    walk(connection, bucket, request).map_err(StoreError::catalogue("list objects"))
}

fn walk(connection: &Connection, bucket: i64, request: &ListRequest) -> rusqlite::Result<Page> {
    let mut entries: Vec<Entry> = Vec::new();
    if request.limit == 0 {
        return Ok(Page {
            entries,
            next: None,
        });
    }
    let mut statement = connection.prepare_cached(
        "SELECT key, size, etag, modified FROM object WHERE bucket = ?1 AND key >= ?2 AND key < ?3 ORDER BY key",
    )?;
    let end = behind_all_of(&request.prefix);
    let mut from = start(request);
    'seek: loop {
        let mut rows = statement.query((bucket, &from, &end))?;
        while let Some(row) = rows.next()? {
            if entries.len() >= request.limit {
                return Ok(Page {
                    next: entries.last().map(Entry::successor),
                    entries,
                });
            }
            let key = key_of(row)?;
            if let Some(group) = group(request, &key) {
                let entry = Entry::CommonPrefix(group.to_owned());
                from = entry.successor();
                entries.push(entry);
                continue 'seek;
            }
            entries.push(Entry::Object {
                key,
                size_bytes: unsigned(row, 1)?,
                etag: row.get(2)?,
                modified: row.get(3)?,
            });
        }
        return Ok(Page {
            entries,
            next: None,
        });
    }
}

fn key_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    String::from_utf8(row.get(0)?).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
    })
}

/// The common prefix that `key` is listed under, if any.
fn group<'key>(request: &ListRequest, key: &'key str) -> Option<&'key str> {
    if request.delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(&*request.prefix)?;
    let position = rest.find(&*request.delimiter)?;
    key.get(..request.prefix.len() + position + request.delimiter.len())
}

/// The first key the page may hold.
fn start(request: &ListRequest) -> Vec<u8> {
    let marker = match (&request.resume, &request.after) {
        (Some(resume), _) => resume.clone(),
        // A marker within a group is behind the group's common prefix in order, so the whole group is done.
        (None, Some(after)) => {
            group(request, after).map_or_else(|| just_after(after), behind_all_of)
        }
        (None, None) => Vec::new(),
    };
    marker.max(request.prefix.clone().into_bytes())
}

fn just_after(key: &str) -> Vec<u8> {
    let mut bytes = key.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The smallest bytes behind everything that starts with `prefix`.
///
/// No byte of UTF-8 is 0xFF, so the last byte can always be counted up, and 0xFF itself is behind every key.
fn behind_all_of(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    match bytes.last_mut() {
        Some(last) => *last += 1,
        None => bytes.push(0xFF),
    }
    bytes
}

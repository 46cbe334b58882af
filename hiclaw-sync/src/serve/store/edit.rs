//! Changes of buckets and objects, inside the writer's transaction.
//!
//! Owns the invariant that every content, segment and blob is reachable from an object or a part, and notes what has to
//! happen once the transaction is durable. Runs on the writer's thread only.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    super::{
        clock,
        condition::{ReadCondition, Verdict, WriteCondition},
        details::{Details, Headers},
    },
    BlobFiles, NewContent, ObjectRow, StoreError,
    effects::{Change, Effects, Writing},
    query::{bucket_id, object, signed},
};

/// A change being made.
pub(crate) struct Edit<'a> {
    pub(super) connection: &'a Connection,
    blobs: &'a Arc<BlobFiles>,
    effects: Effects,
}

/// An object to be written.
pub(crate) struct PutObject {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) content: NewContent,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
    pub(crate) modified: i64,
    pub(crate) details: Details,
    pub(crate) condition: WriteCondition,
}

/// An object to be written with the content of another.
pub(crate) struct CopyObject {
    pub(crate) source_bucket: String,
    pub(crate) source_key: String,
    pub(crate) source_condition: ReadCondition,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) condition: WriteCondition,
    /// Headers of the copy; `None` takes those of the source.
    pub(crate) headers: Option<Headers>,
    pub(crate) modified: i64,
}

impl<'a> Edit<'a> {
    pub(super) fn new(connection: &'a Connection, blobs: &'a Arc<BlobFiles>) -> Self {
        Self {
            connection,
            blobs,
            effects: Effects::default(),
        }
    }

    /// The state the change starts from and adds to.
    pub(crate) fn connection(&self) -> &'a Connection {
        self.connection
    }

    pub(super) fn into_effects(self) -> Effects {
        self.effects
    }

    pub(super) fn run(
        &self,
        operation: &'static str,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<usize, StoreError> {
        let execute = || self.connection.prepare_cached(sql)?.execute(values);
        execute().map_err(StoreError::catalogue(operation))
    }

    /// Creates a bucket.
    pub(crate) fn create_bucket(&mut self, name: &str, created: i64) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO bucket (name, created) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        match self.run("create a bucket", sql, params![name, created])? {
            0 => Err(StoreError::BucketExists {
                bucket: name.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Removes a bucket without objects, and the multipart uploads it has.
    pub(crate) fn delete_bucket(&mut self, name: &str) -> Result<(), StoreError> {
        let bucket = bucket_id(self.connection, name)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM object WHERE bucket = ?1)";
        let holds_objects: bool = self
            .connection
            .query_row(sql, [bucket], |row| row.get(0))
            .map_err(StoreError::catalogue("look into a bucket"))?;
        if holds_objects {
            return Err(StoreError::BucketNotEmpty {
                bucket: name.to_owned(),
            });
        }
        self.abort_uploads_of(bucket)?;
        self.run(
            "delete a bucket",
            "DELETE FROM bucket WHERE id = ?1",
            [bucket],
        )?;
        Ok(())
    }

    /// Writes an object if its condition holds.
    pub(crate) fn put_object(&mut self, put: PutObject) -> Result<(), StoreError> {
        let bucket = bucket_id(self.connection, &put.bucket)?;
        let current = object(self.connection, bucket, &put.key)?;
        put.condition
            .check(&put.key, current.as_ref().map(|row| &*row.etag))?;
        let content = self.add_content(put.content)?;
        let row = ObjectRow {
            content,
            size_bytes: put.size_bytes,
            etag: put.etag,
            modified: put.modified,
            details: put.details,
        };
        let names = (put.bucket, put.key);
        self.replace(bucket, names, current, &row, Writing::Put)
    }

    /// Writes an object that shares the content of another, if both conditions hold; returns what was written.
    pub(crate) fn copy_object(&mut self, copy: CopyObject) -> Result<ObjectRow, StoreError> {
        let source_bucket = bucket_id(self.connection, &copy.source_bucket)?;
        let source =
            object(self.connection, source_bucket, &copy.source_key)?.ok_or_else(|| {
                StoreError::NoSuchKey {
                    key: copy.source_key.clone(),
                }
            })?;
        match copy
            .source_condition
            .judge(&source.etag, &clock::seconds(source.modified))
        {
            Verdict::Proceed => {}
            Verdict::NotModified | Verdict::Failed => return Err(StoreError::PreconditionFailed),
        }
        let bucket = bucket_id(self.connection, &copy.bucket)?;
        let current = object(self.connection, bucket, &copy.key)?;
        copy.condition
            .check(&copy.key, current.as_ref().map(|row| &*row.etag))?;
        let content = self.blobs.number();
        self.run(
            "copy content",
            "INSERT INTO segment (content, ordinal, blob, start, length)
             SELECT ?1, ordinal, blob, start, length FROM segment WHERE content = ?2",
            [content, source.content],
        )?;
        let mut row = ObjectRow {
            content,
            modified: copy.modified,
            ..source
        };
        if let Some(headers) = copy.headers {
            row.details.headers = headers;
        }
        let names = (copy.bucket, copy.key);
        self.replace(bucket, names, current, &row, Writing::Copy)?;
        Ok(row)
    }

    /// Removes an object if its condition holds. Without a condition, a missing object is fine.
    pub(crate) fn delete_object(
        &mut self,
        bucket: &str,
        key: &str,
        condition: &WriteCondition,
    ) -> Result<(), StoreError> {
        let id = bucket_id(self.connection, bucket)?;
        let current = object(self.connection, id, key)?;
        condition.check(key, current.as_ref().map(|row| &*row.etag))?;
        let Some(current) = current else {
            return Ok(());
        };
        self.run(
            "delete an object",
            "DELETE FROM object WHERE bucket = ?1 AND key = ?2",
            params![id, key.as_bytes()],
        )?;
        self.drop_content(current.content)?;
        self.effects.changes.push(Change::Removed {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        });
        Ok(())
    }

    /// Puts `row` in the place of `current`.
    pub(super) fn replace(
        &mut self,
        bucket: i64,
        (bucket_name, key): (String, String),
        current: Option<ObjectRow>,
        row: &ObjectRow,
        how: Writing,
    ) -> Result<(), StoreError> {
        self.run(
            "write an object",
            "INSERT OR REPLACE INTO object (bucket, key, content, size, etag, modified, details)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                bucket,
                key.as_bytes(),
                row.content,
                signed(row.size_bytes),
                row.etag,
                row.modified,
                row.details
            ],
        )?;
        if let Some(current) = current {
            self.drop_content(current.content)?;
        }
        let change = Change::Written {
            bucket: bucket_name,
            key,
            etag: row.etag.clone(),
            size_bytes: row.size_bytes,
            how,
        };
        self.effects.changes.push(change);
        Ok(())
    }

    /// A number for a content that is about to be put together.
    pub(super) fn number(&self) -> i64 {
        self.blobs.number()
    }

    /// Takes new content in; the caller names it in a row.
    pub(super) fn add_content(&mut self, content: NewContent) -> Result<i64, StoreError> {
        let number = self.blobs.number();
        let (blob, length_bytes, data) = match content {
            NewContent::Empty => return Ok(number),
            NewContent::Inline(data) => (self.blobs.number(), data.len() as u64, Some(data)),
            NewContent::File { blob, length_bytes } => {
                let id = blob.id();
                self.effects.new_blobs.push(blob);
                (id, length_bytes, None)
            }
        };
        self.run(
            "write content",
            "INSERT INTO blob (id, data) VALUES (?1, ?2)",
            params![blob, data.as_deref()],
        )?;
        self.run(
            "write content",
            "INSERT INTO segment (content, ordinal, blob, start, length) VALUES (?1, 0, ?2, 0, ?3)",
            params![number, blob, signed(length_bytes)],
        )?;
        Ok(number)
    }

    /// Lets go of a content that no row names any more, and of its blobs where no other content shares them.
    pub(super) fn drop_content(&mut self, content: i64) -> Result<(), StoreError> {
        let look = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT DISTINCT blob FROM segment WHERE content = ?1")?;
            statement
                .query_map([content], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<i64>>>()
        };
        let blobs = look().map_err(StoreError::catalogue("look up content"))?;
        self.run(
            "delete content",
            "DELETE FROM segment WHERE content = ?1",
            [content],
        )?;
        for blob in blobs {
            self.drop_blob(blob)?;
        }
        Ok(())
    }

    fn drop_blob(&mut self, blob: i64) -> Result<(), StoreError> {
        let sql =
            "DELETE FROM blob WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM segment WHERE blob = ?1)
                   RETURNING data IS NULL";
        let delete = || {
            self.connection
                .prepare_cached(sql)?
                .query_row([blob], |row| row.get::<_, bool>(0))
                .optional()
        };
        if delete().map_err(StoreError::catalogue("delete a blob"))? == Some(true) {
            self.effects.dropped_blobs.push(blob);
        }
        Ok(())
    }
}

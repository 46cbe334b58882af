//! The changes that begin, fill, complete and abort multipart uploads.
//!
//! Owns what may be completed, and that completing moves rows only. Runs inside the writer's transaction.

use rusqlite::params;

use super::{
    super::{
        super::{
            checksum::{self, Algorithm, Checksums, Span},
            condition::WriteCondition,
            details::Details,
        },
        Edit, NewContent, ObjectRow, StoreError, Writing,
        query::{bucket_id, object, signed},
    },
    PartRow, UploadRow, part, parts, upload,
};

/// Least size of every part but the last.
const MINIMUM_PART_BYTES: u64 = 5 * 1024 * 1024;

/// An upload to be begun.
pub(crate) struct CreateUpload {
    pub(crate) bucket: String,
    pub(crate) row: UploadRow,
}

/// A part to be added to an upload, or put in the place of one with its number.
pub(crate) struct PutPart {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) upload: String,
    pub(crate) number: i32,
    pub(crate) content: NewContent,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
    pub(crate) modified: i64,
    pub(crate) checksums: Checksums,
}

/// A part as the client that completes an upload names it.
#[derive(Debug)]
pub(crate) struct NamedPart {
    pub(crate) number: i32,
    pub(crate) etag: Option<String>,
    pub(crate) checksums: Checksums,
}

/// An upload to be turned into an object.
pub(crate) struct CompleteUpload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) upload: String,
    pub(crate) parts: Vec<NamedPart>,
    /// Checksums the object must have.
    pub(crate) expected: Checksums,
    pub(crate) expected_bytes: Option<u64>,
    pub(crate) condition: WriteCondition,
    pub(crate) modified: i64,
}

impl Edit<'_> {
    /// Begins an upload.
    pub(crate) fn create_upload(&mut self, create: &CreateUpload) -> Result<(), StoreError> {
        let bucket = bucket_id(self.connection, &create.bucket)?;
        let row = &create.row;
        self.run(
            "begin an upload",
            "INSERT INTO upload (id, bucket, key, started, headers, algorithm, span) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                row.id,
                bucket,
                row.key.as_bytes(),
                row.started,
                row.headers,
                row.algorithm.map(Algorithm::name),
                row.span.map(Span::name)
            ],
        )?;
        Ok(())
    }

    /// Adds a part.
    pub(crate) fn put_part(&mut self, put: PutPart) -> Result<(), StoreError> {
        let upload = upload(self.connection, &put.bucket, &put.key, &put.upload)?;
        let current = part(self.connection, &upload.id, put.number)?;
        let content = self.add_content(put.content)?;
        self.run(
            "write a part",
            "INSERT OR REPLACE INTO part (upload, number, content, size, etag, modified, checksums)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                upload.id,
                put.number,
                content,
                signed(put.size_bytes),
                put.etag,
                put.modified,
                put.checksums
            ],
        )?;
        match current {
            Some(current) => self.drop_content(current.content),
            None => Ok(()),
        }
    }

    /// Turns an upload into an object if everything fits and the condition holds; returns what was written.
    pub(crate) fn complete_upload(
        &mut self,
        complete: CompleteUpload,
    ) -> Result<ObjectRow, StoreError> {
        let upload = upload(
            self.connection,
            &complete.bucket,
            &complete.key,
            &complete.upload,
        )?;
        let chosen = self.choose_parts(&upload, &complete.parts)?;
        let size_bytes = chosen.iter().map(|part| part.size_bytes).sum();
        if complete
            .expected_bytes
            .is_some_and(|expected| expected != size_bytes)
        {
            return Err(StoreError::InvalidRequest {
                reason: "The size of the object is not the one you specified.",
            });
        }
        let checksums = object_checksums(&upload, &chosen);
        if complete
            .expected
            .algorithms()
            .any(|algorithm| checksums.get(algorithm).is_none())
        {
            return Err(StoreError::InvalidRequest {
                reason: "The checksum can't be verified: the upload was begun without its algorithm.",
            });
        }
        complete.expected.check(&checksums)?;
        let bucket = bucket_id(self.connection, &complete.bucket)?;
        let current = object(self.connection, bucket, &complete.key)?;
        complete
            .condition
            .check(&complete.key, current.as_ref().map(|row| &*row.etag))?;
        let parts_bytes = chosen.iter().map(|part| part.size_bytes).collect();
        let row = ObjectRow {
            content: self.join(&chosen)?,
            size_bytes,
            etag: checksum::etag_of_parts(chosen.iter().map(|part| &*part.etag)),
            modified: complete.modified,
            details: Details {
                headers: upload.headers.clone(),
                checksums,
                parts_bytes,
            },
        };
        let names = (complete.bucket, complete.key);
        self.replace(bucket, names, current, &row, Writing::Parts)?;
        self.forget_upload(&upload.id)?;
        Ok(row)
    }

    /// Gives an upload up.
    pub(crate) fn abort_upload(
        &mut self,
        bucket: &str,
        key: &str,
        id: &str,
    ) -> Result<(), StoreError> {
        let upload = upload(self.connection, bucket, key, id)?;
        self.forget_upload(&upload.id)
    }

    pub(crate) fn abort_uploads_of(&mut self, bucket: i64) -> Result<(), StoreError> {
        let look = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT id FROM upload WHERE bucket = ?1")?;
            statement
                .query_map([bucket], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        };
        for id in look().map_err(StoreError::catalogue("list uploads"))? {
            self.forget_upload(&id)?;
        }
        Ok(())
    }

    /// The rows of the parts a client named, after checking everything that can be wrong with them.
    fn choose_parts(
        &self,
        upload: &UploadRow,
        named: &[NamedPart],
    ) -> Result<Vec<PartRow>, StoreError> {
        if !named.is_sorted_by(|left, right| left.number < right.number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let mut chosen = Vec::with_capacity(named.len());
        for (index, name) in named.iter().enumerate() {
            let invalid = StoreError::InvalidPart {
                number: name.number,
            };
            let Some(row) = part(self.connection, &upload.id, name.number)? else {
                return Err(invalid);
            };
            if name.etag.as_ref().is_some_and(|etag| *etag != row.etag)
                || name.checksums.check(&row.checksums).is_err()
            {
                return Err(invalid);
            }
            if row.size_bytes < MINIMUM_PART_BYTES && index + 1 < named.len() {
                return Err(StoreError::PartTooSmall { number: row.number });
            }
            chosen.push(row);
        }
        Ok(chosen)
    }

    /// A new content that is made of the contents of parts.
    fn join(&mut self, parts: &[PartRow]) -> Result<i64, StoreError> {
        let content = self.number();
        let mut ordinal = 0;
        for part in parts {
            let count = self.run(
                "join parts",
                "INSERT INTO segment (content, ordinal, blob, start, length)
                 SELECT ?1, ?2 + ordinal, blob, start, length FROM segment WHERE content = ?3",
                [content, ordinal, part.content],
            )?;
            ordinal += signed(count as u64);
        }
        Ok(content)
    }

    fn forget_upload(&mut self, id: &str) -> Result<(), StoreError> {
        for part in parts(self.connection, id, i32::MIN, usize::MAX)? {
            self.drop_content(part.content)?;
        }
        self.run("forget parts", "DELETE FROM part WHERE upload = ?1", [id])?;
        self.run("forget an upload", "DELETE FROM upload WHERE id = ?1", [id])?;
        Ok(())
    }
}

/// The checksum that was asked for when the upload began, where its parts have it.
fn object_checksums(upload: &UploadRow, parts: &[PartRow]) -> Checksums {
    let Some(algorithm) = upload.algorithm else {
        return Checksums::default();
    };
    let span = upload.span.unwrap_or(match algorithm {
        Algorithm::Crc64Nvme => Span::FullObject,
        Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256 => {
            Span::Composite
        }
    });
    let parts = parts.iter().map(|part| (&part.checksums, part.size_bytes));
    checksum::of_parts(algorithm, span, parts).unwrap_or_default()
}

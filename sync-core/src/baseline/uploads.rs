//! What is remembered of uploads in parts that are under way, so that a later run can go on with them or abort them.
//!
//! Belongs to the files of this directory rather than to the binding: an upload in the bucket of an earlier binding is
//! remembered until it is aborted, as long as it is in the same store.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Row, params};

use super::{Baseline, BaselineError, failed, read_fingerprint};
use crate::{
    digest::{Digest, ETag},
    local::Fingerprint,
    path::{ObjectKey, RelPath},
    upload_id::UploadId,
};

/// An upload in parts that was begun and is neither completed nor aborted, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The file.
    pub path: RelPath,
    /// [`ObjectStore::identity`](crate::store::ObjectStore::identity) of the store.
    pub store: String,
    /// The object it would become.
    pub key: ObjectKey,
    /// The store's name of it.
    pub id: UploadId,
    /// The file's stat when it was hashed.
    pub fingerprint: Fingerprint,
    /// Its content then.
    pub digest: Digest,
    /// Length of the parts.
    pub part_bytes: u64,
    /// When something of it was last sent.
    pub touched: SystemTime,
    /// Whether the store has refused to complete it.
    pub refusals: Refusals,
}

/// Whether a precondition kept an upload from being completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusals {
    /// Not yet.
    None,
    /// Yes. Some stores never complete an upload that they refused once.
    Some,
}

const COLUMNS: &str =
    "path, store, key, id, digest, part_bytes, touched, refused, size, mtime, ctime, inode, mode";

impl Baseline {
    /// Beside the other tables: they come and go with the binding and the schema's version.
    pub(super) fn create_upload_tables(&self) -> Result<(), BaselineError> {
        self.connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS upload (
                     id TEXT PRIMARY KEY, path TEXT NOT NULL, store TEXT NOT NULL, key TEXT NOT NULL,
                     digest BLOB NOT NULL, part_bytes INTEGER NOT NULL, touched INTEGER NOT NULL,
                     refused INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
                     ctime INTEGER NOT NULL, inode INTEGER NOT NULL, mode INTEGER NOT NULL
                 ) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS upload_part (
                     id TEXT NOT NULL, number INTEGER NOT NULL, etag TEXT NOT NULL, PRIMARY KEY (id, number)
                 ) WITHOUT ROWID;",
            )
            .map_err(failed("create"))
    }

    /// Remembers an upload that was begun.
    pub fn remember_upload(&self, upload: &UnfinishedUpload) -> Result<(), BaselineError> {
        let fingerprint = &upload.fingerprint;
        self.connection
            .execute(
                &format!("INSERT OR REPLACE INTO upload ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"),
                params![
                    upload.path.as_str(),
                    upload.store,
                    upload.key.as_str(),
                    upload.id.as_str(),
                    upload.digest.as_bytes().as_slice(),
                    upload.part_bytes.cast_signed(),
                    seconds(upload.touched),
                    upload.refusals == Refusals::Some,
                    fingerprint.size_bytes.cast_signed(),
                    fingerprint.mtime_nanoseconds,
                    fingerprint.ctime_nanoseconds,
                    fingerprint.inode.cast_signed(),
                    fingerprint.mode,
                ],
            )
            .map(drop)
            .map_err(failed("write"))
    }

    /// Remembers a part that arrived at `now`.
    pub fn remember_part(
        &mut self,
        id: &UploadId,
        number: u32,
        etag: &ETag,
        now: SystemTime,
    ) -> Result<(), BaselineError> {
        let transaction = self.connection.transaction().map_err(failed("write"))?;
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO upload_part (id, number, etag) VALUES (?1, ?2, ?3)",
            )
            .and_then(|mut statement| {
                statement.execute(params![id.as_str(), number, etag.as_str()])
            })
            .map_err(failed("write"))?;
        transaction
            .prepare_cached("UPDATE upload SET touched = ?2 WHERE id = ?1")
            .and_then(|mut statement| statement.execute(params![id.as_str(), seconds(now)]))
            .map_err(failed("write"))?;
        transaction.commit().map_err(failed("write"))
    }

    /// Remembers that the store refused to complete an upload.
    pub fn remember_refusal(&self, id: &UploadId) -> Result<(), BaselineError> {
        self.connection
            .execute("UPDATE upload SET refused = 1 WHERE id = ?1", [id.as_str()])
            .map(drop)
            .map_err(failed("write"))
    }

    /// The uploads that are under way: all, or those of a path.
    pub fn unfinished_uploads(
        &self,
        path: Option<&RelPath>,
    ) -> Result<Vec<UnfinishedUpload>, BaselineError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM upload WHERE ?1 IS NULL OR path = ?1 ORDER BY path"
            ))
            .map_err(failed("read"))?;
        let rows = statement
            .query_map([path.map(RelPath::as_str)], read_upload)
            .map_err(failed("read"))?;
        rows.filter_map(Result::transpose)
            .collect::<Result<_, _>>()
            .map_err(failed("read"))
    }

    /// Tags of the parts of an upload that arrived.
    pub fn uploaded_parts(&self, id: &UploadId) -> Result<BTreeMap<u32, ETag>, BaselineError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT number, etag FROM upload_part WHERE id = ?1")
            .map_err(failed("read"))?;
        let rows = statement
            .query_map([id.as_str()], |row| {
                Ok((row.get(0)?, ETag::new(&row.get::<_, String>(1)?)))
            })
            .map_err(failed("read"))?;
        rows.collect::<Result<_, _>>().map_err(failed("read"))
    }

    /// Forgets an upload.
    pub fn forget_upload(&mut self, id: &UploadId) -> Result<(), BaselineError> {
        let transaction = self.connection.transaction().map_err(failed("write"))?;
        for statement in [
            "DELETE FROM upload WHERE id = ?1",
            "DELETE FROM upload_part WHERE id = ?1",
        ] {
            transaction
                .execute(statement, [id.as_str()])
                .map_err(failed("write"))?;
        }
        transaction.commit().map_err(failed("write"))
    }
}

/// Reads an upload; `None` for one that isn't ours.
fn read_upload(row: &Row<'_>) -> rusqlite::Result<Option<UnfinishedUpload>> {
    let path = RelPath::new(row.get::<_, String>(0)?);
    let key = ObjectKey::new(row.get::<_, String>(2)?);
    let digest = Digest::from_slice(&row.get::<_, Vec<u8>>(4)?);
    let (Ok(path), Ok(key), Some(digest)) = (path, key, digest) else {
        return Ok(None);
    };
    Ok(Some(UnfinishedUpload {
        path,
        store: row.get(1)?,
        key,
        id: UploadId::new(row.get::<_, String>(3)?),
        digest,
        part_bytes: row.get::<_, i64>(5)?.cast_unsigned(),
        touched: UNIX_EPOCH + Duration::from_secs(row.get::<_, i64>(6)?.try_into().unwrap_or(0)),
        refusals: if row.get::<_, bool>(7)? {
            Refusals::Some
        } else {
            Refusals::None
        },
        fingerprint: read_fingerprint(row, 8)?,
    }))
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(path: &str, id: &str) -> UnfinishedUpload {
        UnfinishedUpload {
            path: RelPath::new(path).unwrap(),
            store: "http://store/bucket".to_owned(),
            key: ObjectKey::new(format!("agents/a/{path}")).unwrap(),
            id: UploadId::new(id),
            fingerprint: Fingerprint::of_nothing(),
            digest: Digest::from_bytes([7; 32]),
            part_bytes: 16,
            touched: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            refusals: Refusals::None,
        }
    }

    #[test]
    fn what_is_remembered_survives_the_process_and_another_binding() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("state.db");
        let mut first = upload("a/large", "1");
        let second = upload("b", "2");
        let mut baseline = Baseline::open(&file, "one").unwrap();
        baseline.remember_upload(&first).unwrap();
        baseline.remember_upload(&second).unwrap();
        let now = first.touched + Duration::from_mins(1);
        for (number, tag) in [(1, "one"), (3, "three"), (3, "again")] {
            let tag = ETag::new(tag);
            baseline
                .remember_part(&first.id, number, &tag, now)
                .unwrap();
        }
        baseline.remember_refusal(&first.id).unwrap();
        drop(baseline);
        let baseline = Baseline::open(&file, "another").unwrap();
        first.touched = now;
        first.refusals = Refusals::Some;
        let found = |path| baseline.unfinished_uploads(path).unwrap();
        assert_eq!(found(None), [first.clone(), second.clone()]);
        assert_eq!(found(Some(&second.path)), [second]);
        let parts = baseline.uploaded_parts(&first.id).unwrap();
        assert_eq!(
            parts.into_iter().collect::<Vec<_>>(),
            [(1, ETag::new("one")), (3, ETag::new("again"))]
        );
    }

    #[test]
    fn an_upload_is_forgotten_with_its_parts_and_no_other_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut baseline = Baseline::open(&directory.path().join("state.db"), "one").unwrap();
        let (first, second) = (upload("a", "1"), upload("a", "2"));
        for upload in [&first, &second] {
            baseline.remember_upload(upload).unwrap();
            baseline
                .remember_part(&upload.id, 1, &ETag::new("one"), upload.touched)
                .unwrap();
        }
        baseline.forget_upload(&first.id).unwrap();
        assert_eq!(
            baseline.unfinished_uploads(None).unwrap(),
            std::slice::from_ref(&second)
        );
        assert!(baseline.uploaded_parts(&first.id).unwrap().is_empty());
        assert_eq!(baseline.uploaded_parts(&second.id).unwrap().len(), 1);
    }
}

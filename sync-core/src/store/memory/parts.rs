//! Uploads in parts into memory.

use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, future::BoxFuture};

use super::{MemoryStore, Stored, check_mode, info};
use crate::{
    digest::{ContentHasher, Digest, ETag},
    path::ObjectKey,
    store::{
        PutMode, StoreError, StoreErrorKind,
        parts::{MultipartStore, Part, PartLimits, SentPart, StoredPart, UploadId},
    },
};

/// An upload that is under way.
#[derive(Debug, Default)]
pub(super) struct Upload {
    key: String,
    metadata: Vec<(String, String)>,
    parts: BTreeMap<u32, Piece>,
}

#[derive(Debug, Clone)]
struct Piece {
    content: Bytes,
    etag: ETag,
    digest: Digest,
}

impl MemoryStore {
    /// An empty bucket that takes objects in parts by these limits.
    #[must_use]
    pub fn with_parts(limits: PartLimits) -> Self {
        Self {
            limits: Some(limits),
            ..Self::default()
        }
    }

    /// Keys of the uploads that are neither completed nor aborted, and whose parts take space.
    #[must_use]
    pub fn unfinished_uploads(&self) -> Vec<String> {
        let uploads = self.uploads();
        let filled = uploads.values().filter(|upload| !upload.parts.is_empty());
        filled.map(|upload| upload.key.clone()).collect()
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<String, Upload>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, key: &ObjectKey, metadata: &[(String, String)]) -> UploadId {
        self.count_put();
        let id = format!("{:032x}", fastrand::u128(..));
        let upload = Upload {
            key: key.as_str().to_owned(),
            metadata: metadata.to_vec(),
            parts: BTreeMap::new(),
        };
        self.uploads().insert(id.clone(), upload);
        UploadId::new(id)
    }

    fn take_part(&self, key: &ObjectKey, id: &UploadId, part: &Part) -> Result<ETag, StoreError> {
        use std::os::unix::fs::FileExt as _;
        self.count_put();
        let failed =
            |kind, message: String| StoreError::new("SEND PART", key.as_str(), kind, message);
        let mut content = vec![0; usize::try_from(part.size_bytes).unwrap_or(0)];
        part.file
            .read_exact_at(&mut content, part.offset)
            .map_err(|error| failed(StoreErrorKind::Rejected, error.to_string()))?;
        let mut hasher = ContentHasher::default();
        hasher.update(&content);
        let hash = hasher.finish();
        if hash.digest != part.digest {
            return Err(failed(StoreErrorKind::Rejected, String::new()));
        }
        let piece = Piece {
            content: content.into(),
            etag: ETag::new(&hash.md5_hex),
            digest: part.digest,
        };
        let etag = piece.etag.clone();
        let mut uploads = self.uploads();
        let upload = known(&mut uploads, key, id)?;
        upload.parts.insert(part.number, piece);
        Ok(etag)
    }

    fn stored_parts(&self, key: &ObjectKey, id: &UploadId) -> Result<Vec<StoredPart>, StoreError> {
        let mut uploads = self.uploads();
        let parts = &known(&mut uploads, key, id)?.parts;
        let stored = parts.iter().map(|(number, piece)| StoredPart {
            number: *number,
            etag: piece.etag.clone(),
            size_bytes: piece.content.len() as u64,
            digest: Some(piece.digest),
        });
        Ok(stored.collect())
    }

    fn complete(
        &self,
        key: &ObjectKey,
        id: &UploadId,
        named: &[SentPart],
        mode: &PutMode,
    ) -> Result<ETag, StoreError> {
        self.count_put();
        let mut uploads = self.uploads();
        let upload = known(&mut uploads, key, id)?;
        let mut content = BytesMut::new();
        let mut hasher = ContentHasher::default();
        for name in named {
            let piece = upload.parts.get(&name.number);
            let piece = piece
                .filter(|piece| piece.etag == name.etag)
                .ok_or_else(|| {
                    StoreError::new("PUT", key.as_str(), StoreErrorKind::Other, "InvalidPart")
                })?;
            content.extend_from_slice(&piece.content);
            hasher.update(piece.etag.as_str().as_bytes());
        }
        let mut objects = self.objects();
        check_mode(key, mode, objects.get(key.as_str()))?;
        let content = content.freeze();
        let mut stored = Stored {
            info: info(&content, upload.metadata.clone()),
            content,
        };
        // No MD5 of the content, as everywhere.
        let etag = ETag::new(&format!("{}-{}", hasher.finish().md5_hex, named.len()));
        stored.info.etag = etag.clone();
        objects.insert(key.as_str().to_owned(), stored);
        uploads.remove(id.as_str());
        Ok(etag)
    }
}

fn known<'a>(
    uploads: &'a mut BTreeMap<String, Upload>,
    key: &ObjectKey,
    id: &UploadId,
) -> Result<&'a mut Upload, StoreError> {
    let found = uploads.get_mut(id.as_str());
    found
        .filter(|upload| upload.key == key.as_str())
        .ok_or_else(|| {
            StoreError::new(
                "UPLOAD",
                key.as_str(),
                StoreErrorKind::NotFound,
                "NoSuchUpload",
            )
        })
}

impl MultipartStore for MemoryStore {
    fn part_limits(&self) -> PartLimits {
        self.limits.unwrap_or(PartLimits::S3)
    }

    fn begin_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        metadata: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<UploadId, StoreError>> {
        async move { Ok(self.begin(key, metadata)) }.boxed()
    }

    fn send_part<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        part: Part,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move { self.take_part(key, upload, &part) }.boxed()
    }

    fn list_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>, StoreError>> {
        async move { self.stored_parts(key, upload) }.boxed()
    }

    fn complete_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        parts: &'a [SentPart],
        mode: &'a PutMode,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move { self.complete(key, upload, parts, mode) }.boxed()
    }

    fn abort_upload<'a>(
        &'a self,
        _: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.count_delete();
            self.uploads().remove(upload.as_str());
            Ok(())
        }
        .boxed()
    }
}

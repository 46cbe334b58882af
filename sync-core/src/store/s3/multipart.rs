//! The requests of an upload in parts.
//!
//! Owns how they are sent. What is sent when, and what is remembered, is [`PartedUpload`]'s.

use std::{fs::File, io, sync::Arc, time::Instant};

use aws_sdk_s3::{
    error::ProvideErrorMetadata as _,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Semaphore;

use super::{S3Store, classify, count, file_body::file_body, preconditions, size, upload_limit};
use crate::{
    digest::{Digest, DigestHasher, ETag, PartedDigest, PartedHasher},
    path::ObjectKey,
    store::{
        PutMode, PutOptions, StoreError, StoreErrorKind,
        parts::{
            MultipartStore, Part, PartLimits, PartedUpload, SentPart, StoredPart, UploadId,
            WithoutJournal,
        },
    },
};

/// Parts of one file under way at once where nobody shares the connections.
const PARTS_AT_ONCE: usize = 4;
/// Bytes read at once while hashing.
const PIECE_BYTES: usize = 256 * 1024;

impl S3Store {
    /// A file in parts for a caller who remembers nothing: a failed upload is aborted.
    pub(super) async fn put_parts(
        &self,
        key: &ObjectKey,
        file: File,
        size_bytes: u64,
        options: PutOptions,
    ) -> Result<ETag, StoreError> {
        let file = Arc::new(file);
        let part_bytes = self.limits.part_bytes_for(size_bytes);
        let content = hash_in_parts(key, file.clone(), size_bytes, part_bytes).await?;
        if content.whole.digest != options.digest {
            let rejected = StoreErrorKind::Rejected;
            return Err(StoreError::new("PUT", key.as_str(), rejected, ""));
        }
        let upload = PartedUpload {
            store: self,
            key,
            file,
            content: &content,
            metadata: &options.metadata,
            permits: &Semaphore::new(PARTS_AT_ONCE),
            at_once: PARTS_AT_ONCE,
            journal: &WithoutJournal,
            progress: &|_| (),
        };
        let sent = upload.send().await?;
        upload.complete(&sent, &options.mode).await
    }

    async fn begin(
        &self,
        key: &ObjectKey,
        metadata: &[(String, String)],
    ) -> Result<UploadId, StoreError> {
        count(&self.counters.put);
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_metadata(Some(metadata.iter().cloned().collect()))
            .send()
            .await
            .map_err(|error| classify("BEGIN UPLOAD", key.as_str(), &error))?;
        match created.upload_id() {
            Some(id) if !id.is_empty() => Ok(UploadId::new(id)),
            _ => Err(StoreError::new(
                "BEGIN UPLOAD",
                key.as_str(),
                StoreErrorKind::Other,
                "an answer without an upload id",
            )),
        }
    }

    async fn send(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        part: Part,
    ) -> Result<ETag, StoreError> {
        count(&self.counters.put);
        let output = self
            .uploads
            .upload_part()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload.as_str())
            .part_number(part.number.cast_signed())
            .checksum_sha256(part.digest.to_base64())
            .body(file_body(&part.file, part.offset, part.size_bytes))
            .customize()
            .config_override(upload_limit(part.size_bytes))
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| classify("SEND PART", key.as_str(), &error))?;
        if output.checksum_sha256().is_none() {
            // Nothing says that the store checked what it got, so the file is looked at once more.
            check(key, part).await?;
        }
        Ok(ETag::new(output.e_tag().unwrap_or_default()))
    }

    async fn list(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<Vec<StoredPart>, StoreError> {
        let mut parts = Vec::new();
        let mut marker = None;
        loop {
            count(&self.counters.list);
            let page = self
                .client
                .list_parts()
                .bucket(&self.bucket)
                .key(key.as_str())
                .upload_id(upload.as_str())
                .set_part_number_marker(marker)
                .send()
                .await
                .map_err(|error| classify("LIST PARTS", key.as_str(), &error))?;
            parts.extend(page.parts().iter().filter_map(|part| {
                Some(StoredPart {
                    number: u32::try_from(part.part_number()?).ok()?,
                    etag: ETag::new(part.e_tag()?),
                    size_bytes: size(part.size()),
                    digest: part.checksum_sha256().and_then(Digest::from_base64),
                })
            }));
            marker = page.next_part_number_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || marker.is_none() {
                return Ok(parts);
            }
        }
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[SentPart],
        mode: &PutMode,
    ) -> Result<ETag, StoreError> {
        let (if_match, if_none_match) = preconditions(mode);
        let parts = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number.cast_signed())
                .e_tag(part.etag.to_quoted())
                .checksum_sha256(part.digest.to_base64())
                .build()
        });
        count(&self.counters.put);
        let completed = self
            .uploads
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload.as_str())
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts.collect()))
                    .build(),
            )
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .send()
            .await
            .map_err(|error| {
                let gone = error.code() == Some("NoSuchUpload");
                let mut error = classify("PUT", key.as_str(), &error);
                if gone {
                    error.kind = StoreErrorKind::NotFound;
                }
                error
            })?;
        Ok(ETag::new(completed.e_tag().unwrap_or_default()))
    }

    async fn abort(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), StoreError> {
        count(&self.counters.delete);
        let aborted = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload.as_str())
            .send()
            .await;
        match aborted.map_err(|error| classify("ABORT UPLOAD", key.as_str(), &error)) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

impl MultipartStore for S3Store {
    fn part_limits(&self) -> PartLimits {
        self.limits
    }

    fn begin_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        metadata: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<UploadId, StoreError>> {
        self.begin(key, metadata).boxed()
    }

    fn send_part<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        part: Part,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.send(key, upload, part).boxed()
    }

    fn list_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>, StoreError>> {
        self.list(key, upload).boxed()
    }

    fn complete_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        parts: &'a [SentPart],
        mode: &'a PutMode,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move {
            let etag = self.complete(key, upload, parts, mode).await?;
            self.written.note(key, Some(&etag), Instant::now());
            Ok(etag)
        }
        .boxed()
    }

    fn abort_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.abort(key, upload).boxed()
    }
}

/// An error unless the file still holds the part where it was sent from.
async fn check(key: &ObjectKey, part: Part) -> Result<(), StoreError> {
    let Part { file, digest, .. } = part;
    let found = blocking(key, move || {
        let mut hasher = DigestHasher::default();
        read(&file, part.offset, part.size_bytes, |piece| {
            hasher.update(piece);
        })?;
        Ok(hasher.finish().digest)
    });
    if found.await? == digest {
        return Ok(());
    }
    let rejected = StoreErrorKind::Rejected;
    Err(StoreError::new("SEND PART", key.as_str(), rejected, ""))
}

async fn hash_in_parts(
    key: &ObjectKey,
    file: Arc<File>,
    size_bytes: u64,
    part_bytes: u64,
) -> Result<PartedDigest, StoreError> {
    blocking(key, move || {
        let mut hasher = PartedHasher::new(part_bytes);
        read(&file, 0, size_bytes, |piece| hasher.update(piece))?;
        Ok(hasher.finish())
    })
    .await
}

/// Reads a stretch of a file. One that is shorter than announced is an error.
fn read(file: &File, offset: u64, length: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; PIECE_BYTES];
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).unwrap_or(usize::MAX);
        let window = buffer
            .get_mut(..wanted.min(PIECE_BYTES))
            .unwrap_or_default();
        file.read_exact_at(window, offset + done)?;
        take(window);
        done += window.len() as u64;
    }
    Ok(())
}

/// A file that can't be read any more is taken for one that changed: it is looked at again before anything else happens.
async fn blocking<T: Send + 'static>(
    key: &ObjectKey,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)
        .flatten()
        .map_err(|error| StoreError {
            operation: "PUT",
            key: key.as_str().to_owned(),
            kind: StoreErrorKind::Rejected,
            message: String::new(),
            source: Some(error.into()),
        })
}

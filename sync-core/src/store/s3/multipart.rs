//! Uploads in parts, for content above the threshold of one request.
//!
//! Parts carry their own checksum; completing carries the write's precondition, so the object changes as a whole or not
//! at all. A failed upload is aborted; one that was cut off leaves parts that the store's lifecycle rules remove.

use std::{path::Path, sync::Arc};

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{S3Store, classify, count, file_part, preconditions, upload_limit};
use crate::{
    digest::{ContentHash, ContentHasher, ETag},
    failpoint::{self, Point},
    path::ObjectKey,
    store::{PutOptions, StoreError, StoreErrorKind},
};

/// S3 takes 10,000 parts of one object.
const MAX_PARTS: u64 = 10_000;
/// Small enough that a lost part costs little, large enough that the overhead of a request vanishes.
const PART_BYTES: u64 = 16 * 1024 * 1024;
/// Parts of one file under way at once.
const PARTS_IN_FLIGHT: usize = 4;

impl S3Store {
    pub(super) async fn put_parts(
        &self,
        key: &ObjectKey,
        file: std::fs::File,
        size_bytes: u64,
        options: PutOptions,
    ) -> Result<ETag, StoreError> {
        count(&self.counters.put);
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_metadata(Some(options.metadata.iter().cloned().collect()))
            .send()
            .await
            .map_err(|error| classify("PUT", key.as_str(), &error))?;
        let upload_id = created.upload_id().unwrap_or_default().to_owned();
        failpoint::reached(Point::MultipartCreated, Path::new(key.as_str()));
        let result = self
            .send_and_complete(key, Arc::new(file), size_bytes, &options, &upload_id)
            .await;
        if result.is_err()
            && let Err(error) = self.abort(key, &upload_id).await
        {
            tracing::debug!(%key, %error, "could not abort the multipart upload; its parts stay until the store expires them");
        }
        result
    }

    async fn send_and_complete(
        &self,
        key: &ObjectKey,
        file: Arc<std::fs::File>,
        size_bytes: u64,
        options: &PutOptions,
        upload_id: &str,
    ) -> Result<ETag, StoreError> {
        let part_bytes = PART_BYTES.max(size_bytes.div_ceil(MAX_PARTS));
        let offsets = (0..size_bytes.div_ceil(part_bytes)).map(|index| index * part_bytes);
        let sent: Vec<(CompletedPart, ContentHash)> =
            futures_util::stream::iter(offsets.enumerate().map(|(index, offset)| {
                let length = part_bytes.min(size_bytes - offset);
                self.send_part(key, file.clone(), offset, length, index, upload_id)
            }))
            .buffered(PARTS_IN_FLIGHT)
            .try_collect()
            .await?;
        self.verify_whole(key, file, size_bytes, options).await?;
        failpoint::reached(Point::PartsSent, Path::new(key.as_str()));
        let parts = sent.into_iter().map(|(part, _)| part).collect();
        let (if_match, if_none_match) = preconditions(&options.mode);
        count(&self.counters.put);
        let completed = self
            .uploads
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(parts))
                    .build(),
            )
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .send()
            .await
            .map_err(|error| classify("PUT", key.as_str(), &error))?;
        failpoint::reached(Point::MultipartCompleted, Path::new(key.as_str()));
        Ok(ETag::new(completed.e_tag().unwrap_or_default()))
    }

    async fn send_part(
        &self,
        key: &ObjectKey,
        file: Arc<std::fs::File>,
        offset: u64,
        length: u64,
        index: usize,
        upload_id: &str,
    ) -> Result<(CompletedPart, ContentHash), StoreError> {
        let hash = hash_range(key, file.clone(), offset, length).await?;
        let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
        count(&self.counters.put);
        let output = self
            .uploads
            .upload_part()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .part_number(number)
            .checksum_sha256(hash.digest.to_base64())
            .body(file_part(key, &file, offset, length).await?)
            .customize()
            .config_override(upload_limit(length))
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| match classify("PUT", key.as_str(), &error) {
                // A part has no precondition: a missing upload is a failure of the store, not another writer.
                mut error if error.kind == StoreErrorKind::Precondition => {
                    error.kind = StoreErrorKind::Other;
                    error
                }
                error => error,
            })?;
        failpoint::reached(Point::PartSent, Path::new(key.as_str()));
        let checksum = base64::engine::general_purpose::STANDARD.encode(hash.digest.as_bytes());
        let part = CompletedPart::builder()
            .part_number(number)
            .e_tag(output.e_tag().unwrap_or_default())
            .checksum_sha256(checksum)
            .build();
        Ok((part, hash))
    }

    /// Parts prove themselves one by one; only the whole proves that the file stood still while they were sent.
    async fn verify_whole(
        &self,
        key: &ObjectKey,
        file: Arc<std::fs::File>,
        size_bytes: u64,
        options: &PutOptions,
    ) -> Result<(), StoreError> {
        if hash_range(key, file, 0, size_bytes).await?.digest == options.digest {
            Ok(())
        } else {
            Err(StoreError::new(
                "PUT",
                key.as_str(),
                StoreErrorKind::Rejected,
                "",
            ))
        }
    }

    async fn abort(&self, key: &ObjectKey, upload_id: &str) -> Result<(), StoreError> {
        count(&self.counters.delete);
        self.client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(key.as_str())
            .upload_id(upload_id)
            .send()
            .await
            .map(drop)
            .map_err(|error| classify("ABORT", key.as_str(), &error))
    }
}

async fn hash_range(
    key: &ObjectKey,
    file: Arc<std::fs::File>,
    offset: u64,
    length: u64,
) -> Result<ContentHash, StoreError> {
    let failed =
        |message: String| StoreError::new("PUT", key.as_str(), StoreErrorKind::Rejected, message);
    tokio::task::spawn_blocking(move || hash_blocking(&file, offset, length))
        .await
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))
}

fn hash_blocking(file: &std::fs::File, offset: u64, length: u64) -> std::io::Result<ContentHash> {
    use std::os::unix::fs::FileExt as _;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let window = buffer.get_mut(..wanted).unwrap_or_default();
        let read = file.read_at(window, offset + done)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(window.get(..read).unwrap_or_default());
        done += read as u64;
    }
    Ok(hasher.finish())
}

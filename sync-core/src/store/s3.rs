//! S3-compatible stores through the AWS SDK.
//!
//! Owns how requests are sent. Never retries on its own beyond the SDK's own retries of transient failures.

mod browse;
mod classify;
mod config;
mod examine;
mod multipart;

use std::{
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use aws_sdk_s3::{Client, primitives::ByteStream, types::EncodingType};
use aws_smithy_types::byte_stream::Length;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

use self::classify::classify;
pub use self::{
    browse::{BrowsedObject, Depth, Level},
    config::{Addressing, Keys, S3Config},
    examine::{Greeting, Notifications},
};
use super::{
    ListPage, ListedObject, Object, ObjectInfo, ObjectStore, PutBody, PutMode, PutOptions,
    StoreError, StoreErrorKind,
};
use crate::{digest::ETag, path::ObjectKey, report::RequestCounts};

/// Content above this goes up in parts. S3 takes 5 GiB in one request; smaller single requests lose less on a broken
/// connection, and a part is what several connections can share.
const MULTIPART_THRESHOLD_BYTES: u64 = 64 * 1024 * 1024;

/// One bucket of an S3-compatible store.
pub struct S3Store {
    client: Client,
    uploads: Client,
    bucket: String,
    identity: String,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    list: AtomicU64,
    get: AtomicU64,
    put: AtomicU64,
    head: AtomicU64,
    delete: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl S3Store {
    /// Makes a client; sends nothing yet. Reads the standard AWS variables and profiles where `config` has no keys.
    pub async fn connect(config: &S3Config) -> Result<Self, StoreError> {
        let config::Clients { requests, uploads } = config::clients(config).await?;
        let endpoint = config.endpoint.as_deref().unwrap_or("aws");
        Ok(Self {
            client: requests,
            uploads,
            bucket: config.bucket.clone(),
            identity: format!("{}/{}", endpoint.trim_end_matches('/'), config.bucket),
            counters: Arc::default(),
        })
    }

    async fn list_page(&self, prefix: &str, token: Option<&str>) -> Result<ListPage, StoreError> {
        count(&self.counters.list);
        let output = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_continuation_token(token.map(str::to_owned))
            .send()
            .await
            .map_err(|error| classify("LIST", prefix, &error))?;
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let objects = output
            .contents()
            .iter()
            .filter_map(|object| {
                let key = object.key()?;
                Some(ListedObject {
                    key: if encoded {
                        decode_key(key)
                    } else {
                        key.to_owned()
                    },
                    etag: ETag::new(object.e_tag().unwrap_or_default()),
                    size_bytes: object
                        .size()
                        .and_then(|size| u64::try_from(size).ok())
                        .unwrap_or(0),
                })
            })
            .collect();
        let next = if output.is_truncated() == Some(true) {
            let token = output.next_continuation_token().map(str::to_owned);
            // Without a token the rest is out of reach; an incomplete listing must not pass for a complete one.
            Some(token.ok_or_else(|| {
                StoreError::new(
                    "LIST",
                    prefix,
                    StoreErrorKind::Other,
                    "truncated answer without a continuation token",
                )
            })?)
        } else {
            None
        };
        Ok(ListPage { objects, next })
    }

    async fn get_object(
        &self,
        key: &ObjectKey,
        if_match: Option<&ETag>,
    ) -> Result<Object, StoreError> {
        count(&self.counters.get);
        let output = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .set_if_match(if_match.map(ETag::to_quoted))
            .send()
            .await
            .map_err(|error| classify("GET", key.as_str(), &error))?;
        let info = ObjectInfo {
            etag: ETag::new(output.e_tag().unwrap_or_default()),
            size_bytes: size(output.content_length()),
            modified: output
                .last_modified()
                .and_then(|time| SystemTime::try_from(*time).ok()),
            metadata: metadata(output.metadata()),
        };
        let key = key.clone();
        let body = futures_util::stream::unfold((output.body, key), |(mut body, key)| async move {
            let item = body.next().await?;
            let item = item.map_err(|error| {
                let mut unreachable = StoreError::new(
                    "GET",
                    key.as_str(),
                    StoreErrorKind::Unavailable { retry_after: None },
                    "the answer broke off",
                );
                unreachable.source = Some(error.into());
                unreachable
            });
            Some((item, (body, key)))
        });
        Ok(Object {
            info,
            body: body.boxed(),
        })
    }

    async fn head_object(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>, StoreError> {
        count(&self.counters.head);
        match self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .send()
            .await
        {
            Ok(output) => Ok(Some(ObjectInfo {
                etag: ETag::new(output.e_tag().unwrap_or_default()),
                size_bytes: size(output.content_length()),
                modified: output
                    .last_modified()
                    .and_then(|time| SystemTime::try_from(*time).ok()),
                metadata: metadata(output.metadata()),
            })),
            Err(error) => match classify("HEAD", key.as_str(), &error) {
                error if error.kind == StoreErrorKind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn put_object(
        &self,
        key: &ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> Result<ETag, StoreError> {
        if body.size_bytes() > MULTIPART_THRESHOLD_BYTES
            && let PutBody::File { file, size_bytes } = body
        {
            return self.put_parts(key, file, size_bytes, options).await;
        }
        count(&self.counters.put);
        // Kept to the end: the SDK reopens the descriptor's path when it has to send again.
        let (stream, _open_file) = byte_stream(key, body).await?;
        let (if_match, if_none_match) = preconditions(&options.mode);
        let output = self
            .uploads
            .put_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .body(stream)
            .checksum_sha256(options.digest.to_base64())
            .set_metadata(Some(options.metadata.into_iter().collect()))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .customize()
            // The signed checksum header already protects the body; signing the payload would hash it once more.
            .disable_payload_signing()
            .send()
            .await
            .map_err(|error| classify("PUT", key.as_str(), &error))?;
        Ok(ETag::new(output.e_tag().unwrap_or_default()))
    }

    async fn delete_object(
        &self,
        key: &ObjectKey,
        if_match: Option<&ETag>,
    ) -> Result<(), StoreError> {
        count(&self.counters.delete);
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .set_if_match(if_match.map(ETag::to_quoted))
            .send()
            .await
            .map(drop)
            .map_err(|error| classify("DELETE", key.as_str(), &error))
    }
}

impl ObjectStore for S3Store {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.list_page(prefix, token).boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.get_object(key, if_match).boxed()
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.head_object(key).boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.put_object(key, body, options).boxed()
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.delete_object(key, if_match).boxed()
    }

    fn requests(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            list: read(&self.counters.list),
            get: read(&self.counters.get),
            put: read(&self.counters.put),
            head: read(&self.counters.head),
            delete: read(&self.counters.delete),
        }
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }
}

/// `If-Match` and `If-None-Match` for a mode.
fn preconditions(mode: &PutMode) -> (Option<String>, Option<String>) {
    match mode {
        PutMode::Overwrite => (None, None),
        PutMode::Create => (None, Some("*".to_owned())),
        PutMode::Update(etag) => (Some(etag.to_quoted()), None),
    }
}

/// A body that can be sent again, and the file that must stay open meanwhile.
async fn byte_stream(
    key: &ObjectKey,
    body: PutBody,
) -> Result<(ByteStream, Option<std::fs::File>), StoreError> {
    match body {
        PutBody::Bytes(bytes) => Ok((ByteStream::from(bytes), None)),
        PutBody::File { file, size_bytes } => {
            let stream = file_part(key, &file, 0, size_bytes).await?;
            Ok((stream, Some(file)))
        }
    }
}

/// A part of an open file as a body. The descriptor's path leads to the same inode whatever happens to the file's name.
async fn file_part(
    key: &ObjectKey,
    file: &std::fs::File,
    offset: u64,
    length: u64,
) -> Result<ByteStream, StoreError> {
    ByteStream::read_from()
        .path(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .offset(offset)
        .length(Length::Exact(length))
        .build()
        .await
        .map_err(|error| {
            // Shorter than when it was hashed: the file changed underneath.
            let mut rejected = StoreError::new("PUT", key.as_str(), StoreErrorKind::Rejected, "");
            rejected.source = Some(error.into());
            rejected
        })
}

fn size(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

fn metadata(map: Option<&std::collections::HashMap<String, String>>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = map
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    pairs.sort();
    pairs
}

/// Undoes `encoding-type=url`: form encoding, in which a space is `+`. Bytes that are no UTF-8 become U+FFFD; such a
/// key cannot be addressed by this SDK, and the replacement keeps it visible as a problem.
fn decode_key(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_keys_are_form_decoded() {
        assert_eq!(
            decode_key("a%2Bb+c%252Fd/%F0%9F%98%80%0A"),
            "a+b c%2Fd/😀\n"
        );
    }
}

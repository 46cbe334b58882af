//! S3-compatible stores through the AWS SDK.
//!
//! Owns how requests are sent. Never retries on its own beyond the SDK's own retries of transient failures.

mod browse;
mod classify;
mod clock;
mod config;
mod continuation;
mod examine;
mod file_body;
mod keys;
mod listen;
mod multipart;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use aws_sdk_s3::{Client, primitives::ByteStream};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

pub use self::{
    browse::{Depth, Level},
    config::{Addressing, Keys, S3Config},
    examine::{Greeting, Notifications},
    keys::{KeySource, TemporaryKeys},
};
use self::{classify::classify, clock::SharedClock, config::upload_limit, file_body::file_body};
use super::{
    EventBytes, ListPage, Object, ObjectInfo, ObjectStore, PutBody, PutMode, PutOptions,
    StoreError, StoreErrorKind, cut,
    parts::{MultipartStore, PartLimits},
    written::Written,
};
use crate::{digest::ETag, path::ObjectKey, report::RequestCounts};

/// One bucket of an S3-compatible store.
pub struct S3Store {
    client: Client,
    uploads: Client,
    listens: Client,
    clock: SharedClock,
    bucket: String,
    identity: String,
    limits: PartLimits,
    counters: Arc<Counters>,
    written: Written,
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
        let config::Clients {
            requests,
            uploads,
            listens,
            clock,
        } = config::clients(config).await?;
        let endpoint = config.endpoint.as_deref().unwrap_or("aws");
        Ok(Self {
            client: requests,
            uploads,
            listens,
            clock,
            bucket: config.bucket.clone(),
            identity: format!("{}/{}", endpoint.trim_end_matches('/'), config.bucket),
            limits: PartLimits::S3,
            counters: Arc::default(),
            written: Written::default(),
        })
    }

    async fn list_page(&self, prefix: &str, token: Option<&str>) -> Result<ListPage, StoreError> {
        let Level { objects, next, .. } = self.browse(prefix, Depth::All, token).await?;
        Ok(ListPage { objects, next })
    }

    async fn get_object(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        if_match: Option<&ETag>,
    ) -> Result<Object, StoreError> {
        count(&self.counters.get);
        let output = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key.as_str())
            .set_range(range.clone().map(header))
            .set_if_match(if_match.map(ETag::to_quoted))
            .send()
            .await
            .map_err(|error| classify("GET", key.as_str(), &error))?;
        let whole_bytes = output.content_range().and_then(length_behind_range);
        let info = ObjectInfo {
            etag: ETag::new(output.e_tag().unwrap_or_default()),
            size_bytes: whole_bytes.unwrap_or_else(|| size(output.content_length())),
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
        let object = Object {
            info,
            body: body.boxed(),
        };
        Ok(match range {
            // Answered with everything.
            Some(range) if whole_bytes.is_none() => cut(object, range),
            _ => object,
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
        let size_bytes = body.size_bytes();
        let stream = match body {
            PutBody::File { file, size_bytes } if size_bytes > self.limits.threshold_bytes => {
                return self.put_parts(key, file, size_bytes, options).await;
            }
            PutBody::File { file, size_bytes } => file_body(&Arc::new(file), 0, size_bytes),
            PutBody::Bytes(bytes) => ByteStream::from(bytes),
        };
        count(&self.counters.put);
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
            .config_override(upload_limit(size_bytes))
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
        self.get_object(key, None, if_match).boxed()
    }

    fn get_range<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: Range<u64>,
        if_match: &'a ETag,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.get_object(key, Some(range), Some(if_match)).boxed()
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
        async move {
            let etag = self.put_object(key, body, options).await?;
            self.written.note(key, Some(&etag), Instant::now());
            Ok(etag)
        }
        .boxed()
    }

    fn multipart(&self) -> Option<&dyn MultipartStore> {
        Some(self)
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.delete_object(key, if_match).await?;
            self.written.note(key, None, Instant::now());
            Ok(())
        }
        .boxed()
    }

    fn listen<'a>(
        &'a self,
        prefix: &'a str,
        ping: Duration,
    ) -> BoxFuture<'a, Result<EventBytes, StoreError>> {
        self.listen_to(prefix, ping).boxed()
    }

    fn takes_as_own(&self, key: &ObjectKey, etag: Option<&ETag>) -> bool {
        self.written.take(key, etag, Instant::now())
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

    fn bucket(&self) -> String {
        self.bucket.clone()
    }

    fn clock(&self) -> Option<SystemTime> {
        self.clock.now()
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

/// The `Range` header of a stretch that is not empty.
fn header(range: Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// The length of the whole object in `Content-Range: bytes 0-9/100`.
fn length_behind_range(header: &str) -> Option<u64> {
    header.rsplit_once('/')?.1.parse().ok()
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
    fn ranges_are_written_and_read_as_http_has_them() {
        assert_eq!(header(0..1), "bytes=0-0");
        assert_eq!(header(100..300), "bytes=100-299");
        assert_eq!(length_behind_range("bytes 0-9/100"), Some(100));
        assert_eq!(length_behind_range("bytes 0-9/*"), None);
    }

    #[test]
    fn listed_keys_are_form_decoded() {
        assert_eq!(
            decode_key("a%2Bb+c%252Fd/%F0%9F%98%80%0A"),
            "a+b c%2Fd/😀\n"
        );
    }
}

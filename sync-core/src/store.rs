//! The remote side: one trait that every object store fulfils, and the words for what stores do.
//!
//! Invariants for every implementation:
//! - a body is visible under its key as a whole or not at all
//! - [`PutMode`] is honoured if [`Capabilities::conditional_put`] says so, otherwise ignored
//! - an error is classified once, here ([`StoreErrorKind`]); callers never look at status codes

pub mod memory;
pub mod parts;
pub mod probe;
mod range;
mod read;
mod resume;
pub mod s3;
pub(crate) mod written;

use std::{
    fmt,
    ops::Range,
    time::{Duration, SystemTime},
};

use self::parts::MultipartStore;
pub(crate) use self::{range::cut, read::again_if_it_breaks_off};
pub use self::{
    read::read_whole,
    resume::{More, ObjectReader},
};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::{
    digest::{Digest, ETag},
    path::ObjectKey,
    report::RequestCounts,
};

/// An object store, as far as the engine needs one. Dropping a future cancels the request; a cancelled write may or may
/// not have happened.
pub trait ObjectStore: Send + Sync {
    /// One page of the listing of `prefix`, up to 1000 objects. `token` continues an earlier page.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>>;

    /// The object's content. With `if_match` only that version, else a precondition error.
    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>>;

    /// A stretch of the content of the version `if_match`; the information is that of the whole object. A store that
    /// can't read in the middle sends everything, and what is not asked for is dropped here.
    fn get_range<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: Range<u64>,
        if_match: &'a ETag,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        Box::pin(async move { Ok(cut(self.get(key, Some(if_match)).await?, range)) })
    }

    /// The object's metadata; `None` where there is no object.
    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>>;

    /// Writes an object and gives its new ETag.
    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>>;

    /// Uploads in parts, where the store takes them.
    fn multipart(&self) -> Option<&dyn MultipartStore> {
        None
    }

    /// Removes an object. An absent one is no error unless `if_match` is given.
    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Subscribes to the changes of objects below `prefix`. From the moment it returns no change is missed, until the
    /// stream of bytes ends or falls silent: [`crate::events`] knows what the bytes mean. The store is asked to send
    /// something at least that often.
    ///
    /// An error of kind [`StoreErrorKind::Other`] means that the store has no such stream, which is what stores do
    /// unless they say otherwise.
    fn listen<'a>(
        &'a self,
        prefix: &'a str,
        _ping: Duration,
    ) -> BoxFuture<'a, Result<EventBytes, StoreError>> {
        let message = "this store has no stream of events";
        let error = StoreError::new("LISTEN", prefix, StoreErrorKind::Other, message);
        Box::pin(std::future::ready(Err(error)))
    }

    /// True when this client itself made that change of `key` a moment ago (`etag` is that of the new version, `None`
    /// after a delete). Each write answers for one change only, so that somebody who writes the same again is seen.
    fn takes_as_own(&self, _key: &ObjectKey, _etag: Option<&ETag>) -> bool {
        false
    }

    /// Requests sent since the store was made.
    fn requests(&self) -> RequestCounts;

    /// What ties a baseline to this store: endpoint and bucket.
    fn identity(&self) -> String;

    /// What ties files to this store, whatever name it is reached by: the bucket.
    fn bucket(&self) -> String {
        self.identity()
    }

    /// What the store's own clock said in its latest answer; `None` where that isn't known.
    fn clock(&self) -> Option<SystemTime> {
        None
    }
}

/// The bytes of a stream of events, as the store sends them.
pub type EventBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// The objects in the store's order.
    pub objects: Vec<ListedObject>,
    /// Present when more pages follow.
    pub next: Option<String>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Full key as the store names it; not validated.
    pub key: String,
    /// Entity tag.
    pub etag: ETag,
    /// Size of the content.
    pub size_bytes: u64,
    /// When the object was written, by the store's clock.
    pub modified: Option<SystemTime>,
}

/// What a HEAD or the head of a GET tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Entity tag.
    pub etag: ETag,
    /// Size of the content.
    pub size_bytes: u64,
    /// When the object was written, by the store's clock.
    pub modified: Option<SystemTime>,
    /// User metadata, names in lower case without `x-amz-meta-`.
    pub metadata: Vec<(String, String)>,
}

impl ObjectInfo {
    /// The value of one piece of user metadata.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }
}

/// An object being read.
pub struct Object {
    /// What it is.
    pub info: ObjectInfo,
    /// Its content in pieces.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// The content of a write.
#[derive(Debug)]
pub enum PutBody {
    /// In memory.
    Bytes(Bytes),
    /// Read from an open file, from its beginning.
    File {
        /// The open file.
        file: std::fs::File,
        /// How much of it is the content.
        size_bytes: u64,
    },
}

impl PutBody {
    /// The same body once more; `None` where the file can't be had a second time.
    #[must_use]
    pub fn another(&self) -> Option<Self> {
        match self {
            Self::Bytes(bytes) => Some(Self::Bytes(bytes.clone())),
            Self::File { file, size_bytes } => Some(Self::File {
                file: file.try_clone().ok()?,
                size_bytes: *size_bytes,
            }),
        }
    }

    /// Size of the content.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size_bytes, .. } => *size_bytes,
        }
    }
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutMode {
    /// Nothing: whatever is there is replaced.
    Overwrite,
    /// There is no object (`If-None-Match: *`).
    Create,
    /// The object has this tag (`If-Match`).
    Update(ETag),
}

/// How to write.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// Precondition.
    pub mode: PutMode,
    /// SHA-256 of the body; the store rejects a body that differs.
    pub digest: Digest,
    /// User metadata to keep with the object.
    pub metadata: Vec<(String, String)>,
}

/// What a store does, as found by [`probe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `If-Match` and `If-None-Match` on PUT are honoured.
    pub conditional_put: Support,
    /// `If-Match` on DELETE is honoured.
    pub conditional_delete: Support,
}

/// Whether a store does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It ignores the request for it, or refuses it.
    No,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {key}: {}", self.explain())]
pub struct StoreError {
    /// What was tried, such as `PUT`.
    pub operation: &'static str,
    /// The key or prefix it was tried on.
    pub key: String,
    /// What class of failure it is.
    pub kind: StoreErrorKind,
    /// What the store said; empty when it said nothing.
    pub message: String,
    /// The cause below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a cause below it.
    #[must_use]
    pub fn new(
        operation: &'static str,
        key: &str,
        kind: StoreErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            key: key.to_owned(),
            kind,
            message: message.into(),
            source: None,
        }
    }

    fn explain(&self) -> String {
        let kind = match self.kind {
            StoreErrorKind::Unreachable => "the store can't be reached",
            StoreErrorKind::Unavailable { .. } => "the store is not available for the moment",
            StoreErrorKind::BadCredentials => "the store doesn't accept the credentials",
            StoreErrorKind::Denied => "access denied",
            StoreErrorKind::NoBucket => "the bucket doesn't exist",
            StoreErrorKind::NotFound => "no such object",
            StoreErrorKind::Precondition => "the object changed meanwhile",
            StoreErrorKind::Rejected => "the content changed while it was sent",
            StoreErrorKind::Other => "the store failed",
        };
        if self.message.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind} ({})", self.message)
        }
    }
}

/// Classes of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No connection, name not found, timeout: try again later.
    Unreachable,
    /// The store answers 5xx or asks to slow down: try again later.
    Unavailable {
        /// How long the store asked to wait.
        retry_after: Option<Duration>,
    },
    /// Unknown access key, wrong secret, expired token.
    BadCredentials,
    /// These credentials may not do this.
    Denied,
    /// The bucket doesn't exist.
    NoBucket,
    /// The object doesn't exist.
    NotFound,
    /// Somebody else was first: observe again and decide anew.
    Precondition,
    /// The body didn't have the announced digest: the file changed while it was read.
    Rejected,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    /// True when the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::Unreachable | Self::Unavailable { .. } => true,
            Self::BadCredentials
            | Self::Denied
            | Self::NoBucket
            | Self::NotFound
            | Self::Precondition
            | Self::Rejected
            | Self::Other => false,
        }
    }

    /// True when nothing can be done with this store at all until something changes.
    #[must_use]
    pub fn is_fatal(self) -> bool {
        match self {
            Self::Unreachable | Self::BadCredentials | Self::NoBucket => true,
            Self::Unavailable { .. }
            | Self::Denied
            | Self::NotFound
            | Self::Precondition
            | Self::Rejected
            | Self::Other => false,
        }
    }
}

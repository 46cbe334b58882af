//! A store that lists a tree without holding it, and counts what it is asked.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use sync_core::{
    digest::{ContentHasher, ETag},
    order::KeyOrder,
    path::ObjectKey,
    report::RequestCounts,
    store::{
        ListPage, ListedObject, Object, ObjectInfo, ObjectStore, PutBody, PutOptions, StoreError,
        StoreErrorKind,
    },
};

use super::shape::Shape;

/// The content of every file.
pub(crate) const CONTENT: &[u8] = b"The same few bytes in every file.\n";
pub(crate) const PREFIX: &str = "agents/alice/";
pub(crate) const PAGE_OBJECTS: u64 = 1000;

/// The order that a store lists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    Bytes,
    Tree,
    /// In no order at all.
    Shuffled,
}

impl Listing {
    pub(crate) const ALL: [Self; 3] = [Self::Bytes, Self::Tree, Self::Shuffled];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Tree => "tree",
            Self::Shuffled => "shuffled",
        }
    }
}

/// Holds the objects of a tree under [`PREFIX`].
pub(crate) struct SimulatedStore {
    shape: Shape,
    listing: Listing,
    objects: u64,
    info: ObjectInfo,
    list: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    write: AtomicU64,
}

/// The tag of every object.
pub(crate) fn tag() -> ETag {
    let mut hasher = ContentHasher::default();
    hasher.update(CONTENT);
    ETag::new(&hasher.finish().md5_hex)
}

impl SimulatedStore {
    pub(crate) fn new(shape: Shape, listing: Listing, objects: u64) -> Self {
        let info = ObjectInfo {
            etag: tag(),
            modified: Some(SystemTime::UNIX_EPOCH),
            size_bytes: CONTENT.len() as u64,
            metadata: Vec::new(),
        };
        Self {
            shape,
            listing,
            objects,
            info,
            list: AtomicU64::new(0),
            get: AtomicU64::new(0),
            head: AtomicU64::new(0),
            write: AtomicU64::new(0),
        }
    }

    fn key(&self, place: u64) -> String {
        let path = match self.listing {
            Listing::Bytes => self.shape.path(KeyOrder::Bytes, place),
            Listing::Tree => self.shape.path(KeyOrder::Tree, place),
            Listing::Shuffled => {
                let place = (place * coprime(self.objects) + 1) % self.objects;
                self.shape.path(KeyOrder::Bytes, place)
            }
        };
        format!("{PREFIX}{path}")
    }

    fn page(&self, token: Option<&str>) -> ListPage {
        self.list.fetch_add(1, Ordering::Relaxed);
        let first: u64 = token.map_or(0, |token| token.parse().unwrap_or(u64::MAX));
        let end = self.objects.min(first.saturating_add(PAGE_OBJECTS));
        let objects = (first..end).map(|place| ListedObject {
            key: self.key(place),
            etag: self.info.etag.clone(),
            modified: Some(SystemTime::UNIX_EPOCH),
            size_bytes: self.info.size_bytes,
        });
        ListPage {
            objects: objects.collect(),
            next: (end < self.objects).then(|| end.to_string()),
        }
    }

    fn refuse<T>(&self, operation: &'static str, key: &ObjectKey) -> Result<T, StoreError> {
        self.write.fetch_add(1, Ordering::Relaxed);
        let kind = StoreErrorKind::Other;
        Err(StoreError::new(operation, key.as_str(), kind, "only read"))
    }
}

/// A number by which all places are met once when counting in steps of it.
fn coprime(objects: u64) -> u64 {
    let divides = |mut left: u64, mut right: u64| {
        while right > 0 {
            (left, right) = (right, left % right);
        }
        left
    };
    (7_368_787..8_000_000)
        .find(|step| divides(*step, objects) == 1)
        .unwrap_or(1)
}

impl ObjectStore for SimulatedStore {
    fn list<'a>(
        &'a self,
        _prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        async move { Ok(self.page(token)) }.boxed()
    }

    fn get<'a>(
        &'a self,
        _key: &'a ObjectKey,
        _if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.get.fetch_add(1, Ordering::Relaxed);
        let body = futures_util::stream::iter([Ok(Bytes::from_static(CONTENT))]).boxed();
        let info = self.info.clone();
        async move { Ok(Object { info, body }) }.boxed()
    }

    fn head<'a>(
        &'a self,
        _key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.head.fetch_add(1, Ordering::Relaxed);
        async move { Ok(Some(self.info.clone())) }.boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        _body: PutBody,
        _options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move { self.refuse("PUT", key) }.boxed()
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        _if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.refuse("DELETE", key) }.boxed()
    }

    fn requests(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            list: read(&self.list),
            get: read(&self.get),
            put: read(&self.write),
            head: read(&self.head),
            delete: 0,
        }
    }

    fn identity(&self) -> String {
        "simulated".to_owned()
    }
}

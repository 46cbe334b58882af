//! A store in memory, for tests of the engine and of programs that embed it.
//!
//! Behaves like AWS: conditional writes are atomic, listings come in byte order, digests are checked. Never shared
//! between processes and never durable.

mod parts;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

use super::{
    ListPage, ListedObject, Object, ObjectInfo, ObjectStore, PutBody, PutMode, PutOptions,
    StoreError, StoreErrorKind,
    parts::{MultipartStore, PartLimits},
};
use crate::{
    digest::{ContentHasher, ETag},
    path::ObjectKey,
    report::RequestCounts,
};

/// Objects of one page of a listing.
const PAGE_OBJECTS: usize = 1000;

/// An empty bucket when made.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Stored>>,
    /// What was deleted last under each key.
    deleted: Mutex<BTreeMap<String, Stored>>,
    /// Uploads in parts, by id; none are taken without limits.
    uploads: Mutex<BTreeMap<String, parts::Upload>>,
    limits: Option<PartLimits>,
    list: AtomicU64,
    get: AtomicU64,
    put: AtomicU64,
    head: AtomicU64,
    delete: AtomicU64,
}

#[derive(Debug, Clone)]
struct Stored {
    content: Bytes,
    info: ObjectInfo,
}

impl MemoryStore {
    /// An empty bucket.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes an object as somebody else would.
    pub fn insert(&self, key: &str, content: impl Into<Bytes>) {
        self.insert_with_metadata(key, content, &[]);
    }

    /// The same with user metadata.
    pub fn insert_with_metadata(
        &self,
        key: &str,
        content: impl Into<Bytes>,
        metadata: &[(&str, &str)],
    ) {
        let content = content.into();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let stored = Stored {
            info: info(&content, metadata.iter().map(owned).collect()),
            content,
        };
        self.objects().insert(key.to_owned(), stored);
    }

    /// Removes an object as somebody else would.
    pub fn remove(&self, key: &str) {
        let stored = self.objects().remove(key);
        self.bury(key, stored);
    }

    /// Shows the version that was deleted last once more, as a replica that lags does.
    pub fn echo(&self, key: &str) {
        let stored = self.deleted().remove(key);
        self.objects()
            .extend(stored.map(|stored| (key.to_owned(), stored)));
    }

    fn bury(&self, key: &str, stored: Option<Stored>) {
        self.deleted()
            .extend(stored.map(|stored| (key.to_owned(), stored)));
    }

    fn deleted(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content under a key.
    #[must_use]
    pub fn content(&self, key: &str) -> Option<Bytes> {
        self.objects().get(key).map(|stored| stored.content.clone())
    }

    /// One piece of the user metadata under a key.
    #[must_use]
    pub fn metadata(&self, key: &str, name: &str) -> Option<String> {
        let objects = self.objects();
        objects.get(key)?.info.metadata(name).map(str::to_owned)
    }

    /// All keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    fn count_put(&self) {
        self.put.fetch_add(1, Ordering::Relaxed);
    }

    fn count_delete(&self) {
        self.delete.fetch_add(1, Ordering::Relaxed);
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Stored>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_page(&self, prefix: &str, token: Option<&str>) -> ListPage {
        self.list.fetch_add(1, Ordering::Relaxed);
        let objects = self.objects();
        let after = token.unwrap_or_default();
        let mut matching = objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| key.as_str() > after)
            .map(|(key, stored)| ListedObject {
                key: key.clone(),
                etag: stored.info.etag.clone(),
                size_bytes: stored.info.size_bytes,
                modified: stored.info.modified,
            });
        let page: Vec<_> = matching.by_ref().take(PAGE_OBJECTS).collect();
        let next = matching
            .next()
            .and_then(|_| page.last().map(|object| object.key.clone()));
        ListPage {
            objects: page,
            next,
        }
    }

    fn get_object(&self, key: &ObjectKey, if_match: Option<&ETag>) -> Result<Object, StoreError> {
        self.get.fetch_add(1, Ordering::Relaxed);
        let stored = self.objects().get(key.as_str()).cloned();
        let stored = stored
            .ok_or_else(|| StoreError::new("GET", key.as_str(), StoreErrorKind::NotFound, ""))?;
        check("GET", key, if_match, Some(&stored))?;
        let body = futures_util::stream::iter([Ok(stored.content)]).boxed();
        Ok(Object {
            info: stored.info,
            body,
        })
    }

    fn put_object(
        &self,
        key: &ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> Result<ETag, StoreError> {
        self.count_put();
        let content = read(key, body)?;
        let mut hasher = ContentHasher::default();
        hasher.update(&content);
        if hasher.finish().digest != options.digest {
            return Err(StoreError::new(
                "PUT",
                key.as_str(),
                StoreErrorKind::Rejected,
                "",
            ));
        }
        let mut objects = self.objects();
        let found = objects.get(key.as_str());
        check_mode(key, &options.mode, found)?;
        let stored = Stored {
            info: info(&content, options.metadata),
            content,
        };
        let etag = stored.info.etag.clone();
        objects.insert(key.as_str().to_owned(), stored);
        Ok(etag)
    }

    fn delete_object(&self, key: &ObjectKey, if_match: Option<&ETag>) -> Result<(), StoreError> {
        self.count_delete();
        let mut objects = self.objects();
        check("DELETE", key, if_match, objects.get(key.as_str()))?;
        let stored = objects.remove(key.as_str());
        drop(objects);
        self.bury(key.as_str(), stored);
        Ok(())
    }
}

/// What a write of this mode meets.
fn check_mode(key: &ObjectKey, mode: &PutMode, found: Option<&Stored>) -> Result<(), StoreError> {
    match mode {
        PutMode::Overwrite => Ok(()),
        PutMode::Create if found.is_none() => Ok(()),
        PutMode::Create => Err(StoreError::new(
            "PUT",
            key.as_str(),
            StoreErrorKind::Precondition,
            "",
        )),
        PutMode::Update(etag) => check("PUT", key, Some(etag), found),
    }
}

fn check(
    operation: &'static str,
    key: &ObjectKey,
    if_match: Option<&ETag>,
    found: Option<&Stored>,
) -> Result<(), StoreError> {
    match if_match {
        Some(expected) if found.is_none_or(|stored| stored.info.etag != *expected) => Err(
            StoreError::new(operation, key.as_str(), StoreErrorKind::Precondition, ""),
        ),
        _ => Ok(()),
    }
}

fn info(content: &Bytes, metadata: Vec<(String, String)>) -> ObjectInfo {
    let mut hasher = ContentHasher::default();
    hasher.update(content);
    let etag = ETag::new(&hasher.finish().md5_hex);
    ObjectInfo {
        etag,
        size_bytes: content.len() as u64,
        modified: Some(SystemTime::now()),
        metadata,
    }
}

fn read(key: &ObjectKey, body: PutBody) -> Result<Bytes, StoreError> {
    match body {
        PutBody::Bytes(bytes) => Ok(bytes),
        PutBody::File { file, size_bytes } => {
            use std::os::unix::fs::FileExt as _;
            let mut content = vec![0; usize::try_from(size_bytes).unwrap_or(0)];
            file.read_exact_at(&mut content, 0).map_err(|error| {
                StoreError::new(
                    "PUT",
                    key.as_str(),
                    StoreErrorKind::Rejected,
                    error.to_string(),
                )
            })?;
            Ok(content.into())
        }
    }
}

impl ObjectStore for MemoryStore {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        async move { Ok(self.list_page(prefix, token)) }.boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        async move { self.get_object(key, if_match) }.boxed()
    }

    fn multipart(&self) -> Option<&dyn MultipartStore> {
        self.limits.is_some().then_some(self as &dyn MultipartStore)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.head.fetch_add(1, Ordering::Relaxed);
        async move {
            Ok(self
                .objects()
                .get(key.as_str())
                .map(|stored| stored.info.clone()))
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move { self.put_object(key, body, options) }.boxed()
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.delete_object(key, if_match) }.boxed()
    }

    fn requests(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            list: read(&self.list),
            get: read(&self.get),
            put: read(&self.put),
            head: read(&self.head),
            delete: read(&self.delete),
        }
    }

    fn identity(&self) -> String {
        "memory".to_owned()
    }

    fn clock(&self) -> Option<SystemTime> {
        Some(SystemTime::now())
    }
}

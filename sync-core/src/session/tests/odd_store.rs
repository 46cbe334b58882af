//! A store in memory whose listings are what a test makes of them.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{FutureExt as _, future::BoxFuture};

use crate::{
    digest::ETag,
    order::KeyOrder,
    path::ObjectKey,
    report::RequestCounts,
    store::{
        ListPage, ListedObject, Object, ObjectInfo, ObjectStore, PutBody, PutOptions, StoreError,
        StoreErrorKind, memory::MemoryStore,
    },
};

/// What becomes of a listing.
pub(super) type Arrange = fn(Vec<ListedObject>) -> Vec<ListedObject>;

pub(super) struct OddStore {
    pub(super) inner: MemoryStore,
    pub(super) page_objects: usize,
    arrange: Mutex<Arrange>,
    lists: AtomicU64,
    /// The token that every page but the last has, if it is always the same.
    pub(super) stuck_token: Option<&'static str>,
    /// Paths whose objects can't be read.
    pub(super) unreadable: Mutex<Vec<&'static str>>,
}

pub(super) fn bytes(objects: Vec<ListedObject>) -> Vec<ListedObject> {
    objects
}

pub(super) fn tree(mut objects: Vec<ListedObject>) -> Vec<ListedObject> {
    objects.sort_by(|left, right| KeyOrder::Tree.compare(&left.key, &right.key));
    objects
}

pub(super) fn shuffled(mut objects: Vec<ListedObject>) -> Vec<ListedObject> {
    objects.sort_by_key(|object| object.key.chars().rev().collect::<String>());
    objects
}

impl OddStore {
    pub(super) fn new(arrange: Arrange, page_objects: usize) -> Self {
        Self {
            inner: MemoryStore::new(),
            page_objects,
            arrange: Mutex::new(arrange),
            lists: AtomicU64::new(0),
            stuck_token: None,
            unreadable: Mutex::default(),
        }
    }

    pub(super) fn arrange(&self, arrange: Arrange) {
        *self.arrange.lock().unwrap() = arrange;
    }

    /// Writes objects below the mount's prefix.
    pub(super) fn insert(&self, paths: &[&str]) {
        for path in paths {
            self.inner
                .insert(&format!("agents/a/{path}"), (*path).to_owned());
        }
    }

    async fn all(&self, prefix: &str) -> Vec<ListedObject> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let page = self.inner.list(prefix, token.as_deref()).await.unwrap();
            objects.extend(page.objects);
            token = page.next;
            if token.is_none() {
                return objects;
            }
        }
    }
}

impl ObjectStore for OddStore {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        async move {
            self.lists.fetch_add(1, Ordering::Relaxed);
            let arrange = *self.arrange.lock().unwrap();
            let objects = arrange(self.all(prefix).await);
            let first = token.and_then(|token| token.parse().ok()).unwrap_or(0);
            let end = objects.len().min(first + self.page_objects);
            let next = (end < objects.len()).then(|| {
                self.stuck_token
                    .map_or_else(|| end.to_string(), str::to_owned)
            });
            Ok(ListPage {
                objects: objects[first..end].to_vec(),
                next,
            })
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        let unreadable = self.unreadable.lock().unwrap();
        let refused = unreadable
            .iter()
            .any(|path| key.as_str() == format!("agents/a/{path}"));
        drop(unreadable);
        if refused {
            let error = StoreError::new("GET", key.as_str(), StoreErrorKind::Denied, "no");
            return async move { Err(error) }.boxed();
        }
        self.inner.get(key, if_match)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.inner.head(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.inner.put(key, body, options)
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.delete(key, if_match)
    }

    fn requests(&self) -> RequestCounts {
        RequestCounts {
            list: self.lists.load(Ordering::Relaxed),
            ..self.inner.requests()
        }
    }

    fn identity(&self) -> String {
        "odd".to_owned()
    }
}

//! A store that does what no real store will do on demand: it lists any key in any order, or only half.
//!
//! It keeps objects in memory, takes any credentials and any bucket name, and obeys `If-Match` and `If-None-Match` on
//! writes and deletes. Its `ETag`s are no MD5 sums, as with encrypted objects.

mod answer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::BodyExt;

use crate::bucket::Bucket;
use crate::http::Serving;
use crate::store::{ACCESS_KEY, SECRET_KEY};

/// Name of the only bucket.
pub const BUCKET: &str = "fake";

/// A running fake; ends when dropped.
pub struct FakeStore {
    serving: Serving,
    state: Arc<Mutex<State>>,
}

/// How listings go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listing {
    /// As they should.
    #[default]
    Whole,
    /// Every page after this many is answered with 500.
    FailsAfter(usize),
    /// The first page says that there is no more, and that it is truncated, in one breath.
    LosesItsToken,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of listings.
    objects: Vec<Object>,
    listing: Listing,
    page_size: usize,
    writes: u64,
}

#[derive(Debug, Clone)]
struct Object {
    key: String,
    content: Bytes,
    etag: String,
}

impl FakeStore {
    /// Starts an empty store with pages of 1000 keys.
    pub async fn start() -> Result<Self> {
        let state = Arc::new(Mutex::new(State {
            page_size: 1000,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let serving = Serving::start(move |request| {
            let state = Arc::clone(&shared);
            async move {
                let (parts, body) = request.into_parts();
                let body = body
                    .collect()
                    .await
                    .map(http_body_util::Collected::to_bytes)
                    .unwrap_or_default();
                lock(&state).answer(&parts, &body)
            }
        })
        .await?;
        Ok(Self { serving, state })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.serving.url()
    }

    /// Its bucket.
    #[must_use]
    pub fn bucket(&self) -> Bucket {
        Bucket::new(&self.endpoint(), BUCKET, ACCESS_KEY, SECRET_KEY)
    }

    /// Puts an object at the end of listings, whatever its key.
    pub fn insert(&self, key: &str, content: &str) {
        lock(&self.state).insert(key, Bytes::from(content.to_owned()));
    }

    /// Changes how listings go.
    pub fn set_listing(&self, listing: Listing) {
        lock(&self.state).listing = listing;
    }

    /// Changes the number of keys on a page.
    pub fn set_page_size(&self, keys: usize) {
        lock(&self.state).page_size = keys;
    }

    /// All keys, in the order of listings.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        lock(&self.state)
            .objects
            .iter()
            .map(|object| object.key.clone())
            .collect()
    }
}

impl State {
    fn insert(&mut self, key: &str, content: Bytes) -> String {
        self.writes += 1;
        // The form of a multipart upload's ETag, which nobody takes for an MD5.
        let etag = format!("\"{:032x}-2\"", self.writes);
        let object = Object {
            key: key.to_owned(),
            content,
            etag: etag.clone(),
        };
        match self.objects.iter_mut().find(|existing| existing.key == key) {
            Some(existing) => *existing = object,
            None => self.objects.push(object),
        }
        etag
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

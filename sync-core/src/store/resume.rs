//! Reading one version of an object, whole or in part, over connections that may break.
//!
//! What arrived is never asked for again. Every answer must be of the version that was asked for.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};

use super::{Object, ObjectInfo, ObjectStore, StoreError, StoreErrorKind};
use crate::{backoff::Backoff, digest::ETag, path::ObjectKey};

/// How often in a row it is asked without getting on by [`PROGRESS_BYTES`], and the waits in between.
const ATTEMPTS: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(1);
const PROGRESS_BYTES: u64 = 1024 * 1024;

/// A version being read. Dropping it ends the request.
pub struct ObjectReader<'a> {
    store: &'a dyn ObjectStore,
    key: &'a ObjectKey,
    etag: &'a ETag,
    stretch: Stretch,
    /// Where the next byte lies in the object.
    position: u64,
    answer: Option<BoxStream<'static, Result<Bytes, StoreError>>>,
    failures: usize,
    progress_bytes: u64,
    backoff: Backoff,
}

#[derive(Debug, Clone)]
enum Stretch {
    /// Everything; how much that is the first answer tells.
    Whole {
        size_bytes: Option<u64>,
    },
    Part(Range<u64>),
}

/// Whether there is more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// There may be.
    Yes,
    /// All of it was read.
    No,
}

impl<'a> ObjectReader<'a> {
    /// Reads all of the version `etag`. Sends nothing yet.
    #[must_use]
    pub fn whole(store: &'a dyn ObjectStore, key: &'a ObjectKey, etag: &'a ETag) -> Self {
        Self::new(store, key, etag, Stretch::Whole { size_bytes: None })
    }

    /// Reads a stretch of the version `etag`, which must lie within it. Sends nothing yet.
    #[must_use]
    pub fn part(
        store: &'a dyn ObjectStore,
        key: &'a ObjectKey,
        etag: &'a ETag,
        range: Range<u64>,
    ) -> Self {
        Self::new(store, key, etag, Stretch::Part(range))
    }

    fn new(
        store: &'a dyn ObjectStore,
        key: &'a ObjectKey,
        etag: &'a ETag,
        stretch: Stretch,
    ) -> Self {
        let position = match &stretch {
            Stretch::Whole { .. } => 0,
            Stretch::Part(range) => range.start,
        };
        Self {
            store,
            key,
            etag,
            stretch,
            position,
            answer: None,
            failures: 0,
            progress_bytes: 0,
            backoff: Backoff::new(FIRST_WAIT, LAST_WAIT),
        }
    }

    /// What the object is. To be called first, and once.
    pub async fn open(&mut self) -> Result<ObjectInfo, StoreError> {
        loop {
            match self.ask().await {
                Err(error) => self.after(error).await?,
                found => return found,
            }
        }
    }

    /// Appends pieces until there are `wanted_bytes` more of them, or all.
    pub async fn read(
        &mut self,
        pieces: &mut Vec<Bytes>,
        wanted_bytes: usize,
    ) -> Result<More, StoreError> {
        let mut gathered = 0;
        while gathered < wanted_bytes {
            match self.piece().await {
                Ok(None) => return Ok(More::No),
                Ok(Some(piece)) => {
                    gathered += piece.len();
                    pieces.push(piece);
                }
                Err(error) => self.after(error).await?,
            }
        }
        Ok(More::Yes)
    }

    fn end(&self) -> Option<u64> {
        match &self.stretch {
            Stretch::Whole { size_bytes } => *size_bytes,
            Stretch::Part(range) => Some(range.end),
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.end().is_some_and(|end| self.position >= end) {
            return Ok(None);
        }
        if self.answer.is_none() {
            self.ask().await?;
        }
        let piece = match &mut self.answer {
            Some(answer) => answer.next().await,
            None => None,
        };
        match piece {
            Some(Ok(piece)) => self.take(piece).map(Some),
            Some(Err(error)) => {
                self.answer = None;
                Err(error)
            }
            None => {
                self.answer = None;
                let kind = StoreErrorKind::Unavailable { retry_after: None };
                Err(self.error(kind, "the answer was cut short"))
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes, StoreError> {
        let length = piece.len() as u64;
        if self.end().is_some_and(|end| self.position + length > end) {
            return Err(self.error(StoreErrorKind::Other, "the answer is longer than announced"));
        }
        self.position += length;
        self.progress_bytes += length;
        if self.progress_bytes >= PROGRESS_BYTES {
            self.failures = 0;
            self.backoff.reset();
        }
        Ok(piece)
    }

    /// Asks for what is left.
    async fn ask(&mut self) -> Result<ObjectInfo, StoreError> {
        let Object { info, body } = match (&self.stretch, self.end()) {
            (Stretch::Whole { .. }, None) => self.store.get(self.key, Some(self.etag)).await?,
            // It was opened, so the end is known.
            (_, end) => {
                let range = self.position..end.unwrap_or(self.position);
                self.store.get_range(self.key, range, self.etag).await?
            }
        };
        // A store that takes no notice of the precondition may answer with another version.
        if !info.etag.as_str().is_empty() && info.etag != *self.etag {
            return Err(self.error(StoreErrorKind::Precondition, ""));
        }
        if let Stretch::Whole { size_bytes } = &mut self.stretch {
            *size_bytes = Some(info.size_bytes);
        }
        self.answer = Some(body);
        Ok(info)
    }

    /// Waits before the next attempt, or gives the error back.
    async fn after(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.progress_bytes = 0;
        self.failures += 1;
        let passing = matches!(error.kind, StoreErrorKind::Unavailable { .. });
        if !passing || self.failures >= ATTEMPTS {
            return Err(error);
        }
        tracing::debug!(key = %self.key, position = self.position, %error, "asking for the rest");
        tokio::time::sleep(self.backoff.next(fastrand::f64())).await;
        Ok(())
    }

    fn error(&self, kind: StoreErrorKind, message: &str) -> StoreError {
        StoreError::new("GET", self.key.as_str(), kind, message)
    }
}

impl std::fmt::Debug for ObjectReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader")
            .field("key", self.key)
            .field("stretch", &self.stretch)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! One upload in parts, from the first part to the object.
//!
//! Theory of operation: the content was hashed before, whole and part by part, in one reading of a file that stood still.
//! Each part is sent with its digest and the store rejects one that differs, so whatever is completed is exactly what was
//! hashed, even where the file changed meanwhile. What arrived is remembered; a later run of the same content sends only
//! the rest. Dropping a future leaves the upload as it is, remembered.
//!
//! RACE: a process that ends between the answer to the first request and the note of it leaves an upload without parts
//! that nobody remembers. It takes no space, and the store's lifecycle rules remove it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    sync::Arc,
};

use futures_util::StreamExt as _;
use tokio::sync::Semaphore;

use super::{MultipartStore, Part, SentPart, StoredPart, UploadId};
use crate::{
    digest::{ETag, PartedDigest},
    failpoint::Point,
    path::ObjectKey,
    store::{PutMode, StoreError, StoreErrorKind, again_if_it_breaks_off},
};

/// What is remembered of the upload of one file between runs. Nothing here may fail an upload: what can't be remembered
/// is sent again.
pub trait UploadJournal: Send + Sync {
    /// The upload of this very content that was begun and not completed.
    fn begun(&self) -> Option<BegunUpload>;
    /// An upload was begun.
    fn open(&self, upload: &UploadId);
    /// A part arrived.
    fn sent(&self, number: u32, etag: &ETag);
    /// What becomes of an upload that failed.
    fn fate(&self, kind: StoreErrorKind) -> UploadFate;
    /// The upload is no more: completed, aborted, or gone from the store.
    fn close(&self);
    /// A moment at which a test may end the process was reached.
    fn reached(&self, point: Point);
}

/// An upload begun earlier.
#[derive(Debug, Clone)]
pub struct BegunUpload {
    /// The store's name of it.
    pub id: UploadId,
    /// Tags of the parts that arrived.
    pub parts: BTreeMap<u32, ETag>,
}

/// What becomes of an upload that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadFate {
    /// It stays, to be resumed.
    Kept,
    /// It is aborted, so that its parts take no space.
    Aborted,
}

/// Remembers nothing: an upload that fails is aborted.
#[derive(Debug, Clone, Copy)]
pub struct WithoutJournal;

impl UploadJournal for WithoutJournal {
    fn begun(&self) -> Option<BegunUpload> {
        None
    }

    fn open(&self, _: &UploadId) {}

    fn sent(&self, _: u32, _: &ETag) {}

    fn fate(&self, _: StoreErrorKind) -> UploadFate {
        UploadFate::Aborted
    }

    fn close(&self) {}

    fn reached(&self, _: Point) {}
}

/// An object on its way up.
pub struct PartedUpload<'a> {
    /// Where to.
    pub store: &'a dyn MultipartStore,
    /// Under what key.
    pub key: &'a ObjectKey,
    /// The content.
    pub file: Arc<File>,
    /// What the content was when it was hashed.
    pub content: &'a PartedDigest,
    /// User metadata of the object.
    pub metadata: &'a [(String, String)],
    /// One for each request that may be under way, shared with all other transfers.
    pub permits: &'a Semaphore,
    /// Parts that wait for a permit at most.
    pub at_once: usize,
    /// What is remembered.
    pub journal: &'a dyn UploadJournal,
    /// Is told the bytes of each part that arrived.
    pub progress: &'a (dyn Fn(u64) + Send + Sync),
}

/// An upload of which all parts have arrived.
#[derive(Debug)]
pub struct SentUpload {
    id: UploadId,
    parts: Vec<SentPart>,
}

impl PartedUpload<'_> {
    /// Sends every part that the store doesn't have yet.
    pub async fn send(&self) -> Result<SentUpload, StoreError> {
        let (id, mut parts) = match self.resume().await? {
            Some(resumed) => resumed,
            None => (self.begin().await?, Vec::new()),
        };
        let arrived: BTreeSet<_> = parts.iter().map(|part| part.number).collect();
        let failed = {
            let missing = self
                .parts()
                .filter(|part| !arrived.contains(&part.number))
                .map(|part| self.send_one(&id, part));
            let sending = futures_util::stream::iter(missing);
            let mut sending = std::pin::pin!(sending.buffer_unordered(self.at_once.max(1)));
            loop {
                match sending.next().await {
                    Some(Ok(part)) => parts.push(part),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            }
        };
        if let Some(error) = failed {
            return Err(self.after_failure(&id, error).await);
        }
        self.journal.reached(Point::PartsSent);
        parts.sort_unstable_by_key(|part| part.number);
        Ok(SentUpload { id, parts })
    }

    /// Makes the parts an object, if `mode` allows it.
    pub async fn complete(&self, sent: &SentUpload, mode: &PutMode) -> Result<ETag, StoreError> {
        let completed = self
            .store
            .complete_upload(self.key, &sent.id, &sent.parts, mode)
            .await;
        match completed {
            Ok(etag) => {
                self.journal.reached(Point::MultipartCompleted);
                self.journal.close();
                Ok(etag)
            }
            // Expired, or completed by a request whose answer got lost: a look at the object tells.
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                self.journal.close();
                Err(StoreError {
                    kind: StoreErrorKind::Precondition,
                    ..error
                })
            }
            Err(error) => Err(self.after_failure(&sent.id, error).await),
        }
    }

    fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        (0_u64..).zip(&self.content.parts).map(|(index, digest)| {
            let (offset, size_bytes) = self.content.extent(index);
            Part {
                number: number(index),
                file: self.file.clone(),
                offset,
                size_bytes,
                digest: *digest,
            }
        })
    }

    async fn begin(&self) -> Result<UploadId, StoreError> {
        let id = self.store.begin_upload(self.key, self.metadata).await?;
        self.journal.reached(Point::MultipartCreated);
        self.journal.open(&id);
        Ok(id)
    }

    /// The upload that an earlier run began, with the parts of it that are there and hold what they are to hold.
    async fn resume(&self) -> Result<Option<(UploadId, Vec<SentPart>)>, StoreError> {
        let Some(begun) = self.journal.begun() else {
            return Ok(None);
        };
        let usable = match self.store.list_parts(self.key, &begun.id).await {
            Ok(stored) => {
                let stored: BTreeMap<_, _> =
                    stored.iter().map(|part| (part.number, part)).collect();
                let parts = self.parts();
                parts
                    .filter_map(|part| {
                        let found = stored.get(&part.number)?;
                        holds(found, &part, &begun).then(|| sent(&part, found.etag.clone()))
                    })
                    .collect::<Vec<_>>()
            }
            Err(error) if error.kind == StoreErrorKind::NotFound => {
                self.journal.close();
                return Ok(None);
            }
            // Listing may be forbidden where writing is not. Completing checks the tags anyway.
            Err(error) if matches!(error.kind, StoreErrorKind::Denied | StoreErrorKind::Other) => {
                let parts = self.parts();
                parts
                    .filter_map(|part| Some(sent(&part, begun.parts.get(&part.number)?.clone())))
                    .collect()
            }
            Err(error) => return Err(error),
        };
        tracing::info!(
            key = %self.key,
            parts = usable.len(),
            of = self.content.parts.len(),
            "going on with an upload that was begun earlier"
        );
        Ok(Some((begun.id, usable)))
    }

    async fn send_one(&self, id: &UploadId, part: Part) -> Result<SentPart, StoreError> {
        // Closed never: the semaphore has no owner that would do so.
        let _permit = self.permits.acquire().await.ok();
        let send = || self.store.send_part(self.key, id, part.clone());
        let etag = again_if_it_breaks_off(send, |error| error.kind).await?;
        self.journal.reached(Point::PartSent);
        self.journal.sent(part.number, &etag);
        (self.progress)(part.size_bytes);
        Ok(sent(&part, etag))
    }

    /// Keeps or aborts an upload that failed, and gives the failure.
    async fn after_failure(&self, id: &UploadId, mut error: StoreError) -> StoreError {
        if error.kind == StoreErrorKind::NotFound {
            // The store lost the upload; the next attempt begins another one.
            self.journal.close();
            error.kind = StoreErrorKind::Unavailable { retry_after: None };
            return error;
        }
        if self.journal.fate(error.kind) == UploadFate::Aborted {
            match self.store.abort_upload(self.key, id).await {
                Ok(()) => self.journal.close(),
                Err(error) => {
                    tracing::warn!(key = %self.key, %error, "an upload can't be aborted for now; its parts take space until it is");
                }
            }
        }
        error
    }
}

/// Whether a stored part is proven to hold what `part` holds: by its digest where the store lists it, else by the tag
/// that it had when it arrived.
fn holds(stored: &StoredPart, part: &Part, begun: &BegunUpload) -> bool {
    let proven = match &stored.digest {
        Some(digest) => *digest == part.digest,
        None => begun.parts.get(&part.number) == Some(&stored.etag),
    };
    proven && stored.size_bytes == part.size_bytes
}

fn sent(part: &Part, etag: ETag) -> SentPart {
    SentPart {
        number: part.number,
        etag,
        digest: part.digest,
    }
}

/// Parts are counted from 1 on. There are 10,000 at most.
fn number(index: u64) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

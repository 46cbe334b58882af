//! Uploads in parts to a store in memory that fails on request.

use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;

use super::*;
use crate::{
    digest::PartedHasher,
    store::{
        memory::MemoryStore,
        parts::{PartLimits, UploadFate},
    },
};

const LIMITS: PartLimits = PartLimits {
    threshold_bytes: 0,
    part_bytes: 8,
    most_parts: 1000,
    step_bytes: 1,
};
const BROKEN: StoreErrorKind = StoreErrorKind::Unreachable;

/// A store that fails where it is told to, and counts.
struct Scripted {
    memory: MemoryStore,
    broken_part: Option<u32>,
    broken_listing: Option<StoreErrorKind>,
    sent: AtomicUsize,
}

impl Scripted {
    fn new() -> Self {
        Self {
            memory: MemoryStore::with_parts(LIMITS),
            broken_part: None,
            broken_listing: None,
            sent: AtomicUsize::new(0),
        }
    }

    /// Parts sent since the last question.
    fn sent(&self) -> usize {
        self.sent.swap(0, Ordering::Relaxed)
    }

    fn content(&self) -> Option<Vec<u8>> {
        self.memory.content("k").map(|content| content.to_vec())
    }
}

impl MultipartStore for Scripted {
    fn part_limits(&self) -> PartLimits {
        LIMITS
    }

    fn begin_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        metadata: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<UploadId, StoreError>> {
        self.memory.begin_upload(key, metadata)
    }

    fn send_part<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        part: Part,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        if self.broken_part == Some(part.number) {
            return Box::pin(async { Err(StoreError::new("SEND PART", "k", BROKEN, "")) });
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.memory.send_part(key, upload, part)
    }

    fn list_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>, StoreError>> {
        if let Some(kind) = self.broken_listing {
            return Box::pin(async move { Err(StoreError::new("LIST PARTS", "k", kind, "")) });
        }
        self.memory.list_parts(key, upload)
    }

    fn complete_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        parts: &'a [SentPart],
        mode: &'a PutMode,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.memory.complete_upload(key, upload, parts, mode)
    }

    fn abort_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.memory.abort_upload(key, upload)
    }
}

/// Remembers one upload, and keeps it through every failure but a changed file.
#[derive(Default)]
struct Memory(Mutex<Option<BegunUpload>>);

impl Memory {
    fn holds(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }
}

impl UploadJournal for Memory {
    fn begun(&self) -> Option<BegunUpload> {
        self.0.lock().unwrap().clone()
    }

    fn open(&self, id: &UploadId) {
        *self.0.lock().unwrap() = Some(BegunUpload {
            id: id.clone(),
            parts: BTreeMap::new(),
        });
    }

    fn sent(&self, number: u32, etag: &ETag) {
        let mut begun = self.0.lock().unwrap();
        begun.as_mut().unwrap().parts.insert(number, etag.clone());
    }

    fn fate(&self, kind: StoreErrorKind) -> UploadFate {
        if kind == StoreErrorKind::Rejected {
            UploadFate::Aborted
        } else {
            UploadFate::Kept
        }
    }

    fn close(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn reached(&self, _: Point) {}
}

fn bytes(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

/// Uploads what lies in a file, which was hashed when it held `hashed`.
async fn upload(
    store: &Scripted,
    journal: &dyn UploadJournal,
    hashed: &[u8],
    file: &[u8],
    mode: &PutMode,
) -> Result<ETag, StoreError> {
    let mut hasher = PartedHasher::new(LIMITS.part_bytes);
    hasher.update(hashed);
    let mut open = tempfile::tempfile().unwrap();
    open.write_all(file).unwrap();
    let upload = PartedUpload {
        store,
        key: &ObjectKey::new("k").unwrap(),
        file: Arc::new(open),
        content: &hasher.finish(),
        metadata: &[("a".to_owned(), "b".to_owned())],
        permits: &Semaphore::new(2),
        at_once: 1,
        journal,
        progress: &|_| (),
    };
    let sent = upload.send().await?;
    upload.complete(&sent, mode).await
}

#[tokio::test]
async fn every_length_becomes_the_same_object() {
    for length in [1, 7, 8, 9, 16, 17, 24, 80] {
        let (store, journal) = (Scripted::new(), Memory::default());
        let content = bytes(length);
        upload(&store, &journal, &content, &content, &PutMode::Create)
            .await
            .unwrap();
        assert_eq!(store.content().unwrap(), content);
        assert_eq!(store.sent(), length.div_ceil(8), "{length}");
        assert!(!journal.holds());
        assert!(store.memory.unfinished_uploads().is_empty());
    }
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_with_what_is_missing() {
    let (mut store, journal) = (Scripted::new(), Memory::default());
    let content = bytes(80);
    store.broken_part = Some(7);
    let failed = upload(&store, &journal, &content, &content, &PutMode::Create).await;
    assert_eq!(failed.unwrap_err().kind, BROKEN);
    assert_eq!((store.sent(), store.content()), (6, None));
    store.broken_part = None;
    upload(&store, &journal, &content, &content, &PutMode::Create)
        .await
        .unwrap();
    assert_eq!(store.sent(), 4, "six of ten parts were there");
    assert_eq!(store.content().unwrap(), content);
    assert!(!journal.holds() && store.memory.unfinished_uploads().is_empty());
}

#[tokio::test]
async fn parts_are_believed_by_their_digest_and_not_by_their_number() {
    let (mut store, journal) = (Scripted::new(), Memory::default());
    let content = bytes(40);
    store.broken_part = Some(5);
    let failed = upload(&store, &journal, &content, &content, &PutMode::Create).await;
    assert!(failed.is_err());
    // The same upload is offered for a content that differs in its second part.
    let mut edited = content.clone();
    edited[10] ^= 1;
    store.broken_part = None;
    store.sent();
    upload(&store, &journal, &edited, &edited, &PutMode::Create)
        .await
        .unwrap();
    assert_eq!(store.sent(), 2, "the second and the fifth part");
    assert_eq!(store.content().unwrap(), edited);
}

#[tokio::test]
async fn an_upload_that_the_store_forgot_is_begun_anew() {
    let (mut store, journal) = (Scripted::new(), Memory::default());
    let content = bytes(40);
    store.broken_part = Some(5);
    let failed = upload(&store, &journal, &content, &content, &PutMode::Create).await;
    assert!(failed.is_err());
    let id = journal.begun().unwrap().id;
    let key = ObjectKey::new("k").unwrap();
    store.memory.abort_upload(&key, &id).await.unwrap();
    store.broken_part = None;
    store.sent();
    upload(&store, &journal, &content, &content, &PutMode::Create)
        .await
        .unwrap();
    assert_eq!((store.sent(), store.content()), (5, Some(content)));
}

#[tokio::test]
async fn where_parts_may_not_be_listed_the_memory_of_them_is_used() {
    let (mut store, journal) = (Scripted::new(), Memory::default());
    let content = bytes(40);
    store.broken_part = Some(5);
    let failed = upload(&store, &journal, &content, &content, &PutMode::Create).await;
    assert!(failed.is_err());
    store.broken_part = None;
    store.broken_listing = Some(StoreErrorKind::Denied);
    store.sent();
    upload(&store, &journal, &content, &content, &PutMode::Create)
        .await
        .unwrap();
    assert_eq!((store.sent(), store.content()), (1, Some(content)));
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_hashed_is_never_completed() {
    for at in [0, 20, 39] {
        let (store, journal) = (Scripted::new(), Memory::default());
        let content = bytes(40);
        let mut edited = content.clone();
        edited[at] ^= 1;
        for file in [&edited[..], &content[..at]] {
            let failed = upload(&store, &journal, &content, file, &PutMode::Create).await;
            assert_eq!(failed.unwrap_err().kind, StoreErrorKind::Rejected);
            assert_eq!(store.content(), None);
            assert!(!journal.holds() && store.memory.unfinished_uploads().is_empty());
        }
    }
}

#[tokio::test]
async fn a_refused_completion_costs_no_part_when_it_is_decided_anew() {
    let (store, journal) = (Scripted::new(), Memory::default());
    store.memory.insert("k", "theirs");
    let content = bytes(40);
    let refused = upload(&store, &journal, &content, &content, &PutMode::Create).await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Precondition);
    assert_eq!(store.content().unwrap(), b"theirs");
    store.sent();
    upload(&store, &journal, &content, &content, &PutMode::Overwrite)
        .await
        .unwrap();
    assert_eq!((store.sent(), store.content()), (0, Some(content)));
}

#[tokio::test]
async fn without_a_memory_a_failed_upload_takes_no_space() {
    let mut store = Scripted::new();
    let content = bytes(40);
    store.broken_part = Some(5);
    let failed = upload(
        &store,
        &WithoutJournal,
        &content,
        &content,
        &PutMode::Create,
    )
    .await;
    assert_eq!(failed.unwrap_err().kind, BROKEN);
    assert!(store.memory.unfinished_uploads().is_empty());
    store.broken_part = None;
    store.memory.insert("k", "theirs");
    let refused = upload(
        &store,
        &WithoutJournal,
        &content,
        &content,
        &PutMode::Create,
    )
    .await;
    assert_eq!(refused.unwrap_err().kind, StoreErrorKind::Precondition);
    assert!(store.memory.unfinished_uploads().is_empty());
}

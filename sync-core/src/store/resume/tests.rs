//! Reads from a store whose answers break.

use std::sync::Mutex;

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};

use super::*;
use crate::{
    report::RequestCounts,
    store::{ListPage, PutBody, PutOptions, cut, memory::MemoryStore},
};

/// Every answer breaks after so many bytes; what was asked for is written down.
struct Breaking {
    memory: MemoryStore,
    after_bytes: u64,
    asked: Mutex<Vec<Option<Range<u64>>>>,
}

impl Breaking {
    fn new(content: &[u8], after_bytes: u64) -> Self {
        let memory = MemoryStore::new();
        memory.insert("k", content.to_vec());
        Self {
            memory,
            after_bytes,
            asked: Mutex::default(),
        }
    }

    async fn answer(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        etag: Option<&ETag>,
    ) -> Result<Object, StoreError> {
        self.asked.lock().unwrap().push(range.clone());
        let whole = self.memory.get(key, etag).await?;
        let range = range.unwrap_or(0..whole.info.size_bytes);
        let breaks = range.end - range.start > self.after_bytes;
        let end = range.end.min(range.start + self.after_bytes);
        let mut object = cut(whole, range.start..end);
        if breaks {
            let kind = StoreErrorKind::Unavailable { retry_after: None };
            let broken = StoreError::new("GET", "k", kind, "broken");
            let broken = futures_util::stream::iter([Err(broken)]);
            object.body = object.body.chain(broken).boxed();
        }
        Ok(object)
    }
}

impl ObjectStore for Breaking {
    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.answer(key, None, if_match).boxed()
    }

    fn get_range<'a>(
        &'a self,
        key: &'a ObjectKey,
        range: Range<u64>,
        if_match: &'a ETag,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.answer(key, Some(range), Some(if_match)).boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.memory.list(prefix, token)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.memory.head(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.memory.put(key, body, options)
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.memory.delete(key, if_match)
    }

    fn requests(&self) -> RequestCounts {
        self.memory.requests()
    }

    fn identity(&self) -> String {
        self.memory.identity()
    }
}

async fn read_all(reader: &mut ObjectReader<'_>) -> Result<Vec<u8>, StoreError> {
    reader.open().await?;
    let mut pieces = Vec::new();
    while reader.read(&mut pieces, 10).await? == More::Yes {}
    Ok(pieces.concat())
}

const MIB: u64 = 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn a_broken_answer_is_taken_up_where_it_ended() {
    let content: Vec<u8> = (0..5 * MIB).map(|at| (at % 251) as u8).collect();
    let store = Breaking::new(&content, 2 * MIB);
    let key = ObjectKey::new("k").unwrap();
    let etag = store.head(&key).await.unwrap().unwrap().etag;
    let mut reader = ObjectReader::whole(&store, &key, &etag);
    assert!(read_all(&mut reader).await.unwrap() == content);
    let asked = store.asked.lock().unwrap().split_off(0);
    assert_eq!(
        asked,
        [None, Some(2 * MIB..5 * MIB), Some(4 * MIB..5 * MIB)]
    );

    let mut reader = ObjectReader::part(&store, &key, &etag, MIB..4 * MIB);
    let expected = &content[1024 * 1024..4 * 1024 * 1024];
    assert!(read_all(&mut reader).await.unwrap() == expected);
    let asked = store.asked.lock().unwrap().split_off(0);
    assert_eq!(asked, [Some(MIB..4 * MIB), Some(3 * MIB..4 * MIB)]);
}

#[tokio::test(start_paused = true)]
async fn it_ends_where_nothing_gets_on() {
    let store = Breaking::new(&[7; 100], 10);
    let key = ObjectKey::new("k").unwrap();
    let etag = store.head(&key).await.unwrap().unwrap().etag;
    let error = read_all(&mut ObjectReader::whole(&store, &key, &etag)).await;
    assert!(error.unwrap_err().kind.is_transient());
    assert_eq!(store.asked.lock().unwrap().len(), ATTEMPTS);
}

#[tokio::test]
async fn nothing_is_read_of_nothing_and_of_another_version() {
    let store = Breaking::new(&[], 10);
    let key = ObjectKey::new("k").unwrap();
    let etag = store.head(&key).await.unwrap().unwrap().etag;
    let read = read_all(&mut ObjectReader::whole(&store, &key, &etag)).await;
    assert!(read.unwrap().is_empty());
    let other = ETag::new("another");
    let read = read_all(&mut ObjectReader::whole(&store, &key, &other)).await;
    assert_eq!(read.unwrap_err().kind, StoreErrorKind::Precondition);
}

//! The stream's reader against a store that plays a script, on a clock that doesn't run by itself.

mod any_input;
mod listener;
mod records;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::{sync::broadcast, time::Instant};

use crate::{
    digest::ETag,
    path::ObjectKey,
    report::RequestCounts,
    store::{
        EventBytes, ListPage, Object, ObjectInfo, ObjectStore, PutBody, PutOptions, StoreError,
        StoreErrorKind, memory::MemoryStore,
    },
};

/// An answer to a request for the stream.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// None, ever.
    Nothing,
    /// This error.
    Fails(StoreErrorKind),
    /// A stream: pieces, each after a wait; then what `End` says.
    Stream(Vec<(Duration, &'static [u8])>, End),
    /// A stream of what [`ScriptedStore::say`] is given from then on.
    Live,
}

/// How a stream goes on when all was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// The store ends it.
    Closed,
    /// The connection breaks.
    Broken,
    /// Nothing comes any more.
    Silence,
}

/// Gives one answer after the other, and the last one for ever.
pub(crate) struct ScriptedStore {
    answers: Mutex<VecDeque<Answer>>,
    live: broadcast::Sender<Bytes>,
    /// When it was asked, and for which prefix.
    pub(crate) asked: Mutex<Vec<(Instant, String)>>,
    /// Everything that is not the stream.
    pub(crate) objects: MemoryStore,
    refusal: Mutex<Option<StoreErrorKind>>,
}

impl ScriptedStore {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            live: broadcast::channel(10_000).0,
            asked: Mutex::default(),
            objects: MemoryStore::new(),
            refusal: Mutex::new(None),
        })
    }

    /// Sends bytes on every live stream.
    pub(crate) fn say(&self, bytes: impl Into<Bytes>) {
        // Without a stream nobody hears it, as with a real store.
        self.live.send(bytes.into()).ok();
    }

    /// Tells of a change, as MinIO does.
    pub(crate) fn tell(&self, name: &str, key: &str, etag: Option<&str>) {
        let object = serde_json::json!({"key": key, "eTag": etag});
        let record = serde_json::json!({"eventName": name, "s3": {"object": object}});
        self.say(format!("{}\n", serde_json::json!({"Records": [record]})));
    }

    /// From now on every other request fails like this.
    pub(crate) fn refuse(&self, kind: Option<StoreErrorKind>) {
        *self.refusal.lock().unwrap() = kind;
    }

    fn check(&self) -> Result<(), StoreError> {
        match *self.refusal.lock().unwrap() {
            Some(kind) => Err(StoreError::new("TEST", "", kind, "")),
            None => Ok(()),
        }
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn answer(&self) -> Answer {
        let mut answers = self.answers.lock().unwrap();
        let next = answers.pop_front().unwrap_or(Answer::Nothing);
        if answers.is_empty() {
            answers.push_back(next.clone());
        }
        next
    }
}

impl ObjectStore for ScriptedStore {
    fn listen<'a>(
        &'a self,
        prefix: &'a str,
        _ping: Duration,
    ) -> BoxFuture<'a, Result<EventBytes, StoreError>> {
        let now = (Instant::now(), prefix.to_owned());
        self.asked.lock().unwrap().push(now);
        let answer = self.answer();
        async move {
            let error = |kind| StoreError::new("LISTEN", prefix, kind, "as the script says");
            let (pieces, end) = match answer {
                Answer::Nothing => std::future::pending().await,
                Answer::Fails(kind) => return Err(error(kind)),
                Answer::Stream(pieces, end) => (pieces, end),
                Answer::Live => {
                    let live = stream::unfold(self.live.subscribe(), |mut live| async {
                        let bytes = live.recv().await.ok()?;
                        Some((Ok(bytes), live))
                    });
                    return Ok(live.boxed());
                }
            };
            let pieces = stream::iter(pieces).then(|(wait, bytes)| async move {
                tokio::time::sleep(wait).await;
                Ok(Bytes::from_static(bytes))
            });
            let broken = error(StoreErrorKind::Unreachable);
            let end: EventBytes = match end {
                End::Closed => stream::empty().boxed(),
                End::Broken => stream::iter([Err(broken)]).boxed(),
                End::Silence => stream::pending().boxed(),
            };
            Ok(pieces.chain(end).boxed())
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        match self.check() {
            Ok(()) => self.objects.list(prefix, token),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.objects.get(key, if_match)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        match self.check() {
            Ok(()) => self.objects.head(key),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.objects.put(key, body, options)
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.objects.delete(key, if_match)
    }

    fn requests(&self) -> RequestCounts {
        self.objects.requests()
    }

    fn identity(&self) -> String {
        self.objects.identity()
    }
}

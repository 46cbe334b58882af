//! The store of the model: the bucket behind a script of what goes wrong, and a witness of what must never be asked.

use std::{
    collections::BTreeSet,
    hash::{Hash as _, Hasher as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use sync_core::{
    digest::ETag,
    failpoint::{Ended, Point, Then},
    layout::SyncMode,
    path::{ObjectKey, RelPath},
    progress::Progress,
    report::RequestCounts,
    store::{
        ListPage, ListedObject, Object, ObjectInfo, ObjectStore, PutBody, PutMode, PutOptions,
        StoreError, StoreErrorKind, parts::MultipartStore,
    },
};
use tokio::sync::Notify;

use super::{
    history::{Conditions, Effect, Event, Fault, Happening, Order, PathName, StoreKind},
    rules::{OLD_NAME, key, locate, path_of, rule_for},
    script::{Script, Verdict},
    world::World,
};

pub(crate) struct ScriptedStore {
    pub(crate) world: Arc<World>,
    pub(crate) kind: StoreKind,
    script: Mutex<Script>,
    denied: Mutex<BTreeSet<String>>,
    pub(crate) crashed: Notify,
    /// The process has ended: nothing that is left of it may do anything.
    ended: AtomicBool,
}

impl ScriptedStore {
    pub(crate) fn new(world: Arc<World>, kind: StoreKind) -> Self {
        Self {
            world,
            kind,
            script: Mutex::default(),
            denied: Mutex::default(),
            crashed: Notify::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// What happens during the next pass.
    pub(crate) fn expect(&self, events: &[Event]) {
        *self.script.lock().unwrap() = Script::new(events);
    }

    pub(crate) fn deny(&self, path: PathName) {
        self.denied.lock().unwrap().insert(key(path));
    }

    pub(crate) fn denies_something(&self) -> bool {
        !self.denied.lock().unwrap().is_empty()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A new process begins; what is still to happen at failpoints may happen while it starts.
    pub(crate) fn begin_again(&self) {
        self.script.lock().unwrap().keep_points();
        self.crashed.notified().now_or_never();
        self.ended.store(false, Ordering::SeqCst);
    }

    /// A failpoint is reached.
    pub(crate) fn reached(&self, point: Point) -> Then {
        if self.has_ended() {
            return Then::End;
        }
        let due = self.script.lock().unwrap().next_point(point);
        if due.is_empty() {
            return Then::GoOn;
        }
        self.world.note(format!("  at {point}:"));
        self.happen(due)
    }

    /// Lets events happen that need no request to the store.
    fn happen(&self, events: Vec<Event>) -> Then {
        for event in events {
            match event.what {
                Happening::Local(op) => self.world.apply_local(op),
                Happening::Remote(op) => self.world.apply_remote(op),
                Happening::Crash(_) => {
                    self.end();
                    return Then::End;
                }
                Happening::Fail(..) | Happening::BreakOff => {}
            }
        }
        Then::GoOn
    }

    fn end(&self) {
        self.world.note("    the process ends");
        self.ended.store(true, Ordering::SeqCst);
        self.crashed.notify_one();
    }

    pub(crate) fn heal(&self) {
        self.denied.lock().unwrap().clear();
        self.expect(&[]);
    }

    /// Counts the request, lets happen what is to happen before it, and tells what is to become of it.
    fn enter(&self, operation: &'static str, key: &str) -> Verdict {
        let due = {
            // Without conditional writes the window between the HEAD and the write is known and documented.
            let unguarded = match self.kind.conditions {
                Conditions::Honoured => false,
                Conditions::IgnoredByDelete => operation == "DELETE",
                Conditions::Ignored => is_write(operation),
            };
            self.script.lock().unwrap().next_call(unguarded)
        };
        if !is_probe(key) {
            self.world.note(format!("  {operation} {key:?}"));
        }
        let mut verdict = Verdict::default();
        for event in due {
            match event.what {
                Happening::Local(op) => self.world.apply_local(op),
                Happening::Remote(op) => self.world.apply_remote(op),
                Happening::Fail(fault, effect) => verdict.fault = Some((fault, effect)),
                Happening::Crash(effect) => verdict.crash = Some(effect),
                Happening::BreakOff => verdict.break_off = true,
            }
        }
        verdict
    }

    pub(crate) async fn before(
        &self,
        operation: &'static str,
        key: &str,
    ) -> Result<Verdict, StoreError> {
        if self.has_ended() {
            std::future::pending::<()>().await;
        }
        let mut verdict = self.enter(operation, key);
        // What a store refuses for good while it is asked what it can do is an answer, not a fault.
        let permanent = |fault| matches!(fault, Fault::Denied | Fault::Other);
        if is_probe(key) && verdict.fault.is_some_and(|(fault, _)| permanent(fault)) {
            verdict.fault = None;
        }
        if verdict.crash == Some(Effect::None) {
            self.crash().await;
        }
        if self.denied.lock().unwrap().contains(key) {
            return Err(error(operation, key, Fault::Denied));
        }
        match verdict.fault {
            Some((fault, Effect::None)) => {
                self.world.note(format!("    fails: {fault:?}"));
                Err(error(operation, key, fault))
            }
            _ => Ok(verdict),
        }
    }

    pub(crate) async fn after<T>(
        &self,
        operation: &'static str,
        key: &str,
        verdict: Verdict,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if verdict.crash == Some(Effect::Done) {
            self.crash().await;
        }
        match verdict.fault {
            Some((fault, Effect::Done)) => {
                self.world.note(format!("    done, but fails: {fault:?}"));
                Err(error(operation, key, fault))
            }
            _ => result,
        }
    }

    async fn crash(&self) {
        self.end();
        std::future::pending::<()>().await;
    }

    /// Requests that no rule allows.
    pub(crate) fn witness(&self, operation: &'static str, key: &str) {
        let Some(path) = path_of(key) else {
            return self
                .world
                .violation(format!("{operation} outside the prefixes: {key:?}"));
        };
        let path = &*path;
        if is_probe(key) {
            return;
        }
        if RelPath::new(locate(path).1).is_err() {
            return self
                .world
                .violation(format!("{operation} of an unsafe key: {key:?}"));
        }
        let rule = rule_for(path);
        let allowed = match operation {
            "PUT" | "BEGIN" | "PART" | "PARTS" | "ABORT" => rule.sync.pushes(),
            "DELETE" => rule.sync.pushes() && rule.deletes.pushes(),
            _ => rule.sync != SyncMode::None || path == OLD_NAME,
        };
        if !allowed {
            self.world
                .violation(format!("{operation} {path:?} though its rule is {rule:?}"));
        }
    }

    /// Where a key stands in a listing.
    fn place(&self, key: &str) -> (u64, String) {
        match self.kind.order {
            Order::Bytes => (0, key.to_owned()),
            Order::Tree => (0, key.replace('/', "\0")),
            Order::Shuffled => {
                let mut hasher = std::hash::DefaultHasher::new();
                key.hash(&mut hasher);
                (hasher.finish(), key.to_owned())
            }
        }
    }

    async fn sorted(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        let mut objects = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.world.bucket.list(prefix, token.as_deref()).await?;
            objects.extend(page.objects);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        objects.sort_by_key(|object| self.place(&object.key));
        Ok(objects)
    }
}

impl ObjectStore for ScriptedStore {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        async move {
            let verdict = self.before("LIST", prefix).await?;
            let objects = self.sorted(prefix).await?;
            // The token is the last key of the page before; where it is gone the listing goes on behind its place.
            let mut rest = objects.into_iter().filter(|object| {
                token.is_none_or(|token| self.place(&object.key) > self.place(token))
            });
            let page: Vec<_> = rest.by_ref().take(self.kind.page_objects).collect();
            let next = rest
                .next()
                .and_then(|_| page.last().map(|object| object.key.clone()));
            let page = ListPage {
                objects: page,
                next,
            };
            self.after("LIST", prefix, verdict, Ok(page)).await
        }
        .boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        async move {
            self.witness("GET", key.as_str());
            let verdict = self.before("GET", key.as_str()).await?;
            let mut result = self.world.bucket.get(key, if_match).await;
            if verdict.break_off
                && let Ok(object) = &mut result
            {
                let broken = error("GET", key.as_str(), Fault::Unavailable);
                let first = object.body.next().await;
                let half = first
                    .and_then(Result::ok)
                    .map(|all| all.slice(..all.len() / 2));
                let pieces = half.map(Ok).into_iter().chain([Err(broken)]);
                object.body = futures_util::stream::iter(pieces).boxed();
            }
            self.after("GET", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        async move {
            self.witness("HEAD", key.as_str());
            let verdict = self.before("HEAD", key.as_str()).await?;
            let result = self.world.bucket.head(key).await;
            self.after("HEAD", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        mut options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move {
            self.witness("PUT", key.as_str());
            let verdict = self.before("PUT", key.as_str()).await?;
            if self.kind.conditions == Conditions::Ignored {
                options.mode = PutMode::Overwrite;
            }
            let result = self.world.bucket.put(key, body, options).await;
            self.after("PUT", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.witness("DELETE", key.as_str());
            let verdict = self.before("DELETE", key.as_str()).await?;
            let honoured = self.kind.conditions == Conditions::Honoured;
            let if_match = if_match.filter(|_| honoured);
            let result = self.world.bucket.delete(key, if_match).await;
            self.after("DELETE", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn multipart(&self) -> Option<&dyn MultipartStore> {
        self.kind
            .takes_parts()
            .then_some(self as &dyn MultipartStore)
    }

    fn requests(&self) -> RequestCounts {
        self.world.bucket.requests()
    }

    fn identity(&self) -> String {
        "model".to_owned()
    }

    fn clock(&self) -> Option<SystemTime> {
        self.world.bucket.clock()
    }
}

/// Between doing and recording: files are reported as finished there, so histories can act there too.
impl Progress for ScriptedStore {
    fn file_done(&self, path: &RelPath) {
        if self.has_ended() {
            return;
        }
        let due = self.script.lock().unwrap().next_file();
        self.world.note(format!("  done: {path}"));
        if self.happen(due) == Then::End {
            // Without the panic hook: nothing is printed.
            std::panic::resume_unwind(Box::new(Ended));
        }
    }
}

fn is_write(operation: &str) -> bool {
    matches!(operation, "PUT" | "DELETE")
}

fn is_probe(key: &str) -> bool {
    key.contains("/.hiclaw/probe-")
}

fn error(operation: &'static str, key: &str, fault: Fault) -> StoreError {
    let kind = match fault {
        Fault::Unavailable => StoreErrorKind::Unavailable { retry_after: None },
        Fault::Unreachable => StoreErrorKind::Unreachable,
        Fault::Denied => StoreErrorKind::Denied,
        Fault::Other => StoreErrorKind::Other,
    };
    StoreError::new(operation, key, kind, "injected")
}

//! An engine for tests: answers what it was told to and remembers what it was asked.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
};

use super::*;

/// What a pull does.
pub(crate) type Pull = Box<dyn FnOnce() -> Result<Report, EngineError> + Send>;

pub(crate) struct FakeEngine {
    /// The answers to pulls, in order; a pull without one does nothing.
    pub(crate) pulls: Mutex<VecDeque<Pull>>,
    pub(crate) objects: Mutex<HashMap<String, Vec<u8>>>,
    /// Objects that the store refuses to show.
    pub(crate) denied: Mutex<Vec<String>>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) events: broadcast::Sender<Published>,
}

impl FakeEngine {
    pub(crate) fn new() -> Self {
        Self {
            pulls: Mutex::default(),
            objects: Mutex::default(),
            denied: Mutex::default(),
            calls: Mutex::default(),
            events: broadcast::channel(16).0,
        }
    }

    pub(crate) fn on_pull(
        self,
        pull: impl FnOnce() -> Result<Report, EngineError> + Send + 'static,
    ) -> Self {
        self.pulls.lock().unwrap().push_back(Box::new(pull));
        self
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }
}

pub(crate) fn unreachable() -> EngineError {
    EngineError::Unreachable {
        place: "bucket b at http://127.0.0.1:1".into(),
        source: "connection refused".into(),
    }
}

impl Engine for FakeEngine {
    fn pull<'a>(&'a self, mounts: &'a [String]) -> BoxFuture<'a, Result<Report, EngineError>> {
        self.note(format!("pull {}", mounts.join(",")));
        let answer = self.pulls.lock().unwrap().pop_front();
        Box::pin(async move { answer.map_or_else(|| Ok(Report::default()), |answer| answer()) })
    }

    fn pull_soon(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        self.note("pull_soon");
        Box::pin(async { Ok(()) })
    }

    fn start_mirror(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        self.note("start_mirror");
        Box::pin(async { Ok(()) })
    }

    fn hold_databases(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        self.note("hold_databases");
        Box::pin(async { Ok(()) })
    }

    fn read_object<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, EngineError>> {
        self.note(format!("read {key}"));
        if self.denied.lock().unwrap().contains(&key.to_string()) {
            let error = EngineError::Denied {
                operation: "read an object of",
                place: self.place(),
                source: "AccessDenied".into(),
            };
            return Box::pin(async move { Err(error) });
        }
        let object = self.objects.lock().unwrap().get(key.as_str()).cloned();
        Box::pin(async move { Ok(object) })
    }

    fn drain(&self) -> BoxFuture<'_, Result<Option<Report>, EngineError>> {
        self.note("drain");
        Box::pin(async { Ok(Some(Report::default())) })
    }

    fn unsent(&self) -> Vec<String> {
        Vec::new()
    }

    fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.events.subscribe()
    }

    fn status(&self) -> Status {
        Status::default()
    }

    fn place(&self) -> String {
        "bucket b at http://127.0.0.1:1".to_owned()
    }
}

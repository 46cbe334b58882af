//! The real engine behind the entrypoint's [`Engine`] interface.
//!
//! Owns the order in which session, watcher and control socket come into being, and how the library's errors become the
//! entrypoint's. Decides nothing about files.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hiclaw_sync::{
    resident,
    validate::{Invocation, Refusal, Run},
    worker::{Worker, read_object},
};
use sync_core::{
    backoff::Backoff,
    path::ObjectKey,
    progress::{Progress, Silent},
    report::{ProblemKind, Report},
    resident::{Event, Resident, ResidentSettings},
    session::{Direction, PassError, PassRequest, Session, SessionError},
    sqlite::Databases,
    status::Status,
    store::{ObjectStore, StoreError, StoreErrorKind},
};
use tokio::sync::{Mutex, broadcast};

use crate::{
    command::{self, Place},
    engine::{BoxFuture, Engine, EngineError, Published, chain},
};

/// Changes that may wait for a slow reload; what is lost is made up for by reloading everything.
const PUBLISHED_KEPT: usize = 64;

/// Waits between tries of the last flush, and how many there are at most: the time limit is whoever drains' own.
const FIRST_FLUSH_RETRY: Duration = Duration::from_millis(250);
const LAST_FLUSH_RETRY: Duration = Duration::from_secs(4);
const FLUSH_RETRIES: u32 = 50;

/// A worker's engine: at first a session that makes single passes, then resident.
pub struct SyncEngine {
    session: Arc<Session>,
    store: Arc<dyn ObjectStore>,
    place: String,
    state_directory: PathBuf,
    settings: ResidentSettings,
    published: broadcast::Sender<Published>,
    /// The resident engine, once it runs; kept apart from its handle because ending it consumes it.
    running: Mutex<Option<resident::Engine>>,
    resident: OnceLock<Resident>,
}

impl SyncEngine {
    /// Opens the worker's mounts. Sends nothing to the store.
    pub async fn open(
        worker: &Worker,
        settings: ResidentSettings,
        place: &Place,
    ) -> anyhow::Result<Self> {
        let environment = (*place.environment).clone();
        let session = worker.session_with(environment, runner()).await?;
        Ok(Self {
            session: Arc::new(session),
            store: worker.store.clone(),
            place: hiclaw_sync::worker::place(&worker.settings),
            state_directory: worker.state_directory(),
            settings,
            published: broadcast::channel(PUBLISHED_KEPT).0,
            running: Mutex::new(None),
            resident: OnceLock::new(),
        })
    }

    async fn pass(&self, request: PassRequest) -> Result<Report, EngineError> {
        let result = if let Some(resident) = self.resident.get() {
            let answer = resident.pass(request).await;
            answer.map_err(|ended| self.failed("pull from", ended))?
        } else {
            let silent: Arc<dyn Progress> = Arc::new(Silent);
            self.session.pass(&request, &silent).await
        };
        result.map_err(|error| self.pass_error("pull from", error))
    }

    async fn start(&self) -> Result<(), EngineError> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let engine =
            resident::Engine::start(self.session.clone(), self.settings, &self.state_directory)
                .await
                .map_err(|error| self.failed("mirror", error))?;
        let handle = engine.resident().clone();
        let every_group = Published::every_group(&self.session);
        tokio::spawn(forward(
            handle.subscribe(),
            self.published.clone(),
            every_group,
        ));
        tokio::spawn(catch_up(self.session.clone(), handle.clone()));
        self.resident.get_or_init(|| handle);
        *running = Some(engine);
        Ok(())
    }

    async fn end(&self) -> Result<Option<Report>, EngineError> {
        let Some(engine) = self.running.lock().await.take() else {
            return Ok(None);
        };
        let operation = "send the last changes to";
        let mut result = engine
            .stop()
            .await
            .map_err(|ended| self.failed(operation, ended))?;
        // A store that fails for a moment must not cost the last edits; whoever drains has a limit of their own.
        let mut backoff = Backoff::new(FIRST_FLUSH_RETRY, LAST_FLUSH_RETRY);
        let silent: Arc<dyn Progress> = Arc::new(Silent);
        let mut sent = Report::default();
        for _ in 0..FLUSH_RETRIES {
            if !may_pass(&result) {
                break;
            }
            sent.absorb(without_problems(result));
            tokio::time::sleep(backoff.next(fastrand::f64())).await;
            let push = PassRequest::everything(Direction::Push);
            result = self.session.pass(&push, &silent).await;
        }
        let last = result.map_err(|error| self.pass_error(operation, error))?;
        sent.absorb(last);
        Ok(Some(sent))
    }

    fn pass_error(&self, operation: &'static str, error: PassError) -> EngineError {
        if let SessionError::Store(store) = error.source {
            self.store_error(operation, store)
        } else {
            self.failed(operation, error.source)
        }
    }

    fn store_error(&self, operation: &'static str, error: StoreError) -> EngineError {
        if error.kind.is_transient() {
            EngineError::Unreachable {
                place: self.place.clone(),
                source: Box::new(error),
            }
        } else if error.kind == StoreErrorKind::Denied {
            EngineError::Denied {
                operation,
                place: self.place.clone(),
                source: Box::new(error),
            }
        } else {
            self.failed(operation, error)
        }
    }

    fn failed(
        &self,
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> EngineError {
        EngineError::Failed {
            operation,
            place: self.place.clone(),
            source: source.into(),
        }
    }
}

/// Runs the layout's `validate` commands: no other part of the program may wait for children.
fn runner() -> Run {
    Arc::new(|invocation| Box::pin(run(invocation)))
}

async fn run(invocation: Invocation) -> Result<(), Refusal> {
    let place = Place {
        directory: invocation.directory,
        environment: invocation.environment,
    };
    let (result, words) =
        command::run_listening(&invocation.command, &place, invocation.limit).await;
    result.map_err(|error| Refusal {
        why: chain(&error),
        words,
    })
}

/// True when trying the last flush again may do better: the store failed for the moment, or a file was being written to.
fn may_pass(result: &Result<Report, PassError>) -> bool {
    match result {
        Ok(report) => report
            .problems
            .iter()
            .any(|problem| problem.kind == ProblemKind::Store || problem.kind == ProblemKind::Busy),
        Err(error) => {
            matches!(&error.source, SessionError::Store(store) if store.kind.is_transient())
        }
    }
}

/// What was done; what went wrong is tried again.
fn without_problems(result: Result<Report, PassError>) -> Report {
    let report = result.unwrap_or_else(|error| *error.report);
    Report {
        problems: Vec::new(),
        held: Vec::new(),
        ..report
    }
}

impl Engine for SyncEngine {
    fn pull<'a>(&'a self, mounts: &'a [String]) -> BoxFuture<'a, Result<Report, EngineError>> {
        let request = PassRequest {
            mounts: mounts.to_vec(),
            ..PassRequest::everything(Direction::Pull)
        };
        Box::pin(self.pass(request))
    }

    fn pull_soon(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async {
            match self.resident.get() {
                Some(resident) => resident
                    .pass_soon(Direction::Pull)
                    .await
                    .map_err(|ended| self.failed("pull from", ended)),
                None => self.pull(&[]).await.map(drop),
            }
        })
    }

    fn start_mirror(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(self.start())
    }

    fn hold_databases(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        let session = self.session.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || session.set_databases(Databases::InUse))
                .await
                .map_err(|error| self.failed("hold databases of", error))
        })
    }

    fn read_object<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, EngineError>> {
        Box::pin(async move {
            let text = read_object(&*self.store, key).await;
            text.map(|text| text.map(String::into_bytes))
                .map_err(|error| self.store_error("read an object of", error))
        })
    }

    fn drain(&self) -> BoxFuture<'_, Result<Option<Report>, EngineError>> {
        Box::pin(self.end())
    }

    fn unsent(&self) -> Vec<String> {
        self.session
            .unsent()
            .into_iter()
            .map(|unsent| format!("{}/{}", unsent.mount, unsent.path))
            .collect()
    }

    fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.published.subscribe()
    }

    fn status(&self) -> Status {
        self.resident
            .get()
            .map_or_else(|| self.session.status(), Resident::status)
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// Tells which reload groups each pass changed, until the engine ends. When passes went by faster than they could be told,
/// any group may have changed.
async fn forward(
    mut events: broadcast::Receiver<Event>,
    published: broadcast::Sender<Published>,
    every_group: Published,
) {
    loop {
        let changed = match events.recv().await {
            Ok(Event::Pass { report, .. } | Event::Failed { report, .. }) => Published::of(&report),
            // Later kinds of events change no files.
            Ok(_) => None,
            Err(broadcast::error::RecvError::Lagged(_)) => Some(every_group.clone()),
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if let Some(changed) = changed
            && published.send(changed).is_err()
        {
            tracing::debug!("nobody waits for changed files");
        }
    }
}

/// Beside the start of the runtime: what the store does, asked before the first edit has to wait for the answer, and what
/// was edited while no engine ran.
async fn catch_up(session: Arc<Session>, resident: Resident) {
    if let Err(error) = session.probe().await {
        tracing::warn!("can't find out yet what the store does with conditional writes: {error}");
    }
    // By listing: with a new baseline a push alone would send every file to find that the bucket has it.
    if resident.pass_soon(Direction::Sync).await.is_err() {
        tracing::debug!("the engine ended before its first pass");
    }
}

//! The real engine behind the entrypoint's [`Engine`].
//!
//! Owns when it is opened: at the first pull, because the team, and with it the mounts, is known only when the store
//! answers. Until then nothing is locked and nothing was asked.

use std::sync::{Arc, OnceLock};

use hiclaw_sync::{
    resident,
    settings::Settings,
    worker::{self, Worker},
};
use sync_core::{
    path::ObjectKey,
    progress::{Progress, Silent},
    report::Report,
    resident::{Event, ResidentSettings},
    session::{Direction, PassError, PassRequest, Session, SessionError},
    status::Status,
    store::{ObjectStore, StoreError, read_whole, s3::S3Store},
};
use tokio::sync::{Mutex, OnceCell, broadcast};

use crate::engine::{BoxFuture, Engine, EngineError, Published};

/// Reload news kept for a slow listener.
const NEWS_KEPT: usize = 64;

/// What the entrypoint reads past all rules is no larger.
const MAX_OBJECT_BYTES: u64 = 1024 * 1024;

/// A worker's engine.
pub struct CoreEngine {
    settings: Settings,
    resident_settings: ResidentSettings,
    store: Arc<dyn ObjectStore>,
    session: OnceCell<Arc<Session>>,
    /// Present while mirroring.
    mirror: Mutex<Option<resident::Engine>>,
    handle: OnceLock<sync_core::resident::Resident>,
    published: broadcast::Sender<Published>,
}

impl CoreEngine {
    /// Makes the client of the store; sends nothing.
    pub async fn new(settings: Settings, resident_settings: ResidentSettings) -> Result<Self, StoreError> {
        let store = Arc::new(S3Store::connect(&settings.store.s3_config()).await?);
        let (published, _) = broadcast::channel(NEWS_KEPT);
        Ok(Self {
            settings,
            resident_settings,
            store,
            session: OnceCell::new(),
            mirror: Mutex::new(None),
            handle: OnceLock::new(),
            published,
        })
    }

    async fn session(&self) -> Result<&Arc<Session>, EngineError> {
        self.session
            .get_or_try_init(|| async {
                let worker = Worker::with_store(self.settings.clone(), self.store.clone()).await?;
                worker.session().await.map(Arc::new)
            })
            .await
            .map_err(|error: anyhow::Error| self.opening_failed(error))
    }

    fn opening_failed(&self, error: anyhow::Error) -> EngineError {
        let transient = error.chain().filter_map(|cause| cause.downcast_ref::<StoreError>()).any(|store| store.kind.is_transient());
        let (place, source) = (self.place(), error.into());
        if transient {
            EngineError::Unreachable { place, source }
        } else {
            EngineError::Failed { operation: "open", place, source }
        }
    }

    fn pass_failed(&self, operation: &'static str, error: PassError) -> EngineError {
        match error.source {
            SessionError::Store(source) => self.store_failed(operation, self.place(), source),
            other => EngineError::Failed { operation, place: self.place(), source: other.into() },
        }
    }

    fn store_failed(&self, operation: &'static str, place: String, source: StoreError) -> EngineError {
        if source.kind.is_transient() {
            EngineError::Unreachable { place: self.place(), source: source.into() }
        } else {
            EngineError::Failed { operation, place, source: source.into() }
        }
    }

    async fn pull_mounts(&self, mounts: &[String]) -> Result<Report, EngineError> {
        let request = PassRequest { mounts: mounts.to_vec(), ..PassRequest::everything(Direction::Pull) };
        let result = match self.handle.get() {
            Some(resident) => resident.pass(request).await.map_err(|ended| EngineError::Failed {
                operation: "pull from",
                place: self.place(),
                source: ended.into(),
            })?,
            None => {
                let progress: Arc<dyn Progress> = Arc::new(Silent);
                self.session().await?.pass(&request, &progress).await
            }
        };
        result.map_err(|error| self.pass_failed("pull from", error))
    }

    async fn mirror(&self) -> Result<(), EngineError> {
        let session = self.session().await?.clone();
        let state = worker::state_directory(&self.settings);
        let engine = resident::Engine::start(session.clone(), self.resident_settings.clone(), &state)
            .await
            .map_err(|error| EngineError::Failed { operation: "mirror", place: self.place(), source: error.into() })?;
        let resident = engine.resident().clone();
        tokio::spawn(tell(resident.subscribe(), self.published.clone()));
        self.handle.get_or_init(|| resident.clone());
        *self.mirror.lock().await = Some(engine);
        // Beside the start of the runtime: what the store can do, and what an earlier container left unsent.
        tokio::spawn(async move {
            if let Err(error) = session.probe().await {
                tracing::warn!("can't find out what the store does with conditional writes yet: {error}");
            }
            if resident.flush().await.is_err() {
                tracing::debug!("the engine ended before the first push");
            }
        });
        Ok(())
    }

    async fn object(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, EngineError> {
        read_whole(&*self.store, key, None, MAX_OBJECT_BYTES)
            .await
            .map_err(|error| self.store_failed("read", key.to_string(), error))
    }

    async fn stop(&self) -> Result<Report, EngineError> {
        let Some(engine) = self.mirror.lock().await.take() else { return Ok(Report::default()) };
        let result = engine.stop().await.map_err(|ended| EngineError::Failed {
            operation: "push to",
            place: self.place(),
            source: ended.into(),
        })?;
        result.map_err(|error| self.pass_failed("push to", error))
    }
}

impl Engine for CoreEngine {
    fn pull<'a>(&'a self, mounts: &'a [String]) -> BoxFuture<'a, Result<Report, EngineError>> {
        Box::pin(self.pull_mounts(mounts))
    }

    fn start_mirror(&self) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(self.mirror())
    }

    fn read_object<'a>(&'a self, key: &'a ObjectKey) -> BoxFuture<'a, Result<Option<Vec<u8>>, EngineError>> {
        Box::pin(self.object(key))
    }

    fn drain(&self) -> BoxFuture<'_, Result<Report, EngineError>> {
        Box::pin(self.stop())
    }

    fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.published.subscribe()
    }

    fn status(&self) -> Status {
        match (self.handle.get(), self.session.get()) {
            (Some(resident), _) => resident.status(),
            (None, Some(session)) => session.status(),
            (None, None) => Status { store: self.store.identity(), ..Status::default() },
        }
    }

    fn place(&self) -> String {
        worker::place(&self.settings)
    }
}

impl std::fmt::Debug for CoreEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreEngine").field("place", &self.place()).finish_non_exhaustive()
    }
}

/// Passes on which groups each pass published.
async fn tell(mut events: broadcast::Receiver<Event>, published: broadcast::Sender<Published>) {
    loop {
        match events.recv().await {
            Ok(Event::Pass { trigger, report }) => {
                if let Some(news) = Published::of(&report) {
                    tracing::debug!(?trigger, "files of reload groups were published");
                    // Nobody listens yet: the runtime is not up and reads the new files when it starts.
                    published.send(news).ok();
                }
            }
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => {
                // What was lost may have been a reload; telling nothing would leave the runtime on old files.
                tracing::warn!("lost news of passes");
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}


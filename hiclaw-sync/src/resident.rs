//! The resident engine as both programs run it: watcher, engine, control socket.
//!
//! Owns how requests of the control socket become requests to the engine. Decides nothing about files.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use sync_core::{
    control::{ConflictAction, ControlError, ControlServer, EventSink, Handler, Op, Request},
    debounce::MountIndex,
    path::RelPath,
    report::Report,
    resident::{Ended, Resident, ResidentSettings},
    session::{
        ConflictError, Direction, MountPath, PassError, PassRequest, Resolved, Session,
        SessionError,
    },
    watch::{WatchedMount, Watcher},
};
use tokio::sync::{broadcast, mpsc};

/// Kind of a control error: the store can't be reached.
pub const ERROR_UNREACHABLE: &str = "unreachable";
/// Kind of a control error: the pass could not be made.
pub const ERROR_FAILED: &str = "failed";
/// Kind of a control error: the request makes no sense.
pub const ERROR_USAGE: &str = "usage";

/// News from the watcher that may wait for the engine.
pub(crate) const NEWS_QUEUED: usize = 4096;

/// A running engine with its watcher and socket. Dropping it closes the socket and ends the watching.
pub struct Engine {
    resident: Resident,
    _watcher: Watcher,
    _control: ControlServer,
}

impl Engine {
    /// Starts everything. `state_directory` is where the socket is found.
    pub async fn start(
        session: Arc<Session>,
        settings: ResidentSettings,
        state_directory: &Path,
    ) -> anyhow::Result<Self> {
        let (sender, news) = mpsc::channel(NEWS_QUEUED);
        let mounts = watched_mounts(&session);
        let watcher = tokio::task::spawn_blocking(move || Watcher::start(mounts, sender))
            .await?
            .context("can't watch the files")?;
        let resident = Resident::start(session, settings, Some(news));
        let requests = Arc::new(Requests {
            resident: resident.clone(),
        });
        let control = ControlServer::bind(state_directory, requests).with_context(|| {
            format!(
                "can't open the control socket in {}",
                state_directory.display()
            )
        })?;
        Ok(Self {
            resident,
            _watcher: watcher,
            _control: control,
        })
    }

    /// The engine.
    #[must_use]
    pub fn resident(&self) -> &Resident {
        &self.resident
    }

    /// Sends what changed and ends the engine.
    pub async fn stop(self) -> Result<Result<Report, PassError>, Ended> {
        self.resident.stop().await
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// The mounts that push anything, without what never travels.
pub(crate) fn watched_mounts(session: &Session) -> Vec<WatchedMount> {
    session
        .mounts()
        .iter()
        .enumerate()
        .filter(|(_, mount)| mount.rules.rules().iter().any(|rule| rule.sync.pushes()))
        .filter_map(|(index, mount)| {
            let index = MountIndex(u16::try_from(index).ok()?);
            Some(WatchedMount::of(index, mount))
        })
        .collect()
}

/// Answers the control socket.
struct Requests {
    resident: Resident,
}

impl Handler for Requests {
    fn handle(
        &self,
        request: Request,
        events: EventSink,
    ) -> BoxFuture<'static, Result<Value, ControlError>> {
        let resident = self.resident.clone();
        async move { answer(&resident, request, events).await }.boxed()
    }
}

async fn answer(
    resident: &Resident,
    request: Request,
    events: EventSink,
) -> Result<Value, ControlError> {
    match request.op {
        Op::Pull => pass(resident, request, Direction::Pull).await,
        Op::Push => pass(resident, request, Direction::Push).await,
        Op::Sync => pass(resident, request, Direction::Sync).await,
        Op::Plan => plan(resident, request).await,
        Op::Approve => report(resident.approve().await),
        Op::Flush => report(resident.flush().await),
        Op::Status => {
            let resident = resident.clone();
            document(&blocking(move || resident.status()).await?)
        }
        Op::Conflicts => conflicts(resident, request).await,
        Op::Subscribe => forward(resident.subscribe(), events).await,
    }
}

async fn conflicts(resident: &Resident, request: Request) -> Result<Value, ControlError> {
    let session = resident.session().clone();
    let path = || match &*request.paths {
        [path] => Ok(path.clone()),
        _ => Err(refused(ERROR_USAGE, "one path is wanted".to_owned())),
    };
    match request.action.unwrap_or(ConflictAction::List) {
        ConflictAction::List => document(&blocking(move || session.conflicts()).await?),
        ConflictAction::Show => {
            let path = path()?;
            let shown = blocking(move || session.conflict(&path)).await?;
            document(&shown.map_err(|error| conflict_error(&error))?)
        }
        ConflictAction::Resolve => {
            let take = request.take.ok_or_else(|| {
                refused(ERROR_USAGE, "`take` is wanted: local or remote".to_owned())
            })?;
            let resolved = session.resolve(&path()?, take).await;
            let resolved = resolved.map_err(|error| conflict_error(&error))?;
            let request = after_resolving(&resolved);
            let pass = resident.pass(request).await;
            let pass = pass.map_err(|ended| refused(ERROR_FAILED, ended.to_string()))?;
            document(&Resolution::new(resolved, pass))
        }
    }
}

fn conflict_error(error: &ConflictError) -> ControlError {
    let kind = match error {
        ConflictError::Session(SessionError::NoMount { .. } | SessionError::Path(_)) => ERROR_USAGE,
        ConflictError::Session(_)
        | ConflictError::NoCopies { .. }
        | ConflictError::Changed { .. }
        | ConflictError::InUse { .. }
        | ConflictError::Local(_)
        | ConflictError::Baseline(_)
        | _ => ERROR_FAILED,
    };
    let mut message = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        message = format!("{message}: {cause}");
    }
    refused(kind, message)
}

/// The pass that takes a resolved conflict to the bucket: of the path and the copy that is gone.
pub(crate) fn after_resolving(resolved: &Resolved) -> PassRequest {
    let paths = [&resolved.path, &resolved.copy].into_iter();
    PassRequest {
        paths: paths
            .filter_map(|path| {
                Some(MountPath {
                    mount: resolved.mount.clone(),
                    path: RelPath::new(path).ok()?,
                })
            })
            .collect(),
        ..PassRequest::everything(Direction::Sync)
    }
}

/// A resolved conflict, and whether the bucket knows.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Resolution {
    /// What was done here.
    #[serde(flatten)]
    pub resolved: Resolved,
    /// What the pass after it did; `None` when it could not go on.
    pub pass: Option<Report>,
    /// Why the bucket doesn't know yet: the next pass tells it.
    pub pending: Option<String>,
    /// Whether trying again later is all that is needed for that.
    #[serde(default)]
    pub unreachable: bool,
}

impl Resolution {
    pub(crate) fn new(resolved: Resolved, pass: Result<Report, PassError>) -> Self {
        let (pass, pending) = match pass {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error)),
        };
        let is_transient = |error: &PassError| matches!(&error.source, SessionError::Store(store) if store.kind.is_transient());
        Self {
            resolved,
            pass,
            unreachable: pending.as_ref().is_some_and(is_transient),
            pending: pending.map(|error| error.to_string()),
        }
    }
}

async fn pass(
    resident: &Resident,
    request: Request,
    direction: Direction,
) -> Result<Value, ControlError> {
    let request = pass_request(resident, &request, direction)?;
    report(resident.pass(request).await)
}

async fn plan(resident: &Resident, request: Request) -> Result<Value, ControlError> {
    let direction = match request.direction.as_deref() {
        Some("pull") => Direction::Pull,
        Some("push") => Direction::Push,
        None | Some("sync" | "approve") => Direction::Sync,
        Some(other) => return Err(refused(ERROR_USAGE, format!("no direction {other:?}"))),
    };
    let request = pass_request(resident, &request, direction)?;
    report(resident.plan(request).await)
}

fn pass_request(
    resident: &Resident,
    request: &Request,
    direction: Direction,
) -> Result<PassRequest, ControlError> {
    let session = resident.session();
    session
        .request(direction, &request.paths)
        .map_err(|error| refused(ERROR_USAGE, error.to_string()))
}

fn report(result: Result<Result<Report, PassError>, Ended>) -> Result<Value, ControlError> {
    match result {
        Ok(Ok(report)) => document(&report),
        Ok(Err(error)) => {
            let transient =
                matches!(&error.source, SessionError::Store(store) if store.kind.is_transient());
            let kind = if transient {
                ERROR_UNREACHABLE
            } else {
                ERROR_FAILED
            };
            Err(refused(kind, error.to_string()))
        }
        Err(ended) => Err(refused(ERROR_FAILED, ended.to_string())),
    }
}

/// Passes events on until the client or the engine goes.
async fn forward(
    mut from: broadcast::Receiver<sync_core::resident::Event>,
    to: EventSink,
) -> Result<Value, ControlError> {
    loop {
        match from.recv().await {
            Ok(event) => {
                if to.send(document(&event)?).await.is_err() {
                    return Ok(Value::Null);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return Ok(Value::Null),
        }
    }
}

fn document(value: &impl serde::Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(value).map_err(|error| refused(ERROR_FAILED, error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| refused(ERROR_FAILED, error.to_string()))
}

fn refused(kind: &str, message: String) -> ControlError {
    ControlError::Refused {
        kind: kind.to_owned(),
        message,
    }
}

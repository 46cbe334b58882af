//! The resident engine: one task that owns a session and keeps its mounts the same for as long as it lives.
//!
//! Theory of operation. The task waits for whatever comes first: news from the watcher, the end of a path's quiet time,
//! the bucket's own word of a change, the next scheduled pull, a request, the end of the job under way. Everything that touches files or the store is a job;
//! one job runs at a time, in a task of its own, so that news is taken and requests are queued meanwhile. Requests run in
//! the order they came, in turns with the dirty paths that are due; a stop goes before everything.
//!
//! A store that can't be used makes dirty paths wait, with backoff; they are kept as paths, so hours of outage cost no
//! memory. [`Resident::stop`] ends the engine after a last push; dropping every handle ends it at
//! once.

mod hot;
mod jobs;
mod remote;
mod state;
mod streams;
mod task;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};

use self::{state::State, task::Engine};
use crate::{
    debounce::DebounceSettings,
    events::EventSettings,
    guard::Approval,
    report::Report,
    session::{Direction, PassError, PassRequest, Session},
    status::Status,
    watch::WatchEvent,
};

/// Events kept for a subscriber that is slow; the oldest are lost to it then.
const EVENTS_KEPT: usize = 256;
/// Requests that may wait.
const REQUESTS_QUEUED: usize = 64;
/// How a resident engine works.
#[derive(Debug, Clone, Copy)]
pub struct ResidentSettings {
    /// Time between two scheduled passes; a tenth of it is varied at random. A store that doesn't tell of its changes is
    /// asked more often for a while after one was found, never less often.
    pub pull_interval: Duration,
    /// How the store's word of changes is heard.
    pub events: EventSettings,
    /// When changed paths are looked at.
    pub debounce: DebounceSettings,
}

impl Default for ResidentSettings {
    fn default() -> Self {
        Self {
            pull_interval: Duration::from_mins(5),
            events: EventSettings::default(),
            debounce: DebounceSettings::default(),
        }
    }
}

/// What an engine tells those who subscribed.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A pass or a push is over.
    Pass {
        /// What it was for.
        trigger: Trigger,
        /// What it did.
        report: Arc<Report>,
    },
    /// A pass or a push could not go on; it will be tried again.
    Failed {
        /// What it was for.
        trigger: Trigger,
        /// Why, for people.
        message: String,
        /// What it did before.
        report: Arc<Report>,
    },
}

/// What a pass was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// Files changed here.
    Change,
    /// The store told of changed objects, or has just begun to.
    Event,
    /// The time had come.
    Schedule,
    /// Somebody asked.
    Request,
    /// The engine is being stopped.
    Stop,
}

/// A request to the engine.
#[derive(Debug)]
enum Command {
    /// Without a reply nobody waits for it: one that waits already does for all.
    Pass(
        PassRequest,
        Option<oneshot::Sender<Result<Report, PassError>>>,
    ),
    Plan(PassRequest, oneshot::Sender<Result<Report, PassError>>),
    /// Push what is dirty now; answered when it is done.
    Flush(oneshot::Sender<Result<Report, PassError>>),
}

/// Push what is dirty now, then end. Its channel is another than that of the commands, which may be full.
type StopCommand = oneshot::Sender<Result<Report, PassError>>;

/// A handle of a running engine. Clones share it.
#[derive(Debug, Clone)]
pub struct Resident {
    commands: mpsc::Sender<Command>,
    stops: mpsc::Sender<StopCommand>,
    events: broadcast::Sender<Event>,
    shared: Arc<Shared>,
}

/// What the engine's task and its handles see.
#[derive(Debug)]
struct Shared {
    session: Arc<Session>,
    state: Mutex<State>,
}

/// The engine has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has ended")]
pub struct Ended;

impl Resident {
    /// Starts an engine. `news` comes from the watcher; without one, changes are found by the scheduled passes only.
    #[must_use]
    pub fn start(
        session: Arc<Session>,
        settings: ResidentSettings,
        news: Option<mpsc::Receiver<WatchEvent>>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(REQUESTS_QUEUED);
        let (stops, stop) = mpsc::channel(1);
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let names = session.mounts().iter().map(|mount| mount.name.clone());
        let state = State::new(names.collect());
        let shared = Arc::new(Shared {
            session,
            state: Mutex::new(state),
        });
        let engine = Engine::new(settings, shared.clone(), events.clone());
        tokio::spawn(engine.run(inbox, stop, news));
        Self {
            commands,
            stops,
            events,
            shared,
        }
    }

    /// One pass, after those that were asked for before.
    pub async fn pass(&self, request: PassRequest) -> Result<Result<Report, PassError>, Ended> {
        self.ask(|reply| Command::Pass(request, Some(reply))).await
    }

    /// Asks for a pass over everything without waiting for it. However often it is asked for, one pass at most waits.
    pub async fn pass_soon(&self, direction: Direction) -> Result<(), Ended> {
        let request = PassRequest::everything(direction);
        self.commands
            .send(Command::Pass(request, None))
            .await
            .map_err(|_| Ended)
    }

    /// What a pass would do.
    pub async fn plan(&self, request: PassRequest) -> Result<Result<Report, PassError>, Ended> {
        self.ask(|reply| Command::Plan(request, reply)).await
    }

    /// Sends everything that changed until now, whether it is quiet or not.
    pub async fn flush(&self) -> Result<Result<Report, PassError>, Ended> {
        self.ask(Command::Flush).await
    }

    /// Sends everything that changed until now and ends the engine. Call it when nothing writes any more.
    pub async fn stop(&self) -> Result<Result<Report, PassError>, Ended> {
        let (reply, answer) = oneshot::channel();
        self.stops.send(reply).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }

    /// Releases held deletes: one pass both ways that the brakes let through.
    pub async fn approve(&self) -> Result<Result<Report, PassError>, Ended> {
        self.pass(PassRequest {
            approval: Approval::Given,
            ..PassRequest::everything(Direction::Sync)
        })
        .await
    }

    /// What the engine does from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The session that the engine works on.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.shared.session
    }

    /// The state of the engine. Blocks shortly on the file system.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = self.shared.session.status();
        self.shared.state().describe(&mut status);
        status.degraded = self.shared.session.degraded(&status.problems);
        status
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Report, PassError>>) -> Command,
    ) -> Result<Result<Report, PassError>, Ended> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

//! The resident engine: one task that owns a session and keeps its mounts the same for as long as it lives.
//!
//! Theory of operation. The task waits for whatever comes first: news from the watcher, the end of a path's quiet time,
//! the next scheduled pull, a request, the end of the job under way. Everything that touches files or the store is a job;
//! one job runs at a time, in a task of its own, so that news is taken and requests are queued meanwhile. Requests run in
//! the order they came; dirty paths are pushed between them.
//!
//! A store that can't be used makes dirty paths wait, with backoff; they are kept as paths, so hours of outage cost no
//! memory. Dropping the handle doesn't stop the engine; [`Resident::stop`] does, after a last push.

mod jobs;
mod state;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::{
    jobs::{Finished, Job},
    state::State,
};
use crate::{
    backoff::Backoff,
    debounce::{DebounceSettings, Debouncer, DirtyPath, MountIndex, Scope},
    guard::Approval,
    report::Report,
    session::{Direction, Dirty, MountPath, PassError, PassRequest, Session},
    status::Status,
    watch::{WatchEvent, WatchMode},
};

/// Events kept for a subscriber that is slow; the oldest are lost to it then.
const EVENTS_KEPT: usize = 256;
/// Requests that may wait.
const REQUESTS_QUEUED: usize = 64;
/// First and longest wait after the store failed.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How a resident engine works.
#[derive(Debug, Clone)]
pub struct ResidentSettings {
    /// Time between two scheduled passes; a tenth of it is varied at random.
    pub pull_interval: Duration,
    /// When changed paths are looked at.
    pub debounce: DebounceSettings,
}

impl Default for ResidentSettings {
    fn default() -> Self {
        Self {
            pull_interval: Duration::from_secs(300),
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
    Pass(PassRequest, oneshot::Sender<Result<Report, PassError>>),
    Plan(PassRequest, oneshot::Sender<Result<Report, PassError>>),
    /// Push what is dirty now; answered when it is done.
    Flush(oneshot::Sender<Result<Report, PassError>>),
    /// The same, then end.
    Stop(oneshot::Sender<Result<Report, PassError>>),
}

/// A handle of a running engine. Clones share it.
#[derive(Debug, Clone)]
pub struct Resident {
    commands: mpsc::Sender<Command>,
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
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let shared = Arc::new(Shared {
            session,
            state: Mutex::new(State::default()),
        });
        let engine = Engine {
            debouncer: Debouncer::new(settings.debounce),
            next_pass: Instant::now() + jittered(settings.pull_interval),
            settings,
            shared: shared.clone(),
            events: events.clone(),
            waiting: VecDeque::new(),
            running: None,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
        };
        tokio::spawn(engine.run(inbox, news));
        Self {
            commands,
            events,
            shared,
        }
    }

    /// One pass, after those that were asked for before.
    pub async fn pass(&self, request: PassRequest) -> Result<Result<Report, PassError>, Ended> {
        self.ask(|reply| Command::Pass(request, reply)).await
    }

    /// Asks for a pass both ways without waiting for it.
    pub async fn synchronise_soon(&self) -> Result<(), Ended> {
        let (reply, _) = oneshot::channel();
        let request = PassRequest::everything(Direction::Sync);
        self.commands
            .send(Command::Pass(request, reply))
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
        self.ask(Command::Stop).await
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

/// The engine's task.
struct Engine {
    settings: ResidentSettings,
    shared: Arc<Shared>,
    events: broadcast::Sender<Event>,
    debouncer: Debouncer,
    next_pass: Instant,
    /// Requests that wait for the job under way.
    waiting: VecDeque<Command>,
    running: Option<AbortOnDropHandle<Finished>>,
    backoff: Backoff,
    /// While the store fails: when dirty paths are tried again.
    retry_at: Option<Instant>,
}

/// Whether the engine goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Engine {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut news: Option<mpsc::Receiver<WatchEvent>>,
    ) {
        loop {
            self.start_next();
            let wake = self.wake_at();
            tokio::select! {
                finished = finished(&mut self.running) => {
                    self.running = None;
                    if self.conclude(finished) == Next::End {
                        return;
                    }
                }
                command = inbox.recv() => match command {
                    Some(command) => self.waiting.push_back(command),
                    // Every handle is gone: nobody could stop it any more.
                    None => return,
                },
                event = next_event(&mut news) => match event {
                    Some(event) => self.take_news(event),
                    None => {
                        tracing::error!("the watcher has died; changes are found by the scheduled passes only");
                        self.shared.state().forget_watch_modes();
                        news = None;
                    }
                },
                () = sleep_until(wake) => {}
            }
            self.shared.state().pending = self.debouncer.len() as u64;
        }
    }

    /// Starts the next job, if none runs and there is something to do.
    fn start_next(&mut self) {
        if self.running.is_some() {
            return;
        }
        let now = Instant::now();
        let job = if let Some(command) = self.waiting.pop_front() {
            match command {
                Command::Pass(request, reply) => Job::Pass(Trigger::Request, request, Some(reply)),
                Command::Plan(request, reply) => Job::Plan(request, reply),
                Command::Flush(reply) => self.flush(Trigger::Request, reply),
                Command::Stop(reply) => self.flush(Trigger::Stop, reply),
            }
        } else if self.retry_at.is_some_and(|retry| now < retry) {
            return;
        } else if self
            .debouncer
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            Job::Push(Trigger::Change, self.debouncer.due(now), None)
        } else if now >= self.next_pass {
            Job::Pass(
                Trigger::Schedule,
                PassRequest::everything(Direction::Sync),
                None,
            )
        } else {
            return;
        };
        self.running = Some(AbortOnDropHandle::new(tokio::spawn(
            job.run(self.shared.session.clone()),
        )));
    }

    /// Everything that may have changed: a scan finds what the watcher has not told yet.
    fn flush(
        &mut self,
        trigger: Trigger,
        reply: oneshot::Sender<Result<Report, PassError>>,
    ) -> Job {
        self.debouncer.drain_all();
        let mounts = 0..self.shared.session.mounts().len();
        let everything = mounts
            .filter_map(|index| u16::try_from(index).ok())
            .map(|index| DirtyPath::mount(MountIndex(index)));
        Job::Push(trigger, everything.collect(), Some(reply))
    }

    fn wake_at(&self) -> Option<Instant> {
        if self.running.is_some() {
            return None;
        }
        let next = self
            .debouncer
            .next_deadline()
            .map_or(self.next_pass, |deadline| deadline.min(self.next_pass));
        Some(self.retry_at.map_or(next, |retry| retry.max(next)))
    }

    fn take_news(&mut self, event: WatchEvent) {
        let now = Instant::now();
        match event {
            WatchEvent::Dirty(dirty) => self.debouncer.note(dirty, now),
            WatchEvent::Mode(index, mode) => self.shared.state().set_watch_mode(index, mode),
            WatchEvent::RootGone(mount) => {
                tracing::error!(?mount, "the mount's directory is gone");
                self.debouncer.note(DirtyPath::mount(mount), now);
            }
        }
    }

    /// Takes what a job did; its reply goes out last, when everybody sees the state it speaks of.
    fn conclude(&mut self, finished: Finished) -> Next {
        let now = Instant::now();
        let Finished {
            trigger,
            what,
            result,
            unfinished,
            reply,
        } = finished;
        match &result {
            Ok(_) => {
                self.backoff.reset();
                self.retry_at = None;
            }
            Err(error) => {
                let wait = self.backoff.next(fastrand::f64());
                tracing::warn!(error = %error, retry_in = ?wait, "the store can't be used; changes are kept and sent later");
                self.retry_at = Some(now + wait);
            }
        }
        let failed = result.is_err();
        for dirty in unfinished {
            let until = now
                + if failed {
                    FIRST_RETRY
                } else {
                    self.backoff_of_single_paths()
                };
            self.debouncer.defer(dirty, now, until);
        }
        if what.is_whole_pass() {
            self.next_pass = now + jittered(self.settings.pull_interval);
        }
        self.shared.state().conclude(&what, &result);
        self.announce(trigger, &result);
        if let Some(reply) = reply
            && reply.send(result).is_err()
        {
            tracing::debug!("whoever asked for the pass has gone");
        }
        if trigger == Trigger::Stop {
            Next::End
        } else {
            Next::GoOn
        }
    }

    /// How long a path waits that failed while others went well.
    fn backoff_of_single_paths(&self) -> Duration {
        LAST_RETRY / 4
    }

    fn announce(&self, trigger: Trigger, result: &Result<Report, PassError>) {
        let event = match result {
            Ok(report) => {
                log_pass(trigger, report);
                Event::Pass {
                    trigger,
                    report: Arc::new(report.clone()),
                }
            }
            Err(error) => Event::Failed {
                trigger,
                message: error.to_string(),
                report: Arc::new(error.report.clone()),
            },
        };
        // Nobody listening is no fault.
        self.events.send(event).ok();
    }
}

/// One line for a pass that did something.
fn log_pass(trigger: Trigger, report: &Report) {
    for problem in &report.problems {
        tracing::warn!(mount = problem.mount, path = problem.path, kind = ?problem.kind, "{}", problem.message);
    }
    if report.is_quiet() && trigger == Trigger::Change {
        return;
    }
    tracing::info!(
        ?trigger,
        downloaded = report.downloaded.len(),
        uploaded = report.uploaded.len(),
        merged = report.merged.len(),
        deleted_local = report.deleted_local.len(),
        deleted_remote = report.deleted_remote.len(),
        conflicts = report.conflicts.len(),
        problems = report.problems.len(),
        held = report.held.len(),
        bytes_in = report.bytes_in,
        bytes_out = report.bytes_out,
        duration = ?report.duration,
        "pass"
    );
}

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + fastrand::f64() * 0.2)
}

/// The end of the job under way; never, when there is none.
async fn finished(running: &mut Option<AbortOnDropHandle<Finished>>) -> Finished {
    match running {
        Some(handle) => match handle.await {
            Ok(finished) => finished,
            Err(error) => Finished::lost(error),
        },
        None => std::future::pending().await,
    }
}

async fn next_event(news: &mut Option<mpsc::Receiver<WatchEvent>>) -> Option<WatchEvent> {
    match news {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

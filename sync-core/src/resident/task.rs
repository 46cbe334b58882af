//! The engine's task: what it waits for, what it starts, what it makes of what came back.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Command, Event, ResidentSettings, Shared, StopCommand, Trigger,
    jobs::{Finished, Job, What},
    remote::Remote,
};
use crate::{
    backoff::Backoff,
    debounce::{Debouncer, DirtyPath, MountIndex, Scope},
    failpoint::Point,
    pace::Pace,
    report::{ProblemKind, Report, RequestCounts},
    selection::is_ignore_file,
    session::{Direction, PassError, PassRequest},
    watch::WatchEvent,
};

/// First and longest wait after the store failed.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);
/// What is due so soon goes with what is due now: both names of a renamed directory belong into one plan, or its files are
/// deleted before they are sent again.
const TOGETHER: Duration = Duration::from_millis(50);
/// Requests that may wait in the task; more wait in the channel.
const REQUESTS_WAITING: usize = 64;
/// How soon everything is looked at after an ignore file changed: what is no longer ignored may be in the bucket only.
const AFTER_IGNORE_FILE: Duration = Duration::from_secs(2);
/// How long a path waits that failed while others went well.
const PATH_RETRY: Duration = Duration::from_secs(15);
/// How long one waits of which the bucket has told just now: by then what was in its way is gone, if that was told too.
const SECOND_LOOK: Duration = Duration::from_secs(3);

/// The engine's task.
pub(super) struct Engine {
    pub(super) shared: Arc<Shared>,
    events: broadcast::Sender<Event>,
    pub(super) debouncer: Debouncer,
    pub(super) pace: Pace,
    remote: Remote,
    next_pass: Instant,
    /// Requests that wait for the job under way.
    waiting: VecDeque<Command>,
    /// Goes before everything else, the job under way included.
    stopping: Option<StopCommand>,
    running: Option<AbortOnDropHandle<Finished>>,
    last: LastJob,
    backoff: Backoff,
    /// While the store fails: when dirty paths are tried again.
    retry_at: Option<Instant>,
}

/// What the last job was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastJob {
    /// Somebody's request.
    Request,
    /// The bucket's word of changes.
    Look,
    /// Anything else.
    Other,
}

/// Whether the engine goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Engine {
    pub(super) fn new(
        settings: ResidentSettings,
        shared: Arc<Shared>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        Self {
            debouncer: Debouncer::new(settings.debounce),
            pace: Pace::new(),
            remote: Remote::start(&shared.session, &settings),
            next_pass: Instant::now() + jittered(settings.pull_interval),
            shared,
            events,
            waiting: VecDeque::new(),
            stopping: None,
            running: None,
            last: LastJob::Other,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            retry_at: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut stop: mpsc::Receiver<StopCommand>,
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
                Some(reply) = stop.recv(), if self.stopping.is_none() => {
                    // What the job under way has published or sent is found equal by the next look, and the time for
                    // the last push is short.
                    self.running = None;
                    self.stopping = Some(reply);
                    self.remote.end();
                }
                command = inbox.recv(), if self.waiting.len() < REQUESTS_WAITING => match command {
                    Some(command) => self.queue(command),
                    // Every handle is gone: nobody could stop it any more.
                    None => return,
                },
                event = next_event(&mut news) => if let Some(event) = event {
                    self.take_news(event);
                } else {
                        tracing::error!("the watcher has died; changes are found by the scheduled passes only");
                        self.shared.state().forget_watch_modes();
                        news = None;
                },
                news = self.remote.next_news() => {
                    if let Some(at) = self.remote.take(news, &self.shared) {
                        self.next_pass = self.next_pass.min(at);
                    }
                },
                () = sleep_until(wake) => {}
            }
            let mut state = self.shared.state();
            state.pending = self.debouncer.len() as u64;
            state.pull_every = self.remote.pass_interval();
        }
    }

    fn queue(&mut self, command: Command) {
        match command {
            Command::Pass(ref wanted, None) if self.waits(wanted) => {}
            Command::Pass(..) | Command::Plan(..) | Command::Flush(_) => {
                self.waiting.push_back(command);
            }
        }
    }

    /// True when the same pass waits already. The one under way doesn't count: it may have looked before the change that
    /// another is wanted for.
    fn waits(&self, wanted: &PassRequest) -> bool {
        self.waiting
            .iter()
            .any(|command| matches!(command, Command::Pass(request, _) if request == wanted))
    }

    /// Starts the next job, if none runs and there is something to do.
    fn start_next(&mut self) {
        if self.running.is_some() {
            return;
        }
        if let Some(reply) = self.stopping.take() {
            let job = self.flush(Trigger::Stop, reply);
            self.run_job(job);
            return;
        }
        let now = Instant::now();
        let may_try = self.retry_at.is_none_or(|retry| retry <= now);
        let is_due = |deadline: Option<Instant>| may_try && deadline.is_some_and(|at| at <= now);
        let push_is_due = is_due(self.debouncer.next_deadline());
        let look_is_due = is_due(self.remote.deadline());
        // In turns, so that whoever asks again and again doesn't keep edits from being sent, nor brought.
        let change_first = (push_is_due || look_is_due) && self.last == LastJob::Request;
        let request = if change_first {
            None
        } else {
            self.waiting.pop_front()
        };
        let look_next = look_is_due && !(push_is_due && self.last == LastJob::Look);
        self.last = match (&request, look_next) {
            (Some(_), _) => LastJob::Request,
            (None, true) => LastJob::Look,
            (None, false) => LastJob::Other,
        };
        let job = if let Some(command) = request {
            match command {
                Command::Pass(request, reply) => {
                    self.forget_what_it_looks_at(&request);
                    Job::Pass(Trigger::Request, request, reply)
                }
                Command::Plan(request, reply) => Job::Plan(request, reply),
                Command::Flush(reply) => self.flush(Trigger::Request, reply),
            }
        } else if self.retry_at.is_some_and(|retry| now < retry) {
            return;
        } else if look_next {
            Job::Look(self.remote.due(now))
        } else if push_is_due {
            let dirty = self.debouncer.due(now + TOGETHER);
            let dirty = self.without_the_hot(dirty, now);
            if dirty.is_empty() {
                return;
            }
            self.shared.session.reached(Point::DirtyTaken);
            Job::Push(Trigger::Change, dirty, None)
        } else if now >= self.next_pass {
            let everything = PassRequest::everything(Direction::Sync);
            self.forget_what_it_looks_at(&everything);
            Job::Pass(Trigger::Schedule, everything, None)
        } else {
            return;
        };
        self.run_job(job);
    }

    /// A listing of everything settles all hints that came before it. One that fails is made again.
    fn forget_what_it_looks_at(&mut self, request: &PassRequest) {
        if request.is_whole() && request.direction != Direction::Push {
            self.remote.forget_hints();
        }
    }

    fn run_job(&mut self, job: Job) {
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
        let changes = self.debouncer.next_deadline().into_iter();
        let next = changes
            .chain(self.remote.deadline())
            .fold(self.next_pass, Instant::min);
        Some(self.retry_at.map_or(next, |retry| retry.max(next)))
    }

    fn take_news(&mut self, event: WatchEvent) {
        let now = Instant::now();
        match event {
            WatchEvent::Dirty(dirty) => {
                self.shared.state().note_change();
                if let Scope::Path(path) = &dirty.scope
                    && is_ignore_file(path)
                {
                    self.next_pass = self.next_pass.min(now + AFTER_IGNORE_FILE);
                }
                if let Scope::Path(path) = &dirty.scope {
                    self.pace.note(dirty.mount, path, now);
                }
                self.debouncer.note(dirty, now);
            }
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
            mut what,
            result,
            unfinished,
            reply,
        } = finished;
        if let What::Look(looked) = &mut what {
            let wait = match (&result, looked.is_first()) {
                (Err(_), _) => FIRST_RETRY,
                (Ok(_), true) => SECOND_LOOK,
                (Ok(_), false) => PATH_RETRY,
            };
            let again = std::mem::take(&mut looked.again);
            self.remote.put_back(again, now + wait);
            // Nobody was asked and nothing came of it: that says nothing of the store, and nobody needs to hear of it.
            let is_echo =
                |report: &Report| report.is_quiet() && report.requests == RequestCounts::default();
            if result.as_ref().is_ok_and(is_echo) {
                return Next::GoOn;
            }
        }
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
        let busy = busy_paths(&result);
        for dirty in unfinished {
            if !failed && is_busy(&dirty, &busy) {
                self.debouncer.requeue(dirty, now);
            } else {
                let until = now + if failed { FIRST_RETRY } else { PATH_RETRY };
                self.debouncer.defer(dirty, now, until);
            }
        }
        if what.pulls_everything()
            && let Ok(report) = &result
        {
            self.remote.note_pass(report);
            let soon = now + jittered(self.remote.pass_interval());
            self.next_pass = self.next_pass.min(soon);
        }
        if what.replaces_the_scheduled() {
            // One that failed is tried again when the store is, not when the next one would be due.
            self.next_pass = self
                .retry_at
                .unwrap_or_else(|| now + jittered(self.remote.pass_interval()));
        }
        if failed
            && what.is_whole()
            && let Some(retry) = self.retry_at
        {
            self.next_pass = self.next_pass.min(retry);
        }
        let report = match &result {
            Ok(report) => report,
            Err(error) => &error.report,
        };
        if !matches!(what, What::Plan) {
            self.pace_what_was_sent(report, now);
        }
        self.shared.state().conclude(&what, &result);
        if !matches!(what, What::Plan) {
            self.announce(trigger, &result);
        }
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

    fn announce(&self, trigger: Trigger, result: &Result<Report, PassError>) {
        if let Ok(report) = result {
            log_pass(trigger, report);
        }
        // Nobody listens: a report of a million files is not copied for that.
        if self.events.receiver_count() == 0 {
            return;
        }
        let event = match result {
            Ok(report) => Event::Pass {
                trigger,
                report: Arc::new(report.clone()),
            },
            Err(error) => Event::Failed {
                trigger,
                message: error.to_string(),
                report: Arc::new((*error.report).clone()),
            },
        };
        // Whoever listened may have gone meanwhile.
        self.events.send(event).ok();
    }
}

/// One line for a pass that did something.
fn log_pass(trigger: Trigger, report: &Report) {
    let is_news = |kind| trigger != Trigger::Change || kind != ProblemKind::Busy;
    for problem in report
        .problems
        .iter()
        .filter(|problem| is_news(problem.kind))
    {
        tracing::warn!(mount = problem.mount, path = problem.path, kind = ?problem.kind, "{}", problem.message);
    }
    if report.is_quiet() && matches!(trigger, Trigger::Change | Trigger::Event) {
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

/// The paths that were being written to: they are sent as soon as they are quiet.
fn busy_paths(result: &Result<Report, PassError>) -> BTreeSet<String> {
    let problems = result.iter().flat_map(|report| &report.problems);
    problems
        .filter(|problem| problem.kind == ProblemKind::Busy)
        .map(|problem| problem.path.clone())
        .collect()
}

fn is_busy(dirty: &DirtyPath, busy: &BTreeSet<String>) -> bool {
    match &dirty.scope {
        Scope::Path(path) | Scope::Subtree(path) => busy.contains(path.as_str()),
        Scope::Mount => false,
    }
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

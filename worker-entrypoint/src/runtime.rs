//! The runtime: executes what the [supervisor](crate::supervisor) decides.
//!
//! Owns the task that starts, signals and waits for the runtime's process group, its timer and its probe. Decides nothing
//! about restarts; dropping the [`Runtime`] leaves the task running: only [`RuntimeHandle::stop`] ends it.

mod process;

use std::{io, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

pub use self::process::RuntimeLauncher;
use crate::{
    engine::BoxFuture,
    process::Exit,
    supervisor::{Cause, Effect, Event, Policy, StartFailure, State, Supervisor},
};

/// Starts the runtime's process.
pub trait Launcher: Send {
    /// Starts it once.
    fn launch(&mut self) -> io::Result<Box<dyn Process>>;
}

/// A runtime's process group.
pub trait Process: Send {
    /// The leader's process id.
    fn id(&self) -> i32;
    /// Waits until all of it has ended. Cancel safe.
    fn ended(&mut self) -> BoxFuture<'_, (Exit, Cause)>;
    /// SIGTERM to all of it.
    fn terminate(&mut self);
    /// SIGKILL to all of it.
    fn kill(&mut self);
    /// Any other signal to all of it.
    fn signal(&self, number: i32);
}

/// Makes futures that end when the runtime is ready.
pub type Probe = Box<dyn Fn() -> BoxFuture<'static, ()> + Send>;

/// Gives numbers in 0..1, which spread the waits between restarts.
pub type Jitter = fn() -> f64;

/// What others may know about the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// Where it is in its life.
    pub state: State,
    /// Its process id, while it runs.
    pub id: Option<i32>,
    /// How often it was started again.
    pub restarts: u64,
}

/// What the runtime's task is asked for.
#[derive(Debug, Clone, Copy)]
enum Request {
    Event(Event),
    Signal(i32),
}

/// A supervised runtime.
#[derive(Debug)]
pub struct Runtime {
    handle: RuntimeHandle,
    task: JoinHandle<Exit>,
}

/// What may be asked of a runtime. Clones share it.
#[derive(Debug, Clone)]
pub struct RuntimeHandle {
    requests: mpsc::UnboundedSender<Request>,
    status: watch::Receiver<RuntimeStatus>,
}

impl Runtime {
    /// Starts the runtime and its task.
    #[must_use]
    pub fn start(
        policy: Policy,
        launcher: Box<dyn Launcher>,
        probe: Probe,
        jitter: Jitter,
    ) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (sender, status) = watch::channel(RuntimeStatus {
            state: State::Idle,
            id: None,
            restarts: 0,
        });
        let task = Task {
            supervisor: Supervisor::new(policy),
            launcher,
            probe,
            jitter,
            process: None,
            started: Instant::now(),
            timer: None,
            probing: None,
            status: sender,
            launches: 0,
        };
        Self {
            handle: RuntimeHandle { requests, status },
            task: tokio::spawn(task.run(inbox)),
        }
    }

    /// For those who ask things of it.
    #[must_use]
    pub fn handle(&self) -> &RuntimeHandle {
        &self.handle
    }

    /// Waits until it has ended for good. Cancel safe; must not be called again after it returned.
    pub async fn finished(&mut self) -> Exit {
        match (&mut self.task).await {
            Ok(exit) => exit,
            Err(error) => {
                tracing::error!(%error, "the runtime's task ended unexpectedly");
                Exit::Code(1)
            }
        }
    }
}

impl RuntimeHandle {
    /// Its state now and when it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<RuntimeStatus> {
        self.status.clone()
    }

    /// Ends it: SIGTERM, grace, SIGKILL. Asking again changes nothing.
    pub fn stop(&self) {
        self.ask(Request::Event(Event::Stop));
    }

    /// Stops it and starts it again.
    pub fn restart(&self) {
        self.ask(Request::Event(Event::Restart));
    }

    /// Files that it reads were published: one that waits after a crash is started at once.
    pub fn files_changed(&self) {
        self.ask(Request::Event(Event::FilesChanged));
    }

    /// Passes a signal on, if it runs.
    pub fn signal(&self, number: i32) {
        self.ask(Request::Signal(number));
    }

    fn ask(&self, request: Request) {
        if self.requests.send(request).is_err() {
            tracing::debug!(?request, "the runtime has ended already");
        }
    }
}

struct Task {
    supervisor: Supervisor,
    launcher: Box<dyn Launcher>,
    probe: Probe,
    jitter: Jitter,
    process: Option<Box<dyn Process>>,
    started: Instant,
    timer: Option<Instant>,
    probing: Option<BoxFuture<'static, ()>>,
    status: watch::Sender<RuntimeStatus>,
    launches: u64,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) -> Exit {
        let mut finished = self.handle(Event::Start);
        loop {
            if let Some(exit) = finished {
                return exit;
            }
            let event = tokio::select! {
                // The end is taken before a request that came at the same moment: a restart of what has ended is none.
                biased;
                (exit, cause) = ended(&mut self.process) => {
                    self.process = None;
                    let uptime = self.started.elapsed();
                    log_end(exit, uptime);
                    Event::Ended { exit, uptime, cause }
                }
                () = over(self.timer) => {
                    self.timer = None;
                    Event::TimerOver
                }
                () = probed(&mut self.probing) => {
                    self.probing = None;
                    tracing::info!(after = ?self.started.elapsed(), "the runtime is ready");
                    Event::Ready
                }
                request = inbox.recv() => match request {
                    Some(Request::Event(event)) => event,
                    Some(Request::Signal(number)) => {
                        if let Some(process) = &self.process {
                            process.signal(number);
                        }
                        continue;
                    }
                    // Nobody could stop it any more.
                    None => Event::Stop,
                },
            };
            finished = self.handle(event);
        }
    }

    /// Takes an event and does what follows from it; gives the exit once it is over.
    fn handle(&mut self, event: Event) -> Option<Exit> {
        let mut next = Some(event);
        let mut finished = None;
        while let Some(event) = next.take() {
            for effect in self.supervisor.handle(event, (self.jitter)()) {
                match effect {
                    Effect::Launch => next = self.launch().err(),
                    Effect::Probe => self.probing = self.process.is_some().then(|| (self.probe)()),
                    Effect::EndProbe => self.probing = None,
                    Effect::Terminate => self.with_process(|process| process.terminate()),
                    Effect::Kill => {
                        tracing::warn!("the runtime did not end in time, it is killed");
                        self.with_process(|process| process.kill());
                    }
                    Effect::Arm(wait) => self.arm(wait),
                    Effect::Disarm => self.timer = None,
                    Effect::GiveUp => tracing::error!(
                        starts = self.launches,
                        "the runtime keeps ending soon after its start; it is given up, and the worker ends with its exit code"
                    ),
                    Effect::Finish(exit) => finished = Some(exit),
                }
            }
        }
        let status = RuntimeStatus {
            state: self.supervisor.state(),
            id: self.process.as_ref().map(|process| process.id()),
            restarts: self.launches.saturating_sub(1),
        };
        self.status.send_replace(status);
        finished
    }

    fn launch(&mut self) -> Result<(), Event> {
        self.launches += 1;
        self.started = Instant::now();
        match self.launcher.launch() {
            Ok(process) => {
                tracing::info!(pid = process.id(), "the runtime was started");
                self.process = Some(process);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the runtime can't be started");
                Err(Event::StartFailed(start_failure(&error)))
            }
        }
    }

    fn arm(&mut self, wait: Duration) {
        if matches!(self.supervisor.state(), State::Waiting(_)) {
            tracing::info!(wait = ?wait, "the runtime is started again after a wait");
        }
        self.timer = Some(Instant::now() + wait);
    }

    fn with_process(&mut self, act: impl FnOnce(&mut dyn Process)) {
        if let Some(process) = &mut self.process {
            act(&mut **process);
        }
    }
}

fn start_failure(error: &io::Error) -> StartFailure {
    let lasting = [
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::NotADirectory,
    ];
    if error.kind() == io::ErrorKind::NotFound {
        StartFailure::NotFound
    } else if lasting.contains(&error.kind()) {
        StartFailure::NotExecutable
    } else {
        StartFailure::Shortage
    }
}

fn log_end(exit: Exit, uptime: Duration) {
    // The codes that OpenClaw and others take from sysexits.h.
    let meaning = match exit {
        Exit::Code(78) => {
            " (it says that its configuration is missing or invalid, or that another instance runs)"
        }
        Exit::Code(_) | Exit::Signal(_) => "",
    };
    if exit.is_success() {
        tracing::info!(?uptime, "the runtime ended with {exit}");
    } else {
        tracing::warn!(?uptime, "the runtime ended with {exit}{meaning}");
    }
}

async fn ended(process: &mut Option<Box<dyn Process>>) -> (Exit, Cause) {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

async fn over(timer: Option<Instant>) {
    match timer {
        Some(timer) => tokio::time::sleep_until(timer).await,
        None => std::future::pending().await,
    }
}

async fn probed(probing: &mut Option<BoxFuture<'static, ()>>) {
    match probing {
        Some(probing) => probing.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

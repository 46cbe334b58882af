//! Child processes: started, waited for and reaped in one place.
//!
//! Theory of operation. The program is a child subreaper: what the runtime leaves behind becomes its child. So it has
//! children that it knows and children that it does not, and must reap both without ever taking a known one's exit code
//! away from whoever waits for it. One thread does all the waiting: it looks at the next child with news without reaping
//! it, takes the register's lock, reaps it, and tells the register's entry, if there is one. Starting a child holds the same
//! lock until the child is registered, so none can end unnoticed. Nothing else in the program may wait for children:
//! `tokio::process` and `std::process::Child::wait` are not to be used beside this.
//!
//! Owns the register, exit codes and process groups. Never decides when a process starts or ends.

use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    os::unix::process::CommandExt as _,
    process::{ChildStderr, ChildStdout, Command},
    sync::{Condvar, LazyLock, Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus};
use tokio::sync::mpsc;

use crate::sys::{self, News};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The code that stands for it: 128+n for signal n.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }

    /// True for code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }

    fn of(status: WaitStatus) -> Self {
        match status.terminating_signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Code(
                status
                    .exit_status()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(1),
            ),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What happens to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildEvent {
    /// A signal of the terminal stopped it.
    Stopped,
    /// It ended; nothing follows.
    Ended(Exit),
}

/// A child process, leader of a process group of its own.
///
/// Dropping it leaves the process alone; it is reaped all the same.
#[derive(Debug)]
pub struct Child {
    /// Its standard output, when that was piped.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, when that was piped.
    pub stderr: Option<ChildStderr>,
    group: Group,
    events: mpsc::UnboundedReceiver<ChildEvent>,
}

impl Child {
    /// The process group that it leads.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// What happens next. Cancel safe.
    pub async fn event(&mut self) -> ChildEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The register drops an entry only after it told the end, which the caller has taken already.
            None => std::future::pending().await,
        }
    }

    /// Waits for the end. Cancel safe.
    pub async fn ended(&mut self) -> Exit {
        loop {
            if let ChildEvent::Ended(exit) = self.event().await {
                return exit;
            }
        }
    }
}

/// A process group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group(Pid);

impl Group {
    /// The id, which is the leader's.
    #[must_use]
    pub fn id(self) -> Pid {
        self.0
    }

    /// Sends a signal to all its processes. A group that is gone is no error.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        match rustix::process::kill_process_group(self.0, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal by number; real-time signals have no other name.
    pub fn signal_number(self, signal: i32) -> io::Result<()> {
        match sys::kill(-self.0.as_raw_nonzero().get(), signal) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
            _ => Ok(()),
        }
    }

    /// False once no process of it is left.
    ///
    /// RACE: the number is free for a new group once the last process is gone. It can't be taken while one lives, and the
    /// numbers would have to wrap around between two looks.
    #[must_use]
    pub fn exists(self) -> bool {
        rustix::process::test_kill_process_group(self.0) != Err(rustix::io::Errno::SRCH)
    }
}

/// Starts a process as leader of a group of its own, with no signal blocked.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    start_reaping();
    let (sender, events) = mpsc::unbounded_channel();
    let mut register = REGISTER.lock();
    // The standard library starts it with an empty signal mask.
    let mut child = command.process_group(0).spawn()?;
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let group = Group(id.ok_or_else(|| io::Error::other("the process got no id"))?);
    register.waiting.insert(group.0, sender);
    register.started += 1;
    drop(register);
    REGISTER.more.notify_all();
    Ok(Child {
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        group,
        events,
    })
}

/// Makes this process the parent of its descendants' orphans, and starts to reap them.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    start_reaping();
    Ok(())
}

/// The children of this process, known or not. Those that the runtime left behind are among them.
#[must_use]
pub fn children() -> Vec<Pid> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let mut children = Vec::new();
    for list in lists {
        children.extend(
            list.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .filter_map(Pid::from_raw),
        );
    }
    children
}

/// Ends all children, known or not, with their descendants: SIGTERM, and SIGKILL once the grace is over.
///
/// Descendants become children when those above them end, hence the repeated looks.
pub async fn end_descendants(grace: Duration) {
    let started = Instant::now();
    let mut told = HashSet::new();
    loop {
        let left = children();
        if left.is_empty() {
            return;
        }
        let late = started.elapsed() >= grace;
        for process in left {
            let signal = if late { Signal::KILL } else { Signal::TERM };
            let news = told.insert((process, late));
            if news {
                tracing::info!(
                    pid = process.as_raw_nonzero(),
                    ?signal,
                    "the runtime left a process behind"
                );
            }
            if (late || news)
                && let Err(error) = rustix::process::kill_process(process, signal)
            {
                tracing::debug!(%error, "it has ended");
            }
        }
        if started.elapsed() >= grace * 2 {
            tracing::warn!("a process that the runtime left behind can't be killed");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The children that somebody waits for. A process has one set of children, hence the one global.
static REGISTER: LazyLock<Register> = LazyLock::new(Register::default);

#[derive(Default)]
struct Register {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Pid, mpsc::UnboundedSender<ChildEvent>>,
    /// How many were ever started: tells the thread, which found no child, that there is one again.
    started: u64,
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_more_than(&self, started: u64) {
        let mut state = self.lock();
        while state.started == started {
            state = self
                .more
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn start_reaping() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let thread = thread::Builder::new()
            .name("reaper".to_owned())
            .stack_size(64 * 1024);
        if let Err(error) = thread.spawn(reap_for_ever) {
            // Without it no end of a child would ever be seen.
            tracing::error!(%error, "can't start the thread that reaps children");
            std::process::abort();
        }
    });
}

fn reap_for_ever() {
    loop {
        let started = REGISTER.lock().started;
        match sys::peek_child() {
            Ok(Some((id, news))) => {
                if let Some(process) = Pid::from_raw(id) {
                    take(process, news);
                }
            }
            // An orphan comes only from a child: as long as there is none, there is nothing to wait for.
            Ok(None) => REGISTER.wait_for_more_than(started),
            Err(error) => tracing::debug!(%error, "interrupted while waiting for children"),
        }
    }
}

/// Takes the news that was seen. The lock makes sure that a child just started is in the register.
fn take(process: Pid, news: News) {
    let mut register = REGISTER.lock();
    let event = match news {
        News::Stopped => {
            let taken = rustix::process::waitid(
                WaitId::Pid(process),
                WaitIdOptions::STOPPED | WaitIdOptions::NOHANG,
            );
            taken.ok().flatten().map(|_| ChildEvent::Stopped)
        }
        News::Ended => match rustix::process::waitpid(Some(process), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Some(ChildEvent::Ended(Exit::of(status))),
            // A process whose program could not be started is reaped by the call that tried.
            Ok(None) | Err(_) => None,
        },
    };
    let Some(event) = event else { return };
    let sender = match event {
        ChildEvent::Ended(_) => register.waiting.remove(&process),
        ChildEvent::Stopped => register.waiting.get(&process).cloned(),
    };
    let told = sender.is_some_and(|sender| sender.send(event).is_ok());
    if !told {
        tracing::debug!(
            pid = process.as_raw_nonzero(),
            ?event,
            "an orphan, or a child that nobody waits for"
        );
    }
}

#[cfg(test)]
mod tests;

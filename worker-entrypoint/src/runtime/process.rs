//! The runtime's real process.
//!
//! Owns its process group, its terminal, and what "ended" means: the leader is reaped and nobody is left in its group.

use std::{
    io,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;
use sync_core::layout::StoreKeys;
use tokio::{signal::unix, time::Instant};

use super::{Launcher, Process};
use crate::{
    engine::BoxFuture,
    environment::Variables,
    process::{self, Child, ChildEvent, Exit},
    supervisor::Cause,
    terminal::Terminal,
};

/// How often the group is looked at once its leader has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// How long after SIGKILL a group may take to end: a process that hangs in the kernel must not hold the worker's end up.
const LONGEST_DEATH: Duration = Duration::from_secs(5);

/// How the runtime is started.
#[derive(Debug, Clone)]
pub struct RuntimeLauncher {
    /// Program and arguments; keys of the store by name.
    pub command: Vec<String>,
    /// The keys that stand for their names.
    pub keys: StoreKeys,
    /// The directory it runs in.
    pub directory: PathBuf,
    /// Its whole environment.
    pub environment: Arc<Variables>,
}

impl Launcher for RuntimeLauncher {
    fn launch(&mut self) -> io::Result<Box<dyn Process>> {
        let (program, arguments) = self.command.split_first().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "the runtime's command is empty",
            )
        })?;
        if !self.directory.is_dir() {
            // The system would blame the program.
            let message = format!("its directory {} is not there", self.directory.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        let terminal = Terminal::of_foreground();
        let mut command = Command::new(program);
        command
            .args(
                arguments
                    .iter()
                    .map(|argument| self.keys.fill(argument).expose().to_owned()),
            )
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter());
        command.stdin(if terminal.is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        });
        let child = process::spawn(&mut command).map_err(|error| named(program, &error))?;
        if let Some(terminal) = &terminal {
            terminal.give(child.group());
        }
        Ok(Box::new(RuntimeProcess {
            child,
            terminal,
            exit: None,
            phase: Phase::Running,
            suspended: None,
        }))
    }
}

struct RuntimeProcess {
    child: Child,
    terminal: Option<Terminal>,
    /// How the leader ended, once it has.
    exit: Option<Exit>,
    phase: Phase,
    /// While this program is stopped together with the runtime: tells when it goes on.
    suspended: Option<unix::Signal>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Running,
    /// Told to end: those in the group that outlive the leader have the rest of the grace.
    Told,
    /// Killed at this time.
    Killed(Instant),
}

impl RuntimeProcess {
    async fn leader_ended(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let group = self.child.group();
        loop {
            let event = tokio::select! {
                event = self.child.event() => event,
                () = given_up(self.phase) => {
                    let exit = Exit::Signal(Signal::KILL.as_raw());
                    self.exit = Some(exit);
                    return exit;
                }
                () = woken(&mut self.suspended) => {
                    self.suspended = None;
                    if let Some(terminal) = &self.terminal {
                        terminal.resume(group);
                    }
                    continue;
                }
            };
            match (event, &self.terminal) {
                (ChildEvent::Stopped, Some(terminal)) => self.suspended = terminal.stopped(group),
                (ChildEvent::Stopped, None) => {}
                (ChildEvent::Ended(exit), terminal) => {
                    self.exit = Some(exit);
                    if let Some(terminal) = terminal {
                        terminal.take(group);
                    }
                    return exit;
                }
            }
        }
    }

    async fn all_ended(&mut self) -> (Exit, Cause) {
        let exit = self.leader_ended().await;
        let cause = match (&self.terminal, self.phase) {
            (Some(_), Phase::Running) if is_of_terminal(exit) => Cause::Terminal,
            _ => Cause::Runtime,
        };
        // A runtime that ended by itself leaves nobody behind who could hold its port or write its files.
        if matches!(self.phase, Phase::Running) && self.child.group().exists() {
            self.kill();
        }
        while self.child.group().exists() {
            if matches!(self.phase, Phase::Killed(at) if at.elapsed() > LONGEST_DEATH) {
                tracing::error!("a process of the runtime hangs in the kernel and can't be killed");
                break;
            }
            tokio::time::sleep(GLANCE).await;
        }
        (exit, cause)
    }

    fn send(&self, signal: Signal) {
        if let Err(error) = self.child.group().signal(signal) {
            tracing::error!(?signal, %error, "can't send a signal to the runtime");
        }
    }
}

impl Process for RuntimeProcess {
    fn id(&self) -> i32 {
        self.child.group().id().as_raw_nonzero().get()
    }

    fn ended(&mut self) -> BoxFuture<'_, (Exit, Cause)> {
        Box::pin(self.all_ended())
    }

    fn terminate(&mut self) {
        self.phase = Phase::Told;
        self.send(Signal::TERM);
        // A stopped process takes no other signal before it goes on.
        self.send(Signal::CONT);
    }

    fn kill(&mut self) {
        self.phase = Phase::Killed(Instant::now());
        self.send(Signal::KILL);
    }

    fn signal(&self, number: i32) {
        if let Err(error) = self.child.group().signal_number(number) {
            tracing::warn!(number, %error, "can't pass a signal on to the runtime");
        }
    }
}

/// Ends when a process that was killed should be long gone.
async fn given_up(phase: Phase) {
    match phase {
        Phase::Killed(at) => tokio::time::sleep_until(at + LONGEST_DEATH).await,
        Phase::Running | Phase::Told => std::future::pending().await,
    }
}

async fn woken(suspended: &mut Option<unix::Signal>) {
    match suspended {
        // A stream of signals never ends.
        Some(signal) => signal.recv().await.unwrap_or(()),
        None => std::future::pending().await,
    }
}

/// The error with the program's name. A file that is no program is a wrong input, not a shortage.
fn named(program: &str, error: &io::Error) -> io::Error {
    let kind = if error.raw_os_error() == Some(libc::ENOEXEC) {
        io::ErrorKind::InvalidInput
    } else {
        error.kind()
    };
    io::Error::new(kind, format!("{program}: {error}"))
}

/// Ctrl-C at the terminal or its end, or a program's way of saying that it was that.
fn is_of_terminal(exit: Exit) -> bool {
    [Signal::INT, Signal::HUP]
        .iter()
        .any(|signal| exit.code() == Exit::Signal(signal.as_raw()).code())
}

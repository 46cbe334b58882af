//! The runtime's life as a pure state machine: (state, event) → (state, effects).
//!
//! Owns when the runtime is started, stopped, killed and started again. Never touches a process or a clock:
//! [`runtime`](crate::runtime) executes the effects and reports the events.
//!
//! ```text
//!            Start              Ready
//!   Idle ───────────► Starting ───────► Ready
//!                      ▲  ▲ │ Ended       │ Ended
//!          TimerOver,  │  │ └──────┬──────┘
//!        FilesChanged, │  │        ▼
//!             Restart  └──┼───── Waiting (or Finished, by policy)
//!                         │
//!                         └───── Stopping ◄── Stop, Restart      (Ended after Stop: Finished)
//! ```
//!
//! There is one timer: the wait before the next start in `Waiting`, the grace in `Stopping`.

use std::{num::NonZeroU32, time::Duration};

use sync_core::{backoff::Backoff, layout::Restart};

use crate::process::Exit;

/// Exit code for a program that can't be executed, and for one that is not there; as shells have it.
const NOT_EXECUTABLE: Exit = Exit::Code(126);
const NOT_FOUND: Exit = Exit::Code(127);

/// How a runtime is kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether it is started again when it ended by itself.
    pub restart: Restart,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// The wait before the first restart; each further one waits twice as long.
    pub first_wait: Duration,
    /// The longest wait.
    pub last_wait: Duration,
    /// A runtime that ran for so long was well: its waits and its failures are counted anew.
    pub stable_after: Duration,
    /// After so many ends in a row without having been well it is given up; `None` never gives up.
    pub crash_limit: Option<NonZeroU32>,
}

impl Policy {
    /// The waits are such that a runtime that keeps crashing soon boots less than three times in five minutes: more than that
    /// makes OpenClaw suppress its channels.
    #[must_use]
    pub fn new(restart: Restart, stop_grace: Duration, crash_limit: Option<NonZeroU32>) -> Self {
        Self {
            restart,
            stop_grace,
            first_wait: Duration::from_secs(1),
            last_wait: Duration::from_mins(3),
            stable_after: Duration::from_mins(5),
            crash_limit,
        }
    }
}

/// Where the runtime is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started yet.
    Idle,
    /// It runs, and is not known to be ready.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It ended and will be started again.
    Waiting(Exit),
    /// It was told to end.
    Stopping(Why),
    /// It ended for good.
    Finished(Exit),
}

/// Why a runtime was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// To be started again.
    Restart,
    /// The worker ends.
    Shutdown,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The workspace is prepared.
    Start,
    /// The program could not be executed.
    StartFailed(StartFailure),
    /// The probe says that it is ready.
    Ready,
    /// The runtime, and everything in its process group, ended.
    Ended {
        /// How.
        exit: Exit,
        /// How long it had run.
        uptime: Duration,
        /// Whose doing it was.
        cause: Cause,
    },
    /// The timer that was set is over.
    TimerOver,
    /// Files that the runtime reads were published.
    FilesChanged,
    /// It must be started anew to see its files.
    Restart,
    /// The worker is to end.
    Stop,
}

/// Whose doing the end of a runtime was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its own, or the supervisor's.
    Runtime,
    /// Somebody pressed Ctrl-C at its terminal, or closed it.
    Terminal,
}

/// Why a program could not be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFailure {
    /// It is not there. Trying again won't help.
    NotFound,
    /// It must not be executed. Trying again won't help.
    NotExecutable,
    /// The system is short of something.
    Shortage,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the process.
    Launch,
    /// Look whether it is ready, until it is.
    Probe,
    /// Stop looking.
    EndProbe,
    /// SIGTERM to its process group.
    Terminate,
    /// SIGKILL to its process group.
    Kill,
    /// Set the timer.
    Arm(Duration),
    /// Forget the timer.
    Disarm,
    /// Say that it ends too often to be started again.
    GiveUp,
    /// It is over.
    Finish(Exit),
}

/// The state machine with its memory of failures.
#[derive(Debug)]
pub struct Supervisor {
    policy: Policy,
    backoff: Backoff,
    /// Ends in a row without having been well.
    crashes: u32,
    state: State,
}

impl Supervisor {
    /// A runtime that was not started yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            backoff: Backoff::new(policy.first_wait, policy.last_wait),
            crashes: 0,
            state: State::Idle,
        }
    }

    /// The state after the last event.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes an event; `random` in 0..1 spreads the waits. An event that means nothing in the state changes nothing.
    pub fn handle(&mut self, event: Event, random: f64) -> Vec<Effect> {
        let (state, effects) = match self.state {
            State::Idle => self.idle(event),
            State::Starting | State::Ready => self.running(event, random),
            State::Waiting(exit) => self.waiting(event, exit),
            State::Stopping(why) => self.stopping(event, why),
            State::Finished(_) => (self.state, Vec::new()),
        };
        self.state = state;
        effects
    }

    fn idle(&self, event: Event) -> (State, Vec<Effect>) {
        match event {
            Event::Start => launch(Vec::new()),
            Event::Stop => finish(Vec::new(), Exit::Code(0)),
            Event::StartFailed(_)
            | Event::Ready
            | Event::Ended { .. }
            | Event::TimerOver
            | Event::FilesChanged
            | Event::Restart => (self.state, Vec::new()),
        }
    }

    fn running(&mut self, event: Event, random: f64) -> (State, Vec<Effect>) {
        match event {
            Event::Ready => (State::Ready, Vec::new()),
            Event::Ended {
                exit,
                cause: Cause::Terminal,
                ..
            } => finish(vec![Effect::EndProbe], exit),
            Event::Ended {
                exit,
                uptime,
                cause: Cause::Runtime,
            } => {
                if uptime >= self.policy.stable_after {
                    self.well();
                }
                self.ended(exit, random)
            }
            Event::StartFailed(failure) => match failure {
                StartFailure::NotFound => finish(vec![Effect::EndProbe], NOT_FOUND),
                StartFailure::NotExecutable => finish(vec![Effect::EndProbe], NOT_EXECUTABLE),
                StartFailure::Shortage => self.ended(NOT_EXECUTABLE, random),
            },
            Event::Stop => self.stop(Why::Shutdown),
            Event::Restart => self.stop(Why::Restart),
            Event::Start | Event::TimerOver | Event::FilesChanged => (self.state, Vec::new()),
        }
    }

    fn waiting(&mut self, event: Event, exit: Exit) -> (State, Vec<Effect>) {
        match event {
            Event::TimerOver => launch(Vec::new()),
            Event::FilesChanged | Event::Restart => {
                // What made it fail may have been cured.
                self.crashes = 0;
                launch(vec![Effect::Disarm])
            }
            Event::Stop => finish(vec![Effect::Disarm], exit),
            Event::Start | Event::StartFailed(_) | Event::Ready | Event::Ended { .. } => {
                (self.state, Vec::new())
            }
        }
    }

    fn stopping(&self, event: Event, why: Why) -> (State, Vec<Effect>) {
        match (event, why) {
            (Event::Ended { exit, .. }, Why::Shutdown) => finish(vec![Effect::Disarm], exit),
            (Event::Ended { .. }, Why::Restart) => launch(vec![Effect::Disarm]),
            // A second SIGTERM would be ignored by some and take others by surprise.
            (Event::TimerOver, _) => (self.state, vec![Effect::Kill]),
            (Event::Stop, _) => (State::Stopping(Why::Shutdown), Vec::new()),
            (
                Event::Start
                | Event::StartFailed(_)
                | Event::Ready
                | Event::FilesChanged
                | Event::Restart,
                Why::Shutdown | Why::Restart,
            ) => (self.state, Vec::new()),
        }
    }

    fn ended(&mut self, exit: Exit, random: f64) -> (State, Vec<Effect>) {
        let again = match self.policy.restart {
            Restart::Never => false,
            Restart::OnFailure => !exit.is_success(),
            Restart::Always => true,
        };
        self.crashes = self.crashes.saturating_add(1);
        let given_up = self
            .policy
            .crash_limit
            .is_some_and(|limit| self.crashes >= limit.get());
        if again && !given_up {
            (
                State::Waiting(exit),
                vec![Effect::EndProbe, Effect::Arm(self.backoff.next(random))],
            )
        } else if again {
            finish(vec![Effect::EndProbe, Effect::GiveUp], exit)
        } else {
            finish(vec![Effect::EndProbe], exit)
        }
    }

    fn well(&mut self) {
        self.backoff.reset();
        self.crashes = 0;
    }

    fn stop(&self, why: Why) -> (State, Vec<Effect>) {
        let effects = vec![
            Effect::EndProbe,
            Effect::Terminate,
            Effect::Arm(self.policy.stop_grace),
        ];
        (State::Stopping(why), effects)
    }
}

fn launch(mut effects: Vec<Effect>) -> (State, Vec<Effect>) {
    effects.extend([Effect::Launch, Effect::Probe]);
    (State::Starting, effects)
}

fn finish(mut effects: Vec<Effect>, exit: Exit) -> (State, Vec<Effect>) {
    effects.push(Effect::Finish(exit));
    (State::Finished(exit), effects)
}

#[cfg(test)]
mod tests;

//! Job control: whose turn it is at the terminal.
//!
//! Owns handing the terminal to the runtime's process group and taking it back. Does nothing where there is no terminal, or
//! where this program runs in the background of one.

use std::io;

use rustix::{
    process::{Pid, Signal},
    termios::{tcgetpgrp, tcsetpgrp},
};
use tokio::signal::unix::{self, SignalKind};

use crate::{
    process::Group,
    sys::{self, SignalMask},
};

/// The terminal on standard input, with this program in its foreground.
#[derive(Debug)]
pub(crate) struct Terminal {
    input: io::Stdin,
    own: Pid,
    session: Pid,
}

impl Terminal {
    /// The terminal, if there is one that may be handed on.
    pub(crate) fn of_foreground() -> Option<Self> {
        let (own, session) = sys::own_group_and_session()?;
        let input = io::stdin();
        let foreground = tcgetpgrp(&input).ok()?;
        (foreground == own).then_some(Self {
            input,
            own,
            session,
        })
    }

    /// Lets `group` read from it and be stopped by its keys. A group that tried to read before is woken up.
    pub(crate) fn give(&self, group: Group) {
        self.set(group.id());
        if let Err(error) = group.signal(Signal::CONT) {
            tracing::debug!(%error, "can't wake the runtime up");
        }
    }

    /// Takes it back from `group`. What somebody else has by now stays theirs.
    pub(crate) fn take(&self, group: Group) {
        if self.belongs_to(group.id()) {
            self.set(self.own);
        }
    }

    /// A key, or a try to read in the background, stopped the runtime. Where a shell with job control started this program,
    /// the program stops too, so that the shell comes to the front; it may go on once what is given back tells of SIGCONT.
    /// Elsewhere nobody could ever wake the runtime up, and it goes on at once.
    pub(crate) fn stopped(&self, group: Group) -> Option<unix::Signal> {
        self.take(group);
        if self.session == self.own {
            self.resume(group);
            return None;
        }
        let stopped = unix::signal(SignalKind::from_raw(Signal::CONT.as_raw())).and_then(|woken| {
            rustix::process::kill_current_process_group(Signal::STOP)?;
            Ok(woken)
        });
        match stopped {
            Ok(woken) => Some(woken),
            Err(error) => {
                tracing::debug!(%error, "can't stop");
                self.resume(group);
                None
            }
        }
    }

    /// Goes on: in the foreground if that is where the shell put this program, otherwise in the background.
    pub(crate) fn resume(&self, group: Group) {
        if self.belongs_to(self.own) {
            self.give(group);
        } else if let Err(error) = group.signal(Signal::CONT) {
            tracing::debug!(%error, "can't wake the runtime up");
        }
    }

    fn belongs_to(&self, group: Pid) -> bool {
        tcgetpgrp(&self.input).is_ok_and(|foreground| foreground == group)
    }

    fn set(&self, group: Pid) {
        // In the background the call would stop this program, unless it holds the signal back.
        let before = SignalMask::of(Signal::TTOU.as_raw()).block();
        if let Err(error) = tcsetpgrp(&self.input, group) {
            tracing::debug!(%error, "can't hand the terminal over");
        }
        before.restore();
    }
}

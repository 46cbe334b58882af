//! Job control: whose turn it is at the terminal.
//!
//! Owns handing the terminal to the runtime's process group and taking it back. Does nothing where there is no terminal, or
//! where this program runs in the background of one.

use std::io;

use rustix::{
    process::{Pid, Signal},
    termios::{tcgetpgrp, tcsetpgrp},
};

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

    /// Takes it back.
    pub(crate) fn take(&self) {
        self.set(self.own);
    }

    /// The runtime was stopped by a key. Where a shell with job control started this program, the program stops too, so that
    /// the shell comes to the front; otherwise nobody could ever wake the runtime up, and it goes on at once.
    pub(crate) fn stopped(&self, group: Group) {
        self.take();
        let shell_above = self.session != self.own;
        if shell_above && let Err(error) = rustix::process::kill_current_process_group(Signal::STOP)
        {
            tracing::debug!(%error, "can't stop");
        }
        // Here again: the shell said `fg`, or `bg`.
        if tcgetpgrp(&self.input).is_ok_and(|foreground| foreground == self.own) {
            self.give(group);
        } else if let Err(error) = group.signal(Signal::CONT) {
            tracing::debug!(%error, "can't wake the runtime up");
        }
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

//! The signals that this program answers.
//!
//! Owns which signals are listened to and what each asks for. Never acts on one.

use std::{future::poll_fn, io, task::Poll};

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Stop the runtime, send what changed, end. Holds the signal's number.
    Stop(i32),
    /// Bring what changed in the bucket.
    Pull,
    /// Pass it on to the runtime.
    Forward(i32),
    /// Nothing: the runtime must not get it either.
    Ignore(i32),
}

/// All signals that are listened to.
#[derive(Debug)]
pub struct Signals(Vec<(i32, unix::Signal)>);

impl Signals {
    /// Starts to listen. Must be called within a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        let named = [
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::QUIT,
            Signal::USR1,
            Signal::USR2,
            Signal::ALARM,
            Signal::WINCH,
            Signal::POWER,
            Signal::VTALARM,
            Signal::PROF,
            Signal::IO,
            Signal::XCPU,
            Signal::XFSZ,
        ];
        let numbers = named
            .iter()
            .map(|signal| signal.as_raw())
            .chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
        numbers
            .map(|number| Ok((number, unix::signal(SignalKind::from_raw(number))?)))
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// What the next signal asks for. Cancel safe.
    pub async fn next(&mut self) -> Demand {
        poll_fn(|context| {
            for (number, signal) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(demand(*number));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// What a signal asks for. SIGUSR1 would open a debugger's port in every Node program: it goes nowhere.
fn demand(number: i32) -> Demand {
    if number == Signal::TERM.as_raw() || number == Signal::INT.as_raw() {
        Demand::Stop(number)
    } else if number == Signal::HUP.as_raw() {
        Demand::Pull
    } else if number == Signal::USR1.as_raw() {
        Demand::Ignore(number)
    } else {
        Demand::Forward(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_sighup_nor_sigusr1_reaches_the_runtime() {
        assert_eq!(demand(Signal::HUP.as_raw()), Demand::Pull);
        assert_eq!(demand(Signal::USR1.as_raw()), Demand::Ignore(10));
        assert_eq!(demand(Signal::TERM.as_raw()), Demand::Stop(15));
        assert_eq!(demand(Signal::INT.as_raw()), Demand::Stop(2));
        assert_eq!(demand(Signal::USR2.as_raw()), Demand::Forward(12));
        assert_eq!(
            demand(libc::SIGRTMIN() + 3),
            Demand::Forward(libc::SIGRTMIN() + 3)
        );
    }
}

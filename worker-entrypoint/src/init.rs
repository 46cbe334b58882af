//! PID 1: a process that does almost nothing, so that nothing can go wrong with it.
//!
//! Theory of operation. As PID 1 the program forks before it has a second thread. The child is the engine and goes on as if
//! it had been started by somebody else. The parent, the init, blocks all signals, waits for them one by one, reaps
//! whatever ends, passes signals on to the engine, and ends with the engine's exit code (128+n after signal n). When the
//! engine ends, for whatever reason, no other process of the container outlives it: without its engine the runtime's
//! edits would go nowhere.
//!
//! Owns that, and nothing of the engine's work. Never allocates after the fork, and starts no thread.
//!
//! A program that is not PID 1 has an init somewhere else (tini, the container runtime's pause process, a shell) and needs
//! none of its own; `--force-init` as the first argument makes one all the same, for tests.

mod reap;

use std::{io, process};

use rustix::process::{Pid, Signal};

use crate::sys::{self, Fork, SignalMask};

/// Whether a process gets an init although it is not PID 1.
pub const FORCE_INIT: &str = "--force-init";

/// Makes the calling process an init and returns in its child, if that is needed; otherwise just returns.
///
/// Call it first in `main`: there must be no other thread yet.
pub fn enter() -> io::Result<()> {
    sys::keep_ended_children();
    sys::share_one_heap();
    let first = process::id() == 1;
    let forced = || {
        std::env::args_os()
            .nth(1)
            .is_some_and(|argument| argument == FORCE_INIT)
    };
    if !(first || forced()) {
        return Ok(());
    }
    let extent = if first {
        reap::Extent::Namespace
    } else {
        reap::Extent::Descendants
    };
    let before = SignalMask::all().block();
    if extent == reap::Extent::Descendants {
        // Orphans come here, as they would come to PID 1.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    }
    match sys::fork()? {
        Fork::Child => {
            // An init that is killed (not as PID 1: then the kernel ends everything) takes its engine along.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            before.restore();
            Ok(())
        }
        Fork::Parent(engine) => {
            sys::forget_code();
            process::exit(watch_over(engine, extent))
        }
    }
}

/// The init's whole life; returns its exit code.
fn watch_over(engine: i32, extent: reap::Extent) -> i32 {
    let all = SignalMask::all();
    loop {
        let Ok(signal) = all.wait() else { continue };
        if signal == Signal::CHILD.as_raw() {
            if let Some(code) = reap::finished(engine) {
                reap::end_all(extent);
                return code;
            }
        } else if is_passed_on(signal) {
            // The engine may have ended this moment; then the next signal to come says so.
            sys::kill(engine, signal).unwrap_or(());
        }
    }
}

/// Signals that tell the process something, rather than about it: faults of the init itself and the terminal's complaints
/// about background processes concern nobody else.
fn is_passed_on(signal: i32) -> bool {
    let own = [
        Signal::FPE,
        Signal::ILL,
        Signal::SEGV,
        Signal::BUS,
        Signal::ABORT,
        Signal::TRAP,
        Signal::SYS,
        Signal::TTIN,
        Signal::TTOU,
        Signal::CHILD,
    ];
    !own.iter().any(|own| own.as_raw() == signal)
}

/// The id of the process as the wait functions take it.
fn pid(process: i32) -> Option<Pid> {
    Pid::from_raw(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_passed_on_and_faults_are_not() {
        for signal in [
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::USR1,
            Signal::USR2,
            Signal::WINCH,
            Signal::CONT,
        ] {
            assert!(is_passed_on(signal.as_raw()), "{signal:?}");
        }
        assert!(is_passed_on(libc::SIGRTMIN()));
        for signal in [Signal::SEGV, Signal::CHILD, Signal::TTIN] {
            assert!(!is_passed_on(signal.as_raw()), "{signal:?}");
        }
    }
}

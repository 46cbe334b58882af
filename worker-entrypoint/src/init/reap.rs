//! Reaping, and the end of everything that is left.
//!
//! Owns the init's wait calls. Never allocates.

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{WaitOptions, WaitStatus},
};

use super::pid;
use crate::sys;

/// Which processes end with the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All that the init can see: it is PID 1 and they could not live on without it.
    Namespace,
    /// Those that came from the engine: others belong to somebody else.
    Descendants,
}

/// Reaps everything that has ended. The exit code of `engine`, if it was among them.
pub(super) fn finished(engine: i32) -> Option<i32> {
    let mut code = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((process, status))) if Some(process) == pid(engine) => {
                code = Some(exit_code(status));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return code,
        }
    }
}

/// Kills what is left and reaps it, until there is no child any more.
pub(super) fn end_all(extent: Extent) {
    loop {
        let killed = match extent {
            // Everything but the caller, at once.
            Extent::Namespace => sys::kill(-1, libc::SIGKILL).is_ok(),
            Extent::Descendants => kill_children(),
        };
        // Killed children leave orphans, which come here: hence again and again.
        match rustix::process::wait(if killed {
            WaitOptions::empty()
        } else {
            WaitOptions::NOHANG
        }) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// Kills the children of the (only) thread. False when there is none, or they can't be found out.
fn kill_children() -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(list) = rustix::fs::open(c"/proc/thread-self/children", flags, Mode::empty()) else {
        return false;
    };
    // A few hundred children; when there are more, the next round gets them.
    let mut buffer = [0_u8; 4096];
    let Ok(length) = rustix::io::read(&list, &mut buffer) else {
        return false;
    };
    let mut killed = false;
    for word in buffer
        .get(..length)
        .unwrap_or_default()
        .split_inclusive(|byte| *byte == b' ')
    {
        // A number that the buffer's end cut off would name somebody else: every whole one ends in a space.
        let Some(digits) = word.strip_suffix(b" ") else {
            continue;
        };
        if let Some(process) = std::str::from_utf8(digits)
            .ok()
            .and_then(|text| text.parse().ok())
        {
            killed |= sys::kill(process, libc::SIGKILL).is_ok();
        }
    }
    killed
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        // `wait` was not asked for stopped children.
        (None, None) => 1,
    }
}

//! `worker-entrypoint`: the container's ENTRYPOINT.

use std::{io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    // Logging has not started: it may start threads, and there must be none yet.
    if let Err(error) = worker_entrypoint::init::enter() {
        writeln!(
            std::io::stderr(),
            "worker-entrypoint: can't become the init: {error}"
        )
        .unwrap_or(());
        return ExitCode::FAILURE;
    }
    worker_entrypoint::app::main()
}

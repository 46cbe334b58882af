//! `worker-entrypoint`: the container's ENTRYPOINT.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = worker_entrypoint::init::enter() {
        tracing::error!(%error, "can't become the init");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

//! `worker-entrypoint`: the container's ENTRYPOINT.
//!
//! Run under the name `hiclaw-sync` or `agentteams-sync` (a link) it is that program: an image needs one file for both.

use std::{ffi::OsStr, io::Write as _, path::Path, process::ExitCode};

/// The names under which this is the client.
const CLIENT: [&str; 2] = ["hiclaw-sync", "agentteams-sync"];

fn main() -> ExitCode {
    if is_client(std::env::args_os().next().as_deref()) {
        return hiclaw_sync::main();
    }
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

/// Whether the program was called by one of the client's names.
fn is_client(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|path| Path::new(path).file_name());
    name.is_some_and(|name| CLIENT.iter().any(|client| name == *client))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_which_program_it_is() {
        for (name, client) in [
            ("hiclaw-sync", true),
            ("/usr/local/bin/agentteams-sync", true),
            ("worker-entrypoint", false),
            ("/opt/hiclaw-sync/worker-entrypoint", false),
            ("", false),
        ] {
            assert_eq!(is_client(Some(name.as_ref())), client, "{name}");
        }
        assert!(!is_client(None));
    }
}

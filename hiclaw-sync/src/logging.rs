//! Diagnostics on standard error.
//!
//! Owns the choice of level and form. `HICLAW_SYNC_LOG` (a filter such as `sync_core=debug`) wins over `-q` and `-v`.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{GlobalOptions, LogFormat};

/// What is said without `-q` and `-v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Warnings: commands print their results themselves.
    Quiet,
    /// What happens: for programs that run for long.
    Informative,
}

/// Starts logging. A second call does nothing.
pub fn start(options: &GlobalOptions, default: Default) {
    let level = match (options.quiet, options.verbose, default) {
        (true, _, _) => "error",
        (false, 0, Default::Quiet) => "warn",
        (false, 0, Default::Informative) | (false, 1, Default::Quiet) => "info",
        (false, 1, Default::Informative) | (false, 2, Default::Quiet) => {
            "info,sync_core=debug,hiclaw_sync=debug,worker_entrypoint=debug"
        }
        (false, _, _) => "debug",
    };
    let filter =
        EnvFilter::try_from_env("HICLAW_SYNC_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let started = match options.log_format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colours).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started already");
    }
}

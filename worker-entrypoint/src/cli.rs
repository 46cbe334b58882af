//! The command line of `worker-entrypoint`.
//!
//! Owns options and their help. Everything that a container needs comes from its environment.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use hiclaw_sync::{
    cli::{duration, interval, listen},
    settings::{GlobalOptions, RunVariables},
};
use sync_core::{events::Listen, layout};

use crate::demo::DemoArguments;

/// Prepares a worker's files, runs its runtime, and keeps files and bucket the same
///
/// The ENTRYPOINT of a worker's container. Everything it needs comes from the environment; see `worker-entrypoint check`.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = false,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// What to do instead
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,

    /// How the worker is run.
    #[command(flatten)]
    pub run: RunOptions,

    /// Be an init although this is not process 1; must be the first argument
    #[arg(long, hide = true)]
    pub force_init: bool,

    /// Run this instead of the layout's runtime
    #[arg(last = true, value_name = "COMMAND")]
    pub runtime: Vec<String>,
}

/// How a worker is run.
#[derive(Debug, Clone, Copy, Args)]
pub struct RunOptions {
    /// Time between two scheduled passes.
    #[arg(long, value_name = "DURATION", value_parser = interval, help = "How often everything is compared with the bucket; changes are sent at once anyway [env: HICLAW_PULL_INTERVAL] [default: 300s]")]
    pub pull_interval: Option<Duration>,

    /// Whether the store is asked for events.
    #[arg(long, value_name = "auto|never", value_parser = listen, help = "Whether to listen to the store's events; without them the bucket is polled [env: HICLAW_EVENTS] [default: auto]")]
    pub events: Option<Listen>,

    /// Where health is served.
    #[arg(
        long,
        value_name = "ADDR",
        help = "Serve /livez, /readyz, /status and /metrics on this address [env: HICLAW_HEALTH_LISTEN]"
    )]
    pub health_listen: Option<SocketAddr>,

    /// How long the last flush may take.
    #[arg(long, value_name = "DURATION", value_parser = duration, help = "How long sending the last changes may take when the worker is stopped [env: HICLAW_FLUSH_TIMEOUT] [default: 20s]")]
    pub flush_timeout: Option<Duration>,

    /// Time between SIGTERM and SIGKILL.
    #[arg(long, value_name = "DURATION", value_parser = duration, help = "Time between SIGTERM and SIGKILL for the runtime [env: HICLAW_STOP_GRACE] [default: the layout's, 20s]")]
    pub stop_grace: Option<Duration>,

    /// Whether the runtime is started again.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        help = "Whether the runtime is started again when it ends [env: HICLAW_RESTART] [default: the layout's]"
    )]
    pub restart: Option<RestartWhen>,
}

impl RunOptions {
    /// These options, and where one was not given the variable.
    #[must_use]
    pub fn or(self, variables: &RunVariables) -> RunVariables {
        RunVariables {
            pull_interval: self.pull_interval.or(variables.pull_interval),
            events: self.events.or(variables.events),
            health_listen: self.health_listen.or(variables.health_listen),
            flush_timeout: self.flush_timeout.or(variables.flush_timeout),
            stop_grace: self.stop_grace.or(variables.stop_grace),
            restart: self.restart.map(Into::into).or(variables.restart),
        }
    }
}

/// Whether a runtime that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RestartWhen {
    /// Never: the worker ends with it.
    Never,
    /// When it failed.
    OnFailure,
    /// Always.
    Always,
}

impl From<RestartWhen> for layout::Restart {
    fn from(when: RestartWhen) -> Self {
        match when {
            RestartWhen::Never => Self::Never,
            RestartWhen::OnFailure => Self::OnFailure,
            RestartWhen::Always => Self::Always,
        }
    }
}

/// What to do instead of running a worker.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows the whole main job on this machine, with a store of its own
    Demo {
        /// How the demo goes.
        #[command(flatten)]
        arguments: DemoArguments,
        /// Run this instead of the stand-in runtime
        #[arg(last = true, value_name = "COMMAND")]
        runtime: Vec<String>,
    },
    /// Resolves the settings and prints them without secrets; starts nothing
    Check,
    /// Asks the running worker whether it is ready; exit code 0 or 1, the reason in a line
    Healthcheck {
        /// Ask only whether it lives
        ///
        /// For engines that kill what is not healthy: a worker that waits for its store is not ready, and must not be killed.
        #[arg(long)]
        live: bool,
    },
    /// Waits for SIGTERM or SIGINT: in place of the runtime where that runs in a container of its own
    Pause,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_two_dashes_is_the_runtime() {
        let cli = Cli::parse_from([
            "x",
            "--worker",
            "alice",
            "--stop-grace",
            "5s",
            "--",
            "sh",
            "-c",
            "exit 3",
        ]);
        assert_eq!(cli.runtime, ["sh", "-c", "exit 3"]);
        assert_eq!(cli.run.stop_grace, Some(Duration::from_secs(5)));
        let variables = RunVariables {
            pull_interval: Some(Duration::from_mins(1)),
            stop_grace: Some(Duration::from_mins(1)),
            ..RunVariables::default()
        };
        let both = cli.run.or(&variables);
        assert_eq!(both.pull_interval, Some(Duration::from_mins(1)));
        assert_eq!(both.stop_grace, Some(Duration::from_secs(5)));
        let cli = Cli::parse_from(["x", "--force-init", "demo", "--once", "--", "true"]);
        assert!(matches!(cli.command, Some(Command::Demo { runtime, .. }) if runtime == ["true"]));
        assert!(Cli::try_parse_from(["x", "check", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["x", "sh"]).is_err());
        let cli = Cli::parse_from(["x", "healthcheck", "--live"]);
        assert!(matches!(
            cli.command,
            Some(Command::Healthcheck { live: true })
        ));
    }
}

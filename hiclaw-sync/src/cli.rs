//! The command line of `hiclaw-sync`.
//!
//! Owns names, help texts and examples. Never does anything.

mod objects;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sync_core::events::Listen;

pub use self::objects::{
    ListArguments, MirrorArguments, PutArguments, ReadArguments, RemoveArguments, StatArguments,
};
use crate::settings::GlobalOptions;

/// Keeps an agent's files and its bucket prefix the same
///
/// Without a command: `pull`. Inside a worker's container the resident engine does the work and reports back; elsewhere
/// the command does it itself. Exit codes: 0 done, 1 failed, 2 usage, 3 done with problems, 4 deletes held, 75 store
/// unreachable.
#[derive(Debug, Parser)]
#[command(name = "hiclaw-sync", version, after_long_help = EXAMPLES)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  hiclaw-sync                              bring everything up to date from the bucket
  hiclaw-sync push notes/                  send what changed below notes/
  hiclaw-sync plan                         what a pass both ways would do, and why
  hiclaw-sync --json pull | jq .problems   for scripts
  hiclaw-sync mirror ./site s3://web/site/ a one-way copy, without a worker
  hiclaw-sync doctor                       what is wrong, and what to do about it
  hiclaw-sync serve --data /tmp/s3 --bucket hiclaw-storage
                                           an S3 store on this machine";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring files up to date from the bucket, by the layout's rules
    Pull(PassArguments),
    /// Send local changes to the bucket
    Push(PassArguments),
    /// Both ways in one pass
    Sync(PassArguments),
    /// Show what a pass would do, and why; nothing is changed
    Plan(PlanArguments),
    /// Show replicas, last passes, pending paths, conflicts, problems
    Status,
    /// Keep both sides the same in the foreground, without a runtime
    Watch(WatchArguments),
    /// List conflict copies, show one, or resolve one
    ///
    /// Without a command: `list`. A copy is a version that lost when both sides had changed a file.
    Conflicts {
        /// What to do.
        #[command(subcommand)]
        command: Option<ConflictsCommand>,
    },
    /// Release deletes that a brake holds
    Approve,
    /// Copy one way between a directory and `s3://BUCKET/PREFIX/`
    ///
    /// Needs no worker and no layout: only the store's endpoint and keys. Unchanged files cost neither a request nor a
    /// read; nothing is ever seen half-written.
    Mirror(MirrorArguments),
    /// List objects
    Ls(ListArguments),
    /// Write objects to standard output
    Cat(ReadArguments),
    /// Show what is known of an object: size, ETag, time, metadata
    Stat(StatArguments),
    /// Write a file or standard input to an object
    Put(PutArguments),
    /// Remove objects
    Rm(RemoveArguments),
    /// Look for what keeps a worker from working, and say what to do
    ///
    /// Settings, store, credentials, permissions of each prefix, clock, watch limits, excluded weight, state and files.
    /// Writes and removes a few keys of its own. Exit codes: 0 nothing failed, 1 something did, 75 store unreachable.
    Doctor,
    /// Show or check layouts
    #[command(subcommand)]
    Layouts(LayoutsCommand),
    /// Run an S3 store on this machine, for demos, tests and small fleets
    ///
    /// `--bucket` is created if it is absent. Without `--access-key` and `--secret-key` both are `minioadmin`, which is
    /// refused for an address that other machines reach.
    Serve(ServeArguments),
    /// Print completions for a shell
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Arguments of `pull`, `push` and `sync`.
#[derive(Debug, Default, Args)]
pub struct PassArguments {
    /// Only these paths, relative to the workspace; `shared/…` is the shared mount
    pub paths: Vec<String>,
    /// Show what would be done instead of doing it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// Which way
    #[arg(value_enum, default_value_t = PlanDirection::Sync)]
    pub direction: PlanDirection,
    /// Only these paths
    pub paths: Vec<String>,
}

/// Which way a plan looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlanDirection {
    /// From the bucket.
    Pull,
    /// To the bucket.
    Push,
    /// Both ways.
    Sync,
}

/// Commands about conflict copies.
#[derive(Debug, Subcommand)]
pub enum ConflictsCommand {
    /// All conflict copies
    List,
    /// The versions of a file, and how they differ
    Show {
        /// The file, or one of its copies.
        path: String,
    },
    /// Let one version stand and remove the copy
    ///
    /// What is not taken is deleted, here and in the bucket. Of several copies the newest is meant, unless one is named;
    /// the others stay.
    Resolve {
        /// The file, or one of its copies.
        path: String,
        /// Whose version is to stand.
        #[arg(long, value_enum)]
        take: Take,
    },
}

/// Whose version is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Take {
    /// The one from here.
    Local,
    /// The one from the bucket.
    Remote,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// Time between two scheduled passes
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = interval)]
    pub pull_interval: std::time::Duration,
    /// Whether to listen to the store's events [default: `HICLAW_EVENTS`, else auto]
    #[arg(long, value_name = "auto|never", value_parser = listen)]
    pub events: Option<Listen>,
}

/// Commands about layouts.
#[derive(Debug, Subcommand)]
pub enum LayoutsCommand {
    /// The layouts that are known
    List,
    /// A layout as it is resolved for this worker
    Show {
        /// Its name or file.
        name: String,
    },
    /// Every mistake of a layout file, with its line
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Where the objects are kept; created if it is missing
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to listen; port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub listen: SocketAddr,
}

/// The keys that `serve` asks for when none are given: those that everybody knows from MinIO.
pub(crate) const DEFAULT_SERVE_KEYS: (&str, &str) = ("minioadmin", "minioadmin");

/// `auto` or `never`.
pub fn listen(text: &str) -> Result<Listen, String> {
    Listen::of_name(text).ok_or_else(|| "must be auto or never".to_owned())
}

/// A duration such as `300s`, `5m` or `500ms`; a bare number is seconds.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "it must start with a whole number, such as `300s`".to_owned())?;
    match unit {
        "ms" => Ok(std::time::Duration::from_millis(number)),
        "" | "s" => Ok(std::time::Duration::from_secs(number)),
        "m" => Ok(std::time::Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(std::time::Duration::from_secs(number.saturating_mul(3600))),
        _ => Err("the unit must be `ms`, `s`, `m` or `h`".to_owned()),
    }
}

/// The shortest and longest time between two scheduled passes: a shorter one would do nothing but list.
const INTERVALS: std::ops::RangeInclusive<std::time::Duration> =
    std::time::Duration::from_secs(1)..=std::time::Duration::from_hours(30 * 24);

/// A [`duration`] between two passes.
pub fn interval(text: &str) -> Result<std::time::Duration, String> {
    let interval = duration(text)?;
    if INTERVALS.contains(&interval) {
        Ok(interval)
    } else {
        Err("it must lie between 1s and 720h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_a_pull() {
        assert!(
            Cli::try_parse_from(["hiclaw-sync"])
                .unwrap()
                .command
                .is_none()
        );
    }

    #[test]
    fn durations_have_units() {
        for (text, expected) in [
            ("300s", 300_000),
            ("5m", 300_000),
            ("500ms", 500),
            ("7", 7_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(expected)),
                "{text}"
            );
        }
        for text in ["", "s", "5 s", "-1s", "5d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        for text in ["0", "999ms", "721h", "18446744073709551615s"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}

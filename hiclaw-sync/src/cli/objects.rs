//! Arguments of `mirror` and of the commands about single objects.

use std::time::Duration;

use clap::Args;

use super::duration;

/// Arguments of `mirror`.
#[derive(Debug, Args)]
#[command(after_long_help = MIRROR_EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a switch of a command line is a bool"
)]
pub struct MirrorArguments {
    /// What is copied: a directory or `s3://BUCKET/PREFIX/`
    #[arg(value_name = "SRC")]
    pub source: String,
    /// What becomes the same: `s3://BUCKET/PREFIX/` or a directory
    #[arg(value_name = "DST")]
    pub destination: String,
    /// Delete what only the destination has
    ///
    /// Held, with exit code 4, when the source is empty or when more than 50 files would go that are also more than half of
    /// the destination.
    #[arg(long)]
    pub delete: bool,
    /// Delete although it looks like an accident
    #[arg(long, requires = "delete")]
    pub approve: bool,
    /// Leave these out: neither copied nor deleted. Can be given several times
    ///
    /// `*.log` is meant at any depth, `/tmp` only at the top, `node_modules` with everything in it.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Go on: copy every change until it is ended with Ctrl-C
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
    /// With `--watch`: time between two looks at both sides
    ///
    /// A directory is watched as well, so that its changes are copied at once; the default is 300s for it, and 30s for a
    /// bucket.
    #[arg(long, value_name = "DURATION", requires = "watch", value_parser = duration)]
    pub interval: Option<Duration>,
    /// Show what would be done instead of doing it
    #[arg(long)]
    pub dry_run: bool,
    /// Remember nothing from earlier runs and leave nothing for later ones: contents are compared
    #[arg(long)]
    pub no_cache: bool,
}

const MIRROR_EXAMPLES: &str = "\
Examples:
  hiclaw-sync mirror ./site s3://web/site/                copy what is new or different
  hiclaw-sync mirror --delete s3://web/site/ ./site       make a directory the same as a prefix
  hiclaw-sync mirror --watch --exclude node_modules . s3://work/me/
  hiclaw-sync mirror --dry-run --delete ./site s3://web/site/

What was found equal is remembered in ~/.cache/hiclaw-sync/mirror, so that a file is not read again; it can be removed at
any time. Relative links that stay inside are copied as links; others are reported, and none is followed. Ignore files are
copied and not obeyed. A file that somebody else changes meanwhile is looked at again before it is overwritten.";

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// `s3://BUCKET/PREFIX`, or a key in the bucket of the settings; without it the agent's own files
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Everything below, not one level
    #[arg(long, short)]
    pub recursive: bool,
}

/// Arguments of `cat`.
#[derive(Debug, Args)]
pub struct ReadArguments {
    /// `s3://BUCKET/KEY`, or a key in the bucket of the settings
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
}

/// Arguments of `stat`.
#[derive(Debug, Args)]
pub struct StatArguments {
    /// `s3://BUCKET/KEY`, or a key in the bucket of the settings
    #[arg(value_name = "KEY")]
    pub key: String,
}

/// Arguments of `put`.
#[derive(Debug, Args)]
#[command(after_long_help = PUT_EXAMPLES)]
pub struct PutArguments {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: String,
    /// `s3://BUCKET/KEY`, or a key in the bucket of the settings; after a `/` at its end comes the file's name
    #[arg(value_name = "KEY")]
    pub key: String,
    /// Only if there is no such object yet
    #[arg(long, conflicts_with = "if_match")]
    pub if_none_match: bool,
    /// Only over the version with this ETag
    #[arg(long, value_name = "ETAG")]
    pub if_match: Option<String>,
}

const PUT_EXAMPLES: &str = "\
Examples:
  hiclaw-sync put report.md s3://work/reports/
  date | hiclaw-sync put - s3://work/now.txt
  hiclaw-sync put --if-none-match lock.json s3://work/lock.json     exits with 1 if somebody else was first";

/// Arguments of `rm`.
#[derive(Debug, Args)]
#[command(after_long_help = REMOVE_EXAMPLES)]
pub struct RemoveArguments {
    /// `s3://BUCKET/KEY`, or keys in the bucket of the settings; with `-r` prefixes
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// Everything below the prefixes
    #[arg(long, short)]
    pub recursive: bool,
    /// With `-r`: really do it; without it, it is only shown what would be removed
    #[arg(long, requires = "recursive")]
    pub yes: bool,
}

const REMOVE_EXAMPLES: &str = "\
Examples:
  hiclaw-sync rm s3://work/old.txt
  hiclaw-sync rm -r s3://work/build/            shows what would go, exits with 2
  hiclaw-sync rm -r --yes s3://work/build/";

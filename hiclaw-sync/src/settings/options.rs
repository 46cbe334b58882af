//! The options that every command takes.
//!
//! Owns their names and help texts. Never looks at the environment: that is [`Settings::resolve`](super::Settings::resolve)'s
//! part.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{ArgAction, Args, ValueEnum};
use sync_core::secret::Secret;

/// Options of every command. What is not given comes from the environment, then from defaults.
#[derive(Debug, Clone, Default, Args)]
pub struct GlobalOptions {
    /// The worker's tree and how its runtime is run: the name of a layout, or a TOML file
    ///
    /// A value with a `/` or ending in `.toml` is a file; `layouts list` shows the names. Default: `HICLAW_WORKER_RUNTIME`, else
    /// `openclaw`. Every variable that starts with `HICLAW_` may start with `AGENTTEAMS_` instead.
    #[arg(long, global = true, value_name = "NAME|FILE", help_heading = "Worker")]
    pub layout: Option<String>,

    /// The agent's name: its files are those under `agents/NAME/` in the bucket
    ///
    /// Default: `HICLAW_WORKER_NAME`.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Worker")]
    pub worker: Option<String>,

    /// The directory that holds `agents/` and `shared/`
    ///
    /// Default: `HICLAW_ROOT`, else what the workspace lies in, else `/root/hiclaw-fs` (`/root/agentteams-fs` where only `AGENTTEAMS_` variables are set).
    #[arg(long, global = true, value_name = "DIR", help_heading = "Worker")]
    pub root: Option<PathBuf>,

    /// The agent's own directory
    ///
    /// Default: `HOME` if it ends in `agents/NAME` and the root is not given, else `ROOT/agents/NAME`.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Worker")]
    pub workspace: Option<PathBuf>,

    /// The store's URL, such as `http://minio:9000`; a bare host gets `http://`
    ///
    /// Default: `HICLAW_FS_ENDPOINT`, else `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else AWS itself.
    #[arg(long, global = true, value_name = "URL", help_heading = "Store")]
    pub endpoint: Option<String>,

    /// The bucket
    ///
    /// Default: `HICLAW_FS_BUCKET`, else the last part of `HICLAW_STORAGE_PREFIX`, else `hiclaw-storage`.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Store")]
    pub bucket: Option<String>,

    /// The access key. Other users of the machine can see options: prefer `HICLAW_FS_ACCESS_KEY` or an AWS profile
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        hide_default_value = true,
        help_heading = "Store"
    )]
    pub access_key: Option<Secret>,

    /// The secret key. Other users of the machine can see options: prefer `HICLAW_FS_SECRET_KEY` or an AWS profile
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        hide_default_value = true,
        help_heading = "Store"
    )]
    pub secret_key: Option<Secret>,

    /// The region to sign requests for
    ///
    /// Default: `AWS_REGION` or `AWS_DEFAULT_REGION`, else that of the AWS profile, else `us-east-1`.
    #[arg(long, global = true, value_name = "REGION", help_heading = "Store")]
    pub region: Option<String>,

    /// Whether the bucket is part of the URL's path or of its host name
    ///
    /// `auto` is the path, but for AWS and Aliyun OSS.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        help_heading = "Store"
    )]
    pub path_style: Option<PathStyle>,

    /// A PEM file with certificates to trust beside those of the system
    #[arg(long, global = true, value_name = "FILE", help_heading = "Store")]
    pub ca_cert: Option<PathBuf>,

    /// How many transfers (files, or parts of large ones) run at the same time; 32 unless given
    #[arg(long, global = true, value_name = "N", help_heading = "Store")]
    pub concurrency: Option<NonZeroUsize>,

    /// Print one JSON document on standard output; messages go to standard error
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,

    /// Print errors only
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub quiet: bool,

    /// Say more; give it again for still more
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,

    /// When to show progress bars; `auto` is on a terminal
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = "Output"
    )]
    pub progress: ProgressMode,

    /// How log lines on standard error look
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        help_heading = "Output"
    )]
    pub log_format: LogFormat,
}

/// When the bucket is part of the URL's path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PathStyle {
    /// Except for AWS and Aliyun OSS.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never: it is part of the host name.
    Never,
}

/// When progress bars are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// When standard error is a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        global: GlobalOptions,
    }

    #[test]
    fn options_are_those_of_the_reference() {
        let line = "x --layout l --worker w --root r --workspace s --endpoint e --bucket b --access-key a --secret-key k --region g \
                    --path-style never --ca-cert c --concurrency 4 --json -vv --progress never --log-format json";
        let options = Command::try_parse_from(line.split_whitespace())
            .unwrap()
            .global;
        assert_eq!((options.verbose, options.json), (2, true));
        assert_eq!(
            (options.path_style, options.progress),
            (Some(PathStyle::Never), ProgressMode::Never)
        );
        assert_eq!(
            (options.log_format, options.quiet),
            (LogFormat::Json, false)
        );
        assert_eq!(options.secret_key, Some(Secret::new("k")));
        assert!(!format!("{options:?}").contains("\"k\""));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in ["x -q -v", "x --concurrency 0", "x --path-style maybe"] {
            assert!(
                Command::try_parse_from(line.split_whitespace()).is_err(),
                "{line}"
            );
        }
    }
}

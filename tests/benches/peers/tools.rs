//! The commands that are compared.

use std::{path::PathBuf, process::Stdio};

use anyhow::Result;
use testkit::{
    Bucket,
    tools::{self, Tool},
};
use tokio::process::Command;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Ours,
    S5cmd,
    Rclone,
}

/// What a tool is asked to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A tree into an empty prefix.
    Up,
    /// The same again, when nothing has changed.
    NoOp,
    /// The prefix into an empty directory.
    Down,
}

/// Where one tool works in one round.
pub(crate) struct Work<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) prefix: String,
    /// What goes up; ours keeps its state in it.
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    /// Home directory and configuration.
    pub(crate) scratch: PathBuf,
}

impl Step {
    pub(crate) const ALL: [Self; 3] = [Self::Up, Self::NoOp, Self::Down];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoOp => "no-op",
            Self::Down => "down",
        }
    }
}

impl Peer {
    /// Ours and those that are installed.
    pub(crate) fn all() -> Vec<Self> {
        let installed = |peer: &Self| match peer.tool().map(Tool::path) {
            None | Some(Ok(_)) => true,
            Some(Err(reason)) => {
                println!("SKIPPED {}: {reason}", peer.name());
                false
            }
        };
        [Self::Ours, Self::S5cmd, Self::Rclone]
            .into_iter()
            .filter(installed)
            .collect()
    }

    fn tool(self) -> Option<Tool> {
        match self {
            Self::Ours => None,
            Self::S5cmd => Some(Tool::S5cmd),
            Self::Rclone => Some(Tool::Rclone),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "hiclaw-sync",
            Self::S5cmd => "s5cmd",
            Self::Rclone => "rclone",
        }
    }

    /// The command for a step; `None` where there is nothing to compare with.
    pub(crate) fn command(self, step: Step, work: &Work<'_>) -> Result<Option<Command>> {
        let command = match self {
            Self::Ours => ours(step, work)?,
            Self::S5cmd => s5cmd(step, work)?,
            Self::Rclone => rclone(step, work)?,
        };
        Ok(Some(command))
    }
}

/// A program with nothing in its environment but its home, in a directory of the benchmark.
fn program(path: PathBuf, work: &Work<'_>) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("HOME", &work.scratch)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(&work.scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn ours(step: Step, work: &Work<'_>) -> Result<Command> {
    let mut command = program(tools::hiclaw_sync()?, work);
    let (workspace, verb) = match step {
        Step::Up => (&work.source, "push"),
        Step::NoOp => (&work.source, "sync"),
        Step::Down => (&work.target, "pull"),
    };
    let root = work.scratch.join(format!("root-{}", step.name()));
    std::fs::create_dir_all(&root)?;
    if step == Step::Up {
        // Nothing is known of the tree, as for the others.
        let state = work.source.join(".hiclaw-sync");
        if state.exists() {
            std::fs::remove_dir_all(state)?;
        }
    }
    command
        .env("HICLAW_FS_ENDPOINT", work.bucket.endpoint())
        .env("HICLAW_FS_ACCESS_KEY", work.bucket.access_key())
        .env("HICLAW_FS_SECRET_KEY", work.bucket.secret_key())
        .env("HICLAW_FS_BUCKET", work.bucket.name())
        .args(["--worker", &work.prefix, "--quiet", "--root"])
        .arg(root)
        .arg("--workspace")
        .arg(workspace)
        .arg(verb);
    Ok(command)
}

fn s5cmd(step: Step, work: &Work<'_>) -> Result<Command> {
    let mut command = program(path(Tool::S5cmd)?, work);
    let source = format!("{}/", work.source.join("data").display());
    let remote = format!("s3://{}/{}/", work.bucket.name(), work.prefix);
    command
        .env("AWS_ACCESS_KEY_ID", work.bucket.access_key())
        .env("AWS_SECRET_ACCESS_KEY", work.bucket.secret_key())
        .env("AWS_REGION", "us-east-1")
        .args(["--endpoint-url", work.bucket.endpoint(), "--log", "error"]);
    match step {
        Step::Up => command.args(["cp", &source, &remote]),
        Step::NoOp => command.args(["sync", &source, &remote]),
        Step::Down => command
            .args(["cp", &format!("{remote}*")])
            .arg(format!("{}/", work.target.display())),
    };
    Ok(command)
}

fn rclone(step: Step, work: &Work<'_>) -> Result<Command> {
    let mut command = program(path(Tool::Rclone)?, work);
    let remote = format!("store:{}/{}", work.bucket.name(), work.prefix);
    let settings = [
        ("TYPE", "s3"),
        ("PROVIDER", "Other"),
        ("ENDPOINT", work.bucket.endpoint()),
        ("ACCESS_KEY_ID", work.bucket.access_key()),
        ("SECRET_ACCESS_KEY", work.bucket.secret_key()),
        ("REGION", "us-east-1"),
    ];
    for (name, value) in settings {
        command.env(format!("RCLONE_CONFIG_STORE_{name}"), value);
    }
    command
        .env("RCLONE_CONFIG", work.scratch.join("rclone.conf"))
        .args(["copy", "--transfers", "32", "--quiet"]);
    match step {
        Step::Up | Step::NoOp => command.arg(work.source.join("data")).arg(remote),
        Step::Down => command.arg(remote).arg(&work.target),
    };
    Ok(command)
}

fn path(tool: Tool) -> Result<PathBuf> {
    tool.path().map_err(|reason| anyhow::anyhow!(reason))
}

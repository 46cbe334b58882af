//! The steps that prepare a worker, in order, before its runtime starts.
//!
//! Owns their form; worker-entrypoint does them. Paths are relative to the workspace.

use std::{path::PathBuf, time::Duration};

use super::glob::Glob;
use crate::path::{ObjectKey, RelPath};

/// One step of a layout; `do = "…"` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `timezone`: makes the container's zone that of the settings, when the zone exists.
    Timezone,
    /// `pull`: brings mounts up to date from the bucket.
    Pull(PullStep),
    /// `copy-skills`: copies skills that the image ships and the bucket does not provide.
    CopySkills {
        /// Absolute directories, tried in order; only a real directory (no link) counts.
        from: Vec<PathBuf>,
        /// Where the skills go.
        to: RelPath,
    },
    /// `link`: a symbolic link; one that points elsewhere, or a file in its place, is replaced.
    Link {
        /// The link.
        at: RelPath,
        /// What it points to.
        to: RelPath,
    },
    /// `remove-circular-link`: removes `path` when it is a link (that leads back to the directory it is in).
    RemoveCircularLink {
        /// The link.
        path: RelPath,
    },
    /// `run`: runs a command in the workspace; its failure is a warning.
    Run(RunStep),
    /// `executable`: sets the execute bits of the files that match.
    Executable {
        /// Which files.
        paths: Vec<Glob>,
    },
    /// `move-and-link`: a regular file at `from` moves to `to` unless `to` exists; `from` becomes a link to `to`.
    MoveAndLink {
        /// The old name.
        from: RelPath,
        /// The new name.
        to: RelPath,
    },
    /// `mirror`: from here on changes travel in both directions.
    Mirror,
    /// `delete`: removes what matches, locally only; a directory goes with everything in it.
    Delete {
        /// What to remove.
        paths: Vec<Glob>,
    },
    /// `matrix-login`: logs in with the password in the bucket and puts the token into `config`; a failure is a warning.
    MatrixLogin {
        /// The password's object; read on demand, kept in memory only.
        password_key: ObjectKey,
        /// The file that takes `channels.matrix.accessToken`.
        config: RelPath,
    },
}

impl Step {
    /// The word after `do =`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Timezone => "timezone",
            Self::Pull(_) => "pull",
            Self::CopySkills { .. } => "copy-skills",
            Self::Link { .. } => "link",
            Self::RemoveCircularLink { .. } => "remove-circular-link",
            Self::Run(_) => "run",
            Self::Executable { .. } => "executable",
            Self::MoveAndLink { .. } => "move-and-link",
            Self::Mirror => "mirror",
            Self::Delete { .. } => "delete",
            Self::MatrixLogin { .. } => "matrix-login",
        }
    }
}

/// The step `pull`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullStep {
    /// Names of mounts that exist in the resolved layout; never empty (a step whose mounts are all inactive is left out).
    pub mounts: Vec<String>,
    /// Files that must be there afterwards, relative to the first mount.
    pub require: Vec<RelPath>,
    /// How often it is tried again while a required file is absent.
    pub retries: u32,
    /// The wait before each retry.
    pub retry_delay: Duration,
    /// The message to end with when a required file never appears.
    pub missing: Option<String>,
    /// Whether a failure ends the startup.
    pub need: Need,
}

/// Whether a step's failure ends the startup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It does.
    Required,
    /// It is a warning (`optional = true`).
    Optional,
}

/// The step `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// Only when this file exists.
    pub when_file: Option<RelPath>,
    /// Only when this directory is absent or empty.
    pub when_empty: Option<RelPath>,
    /// Names in that directory that do not count: what every image has there.
    pub when_empty_except: Vec<String>,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
}

//! How a runtime is started, known to be ready, and told that its files changed.
//!
//! Owns their form; worker-entrypoint acts on them.

use std::{collections::BTreeMap, fmt, num::NonZeroU32, path::PathBuf, time::Duration};

use crate::path::RelPath;

/// `[runtime]`: the process that the worker is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeSpec {
    /// Program and arguments; never empty. Keys of the store stand in it by their variables' names: see
    /// [`StoreKeys`](super::StoreKeys).
    pub command: Vec<String>,
    /// The directory it runs in; the workspace unless given.
    pub cwd: PathBuf,
    /// Added to the environment; wins over what is there. Keys of the store as in `command`.
    pub env: BTreeMap<String, String>,
    /// Added where the environment has no such variable, or an empty one.
    pub default_env: BTreeMap<String, String>,
    /// Whether it is started again when it ends.
    pub restart: Restart,
    /// Time between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// After so many failures in a row it is given up and the worker ends with its exit code; `None` (`0` in the layout)
    /// never gives up.
    pub crash_limit: Option<NonZeroU32>,
}

/// Whether a runtime that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never: the worker ends with it.
    Never,
    /// When its exit code was not 0 or a signal ended it.
    OnFailure,
    /// Always.
    Always,
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        })
    }
}

/// `[ready]`: how the runtime is known to be up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyProbe {
    /// What is looked at.
    pub check: ReadyCheck,
    /// The wait between two looks.
    pub interval: Duration,
    /// When to give up, counted from the start of the runtime.
    pub timeout: Duration,
}

/// What a [`ReadyProbe`] looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyCheck {
    /// A command that ends with code 0 once the runtime is ready.
    Command {
        /// Program and arguments; never empty.
        command: Vec<String>,
    },
    /// A URL that answers with a status once the runtime is ready.
    Http {
        /// The URL.
        url: String,
        /// The status; 200 unless given.
        status: u16,
    },
    /// A file that holds a text once the runtime is ready.
    File {
        /// The file, relative to the workspace.
        path: RelPath,
        /// The text.
        text: FileText,
    },
}

/// A text, and where in a file it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileText {
    /// Anywhere.
    Contains(String),
    /// At the start of a line.
    LineStartsWith(String),
}

impl FileText {
    /// True when `content` holds the text there.
    #[must_use]
    pub fn is_in(&self, content: &[u8]) -> bool {
        match self {
            Self::Contains(text) => {
                text.is_empty()
                    || content
                        .windows(text.len())
                        .any(|window| window == text.as_bytes())
            }
            Self::LineStartsWith(text) => content
                .split(|byte| *byte == b'\n')
                .any(|line| line.starts_with(text.as_bytes())),
        }
    }
}

impl fmt::Display for FileText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(text) => write!(f, "{text:?}"),
            Self::LineStartsWith(text) => write!(f, "a line that starts with {text:?}"),
        }
    }
}

/// `[reload.GROUP]`: what to do after files of a group were published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// What is done.
    pub action: ReloadAction,
    /// A command that accepts a candidate before it is published: it runs in the workspace and ends with code 0. The
    /// argument `{candidate}` stands for the candidate's path.
    pub validate: Option<Vec<String>>,
}

/// How a runtime learns that files changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadAction {
    /// It watches its files: nothing is done.
    Watched,
    /// It gets a signal.
    Signal(ReloadSignal),
    /// A request is sent.
    Http {
        /// The method, in capitals.
        method: String,
        /// The URL.
        url: String,
    },
    /// A command is run in the workspace.
    Exec {
        /// Program and arguments; never empty.
        command: Vec<String>,
    },
    /// It is stopped and started again.
    Restart,
}

/// The signals that runtimes reload on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadSignal {
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl ReloadSignal {
    /// The name as layouts spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Usr1 => "SIGUSR1",
            Self::Usr2 => "SIGUSR2",
        }
    }
}

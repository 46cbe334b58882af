//! Reading variables one by one and noting what is wrong with them, so that one message names them all.
//!
//! Owns which of several names wins, and the messages. Messages name variables and options, and quote values only where
//! the caller says so: a value may be a secret.

use std::{
    cell::RefCell,
    ffi::OsString,
    fmt,
    path::{Component, Path, PathBuf},
};

use sync_core::secret::Secret;

use super::{environment::Environment, values::Generation};

/// The variables that exist under both names, without their beginnings, as far as they tell which names a deployment uses.
/// How a worker is run ([`RunVariables`](super::RunVariables), `ROOT`) tells nothing: images bring defaults for that.
const SUFFIXES: [&str; 33] = [
    "WORKER_NAME",
    "FS_ENDPOINT",
    "FS_ACCESS_KEY",
    "FS_SECRET_KEY",
    "FS_SESSION_TOKEN",
    "FS_BUCKET",
    "STORAGE_PREFIX",
    "STORAGE_PROVIDER",
    "RUNTIME",
    "WORKER_RUNTIME",
    "CONTROLLER_URL",
    "AUTH_TOKEN",
    "AUTH_TOKEN_FILE",
    "WORKER_CR_NAME",
    "MATRIX_URL",
    "MATRIX_DOMAIN",
    "MATRIX_DEBUG",
    "AI_GATEWAY_URL",
    "WORKER_ENV_MOUNT_DIR",
    "WORKER_ENV_MOUNT_REQUIRED",
    "WORKER_ENV_MOUNT_TIMEOUT_SECONDS",
    "CONSOLE_PORT",
    "CMS_TRACES_ENABLED",
    "CMS_ENDPOINT",
    "CMS_LICENSE_KEY",
    "CMS_PROJECT",
    "CMS_WORKSPACE",
    "CMS_SERVICE_NAME",
    "CMS_TRACES_ENDPOINT",
    "CMS_TRACES_LICENSE_KEY",
    "CMS_TRACES_PROJECT",
    "CMS_TRACES_WORKSPACE",
    "CMS_TRACES_SERVICE_NAME",
];

/// One setting that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingMistake {
    name: String,
    message: String,
}

impl SettingMistake {
    /// The variable, with the option that would do as well.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong, and what would be right.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SettingMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// The settings that are missing or wrong: all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError {
    mistakes: Vec<SettingMistake>,
}

impl SettingsError {
    /// The mistakes, worker first, then store, then the rest.
    #[must_use]
    pub fn mistakes(&self) -> &[SettingMistake] {
        &self.mistakes
    }
}

/// Reads an environment.
pub(super) struct Lookup<'e> {
    environment: &'e dyn Environment,
    mistakes: RefCell<Vec<SettingMistake>>,
}

/// A variable's name and value.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) value: String,
}

impl<'e> Lookup<'e> {
    pub(super) fn new(environment: &'e dyn Environment) -> Self {
        Self {
            environment,
            mistakes: RefCell::default(),
        }
    }

    /// Which names are in use: the new ones where none of the old ones is set.
    pub(super) fn generation(&self) -> Generation {
        let any = |generation: Generation| {
            let set = |suffix| format!("{}{suffix}", generation.prefix());
            SUFFIXES
                .iter()
                .any(|suffix| self.plain(&set(suffix)).is_some())
        };
        if any(Generation::AgentTeams) && !any(Generation::HiClaw) {
            Generation::AgentTeams
        } else {
            Generation::HiClaw
        }
    }

    /// Notes a mistake; reading goes on.
    pub(super) fn mistake(&self, name: &str, message: impl Into<String>) {
        self.mistakes.borrow_mut().push(SettingMistake {
            name: name.to_owned(),
            message: message.into(),
        });
    }

    /// Ends the reading: an error when anything was noted.
    pub(super) fn finish(self) -> Result<(), SettingsError> {
        // A variable that is looked up for several settings is named once.
        let mut mistakes: Vec<SettingMistake> = Vec::new();
        for mistake in self.mistakes.into_inner() {
            if !mistakes.contains(&mistake) {
                mistakes.push(mistake);
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(SettingsError { mistakes })
        }
    }

    /// A variable by its full name. Empty counts as absent, as it does in shell scripts.
    pub(super) fn plain(&self, name: &str) -> Option<Found> {
        let value = self
            .environment
            .variable(name)
            .filter(|value| !value.is_empty())?;
        let value = value
            .into_string()
            .map_err(|_: OsString| self.mistake(name, "is no valid UTF-8"))
            .ok()?;
        Some(Found {
            name: name.to_owned(),
            value,
        })
    }

    /// A variable by its name after the prefix: `HICLAW_` first, then `AGENTTEAMS_`.
    pub(super) fn prefixed(&self, suffix: &str) -> Option<Found> {
        let old = self.plain(&format!("HICLAW_{suffix}"));
        let new = self.plain(&format!("AGENTTEAMS_{suffix}"));
        old.or(new)
    }

    /// The value of a prefixed variable.
    pub(super) fn text(&self, suffix: &str) -> Option<String> {
        self.prefixed(suffix).map(|found| found.value)
    }

    pub(super) fn secret(&self, suffix: &str) -> Option<Secret> {
        self.text(suffix).map(Secret::new)
    }

    /// The value read by `read`; a mistake when that fails.
    pub(super) fn parsed<T>(
        &self,
        found: Option<Found>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = found?;
        read(&found.value)
            .map_err(|message| self.mistake(&found.name, message))
            .ok()
    }

    /// An option's path, or a variable's: absolute, without `.` and `..`.
    pub(super) fn absolute(&self, name: &str, path: &Path) -> Option<PathBuf> {
        let base = if path.is_absolute() {
            Some(PathBuf::new())
        } else {
            self.environment.current_directory()
        };
        let Some(base) = base else {
            self.mistake(name, "must be an absolute path");
            return None;
        };
        let plain = normalized(&base.join(path));
        if plain.to_str().is_none() {
            self.mistake(name, "is no valid UTF-8");
            return None;
        }
        Some(plain)
    }
}

/// The path without `.`, and `..` taken off the component before it: judged by the text, links are not followed.
fn normalized(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    plain
}

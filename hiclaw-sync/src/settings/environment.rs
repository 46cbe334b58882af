//! Where variables come from.
//!
//! Owns the one place that reads the process's environment.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// A source of variables. Any function from a name to a value is one.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<OsString>;

    /// The directory that relative paths start from; `None` where there is no such thing.
    fn current_directory(&self) -> Option<PathBuf> {
        None
    }
}

impl<F: Fn(&str) -> Option<OsString>> Environment for F {
    fn variable(&self, name: &str) -> Option<OsString> {
        self(name)
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn current_directory(&self) -> Option<PathBuf> {
        std::env::current_dir().ok()
    }
}

/// Variables of a file over those of another environment: what sourcing the file would give.
pub struct Overlay<E> {
    file: BTreeMap<String, String>,
    base: E,
}

impl<E: Environment> Overlay<E> {
    /// Puts the variables of `file` over `base`; of two of one name the last counts.
    pub fn new(file: impl IntoIterator<Item = (String, String)>, base: E) -> Self {
        Self {
            file: file.into_iter().collect(),
            base,
        }
    }
}

impl<E: Environment> Environment for Overlay<E> {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.file
            .get(name)
            .map(OsString::from)
            .or_else(|| self.base.variable(name))
    }

    fn current_directory(&self) -> Option<PathBuf> {
        self.base.current_directory()
    }
}

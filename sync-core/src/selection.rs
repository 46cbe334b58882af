//! What travels: the layout's rules together with the user's ignore files.
//!
//! Owns the answer to "which rule holds for this path" for one look at a mount. Ignore files (`.hiclawignore`, and
//! `.agentteamsignore`, which yields to it) have gitignore's syntax and meaning, at any depth. They are read when a path
//! below them first comes up and not again: whatever is asked of one value gets answers from one state of the files,
//! so that a path can't be ignored where it is scanned and deleted where it is listed. A new look is a new value.
//!
//! Never writes; reads nothing but ignore files, and those below the mount's root descriptor only.

mod patterns;
mod tree;

use std::{path::Path, sync::Arc};

pub use self::tree::IgnoreProblem;
use self::tree::IgnoreTree;
use crate::{
    conflict,
    layout::{Rule, Rules, SyncMode},
    path::RelPath,
    root::{LocalError, Root},
    sqlite,
};

/// Names of ignore files; of two in one directory the later one has the last word.
const IGNORE_FILES: [&str; 2] = [".agentteamsignore", ".hiclawignore"];

/// True for a file that says what is ignored in its directory.
///
/// ```
/// use sync_core::{path::RelPath, selection::is_ignore_file};
/// assert!(is_ignore_file(&RelPath::new("notes/.hiclawignore")?));
/// assert!(!is_ignore_file(&RelPath::new(".gitignore")?));
/// # Ok::<(), sync_core::path::PathError>(())
/// ```
#[must_use]
pub fn is_ignore_file(path: &RelPath) -> bool {
    IGNORE_FILES.contains(&path.file_name())
}

/// What travels in a mount, as of one look at it.
#[derive(Debug)]
pub struct Selection {
    rules: Arc<Rules>,
    ignored: Rule,
    files: Option<IgnoreTree>,
    /// Where databases are looked for, whose parts don't travel.
    databases: Option<Arc<Root>>,
}

impl Selection {
    /// The rules and the ignore files below `root`.
    #[must_use]
    pub fn new(rules: Arc<Rules>, root: Arc<Root>) -> Self {
        Self {
            files: Some(IgnoreTree::new(root.clone())),
            databases: Some(root),
            ..Self::of_rules(rules)
        }
    }

    /// The same for a directory that isn't open as a mount; nothing is created in it.
    pub fn of_directory(rules: Arc<Rules>, directory: &Path) -> Result<Self, LocalError> {
        let root = Root::open_source(directory, directory)?;
        Ok(Self::new(rules, Arc::new(root)))
    }

    /// The rules alone.
    #[must_use]
    pub fn of_rules(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            ignored: Rule::new(Vec::new(), SyncMode::None),
            files: None,
            databases: None,
        }
    }

    /// The rules alone, and what SQLite keeps beside the databases below `root`, which never travels.
    #[must_use]
    pub fn without_ignore_files(rules: Arc<Rules>, root: Arc<Root>) -> Self {
        Self {
            databases: Some(root),
            ..Self::of_rules(rules)
        }
    }

    /// The rule for `path`: that it doesn't travel if it is ignored, else the layout's.
    #[must_use]
    pub fn rule_for(&self, path: &RelPath) -> &Rule {
        if self.ignores(path) {
            &self.ignored
        } else {
            self.rules.rule_for(path)
        }
    }

    /// True for a path that an ignore file excludes. Ignore files themselves are never excluded by a pattern, or a
    /// container that is made anew would not know what to ignore; with an ignored directory they are. A conflict copy
    /// is ignored with the path that it is a copy of. So is what SQLite keeps beside a database.
    #[must_use]
    pub fn ignores(&self, path: &RelPath) -> bool {
        let is_part = |root: &Arc<Root>| sqlite::is_part(root, path);
        let excludes = |files: &IgnoreTree| {
            files.excludes(path)
                || conflict::origin(path).is_some_and(|origin| files.excludes(&origin))
        };
        self.files.as_ref().is_some_and(excludes) || self.databases.as_ref().is_some_and(is_part)
    }

    /// True when nothing below `directory` can travel, so that nobody need enter it. False when in doubt.
    #[must_use]
    pub fn prunes(&self, directory: &RelPath) -> bool {
        self.rules.prunes(directory)
            || self
                .files
                .as_ref()
                .is_some_and(|files| files.excludes_all_in(directory))
    }

    /// True when a watcher need not enter `directory`: nothing below it can travel or stands for a file that does, or it is
    /// ignored. False when in doubt.
    #[must_use]
    pub fn hides(&self, directory: &RelPath) -> bool {
        self.rules.hides(directory)
            || self
                .files
                .as_ref()
                .is_some_and(|files| files.excludes_all_in(directory))
    }

    /// True when a watcher is to tell of changes of `path`: it may travel, or stands for a file that does, and is not ignored.
    #[must_use]
    pub fn notices(&self, path: &RelPath) -> bool {
        self.rules.notices(path) && !self.ignores(path)
    }

    /// What was wrong with the ignore files that were read since the last call.
    #[must_use]
    pub fn take_problems(&self) -> Vec<IgnoreProblem> {
        self.files
            .as_ref()
            .map_or_else(Vec::new, IgnoreTree::take_problems)
    }
}

#[cfg(test)]
mod tests;

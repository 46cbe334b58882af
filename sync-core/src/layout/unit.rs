//! Reload units: the files that a runtime reads as one thing, and that are therefore published together.
//!
//! Owns which unit a path belongs to. A group whose pattern names a directory and everything below it (`skills/**`) has a
//! unit for each directory in there (`skills/web`); the other files of a group (`config`) are one unit.

use std::fmt;

use super::rules::Rule;
use crate::path::RelPath;

/// Files of one mount that are published together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReloadUnit {
    /// The reload group.
    pub group: String,
    /// The directory that the unit is; `None` for what else is in the group.
    pub directory: Option<RelPath>,
}

impl fmt::Display for ReloadUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.directory {
            Some(directory) => write!(f, "{directory} (group {})", self.group),
            None => write!(f, "group {}", self.group),
        }
    }
}

impl Rule {
    /// The unit of a path that this is the rule for; `None` when the rule has no group.
    #[must_use]
    pub fn unit_of(&self, path: &RelPath) -> Option<ReloadUnit> {
        Some(ReloadUnit {
            group: self.group.clone()?,
            directory: self.directory_of(path),
        })
    }

    fn directory_of(&self, path: &RelPath) -> Option<RelPath> {
        let glob = self.paths.iter().find(|glob| glob.is_match(path))?;
        let above = glob.directory()?;
        let rest = glob.as_str().strip_prefix(above.as_str())?;
        let rest = rest.strip_prefix("/**")?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let below = path.as_str().strip_prefix(above.as_str())?;
        let (name, _) = below.strip_prefix('/')?.split_once('/')?;
        above.join(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Glob, SyncMode};

    fn unit(patterns: &[&str], path: &str) -> Option<String> {
        let globs = patterns
            .iter()
            .map(|pattern| Glob::new(pattern).unwrap())
            .collect();
        let mut rule = Rule::new(globs, SyncMode::Both);
        rule.group = Some("g".to_owned());
        let unit = rule.unit_of(&RelPath::new(path).unwrap()).unwrap();
        unit.directory
            .map(|directory| directory.as_str().to_owned())
    }

    #[test]
    fn a_directory_below_a_pattern_for_everything_is_a_unit() {
        for (patterns, path, expected) in [
            (
                &["skills/**"][..],
                "skills/web/SKILL.md",
                Some("skills/web"),
            ),
            (&["skills/**"], "skills/web/a/b/c", Some("skills/web")),
            (&["skills/**"], "skills/README.md", None),
            (&["skills/**/*.sh"], "skills/web/run.sh", Some("skills/web")),
            (&["skills/**/*.sh"], "skills/run.sh", None),
            (&["a/b/**"], "a/b/c/d", Some("a/b/c")),
            (&["x", "a/**"], "a/b/c", Some("a/b")),
            (&["openclaw.json"], "openclaw.json", None),
            (&["config/mcporter.json"], "config/mcporter.json", None),
            (&["**/x.json"], "a/b/x.json", None),
            (&["skills/w*/**"], "skills/web/x", None),
        ] {
            assert_eq!(unit(patterns, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn without_a_group_there_is_no_unit() {
        let rule = Rule::new(vec![Glob::new("skills/**").unwrap()], SyncMode::Both);
        assert_eq!(rule.unit_of(&RelPath::new("skills/a/b").unwrap()), None);
    }
}

//! One path pattern.
//!
//! Owns the meaning of patterns:
//! - a pattern is matched against the whole path, relative to its mount, and is case-sensitive
//! - `*` and `?` match within one component, leading dots included; `**` as a whole component crosses directories:
//!   `**/x` is `x` at any depth, `dir/**` everything below `dir` but not `dir` itself
//! - `{a,b}` is either, `[a-z]` and `[!a-z]` one character; `\` takes the next character literally
//! - a pattern without these signs matches exactly one path: the name of a directory does not stand for what is in it
//!
//! Never looks at a file system.

use std::{fmt, sync::OnceLock};

use globset::{GlobBuilder, GlobMatcher};

use crate::path::RelPath;

/// The characters that make a pattern more than a path.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

/// Longer patterns are refused: paths are no longer than 1024 bytes, and alternatives can be written as patterns of their own.
const MAX_PATTERN_BYTES: usize = 4096;

/// A path pattern; see the module for what it means.
///
/// ```
/// use sync_core::{layout::Glob, path::RelPath};
/// let scripts = Glob::new("skills/**/*.sh")?;
/// assert!(scripts.is_match(&RelPath::new("skills/web/run.sh")?));
/// assert!(scripts.is_match(&RelPath::new("skills/run.sh")?));
/// assert!(!scripts.is_match(&RelPath::new("other/run.sh")?));
/// assert_eq!(scripts.directory(), Some(RelPath::new("skills")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Glob {
    glob: globset::Glob,
    /// Made when it is first used: most patterns are only ever matched as part of a set.
    matcher: OnceLock<GlobMatcher>,
}

/// Why a text is no path pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no path pattern: {reason}")]
pub struct GlobError {
    pattern: String,
    reason: String,
}

impl GlobError {
    /// Patterns that compile one by one but not together.
    pub(super) fn of_set(error: &globset::Error) -> Self {
        Self {
            pattern: error.glob().unwrap_or("all patterns together").to_owned(),
            reason: error.kind().to_string(),
        }
    }
}

impl Glob {
    /// Compiles `pattern`.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let refused = |reason: String| GlobError {
            pattern: pattern.to_owned(),
            reason,
        };
        if let Some(reason) = refuse(pattern) {
            return Err(refused(reason));
        }
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .build()
            .map_err(|error| refused(error.kind().to_string()))?;
        Ok(Self {
            glob,
            matcher: OnceLock::new(),
        })
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.glob.glob()
    }

    /// True when the pattern matches the whole of `path`.
    #[must_use]
    pub fn is_match(&self, path: &RelPath) -> bool {
        self.matcher
            .get_or_init(|| self.glob.compile_matcher())
            .is_match(path.as_str())
    }

    /// The one path that the pattern matches, when it has no wildcard.
    #[must_use]
    pub fn literal(&self) -> Option<RelPath> {
        if self.as_str().contains(SPECIAL) {
            None
        } else {
            RelPath::new(self.as_str()).ok()
        }
    }

    /// The deepest directory that everything it matches is in; `None` when that is the mount itself.
    #[must_use]
    pub fn directory(&self) -> Option<RelPath> {
        let (directory, _) = self.literal_prefix().rsplit_once('/')?;
        RelPath::new(directory).ok()
    }

    /// The text before the first wildcard: everything it matches starts with it.
    fn literal_prefix(&self) -> &str {
        let text = self.as_str();
        let end = text.find(SPECIAL).unwrap_or(text.len());
        text.get(..end).unwrap_or_default()
    }

    /// False only when no path below `directory` can match. Judged by the text before the first wildcard, so it may be true
    /// for a pattern that matches nothing there.
    pub(super) fn may_match_below(&self, directory: &RelPath) -> bool {
        let below = format!("{directory}/");
        let prefix = self.literal_prefix();
        prefix.starts_with(&below) || (below.starts_with(prefix) && self.literal().is_none())
    }

    pub(super) fn compiled(&self) -> &globset::Glob {
        &self.glob
    }
}

/// What is wrong with a pattern before it is compiled: such a pattern would compile and match nothing.
fn refuse(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some("it is empty".to_owned());
    }
    if pattern.starts_with('/') {
        return Some("it is absolute; paths are relative to the mount".to_owned());
    }
    if let Some(directory) = pattern.strip_suffix('/') {
        return Some(format!(
            "it ends in `/`; write `{directory}/**` for everything below the directory"
        ));
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return Some(format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    if pattern.contains('\0') {
        return Some("it holds a NUL byte".to_owned());
    }
    pattern.split('/').find_map(|component| match component {
        "" => Some("it has an empty component".to_owned()),
        "." | ".." => Some("it has a component `.` or `..`".to_owned()),
        _ if component.contains("**") && component != "**" && !component.contains('{') => Some(
            format!("`**` must stand alone between slashes, not in `{component}`"),
        ),
        _ => None,
    })
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Glob {}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn patterns_mean_what_the_module_says() {
        for (pattern, matching, other) in [
            (
                "openclaw.json",
                &["openclaw.json"][..],
                &["x/openclaw.json", "openclaw.json/x", "OpenClaw.json"][..],
            ),
            (
                "dir/**",
                &["dir/a", "dir/a/b", "dir/.a"],
                &["dir", "dirx/a", "x/dir/a"],
            ),
            (
                "**/*.lock",
                &["a.lock", "x/y/a.lock", ".lock"],
                &["a.lock/b", "a.lockx"],
            ),
            (
                "**/node_modules/**",
                &["node_modules/a", "x/node_modules/a/b"],
                &["node_modules", "node_modulesx/a"],
            ),
            ("*", &["a", ".a"], &["a/b"]),
            ("**", &["a", "a/b", ".a/.b"], &[]),
            (
                "tasks/*/spec.md",
                &["tasks/1/spec.md"],
                &["tasks/spec.md", "tasks/1/2/spec.md"],
            ),
            (
                "**/*.{db,sqlite}-{wal,shm}",
                &["a.db-wal", "x/a.sqlite-shm"],
                &["a.db", "a.db-journal"],
            ),
            ("a[0-9]", &["a1"], &["ab", "a/1"]),
            (r"a\*", &["a*"], &["ab"]),
            (
                "openclaw.json.bak*",
                &["openclaw.json.bak", "openclaw.json.bak.1"],
                &["openclaw.json.bak/x"],
            ),
        ] {
            let glob = Glob::new(pattern).unwrap();
            for text in matching {
                assert!(glob.is_match(&path(text)), "{pattern} must match {text}");
            }
            for text in other {
                assert!(
                    !glob.is_match(&path(text)),
                    "{pattern} must not match {text}"
                );
            }
        }
    }

    #[test]
    fn patterns_that_could_never_match_are_refused() {
        for (pattern, word) in [
            ("", "empty"),
            ("/etc", "absolute"),
            ("dir/", "`dir/**`"),
            ("a//b", "empty component"),
            ("../x", "`..`"),
            ("./x", "`.`"),
            ("a**", "alone"),
            ("a[", "unclosed"),
            ("{a", "unclosed"),
        ] {
            let error = Glob::new(pattern).unwrap_err().to_string();
            assert!(error.contains(word), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_pattern_knows_its_literal_beginning() {
        assert_eq!(Glob::new("skills").unwrap().literal(), Some(path("skills")));
        assert_eq!(Glob::new("skills/*").unwrap().literal(), None);
        assert_eq!(
            Glob::new(".openclaw/agents/**/*.lock").unwrap().directory(),
            Some(path(".openclaw/agents"))
        );
        assert_eq!(Glob::new("**/*.lock").unwrap().directory(), None);
        assert_eq!(Glob::new("a/b").unwrap().directory(), Some(path("a")));
    }

    #[test]
    fn what_may_match_below_a_directory_is_judged_by_the_literal_beginning() {
        for (pattern, directory, expected) in [
            ("skills/**", "skills", true),
            ("skills/**", "skills/web", true),
            ("skills/**", "skillsx", false),
            ("skills/**", "other", false),
            ("skills/web/*.sh", "skills", true),
            ("skills/web/*.sh", "skills/we", false),
            ("**/*.sh", "anything", true),
            ("openclaw.json", ".cache", false),
            ("a/b", "a/b", false),
            ("a/b*", "a/bc", true),
        ] {
            assert_eq!(
                Glob::new(pattern)
                    .unwrap()
                    .may_match_below(&path(directory)),
                expected,
                "{pattern} {directory}"
            );
        }
    }
}

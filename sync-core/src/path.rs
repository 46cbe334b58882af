//! The three names a file has: its relative path in a mount, its key in the bucket, and the prefix that ties them.
//!
//! Owns validation: a value of these types is safe to join to a mount root or to a prefix. Never touches the file system.

use std::{fmt, sync::Arc};

/// Longest path component that Linux file systems take, in bytes.
const MAX_COMPONENT_BYTES: usize = 255;
/// Longest key of the S3 protocol, in bytes.
const MAX_KEY_BYTES: usize = 1024;

/// Why a text is no safe path or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no safe path: {reason}")]
pub struct PathError {
    text: String,
    reason: &'static str,
}

impl PathError {
    /// The text that was refused.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it, in a few words.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// The path of a file relative to its mount.
///
/// - never empty, never absolute, no trailing `/`
/// - components are separated by single `/`; none is empty, `.` or `..`, or longer than 255 bytes
/// - valid UTF-8 without NUL, 1024 bytes at most
/// - ordered by bytes, which is the order of most bucket listings; see [`crate::order`]
///
/// ```
/// use sync_core::path::RelPath;
/// assert!(RelPath::new("skills/web/SKILL.md").is_ok());
/// for bad in ["", "/etc/passwd", "../x", "a//b", "a/./b", "a/", "a\0b"] {
///     assert!(RelPath::new(bad).is_err(), "{bad:?}");
/// }
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Arc<str>);

impl RelPath {
    /// Validates `text`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, PathError> {
        let text = text.as_ref();
        match refuse(text) {
            Some(reason) => Err(PathError {
                text: text.to_owned(),
                reason,
            }),
            None => Ok(Self(text.into())),
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, first to last; at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The directory this path is in; `None` directly below the mount.
    #[must_use]
    pub fn parent(&self) -> Option<RelPath> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.into()))
    }

    /// This path with `component` (which may itself hold `/`) below it.
    pub fn join(&self, component: &str) -> Result<RelPath, PathError> {
        RelPath::new(format!("{}/{component}", self.0))
    }

    /// True for `dir` itself and for everything below it.
    #[must_use]
    pub fn is_under(&self, dir: &RelPath) -> bool {
        self.0
            .strip_prefix(&*dir.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn refuse(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.starts_with('/') {
        return Some("it is absolute");
    }
    if text.contains('\0') {
        return Some("it holds a NUL byte");
    }
    if text.len() > MAX_KEY_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    text.split('/').find_map(|component| match component {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a component `.` or `..`"),
        long if long.len() > MAX_COMPONENT_BYTES => {
            Some("it has a component of more than 255 bytes")
        }
        _ => None,
    })
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        RelPath::new(text).map_err(serde::de::Error::custom)
    }
}

/// The full key of an object in the bucket.
///
/// - never empty, 1024 bytes at most; otherwise whatever the store holds, safe as a path or not
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    /// Takes a key as a store names it.
    pub fn new(text: impl AsRef<str>) -> Result<Self, PathError> {
        let text = text.as_ref();
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.len() > MAX_KEY_BYTES {
            "it is longer than 1024 bytes"
        } else {
            return Ok(Self(text.into()));
        };
        Err(PathError {
            text: text.to_owned(),
            reason,
        })
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The beginning that all keys of a mount share.
///
/// - empty (the whole bucket) or ending in `/`
/// - never starts with `/`, no component is empty, `.` or `..`
///
/// ```
/// use sync_core::path::{Prefix, RelPath};
/// let prefix = Prefix::new("agents/alice")?;
/// assert_eq!(prefix.as_str(), "agents/alice/");
/// let key = prefix.key(&RelPath::new("SOUL.md")?);
/// assert_eq!(key.as_str(), "agents/alice/SOUL.md");
/// assert_eq!(prefix.rel_path(key.as_str())?.as_str(), "SOUL.md");
/// # Ok::<(), sync_core::path::PathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// Validates `text`; a missing `/` at the end is added.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        if trimmed.is_empty() && text.is_empty() {
            return Ok(Self("".into()));
        }
        match refuse(trimmed) {
            Some(reason) => Err(PathError {
                text: text.to_owned(),
                reason,
            }),
            None => Ok(Self(format!("{trimmed}/").into())),
        }
    }

    /// The prefix as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of `path` under this prefix.
    #[must_use]
    pub fn key(&self, path: &RelPath) -> ObjectKey {
        ObjectKey(format!("{}{}", self.0, path.0).into())
    }

    /// The path that `key` stands for, or why it is none: it lies outside the prefix or isn't a safe path.
    pub fn rel_path(&self, key: &str) -> Result<RelPath, PathError> {
        match key.strip_prefix(&*self.0) {
            Some(rest) => RelPath::new(rest),
            None => Err(PathError {
                text: key.to_owned(),
                reason: "it lies outside the prefix",
            }),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_under_itself_and_its_directories_but_not_under_a_sibling_with_the_same_beginning()
    {
        let path = RelPath::new("a/b/c").unwrap();
        for (dir, expected) in [
            ("a", true),
            ("a/b", true),
            ("a/b/c", true),
            ("a/bc", false),
            ("a/b/c/d", false),
        ] {
            assert_eq!(
                path.is_under(&RelPath::new(dir).unwrap()),
                expected,
                "{dir}"
            );
        }
    }

    #[test]
    fn components_of_255_bytes_are_taken_and_longer_ones_are_not() {
        assert!(RelPath::new("x".repeat(255)).is_ok());
        assert!(RelPath::new("x".repeat(256)).is_err());
    }

    #[test]
    fn odd_but_legal_names_are_taken_as_they_are() {
        for name in [
            "a b",
            "a+b",
            "a%2Fb",
            "#",
            "?",
            "new\nline",
            "😀",
            "...",
            "-",
            "a\\b",
        ] {
            assert_eq!(RelPath::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_prefix_is_a_directory_of_keys() {
        assert_eq!(Prefix::new("").unwrap().as_str(), "");
        assert!(Prefix::new("/").is_err());
        assert!(Prefix::new("a//b").is_err());
        assert!(Prefix::new("agents/../x").is_err());
        let prefix = Prefix::new("agents/al/").unwrap();
        assert!(prefix.rel_path("agents/alice/x").is_err());
        assert!(prefix.rel_path("agents/al/../x").is_err());
        assert!(prefix.rel_path("agents/al/").is_err());
    }
}

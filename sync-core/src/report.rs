//! What a pass did: the document behind `--json`, the control socket's results and the status.
//!
//! Owns the shape that scripts rely on (CLI reference, "`--json`"). Never decides anything.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one pass did over all mounts. Paths are relative to their mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Files brought from the bucket.
    pub downloaded: Vec<Entry>,
    /// Files sent to the bucket.
    pub uploaded: Vec<Entry>,
    /// Files whose content was merged from both sides by field.
    pub merged: Vec<Entry>,
    /// Local files removed because their object was.
    pub deleted_local: Vec<Entry>,
    /// Objects removed because their local file was.
    pub deleted_remote: Vec<Entry>,
    /// Paths changed on both sides; the loser is kept as a conflict copy.
    pub conflicts: Vec<ConflictEntry>,
    /// Paths that could not be handled; everything else was.
    pub problems: Vec<Problem>,
    /// Deletes that a brake holds back, and changes of databases in use.
    pub held: Vec<HeldEntry>,
    /// Bytes of content received.
    pub bytes_in: u64,
    /// Bytes of content sent.
    pub bytes_out: u64,
    /// Requests made, by kind.
    pub requests: RequestCounts,
    /// How long the pass took.
    #[serde(rename = "duration_ms", with = "milliseconds")]
    pub duration: Duration,
}

impl Report {
    /// True when no file was touched and nothing went wrong.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.changes_files()
            && self.conflicts.is_empty()
            && self.problems.is_empty()
            && self.held.is_empty()
    }

    /// True when a file changed on either side.
    #[must_use]
    pub fn changes_files(&self) -> bool {
        !(self.downloaded.is_empty()
            && self.uploaded.is_empty()
            && self.merged.is_empty()
            && self.deleted_local.is_empty()
            && self.deleted_remote.is_empty())
    }

    /// Adds what another pass did.
    pub fn absorb(&mut self, other: Report) {
        self.downloaded.extend(other.downloaded);
        self.uploaded.extend(other.uploaded);
        self.merged.extend(other.merged);
        self.deleted_local.extend(other.deleted_local);
        self.deleted_remote.extend(other.deleted_remote);
        self.conflicts.extend(other.conflicts);
        self.problems.extend(other.problems);
        self.held.extend(other.held);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.requests = self.requests + other.requests;
        self.duration += other.duration;
    }
}

/// One file of a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Name of the mount.
    pub mount: String,
    /// Path relative to the mount.
    pub path: String,
    /// Size of the content; 0 for deletes.
    #[serde(default)]
    pub bytes: u64,
    /// The layout's reload group of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why, where the report is a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A path that changed on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictEntry {
    /// Name of the mount.
    pub mount: String,
    /// Path relative to the mount.
    pub path: String,
    /// Which side's version stands at `path` now.
    pub winner: Side,
    /// Where the other version is kept, relative to the mount.
    pub copy: String,
}

/// A path that could not be handled, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Name of the mount; empty when it isn't about one mount.
    #[serde(default)]
    pub mount: String,
    /// Path relative to the mount, or the key where it is no safe path; empty when it is about the whole mount.
    pub path: String,
    /// A stable word for scripts.
    pub kind: ProblemKind,
    /// What happened, for people.
    pub message: String,
}

/// Stable words for what kind of problem a path has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The key is no safe path, or the file's name is no key.
    UnsafePath,
    /// The store or the file system refused access.
    Denied,
    /// The file changed all the time, or both sides kept changing it.
    Busy,
    /// The content is not what its rule needs, such as invalid JSON in a merged file.
    Invalid,
    /// Neither file nor directory, or a type clash between the sides.
    Unsupported,
    /// The store failed, after all retries.
    Store,
    /// The local file system failed.
    Io,
    /// A listing or scan was not complete.
    Incomplete,
}

/// A delete that a brake holds back, or a change of a database that waits until nobody uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldEntry {
    /// Name of the mount.
    pub mount: String,
    /// Path relative to the mount.
    pub path: String,
    /// The side that the file would be changed on.
    pub side: Side,
    /// Which brake, or who uses the database, for people.
    pub reason: String,
}

/// One of the two replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The files.
    Local,
    /// The bucket.
    Remote,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Local => "local",
            Side::Remote => "remote",
        })
    }
}

/// Requests sent to the store, by kind; retries count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestCounts {
    /// Pages of listings.
    pub list: u64,
    /// Object reads.
    pub get: u64,
    /// Object writes, parts of multipart uploads included.
    pub put: u64,
    /// Metadata reads.
    pub head: u64,
    /// Object deletes.
    pub delete: u64,
}

impl std::ops::Add for RequestCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            list: self.list + other.list,
            get: self.get + other.get,
            put: self.put + other.put,
            head: self.head + other.head,
            delete: self.delete + other.delete,
        }
    }
}

impl std::ops::Sub for RequestCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            list: self.list.saturating_sub(other.list),
            get: self.get.saturating_sub(other.get),
            put: self.put.saturating_sub(other.put),
            head: self.head.saturating_sub(other.head),
            delete: self.delete.saturating_sub(other.delete),
        }
    }
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

//! What the status tells: the document behind `hiclaw-sync status`, `/status` and the metrics.
//!
//! Owns the shape. Never asks anything.

use serde::{Deserialize, Serialize};

use crate::{
    order::ListingOrder,
    report::{HeldEntry, Problem, RequestCounts, Side},
};

/// The state of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Whether an engine is resident, or this is what the last one left.
    pub resident: bool,
    /// Endpoint and bucket.
    pub store: String,
    /// The replicas.
    pub mounts: Vec<MountStatus>,
    /// When a pass last brought everything from the bucket, RFC 3339.
    pub last_pull: Option<String>,
    /// When local changes were last sent, or found to be none, RFC 3339.
    pub last_push: Option<String>,
    /// When a file of a mount last changed, here or from the bucket, RFC 3339; absent until one did.
    pub last_change: Option<String>,
    /// Changed paths that wait to be sent.
    pub pending: u64,
    /// Age in seconds of the oldest change that waits because the store fails; 0 when none does.
    pub lag_seconds: u64,
    /// Deletes that a brake holds, and changes of databases in use.
    pub held: Vec<HeldEntry>,
    /// Conflict copies in the mounts.
    pub conflicts: Vec<ConflictCopy>,
    /// Problems that the last look at their path had.
    pub problems: Vec<Problem>,
    /// Reload groups of which a new version is invalid, so that the last good one stays: group, path and why.
    pub degraded: Vec<String>,
    /// How local changes are noticed.
    pub watch: String,
    /// How changes in the bucket are heard of, by prefix; empty where nobody listens.
    pub events: Vec<EventStream>,
    /// Seconds from one scheduled pass to the next, as it is at the moment.
    pub pull_every_seconds: u64,
    /// What the store does, in words.
    pub capabilities: Vec<String>,
    /// The order that the store lists in; `None` before its first listing.
    pub listing_order: Option<ListingOrder>,
    /// Why the store can't be used at the moment.
    pub outage: Option<String>,
    /// What was done since the engine started.
    pub totals: Totals,
}

/// One mount of a [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountStatus {
    /// Its name.
    pub mount: String,
    /// Its directory.
    pub local: String,
    /// Its prefix.
    pub prefix: String,
    /// Files that both sides hold.
    pub files: u64,
    /// Directories with files of another bucket or prefix, which its directory belonged to before.
    #[serde(default)]
    pub aside: Vec<String>,
}

/// The store's stream of events below one prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventStream {
    /// The prefix.
    pub prefix: String,
    /// `connecting`, `connected`, `broken`, `not-offered`, `silent` or `denied`.
    pub state: String,
    /// Since when it is so, RFC 3339.
    pub since: String,
    /// The same for people.
    pub message: String,
    /// Lines and records that were no events, since the engine started.
    pub malformed: u64,
}

/// A conflict copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictCopy {
    /// Name of the mount.
    pub mount: String,
    /// The path that it is a copy of; that of the copy where its name doesn't tell.
    #[serde(default)]
    pub path: String,
    /// The copy's path, relative to the mount.
    pub copy: String,
    /// Whose version it is.
    #[serde(default)]
    pub side: Option<Side>,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub time: Option<String>,
    /// Its size.
    pub bytes: u64,
}

/// Counters since the engine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Passes over whole mounts.
    pub passes: u64,
    /// Passes that could not go on.
    pub failed_passes: u64,
    /// Files brought.
    pub downloaded: u64,
    /// Files sent.
    pub uploaded: u64,
    /// Files merged.
    pub merged: u64,
    /// Files removed on either side.
    pub deleted: u64,
    /// Conflicts found.
    pub conflicts: u64,
    /// Bytes brought.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Requests sent.
    pub requests: RequestCounts,
    /// Events that the store told of, the echoes of our own writes among them.
    pub events: u64,
}

impl Totals {
    /// Adds what a pass did.
    pub fn add(&mut self, report: &crate::report::Report) {
        self.downloaded += report.downloaded.len() as u64;
        self.uploaded += report.uploaded.len() as u64;
        self.merged += report.merged.len() as u64;
        self.deleted += (report.deleted_local.len() + report.deleted_remote.len()) as u64;
        self.conflicts += report.conflicts.len() as u64;
        self.bytes_in += report.bytes_in;
        self.bytes_out += report.bytes_out;
        self.requests = self.requests + report.requests;
    }
}

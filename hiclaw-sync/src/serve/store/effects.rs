//! What changes leave behind for the time after their transaction.
//!
//! Owns the one place that every durable change of an object passes. Never touches the catalogue.

use super::NewBlob;

/// What a transaction leaves to be done when it is durable.
#[derive(Default)]
pub(super) struct Effects {
    /// Files that rows name now.
    pub(super) new_blobs: Vec<NewBlob>,
    /// Files that no row names any more.
    pub(super) dropped_blobs: Vec<i64>,
    pub(super) changes: Vec<Change>,
}

impl Effects {
    pub(super) fn absorb(&mut self, other: Self) {
        self.new_blobs.extend(other.new_blobs);
        self.dropped_blobs.extend(other.dropped_blobs);
        self.changes.extend(other.changes);
    }

    pub(super) fn has_files(&self) -> bool {
        !self.new_blobs.is_empty()
    }
}

/// A durable change of one object, for whoever wants to know.
#[derive(Debug)]
pub(super) enum Change {
    Written {
        bucket: String,
        key: String,
        etag: String,
        size_bytes: u64,
    },
    Removed {
        bucket: String,
        key: String,
    },
}

impl Change {
    /// The one place that every durable change of an object passes, in the order the changes were made.
    pub(super) fn announce(&self) {
        match self {
            Self::Written {
                bucket,
                key,
                etag,
                size_bytes,
            } => {
                tracing::debug!(bucket, key, etag, size_bytes, "object written");
            }
            Self::Removed { bucket, key } => tracing::debug!(bucket, key, "object removed"),
        }
    }
}

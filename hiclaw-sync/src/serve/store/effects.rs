//! What changes leave behind for the time after their transaction.
//!
//! Owns what a change is to those who hear of it (`feed`). Never touches the catalogue.

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
pub(crate) enum Change {
    Written {
        bucket: String,
        key: String,
        etag: String,
        size_bytes: u64,
        how: Writing,
    },
    Removed {
        bucket: String,
        key: String,
    },
}

/// How an object was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// In one request.
    Put,
    /// From another object.
    Copy,
    /// From the parts of a multipart upload.
    Parts,
}

impl Change {
    /// The bucket it is in.
    pub(crate) fn bucket(&self) -> &str {
        match self {
            Self::Written { bucket, .. } | Self::Removed { bucket, .. } => bucket,
        }
    }

    /// The object's key.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Written { key, .. } | Self::Removed { key, .. } => key,
        }
    }
}

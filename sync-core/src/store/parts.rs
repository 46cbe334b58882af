//! Objects that go up in parts: what a store has to offer for it, how large the parts are, and how an upload is sent,
//! resumed and completed.
//!
//! Owns the size of parts. Never reads or writes the baseline: what is to be remembered goes through [`UploadJournal`].

mod send;

use std::{fs::File, sync::Arc};

use futures_util::future::BoxFuture;

pub use self::send::{
    BegunUpload, PartedUpload, SentUpload, UploadFate, UploadJournal, WithoutJournal,
};
use super::{PutMode, StoreError};
pub use crate::upload_id::UploadId;
use crate::{
    digest::{Digest, ETag},
    path::ObjectKey,
};

const MIB: u64 = 1024 * 1024;

/// A store that takes an object in parts. An upload is invisible until it is completed, and then visible as a whole.
pub trait MultipartStore: Send + Sync {
    /// From what size on and in how large parts.
    fn part_limits(&self) -> PartLimits;

    /// Begins an upload of an object that will have this metadata.
    fn begin_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        metadata: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<UploadId, StoreError>>;

    /// Sends one part and gives its tag. A part whose content differs from its digest is rejected.
    fn send_part<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        part: Part,
    ) -> BoxFuture<'a, Result<ETag, StoreError>>;

    /// The parts that the store has, in order; a not-found error where it doesn't know the upload.
    fn list_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>, StoreError>>;

    /// Makes the parts an object, if `mode` allows it, and gives its tag. A not-found error where the store doesn't know
    /// the upload (any more). A refusal by the precondition leaves the upload as it is.
    fn complete_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        parts: &'a [SentPart],
        mode: &'a PutMode,
    ) -> BoxFuture<'a, Result<ETag, StoreError>>;

    /// Gives an upload up and frees what its parts take. One that the store doesn't know is no error.
    fn abort_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// One part to be sent: a stretch of an open file.
#[derive(Debug, Clone)]
pub struct Part {
    /// From 1 on.
    pub number: u32,
    /// The file.
    pub file: Arc<File>,
    /// Where in it the part begins.
    pub offset: u64,
    /// Its length.
    pub size_bytes: u64,
    /// SHA-256 of it.
    pub digest: Digest,
}

/// A part as it is named when an upload is completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPart {
    /// From 1 on.
    pub number: u32,
    /// The store's tag of it.
    pub etag: ETag,
    /// SHA-256 of it.
    pub digest: Digest,
}

/// A part as a store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// From 1 on.
    pub number: u32,
    /// The store's tag of it.
    pub etag: ETag,
    /// Its length.
    pub size_bytes: u64,
    /// SHA-256 of it; `None` from stores that don't list it.
    pub digest: Option<Digest>,
}

/// From what size on objects go up in parts, and how large those are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimits {
    /// Larger objects go up in parts.
    pub threshold_bytes: u64,
    /// Length of a part, unless that makes too many of them.
    pub part_bytes: u64,
    /// How many parts an object may have.
    pub most_parts: u64,
    /// Lengths are a multiple of this where they are larger than [`PartLimits::part_bytes`].
    pub step_bytes: u64,
}

impl PartLimits {
    /// S3's: 10,000 parts of up to 5 GiB. 16 MiB is small enough that a lost part costs little, and large enough that the
    /// overhead of a request vanishes. Half-finished files of two parts and less are not worth resuming.
    pub const S3: Self = Self {
        threshold_bytes: 32 * MIB,
        part_bytes: 16 * MIB,
        most_parts: 10_000,
        step_bytes: MIB,
    };

    /// The length of the parts of an object of `size_bytes`.
    #[must_use]
    pub fn part_bytes_for(&self, size_bytes: u64) -> u64 {
        let needed = size_bytes.div_ceil(self.most_parts.max(1));
        if needed <= self.part_bytes {
            self.part_bytes
        } else {
            needed.next_multiple_of(self.step_bytes.max(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;
    const TIB: u64 = 1024 * GIB;

    #[test]
    fn every_size_up_to_what_s3_takes_fits_into_its_parts() {
        let sizes = [
            0,
            1,
            32 * MIB,
            32 * MIB + 1,
            5 * GIB,
            50 * GIB,
            160_000 * MIB - 1,
            160_000 * MIB,
            160_000 * MIB + 1,
            200 * GIB,
            5 * TIB - 1,
            5 * TIB,
            48 * TIB,
        ];
        for size in sizes {
            let part = PartLimits::S3.part_bytes_for(size);
            assert!(size.div_ceil(part) <= 10_000, "{size} in parts of {part}");
            assert!((5 * MIB..=5 * GIB).contains(&part), "{part} for {size}");
            assert_eq!(part % MIB, 0, "{part} for {size}");
        }
    }

    #[test]
    fn parts_grow_only_where_they_must() {
        let part = |size| PartLimits::S3.part_bytes_for(size);
        assert_eq!(part(50 * GIB), 16 * MIB);
        assert_eq!(part(160_000 * MIB), 16 * MIB);
        assert_eq!(part(160_000 * MIB + 1), 17 * MIB);
        assert_eq!(part(5 * TIB), 525 * MIB);
    }
}

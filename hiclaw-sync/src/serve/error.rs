//! What can go wrong inside the store, and what a client is told about it.
//!
//! Owns the mapping to S3 error codes. Never decides whether something is an error.

use std::path::PathBuf;

use s3s::{S3Error, S3ErrorCode, StdError};

/// Why the catalogue or a blob could not be read or written, or why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The bucket of the request is not there.
    #[error("there is no bucket {bucket:?}")]
    NoSuchBucket {
        /// Its name.
        bucket: String,
    },
    /// The object of the request is not there.
    #[error("there is no object {key:?}")]
    NoSuchKey {
        /// Its key.
        key: String,
    },
    /// The multipart upload of the request is not there.
    #[error("there is no multipart upload {upload:?}")]
    NoSuchUpload {
        /// Its id.
        upload: String,
    },
    /// A bucket of this name is there already.
    #[error("bucket {bucket:?} exists already")]
    BucketExists {
        /// Its name.
        bucket: String,
    },
    /// A bucket to be removed still holds objects.
    #[error("bucket {bucket:?} is not empty")]
    BucketNotEmpty {
        /// Its name.
        bucket: String,
    },
    /// A condition of the request does not hold.
    #[error("the object is not in the state the request asks for")]
    PreconditionFailed,
    /// A multipart upload can't be completed from the parts that were named.
    #[error("part {number} was not uploaded, or its ETag or checksum differs")]
    InvalidPart {
        /// Number of the part.
        number: i32,
    },
    /// The parts of a multipart upload are not in ascending order.
    #[error("parts must be named in ascending order of their numbers")]
    InvalidPartOrder,
    /// A part other than the last is smaller than the protocol allows.
    #[error("part {number} is smaller than 5 MiB and not the last")]
    PartTooSmall {
        /// Number of the part.
        number: i32,
    },
    /// Content differs from its checksum.
    #[error("the {algorithm} you specified did not match what was received")]
    BadDigest {
        /// Which checksum differs.
        algorithm: &'static str,
    },
    /// A request that makes no sense.
    #[error("{reason}")]
    InvalidRequest {
        /// Why it makes none.
        reason: &'static str,
    },
    /// The catalogue failed.
    #[error("cannot {operation} in the catalogue")]
    Catalogue {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: rusqlite::Error,
    },
    /// A blob could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Blob {
        /// What was tried.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The transaction that the mutation was part of did not reach the disk.
    #[error("the change could not be made durable")]
    NotDurable,
    /// The store is shutting down, or a thread of it is gone.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// For `map_err` on calls of SQLite.
    pub(crate) fn catalogue(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Catalogue { operation, source }
    }

    fn code(&self) -> S3ErrorCode {
        match self {
            Self::NoSuchBucket { .. } => S3ErrorCode::NoSuchBucket,
            Self::NoSuchKey { .. } => S3ErrorCode::NoSuchKey,
            Self::NoSuchUpload { .. } => S3ErrorCode::NoSuchUpload,
            Self::BucketExists { .. } => S3ErrorCode::BucketAlreadyOwnedByYou,
            Self::BucketNotEmpty { .. } => S3ErrorCode::BucketNotEmpty,
            Self::PreconditionFailed => S3ErrorCode::PreconditionFailed,
            Self::InvalidPart { .. } => S3ErrorCode::InvalidPart,
            Self::InvalidPartOrder => S3ErrorCode::InvalidPartOrder,
            Self::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            Self::BadDigest { .. } => S3ErrorCode::BadDigest,
            Self::InvalidRequest { .. } => S3ErrorCode::InvalidRequest,
            Self::Catalogue { .. } | Self::Blob { .. } | Self::NotDurable => {
                S3ErrorCode::InternalError
            }
            Self::Closed => S3ErrorCode::ServiceUnavailable,
        }
    }
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = error.code();
        if code == S3ErrorCode::InternalError {
            tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
            return S3Error::with_source(code, Box::new(error));
        }
        S3Error::with_message(code, error.to_string())
    }
}

/// What a client is told when its request body could not be read to the end.
///
/// The protocol crate keeps the types of these errors to itself, so their text is all there is to tell them apart.
pub(crate) fn body_error(error: StdError) -> S3Error {
    let text = error.to_string();
    let is_from_stream =
        text.starts_with("UploadStreamError") || text.starts_with("AwsChunkedStreamError");
    if is_from_stream && text.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut refused = S3Error::with_message(
            code,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        refused.set_status_code(hyper::StatusCode::BAD_REQUEST);
        return refused;
    }
    if is_from_stream && text.contains("SignatureMismatch") {
        return S3Error::with_message(
            S3ErrorCode::SignatureDoesNotMatch,
            "The signature of a chunk does not match.",
        );
    }
    S3Error::with_source(S3ErrorCode::IncompleteBody, error)
}

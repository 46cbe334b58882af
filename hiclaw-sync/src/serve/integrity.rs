//! Checks the checksums of requests to delete many objects, whose body the protocol crate parses before anybody else
//! sees it.
//!
//! Owns this one check, so that a request that was garbled on its way deletes nothing. Runs before signatures are looked
//! at, and bodies of other requests pass untouched.

use std::error::Error as StdError;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{Method, http::request::Parts};
use s3s::{Body, S3Error, S3ErrorCode};

use super::checksum::{Algorithm, Checksums, Expected};

/// Longest list of keys: a thousand, each of 1024 bytes, and every byte of them escaped.
const MAXIMUM_BYTES: usize = 8 * 1024 * 1024;

/// The body to go on with.
pub(crate) async fn checked<B>(head: &Parts, body: B) -> Result<Body, S3Error>
where
    B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
    B::Error: StdError + Send + Sync + 'static,
{
    if !is_to_be_checked(head) {
        return Ok(Body::http_body(body));
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let mut given = Checksums::default();
    for algorithm in Algorithm::ALL {
        given.set(algorithm, header(algorithm.header()).map(str::to_owned));
    }
    let expected = Expected::new(header("content-md5"), given, None, &hyper::HeaderMap::new())?;
    let collected = Limited::new(body, MAXIMUM_BYTES).collect().await;
    let collected = collected.map_err(|error| {
        let code = if error.is::<LengthLimitError>() {
            S3ErrorCode::MaxMessageLengthExceeded
        } else {
            S3ErrorCode::IncompleteBody
        };
        S3Error::with_source(code, error)
    })?;
    let bytes = collected.to_bytes();
    let mut hasher = expected.hasher();
    hasher.update(&bytes);
    expected.check(&hasher.finish(), None)?;
    Ok(Body::from(bytes))
}

fn is_to_be_checked(head: &Parts) -> bool {
    let mut parameters = head.uri.query().unwrap_or_default().split('&');
    let deletes =
        parameters.any(|parameter| parameter == "delete" || parameter.starts_with("delete="));
    // A body in signed chunks is not yet what its checksums are about.
    let is_chunked = head
        .headers
        .get("x-amz-content-sha256")
        .is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    head.method == Method::POST && deletes && !is_chunked
}

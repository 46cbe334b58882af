//! The request for MinIO's stream of events.
//!
//! Owns how it is asked for: the SDK has no such operation, so a GET of an object is turned into it before it is signed,
//! which keeps credentials, certificates and addressing the same. What comes back is read by [`crate::events`].

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use futures_util::StreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{S3Store, classify};
use crate::store::{EventBytes, StoreError, StoreErrorKind};

/// Stands in the request until its address is replaced.
const PLACEHOLDER: &str = "events";
/// What signing leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An address that can't be replaced.
#[derive(Debug, thiserror::Error)]
#[error("the request's address {uri:?} can't be turned into that of the stream of events")]
struct NoAddress {
    uri: String,
}

impl S3Store {
    pub(super) async fn listen_to(
        &self,
        prefix: &str,
        ping: Duration,
    ) -> Result<EventBytes, StoreError> {
        let query = query(prefix, ping);
        let output = self
            .listens
            .get_object()
            .bucket(&self.bucket)
            .key(PLACEHOLDER)
            .customize()
            .map_request(move |request| address(request, &query))
            .send()
            .await
            .map_err(|error| classify("LISTEN", prefix, &error))?;
        let content_type = output.content_type().unwrap_or_default();
        // A store that doesn't know the parameters lists the bucket.
        if !content_type.starts_with("text/event-stream") {
            let message = format!("the store answers {content_type:?} and no stream of events");
            let kind = StoreErrorKind::Other;
            return Err(StoreError::new("LISTEN", prefix, kind, message));
        }
        let prefix = prefix.to_owned();
        let body = futures_util::stream::unfold(output.body, move |mut body| {
            let prefix = prefix.clone();
            async move {
                let item = body.next().await?;
                let item = item.map_err(|error| {
                    let kind = StoreErrorKind::Unreachable;
                    let mut broken = StoreError::new("LISTEN", &prefix, kind, "");
                    broken.message = super::classify::root_cause(&error);
                    broken.source = Some(error.into());
                    broken
                });
                Some((item, body))
            }
        });
        Ok(body.boxed())
    }
}

fn query(prefix: &str, ping: Duration) -> String {
    let encode = |text| utf8_percent_encode(text, UNRESERVED);
    // A store that takes it for a listing shall list little.
    format!(
        "events={}&events={}&max-keys=1&ping={}&prefix={}",
        encode("s3:ObjectCreated:*"),
        encode("s3:ObjectRemoved:*"),
        ping.as_secs().max(1),
        encode(prefix),
    )
}

fn address(mut request: HttpRequest, query: &str) -> Result<HttpRequest, NoAddress> {
    let before = request.uri().to_owned();
    let no_address = || NoAddress {
        uri: before.clone(),
    };
    let path = before.split('?').next().unwrap_or_default();
    let bucket = path.strip_suffix(PLACEHOLDER).ok_or_else(no_address)?;
    let uri = format!("{bucket}?{query}");
    request.set_uri(uri).map_err(|_| no_address())?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_asked_with_every_parameter_encoded() {
        let query = query("agents/al+ice & co/", Duration::from_secs(5));
        assert_eq!(
            query,
            "events=s3%3AObjectCreated%3A%2A&events=s3%3AObjectRemoved%3A%2A&max-keys=1&ping=5\
             &prefix=agents%2Fal%2Bice%20%26%20co%2F"
        );
        for (before, after) in [
            (
                "http://127.0.0.1:9000/bucket/events?x-id=GetObject",
                "http://127.0.0.1:9000/bucket/?a=b",
            ),
            (
                "https://bucket.host/events?x-id=GetObject",
                "https://bucket.host/?a=b",
            ),
        ] {
            let mut request = HttpRequest::empty();
            request.set_uri(before).unwrap();
            assert_eq!(address(request, "a=b").unwrap().uri(), after);
        }
    }
}

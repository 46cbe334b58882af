//! Questions about the store itself: what time it has, whether it tells of changes.
//!
//! Asked by people who look for what is wrong; the engine never does.

use std::time::{Duration, SystemTime};

use super::{S3Store, classify, count};
use crate::store::{ListPage, ObjectStore as _, StoreError, StoreErrorKind};

/// A store that knows no such request refuses it, or answers something else, well within this.
const REFUSAL: Duration = Duration::from_millis(2500);

/// What a store makes of somebody who wants to hear of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notifications {
    /// It sends events.
    Sent,
    /// It keeps the request open and has sent nothing yet, as one does that waits for events.
    Awaited,
    /// It knows no such thing.
    None,
}

/// How a store answered a listing.
#[derive(Debug)]
pub struct Greeting {
    /// The first page of the prefix.
    pub page: Result<ListPage, StoreError>,
    /// The store's clock when it answered, to the second; also where it refused.
    pub clock: Option<SystemTime>,
}

impl S3Store {
    /// Lists one page and tells what time the store has.
    pub async fn greet(&self, prefix: &str) -> Greeting {
        let page = self.list_page(prefix, None).await;
        let clock = self.clock();
        Greeting { page, clock }
    }

    /// Whether the store sends events of a prefix to whoever listens. An error tells nothing of it.
    pub async fn notifies(&self, prefix: &str) -> Result<Notifications, StoreError> {
        count(&self.counters.get);
        let query = format!(
            "events=s3%3AObjectCreated%3A%2A&prefix={}&ping=1",
            percent_encoding::utf8_percent_encode(prefix, percent_encoding::NON_ALPHANUMERIC)
        );
        let bucket = self.bucket.clone();
        let asked = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key("events")
            .customize()
            // The SDK knows no such request: it is a read whose address is another.
            .mutate_request(move |request| {
                let address = listening_address(request.uri(), &bucket, &query);
                if let Err(error) = request.set_uri(address) {
                    tracing::debug!(%error, "the address of the events is none");
                }
            })
            .send();
        match tokio::time::timeout(REFUSAL, asked).await {
            Err(_) => Ok(Notifications::Awaited),
            Ok(Ok(answer)) => {
                // Some stores take the request for a listing, and answer with one.
                let stream = answer
                    .content_type()
                    .is_some_and(|kind| kind.starts_with("text/event-stream"));
                Ok(if stream {
                    Notifications::Sent
                } else {
                    Notifications::None
                })
            }
            Ok(Err(error)) => match classify("GET", "?events", &error) {
                error if error.kind.is_fatal() || error.kind == StoreErrorKind::Denied => {
                    Err(error)
                }
                _ => Ok(Notifications::None),
            },
        }
    }
}

/// The address of the bucket's events, from that of an object in it.
fn listening_address(object: &str, bucket: &str, query: &str) -> String {
    let (scheme, rest) = object.split_once("://").unwrap_or(("http", object));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let in_path = path == bucket
        || path
            .strip_prefix(bucket)
            .is_some_and(|rest| rest.starts_with('/'));
    if in_path {
        format!("{scheme}://{host}/{bucket}?{query}")
    } else {
        format!("{scheme}://{host}/?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_asked_for_where_the_bucket_is() {
        for (object, expected) in [
            ("http://h:9000/b/events?x-id=GetObject", "http://h:9000/b?q"),
            ("https://b.host/events?x-id=GetObject", "https://b.host/?q"),
            ("https://b.host/bee/events", "https://b.host/?q"),
        ] {
            assert_eq!(listening_address(object, "b", "q"), expected);
        }
    }
}

//! The stream of events: MinIO's extension of the protocol, by which clients hear of changes.
//!
//! Owns the request's parameters and the form of what is sent. `GET /BUCKET?events=…&prefix=P&suffix=S&ping=N`, signed
//! like any request; `GET /?events=…` is for all buckets. The answer's head goes out at once, then one line of JSON for
//! each change, in MinIO's form, and every N seconds a line without records; without `ping` a space every half second.
//! A reader that doesn't keep up loses its connection, so it knows that it missed something.

mod wanted;

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::{
    HeaderMap, Method, Uri,
    body::Frame,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
    http::Extensions,
};
use s3s::{Body, S3Request, S3Response, S3Result, route::S3Route};
use serde_json::{Map, json};
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior},
};

use self::wanted::Wanted;
use super::store::{Announced, Change, Store, Writing, bucket_id};

/// What is sent to show that somebody is there.
const PING: &[u8] = b"{\"Records\":null}\n";
/// The same for clients that don't ask for pings.
const SPACE: &[u8] = b" ";
const SPACE_INTERVAL: Duration = Duration::from_millis(500);
/// Lines that are sent together when many wait.
const LINES_AT_ONCE: usize = 64;

/// Answers requests for streams of events.
pub(crate) struct EventRoute {
    pub(crate) store: Arc<Store>,
}

impl S3Route for EventRoute {
    fn is_match(&self, method: &Method, uri: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        method == Method::GET && Wanted::is_asked_for(uri)
    }

    fn call<'route, 'future>(
        &'route self,
        request: S3Request<Body>,
    ) -> Pin<Box<dyn Future<Output = S3Result<S3Response<Body>>> + Send + 'future>>
    where
        'route: 'future,
        Self: 'future,
    {
        Box::pin(listen(&self.store, request.uri))
    }
}

async fn listen(store: &Arc<Store>, uri: Uri) -> S3Result<S3Response<Body>> {
    let wanted = Wanted::parse(&uri)?;
    if let Some(bucket) = wanted.bucket.clone() {
        store
            .read(move |catalogue| bucket_id(catalogue, &bucket))
            .await?;
    }
    let keep_alive = match wanted.ping {
        Some(every) => (every, PING),
        None => (SPACE_INTERVAL, SPACE),
    };
    let news = store.feed().subscribe(move |change| wanted.wants(change));
    let mut response = S3Response::new(body(news, keep_alive));
    for (name, value) in [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
        // Proxies shall pass on what they get.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response
            .headers
            .insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Sends lines as they come, until the news ends.
fn body(news: mpsc::Receiver<Arc<Announced>>, keep_alive: (Duration, &'static [u8])) -> Body {
    let (every, sign) = keep_alive;
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lines = stream::unfold((news, ticks), move |(mut news, mut ticks)| async move {
        let bytes = next(&mut news, &mut ticks, sign).await?;
        let frame = Ok::<_, std::convert::Infallible>(Frame::data(bytes));
        Some((frame, (news, ticks)))
    });
    Body::http_body_unsync(StreamBody::new(lines))
}

async fn next(
    news: &mut mpsc::Receiver<Arc<Announced>>,
    ticks: &mut Interval,
    sign: &'static [u8],
) -> Option<Bytes> {
    let first = tokio::select! {
        biased;
        first = news.recv() => first?,
        _ = ticks.tick() => return Some(Bytes::from_static(sign)),
    };
    let mut text = line(&first);
    for _ in 1..LINES_AT_ONCE {
        match news.try_recv() {
            Ok(another) => text.push_str(&line(&another)),
            Err(_) => break,
        }
    }
    Some(text.into())
}

/// An event as MinIO writes it; what this store doesn't know is empty.
fn line(announced: &Announced) -> String {
    let change = &announced.change;
    let mut object = Map::new();
    object.insert("key".to_owned(), change.key().into());
    if let Change::Written {
        etag, size_bytes, ..
    } = change
    {
        if *size_bytes > 0 {
            object.insert("size".to_owned(), (*size_bytes).into());
        }
        object.insert("eTag".to_owned(), etag.as_str().into());
    }
    let sequencer = format!("{:016X}", announced.sequence);
    object.insert("sequencer".to_owned(), sequencer.into());
    let nobody = json!({"principalId": ""});
    let bucket = json!({
        "name": change.bucket(),
        "ownerIdentity": nobody,
        "arn": format!("arn:aws:s3:::{}", change.bucket()),
    });
    let record = json!({
        "eventVersion": "2.0",
        "eventSource": "hiclaw-sync:s3",
        "awsRegion": "",
        "eventTime": time(announced.at),
        "eventName": name(change),
        "userIdentity": nobody,
        "requestParameters": {"principalId": "", "region": "", "sourceIPAddress": ""},
        "responseElements": {},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": "Config", "bucket": bucket, "object": object},
        "source": {"host": "", "port": "", "userAgent": ""},
    });
    format!("{}\n", json!({"Records": [record]}))
}

/// The name of the event that a change is.
fn name(change: &Change) -> &'static str {
    match change {
        Change::Written { how, .. } => match how {
            Writing::Put => "s3:ObjectCreated:Put",
            Writing::Copy => "s3:ObjectCreated:Copy",
            Writing::Parts => "s3:ObjectCreated:CompleteMultipartUpload",
        },
        Change::Removed { .. } => "s3:ObjectRemoved:Delete",
    }
}

fn time(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

#[cfg(test)]
mod tests;

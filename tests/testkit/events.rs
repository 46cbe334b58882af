//! A stream of events as a test hears it, sharing nothing with the engine.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;

use crate::bucket::Bucket;

/// A stream that is open.
pub struct Events {
    body: ByteStream,
    partial: Vec<u8>,
    lines: Vec<Value>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Such as `s3:ObjectCreated:Put`.
    pub name: String,
    /// The key, as it was sent.
    pub key: String,
    /// The `ETag`, where there was one.
    pub etag: Option<String>,
}

impl Events {
    /// Subscribes to everything that happens below `prefix`, with a ping every second. Returns when the answer's head
    /// has come.
    pub async fn listen(bucket: &Bucket, prefix: &str) -> Result<Self> {
        let query = format!(
            "events=s3%3AObjectCreated%3A%2A&events=s3%3AObjectRemoved%3A%2A&ping=1&prefix={}",
            prefix.replace('/', "%2F")
        );
        let uri = format!("{}/{}?{query}", bucket.endpoint(), bucket.name());
        let output = bucket
            .patient_client()
            .get_object()
            .bucket(bucket.name())
            .key("events")
            .customize()
            .mutate_request(move |request| {
                // A URI that can't be set leaves the GET of an object that is not there, which fails the test.
                drop(request.set_uri(uri.clone()));
            })
            .send()
            .await
            .map_err(|error| anyhow!("listen: {}", DisplayErrorContext(error)))?;
        let content_type = output.content_type.unwrap_or_default();
        if content_type != "text/event-stream" {
            bail!("{content_type:?} is no stream of events");
        }
        Ok(Self {
            body: output.body,
            partial: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// The next line as it was sent, pings included; `None` at the end.
    pub async fn line(&mut self) -> Result<Option<Value>> {
        loop {
            if !self.lines.is_empty() {
                return Ok(Some(self.lines.remove(0)));
            }
            let Some(bytes) = self.body.try_next().await? else {
                return Ok(None);
            };
            self.partial.extend_from_slice(&bytes);
            while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.partial.drain(..=end).collect();
                self.lines.push(serde_json::from_slice(&line)?);
            }
        }
    }

    /// The next event; pings are passed over.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let line = tokio::time::timeout(Duration::from_mins(1), self.line()).await;
            let line = line.context("no ping either")??.context("the end")?;
            let Some(record) = line.pointer("/Records/0") else {
                continue;
            };
            let text = |pointer: &str| {
                let found = record.pointer(pointer).and_then(Value::as_str);
                found.map(str::to_owned)
            };
            return Ok(Event {
                name: text("/eventName").context("no eventName")?,
                key: text("/s3/object/key").context("no key")?,
                etag: text("/s3/object/eTag"),
            });
        }
    }
}

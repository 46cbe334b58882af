//! Which events a request asks for.
//!
//! Owns the parameters and what is wrong with them. Never sends anything.

use std::{borrow::Cow, time::Duration};

use hyper::Uri;
use percent_encoding::percent_decode_str;
use s3s::{S3Result, s3_error};

use super::{Change, name};

/// Longest filter, as long as the longest key.
const MAX_FILTER_BYTES: usize = 1024;
/// Families of events that clients may name; those that never happen here are simply never sent.
const FAMILIES: [&str; 11] = [
    "s3:BucketCreated:",
    "s3:BucketRemoved:",
    "s3:LifecycleDelMarkerExpiration:",
    "s3:ObjectAccessed:",
    "s3:ObjectCreated:",
    "s3:ObjectRemoved:",
    "s3:ObjectRestore:",
    "s3:ObjectTransition:",
    "s3:Replication:",
    "s3:Scanner:",
    "s3:IntelligentTiering:",
];

/// A subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// One bucket, or all.
    pub(super) bucket: Option<String>,
    /// Names of events; `*` at the end stands for all of a family.
    names: Vec<String>,
    prefix: String,
    suffix: String,
    /// How often something is to be sent.
    pub(super) ping: Option<Duration>,
}

impl Wanted {
    /// True for a request about a bucket, or about all, that names events.
    pub(super) fn is_asked_for(uri: &Uri) -> bool {
        let names_events = parameters(uri).any(|(name, _)| name == "events");
        names_events && !uri.path().trim_matches('/').contains('/')
    }

    /// Reads the parameters.
    pub(super) fn parse(uri: &Uri) -> S3Result<Self> {
        let bucket = decode(uri.path().trim_matches('/'))?;
        let mut wanted = Self {
            bucket: (!bucket.is_empty()).then(|| bucket.into_owned()),
            names: Vec::new(),
            prefix: String::new(),
            suffix: String::new(),
            ping: None,
        };
        let (mut prefixes, mut suffixes) = (0, 0);
        for (name, value) in parameters(uri) {
            // In a query a plus is a space.
            let value = decode(&value.replace('+', " "))?.into_owned();
            match name {
                "events" => wanted.names.push(known(value)?),
                "prefix" => (wanted.prefix, prefixes) = (filter(value)?, prefixes + 1),
                "suffix" => (wanted.suffix, suffixes) = (filter(value)?, suffixes + 1),
                "ping" if !value.is_empty() => wanted.ping = Some(seconds(&value)?),
                _ => {}
            }
        }
        if prefixes > 1 || suffixes > 1 {
            return Err(s3_error!(
                InvalidArgument,
                "Cannot specify more than one prefix or suffix in a filter."
            ));
        }
        Ok(wanted)
    }

    /// Whether a change is asked for.
    pub(super) fn wants(&self, change: &Change) -> bool {
        let is_named = |event: &str| {
            self.names.iter().any(|name| match name.strip_suffix('*') {
                Some(family) => event.starts_with(family),
                None => event == name,
            })
        };
        let key = change.key();
        self.bucket
            .as_deref()
            .is_none_or(|bucket| bucket == change.bucket())
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
            && is_named(name(change))
    }
}

fn parameters(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(text: &str) -> S3Result<Cow<'_, str>> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| s3_error!(InvalidArgument, "A parameter is not valid UTF-8."))
}

fn known(name: String) -> S3Result<String> {
    let kind = FAMILIES
        .iter()
        .find_map(|family| name.strip_prefix(family))
        .unwrap_or_default();
    let is_word = kind == "*" || kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if kind.is_empty() || !is_word {
        return Err(s3_error!(
            InvalidArgument,
            "A specified event is not supported for notifications."
        ));
    }
    Ok(name)
}

fn filter(value: String) -> S3Result<String> {
    let climbs = value.split('/').any(|part| part == "." || part == "..");
    if value.len() > MAX_FILTER_BYTES || climbs || value.contains('\\') {
        return Err(s3_error!(
            InvalidArgument,
            "A prefix or suffix must be the part of a key: 1024 bytes at most, no `.` or `..`, no backslash."
        ));
    }
    Ok(value)
}

fn seconds(value: &str) -> S3Result<Duration> {
    match value.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.into())),
        _ => Err(s3_error!(
            InvalidArgument,
            "ping must be a whole number of seconds, 1 at least."
        )),
    }
}

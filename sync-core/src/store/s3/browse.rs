//! Listings for people: one level of a bucket at a time, with the times that the engine has no use for.

use std::time::SystemTime;

use aws_sdk_s3::types::EncodingType;

use super::{S3Store, classify, count, decode_key};
use crate::{
    digest::ETag,
    store::{StoreError, StoreErrorKind},
};

/// How far down a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Objects directly below the prefix, and the prefixes one `/` further down.
    OneLevel,
    /// Every object.
    All,
}

/// One page of a listing for people.
#[derive(Debug, Clone, Default)]
pub struct Level {
    /// The objects, in the store's order.
    pub objects: Vec<BrowsedObject>,
    /// The beginnings of further keys, each ending in `/`.
    pub prefixes: Vec<String>,
    /// Present when more pages follow.
    pub next: Option<String>,
}

/// An object in a listing for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowsedObject {
    /// Full key as the store names it.
    pub key: String,
    /// Entity tag.
    pub etag: ETag,
    /// Size of the content.
    pub size_bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: Option<SystemTime>,
}

impl S3Store {
    /// One page of what begins with `prefix`; `token` continues an earlier page.
    pub async fn browse(
        &self,
        prefix: &str,
        depth: Depth,
        token: Option<&str>,
    ) -> Result<Level, StoreError> {
        count(&self.counters.list);
        let delimiter = match depth {
            Depth::OneLevel => Some("/".to_owned()),
            Depth::All => None,
        };
        let output = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_delimiter(delimiter)
            .encoding_type(EncodingType::Url)
            .set_continuation_token(token.map(str::to_owned))
            .send()
            .await
            .map_err(|error| classify("LIST", prefix, &error))?;
        let encoded = output.encoding_type() == Some(&EncodingType::Url);
        let decode = |key: &str| {
            if encoded {
                decode_key(key)
            } else {
                key.to_owned()
            }
        };
        let objects = output.contents().iter().filter_map(|object| {
            Some(BrowsedObject {
                key: decode(object.key()?),
                etag: ETag::new(object.e_tag().unwrap_or_default()),
                size_bytes: super::size(object.size()),
                modified: object
                    .last_modified()
                    .and_then(|time| SystemTime::try_from(*time).ok()),
            })
        });
        let prefixes = output.common_prefixes().iter();
        let next = match (output.is_truncated(), output.next_continuation_token()) {
            (Some(true), None) => {
                let message = "truncated answer without a continuation token";
                let kind = StoreErrorKind::Other;
                return Err(StoreError::new("LIST", prefix, kind, message));
            }
            (Some(true), Some(token)) => Some(token.to_owned()),
            (None | Some(false), _) => None,
        };
        Ok(Level {
            objects: objects.collect(),
            prefixes: prefixes
                .filter_map(|below| below.prefix().map(decode))
                .collect(),
            next,
        })
    }
}

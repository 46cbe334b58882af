//! Listings: everything below a prefix, as the engine wants it, or one level of it, as people do.

use std::time::SystemTime;

use aws_sdk_s3::types::EncodingType;

use super::{S3Store, classify, continuation, count, decode_key};
use crate::{
    digest::ETag,
    store::{ListedObject, StoreError, StoreErrorKind},
};

/// How far down a listing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Objects directly below the prefix, and the prefixes one `/` further down.
    OneLevel,
    /// Every object.
    All,
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Level {
    /// The objects, in the store's order.
    pub objects: Vec<ListedObject>,
    /// The beginnings of further keys, each ending in `/`.
    pub prefixes: Vec<String>,
    /// Present when more pages follow.
    pub next: Option<String>,
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
            Some(ListedObject {
                key: decode(object.key()?),
                etag: ETag::new(object.e_tag().unwrap_or_default()),
                size_bytes: super::size(object.size()),
                modified: object
                    .last_modified()
                    .and_then(|time| SystemTime::try_from(*time).ok()),
            })
        });
        let objects: Vec<_> = objects.collect();
        let prefixes = output.common_prefixes().iter();
        let prefixes: Vec<_> = prefixes
            .filter_map(|below| below.prefix().map(decode))
            .collect();
        let next = if output.is_truncated() == Some(true) {
            let token = output.next_continuation_token().map(str::to_owned);
            // Without a token the rest is out of reach; an incomplete listing must not pass for a complete one.
            let token = token.ok_or_else(|| {
                let message = "truncated answer without a continuation token";
                StoreError::new("LIST", prefix, StoreErrorKind::Other, message)
            })?;
            let last_key = objects.last().map(|object| &*object.key);
            let last_key = last_key.max(prefixes.last().map(|prefix| &**prefix));
            Some(continuation::meant(token, last_key, prefix)?)
        } else {
            None
        };
        Ok(Level {
            objects,
            prefixes,
            next,
        })
    }
}

//! Listings of objects: `ListObjectsV2` and its predecessor.
//!
//! Owns how requests and answers spell markers, tokens and encoded names. Order and grouping are the store's.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, ETag, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
        ListObjectsV2Output, Object, ObjectStorageClass, Owner,
    },
    s3_error,
};

use super::{
    buckets::owner,
    clock,
    read::signed,
    store::{Entry, ListRequest, Page, Store, list},
};

/// Most entries of a page.
const MAXIMUM_KEYS: i32 = 1000;

/// How names are spelled in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    Plain,
    /// Percent-encoded, so that any key can travel in XML.
    Url,
}

impl Spelling {
    pub(crate) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None | Some("") => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }

    pub(crate) fn spell(self, name: &str) -> String {
        match self {
            Self::Plain => name.to_owned(),
            Self::Url => encode(name),
        }
    }
}

/// Percent-encodes everything but letters, digits and `-_.~/`.
fn encode(name: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            // Writing to a text can't fail.
            other => write!(encoded, "%{other:02X}").unwrap_or_default(),
        }
    }
    encoded
}

/// The limit of a page from what the request asks for.
pub(crate) fn limit(asked: Option<i32>) -> S3Result<(i32, usize)> {
    let number = asked.unwrap_or(MAXIMUM_KEYS).min(MAXIMUM_KEYS);
    let size = usize::try_from(number)
        .map_err(|_| s3_error!(InvalidArgument, "The maximum must not be negative"))?;
    Ok((number, size))
}

pub(crate) async fn list_objects_v2(
    store: &Store,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_keys, limit) = limit(input.max_keys)?;
    let resume = match input.continuation_token.as_deref() {
        None => None,
        Some(token) => {
            let resume = URL_SAFE_NO_PAD.decode(token);
            Some(resume.map_err(|_| {
                s3_error!(
                    InvalidArgument,
                    "The continuation token provided is incorrect"
                )
            })?)
        }
    };
    let query = ListRequest {
        bucket: input.bucket.clone(),
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after: input.start_after.clone().filter(|after| !after.is_empty()),
        resume,
        limit,
    };
    let page = store
        .read(move |connection| list(connection, &query))
        .await?;
    let owner = input.fetch_owner.unwrap_or(false).then(owner);
    let next = page.next.as_ref().map(|next| URL_SAFE_NO_PAD.encode(next));
    let (contents, common_prefixes) = split(page, spelling, owner.as_ref());
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(&input.prefix.unwrap_or_default())),
        max_keys: Some(max_keys),
        key_count: i32::try_from(contents.len() + common_prefixes.len()).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: input.delimiter.map(|delimiter| spelling.spell(&delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|after| spelling.spell(&after)),
        request_charged: None,
    }))
}

pub(crate) async fn list_objects(
    store: &Store,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_keys, limit) = limit(input.max_keys)?;
    let query = ListRequest {
        bucket: input.bucket.clone(),
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after: input.marker.clone().filter(|marker| !marker.is_empty()),
        resume: None,
        limit,
    };
    let page = store
        .read(move |connection| list(connection, &query))
        .await?;
    let is_truncated = page.next.is_some();
    let next_marker = page
        .entries
        .last()
        .filter(|_| is_truncated)
        .map(|entry| spelling.spell(entry.name()));
    let (contents, common_prefixes) = split(page, spelling, Some(&owner()));
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(spelling.spell(&input.prefix.unwrap_or_default())),
        marker: Some(spelling.spell(&input.marker.unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(is_truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: input.delimiter.map(|delimiter| spelling.spell(&delimiter)),
        next_marker,
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

fn split(
    page: Page,
    spelling: Spelling,
    owner: Option<&Owner>,
) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut contents, mut common_prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            Entry::CommonPrefix(prefix) => common_prefixes.push(CommonPrefix {
                prefix: Some(spelling.spell(&prefix)),
            }),
            Entry::Object {
                key,
                size_bytes,
                etag,
                modified,
            } => contents.push(Object {
                key: Some(spelling.spell(&key)),
                size: Some(signed(size_bytes)),
                e_tag: Some(ETag::Strong(etag)),
                last_modified: Some(clock::timestamp(modified)),
                storage_class: Some(ObjectStorageClass::from_static(
                    ObjectStorageClass::STANDARD,
                )),
                owner: owner.cloned(),
                ..Default::default()
            }),
        }
    }
    (contents, common_prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_names_are_read_the_same_by_decoders_that_take_a_plus_for_a_space_and_by_those_that_do_not()
     {
        assert_eq!(
            Spelling::Url.spell("a b+c%/😀\n\\.."),
            "a%20b%2Bc%25/%F0%9F%98%80%0A%5C.."
        );
        assert_eq!(Spelling::Plain.spell("a b+c%"), "a b+c%");
    }
}

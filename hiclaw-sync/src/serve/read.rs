//! Reading one object: `GetObject`, `HeadObject`, `GetObjectAttributes`.
//!
//! Owns conditions, ranges and what an answer says about an object.

use std::ops::Range;

use hyper::{HeaderMap, header::HeaderValue};
use s3s::{
    S3Error, S3Request, S3Response, S3Result,
    dto::{
        Checksum, ETag, GetObjectAttributesInput, GetObjectAttributesOutput,
        GetObjectAttributesParts, GetObjectInput, GetObjectOutput, HeadObjectInput,
        HeadObjectOutput, PartNumber, Range as RequestedRange, TimestampFormat,
    },
    s3_error,
};

use super::{
    clock,
    condition::{ReadCondition, Verdict},
    error::StoreError,
    fields::{put_checksum_type, put_checksums, put_description, refuse_customer_keys},
    send,
    store::{ObjectRow, Store, bucket_id, object, segments},
};

/// The bytes of an object that a request is about.
struct Selection {
    range: Range<u64>,
    /// `Content-Range`, when it is not the whole.
    header: Option<String>,
}

/// The condition of a request to read.
macro_rules! read_condition {
    ($input:expr) => {
        ReadCondition {
            if_match: $input.if_match.take(),
            if_none_match: $input.if_none_match.take(),
            if_modified_since: $input.if_modified_since.take(),
            if_unmodified_since: $input.if_unmodified_since.take(),
        }
    };
}

pub(crate) async fn get_object(
    store: &Store,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let mut input = request.input;
    refuse_customer_keys!(input);
    refuse_versions(input.version_id.as_deref())?;
    let condition = read_condition!(input);
    // Taken before the look, so that no file seen in it goes away before it is sent.
    let visit = store.visit();
    let (bucket, key) = (input.bucket, input.key);
    let (row, segments) = store
        .read(move |connection| {
            let row = find(connection, &bucket, key)?;
            let segments = segments(connection, row.content)?;
            Ok((row, segments))
        })
        .await?;
    let mut output = GetObjectOutput::default();
    put_description!(output, row);
    judge(&condition, &row)?;
    let selection = select(&row, input.range, input.part_number)?;
    let is_whole = selection.header.is_none();
    if is_whole
        && input
            .checksum_mode
            .is_some_and(|mode| mode.as_str() == "ENABLED")
    {
        put_checksums!(output, &row.details.checksums);
        put_checksum_type!(output, &row.details.checksums);
    }
    output.content_length = Some(signed(selection.range.end - selection.range.start));
    output.content_range = selection.header;
    output.parts_count = input.part_number.and_then(|_| parts_count(&row));
    output.body = Some(send::content(store.blobs(), segments, selection.range, visit).await?);
    Ok(S3Response::new(output))
}

pub(crate) async fn head_object(
    store: &Store,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let mut input = request.input;
    refuse_customer_keys!(input);
    refuse_versions(input.version_id.as_deref())?;
    let condition = read_condition!(input);
    let (bucket, key) = (input.bucket, input.key);
    let row = store
        .read(move |connection| find(connection, &bucket, key))
        .await?;
    let mut output = HeadObjectOutput::default();
    put_description!(output, row);
    judge(&condition, &row)?;
    let selection = select(&row, input.range, input.part_number)?;
    let is_whole = selection.header.is_none();
    if is_whole
        && input
            .checksum_mode
            .is_some_and(|mode| mode.as_str() == "ENABLED")
    {
        put_checksums!(output, &row.details.checksums);
        put_checksum_type!(output, &row.details.checksums);
    }
    output.content_length = Some(signed(selection.range.end - selection.range.start));
    output.parts_count = input.part_number.and_then(|_| parts_count(&row));
    let status = if is_whole {
        hyper::StatusCode::OK
    } else {
        hyper::StatusCode::PARTIAL_CONTENT
    };
    output.content_range = selection.header;
    Ok(S3Response::with_status(output, status))
}

pub(crate) async fn get_object_attributes(
    store: &Store,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    let (bucket, key) = (input.bucket, input.key);
    let row = store
        .read(move |connection| find(connection, &bucket, key))
        .await?;
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(clock::seconds(row.modified)),
        ..Default::default()
    };
    // Clients send one header with commas between the names.
    let asked = input
        .object_attributes
        .iter()
        .flat_map(|names| names.as_str().split(','));
    for attribute in asked {
        match attribute.trim() {
            "ETag" => output.e_tag = Some(ETag::Strong(row.etag.clone())),
            "ObjectSize" => output.object_size = Some(signed(row.size_bytes)),
            "StorageClass" => {
                output.storage_class = Some(s3s::dto::StorageClass::from_static("STANDARD"));
            }
            "Checksum" if !row.details.checksums.is_empty() => {
                let mut checksum = Checksum::default();
                put_checksums!(checksum, &row.details.checksums);
                put_checksum_type!(checksum, &row.details.checksums);
                output.checksum = Some(checksum);
            }
            "ObjectParts" => {
                output.object_parts = parts_count(&row).map(|count| GetObjectAttributesParts {
                    total_parts_count: Some(count),
                    ..Default::default()
                });
            }
            _ => {}
        }
    }
    Ok(S3Response::new(output))
}

fn find(
    connection: &rusqlite::Connection,
    bucket: &str,
    key: String,
) -> Result<ObjectRow, StoreError> {
    let bucket = bucket_id(connection, bucket)?;
    object(connection, bucket, &key)?.ok_or(StoreError::NoSuchKey { key })
}

/// Refuses when the condition fails, and when the client has this version already, which is an error here too.
fn judge(condition: &ReadCondition, row: &ObjectRow) -> S3Result<()> {
    match condition.judge(&row.etag, &clock::seconds(row.modified)) {
        Verdict::Proceed => Ok(()),
        Verdict::NotModified => Err(not_modified(row)),
        Verdict::Failed => Err(StoreError::PreconditionFailed.into()),
    }
}

fn not_modified(row: &ObjectRow) -> S3Error {
    let mut error = s3_error!(NotModified);
    let mut headers = HeaderMap::new();
    if let Ok(etag) = ETag::Strong(row.etag.clone()).to_http_header() {
        headers.insert(hyper::header::ETAG, etag);
    }
    let mut date = Vec::new();
    if clock::seconds(row.modified)
        .format(TimestampFormat::HttpDate, &mut date)
        .is_ok()
        && let Ok(date) = HeaderValue::from_bytes(&date)
    {
        headers.insert(hyper::header::LAST_MODIFIED, date);
    }
    error.set_headers(headers);
    error
}

/// There are no versions but the current one, which is named `null`.
pub(crate) fn refuse_versions(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(s3_error!(
            NoSuchVersion,
            "The specified version does not exist."
        )),
    }
}

fn parts_count(row: &ObjectRow) -> Option<i32> {
    i32::try_from(row.details.parts_bytes.len())
        .ok()
        .filter(|count| *count > 0)
}

fn select(
    row: &ObjectRow,
    range: Option<RequestedRange>,
    part: Option<PartNumber>,
) -> S3Result<Selection> {
    let whole = row.size_bytes;
    let range = match (range, part) {
        (Some(_), Some(_)) => {
            return Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter."
            ));
        }
        (None, None) => {
            return Ok(Selection {
                range: 0..whole,
                header: None,
            });
        }
        (Some(range), None) => range.check(whole).ok().filter(|range| !range.is_empty()),
        (None, Some(part)) => part_range(row, part),
    };
    let range = range.ok_or_else(|| not_satisfiable(whole))?;
    let header =
        (!range.is_empty()).then(|| format!("bytes {}-{}/{whole}", range.start, range.end - 1));
    Ok(Selection { range, header })
}

/// Where a part lies; an object that came as a whole is its own first part.
fn part_range(row: &ObjectRow, part: PartNumber) -> Option<Range<u64>> {
    let index = usize::try_from(part).ok()?.checked_sub(1)?;
    if row.details.parts_bytes.is_empty() {
        return (index == 0).then_some(0..row.size_bytes);
    }
    let length = row.details.parts_bytes.get(index)?;
    let start: u64 = row.details.parts_bytes.iter().take(index).sum();
    Some(start..start + length)
}

fn not_satisfiable(whole: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{whole}")) {
        let mut headers = HeaderMap::new();
        headers.insert(hyper::header::CONTENT_RANGE, value);
        headers.insert(
            hyper::header::CONTENT_TYPE,
            HeaderValue::from_static("application/xml"),
        );
        error.set_headers(headers);
    }
    error
}

/// The protocol's sizes are signed.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

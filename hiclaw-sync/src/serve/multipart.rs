//! Multipart uploads: begin, add parts, copy parts, complete, abort, and the listings of both.
//!
//! Owns how these requests become changes of the store.

mod listings;

use s3s::{
    S3ErrorCode, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyPartResult,
        CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, GetObjectInput, PartNumber,
        Range, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};

pub(crate) use self::listings::{list, list_parts};
use super::{
    checksum::{self, Algorithm, Checksums, Expected, Span},
    clock,
    condition::WriteCondition,
    error::StoreError,
    fields::{
        given_checksums, given_headers, put_checksum_type, put_checksums, refuse_customer_keys,
    },
    read::get_object,
    receive::{Incoming, Placement, receive},
    store::{CompleteUpload, CreateUpload, NamedPart, PutPart, Store, UploadRow, upload},
    write::source,
};

/// Most parts of an upload.
const MAXIMUM_PARTS: i32 = 10_000;

pub(crate) async fn create(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let mut input = request.input;
    refuse_customer_keys!(input);
    let row = UploadRow {
        id: format!("{:032x}", fastrand::u128(..)),
        key: input.key.clone(),
        started: clock::now(),
        headers: given_headers!(input),
        algorithm: input
            .checksum_algorithm
            .as_ref()
            .and_then(|name| Algorithm::from_name(name.as_str())),
        span: input
            .checksum_type
            .as_ref()
            .and_then(|name| Span::from_name(name.as_str())),
    };
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key),
        upload_id: Some(row.id.clone()),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..Default::default()
    };
    let create = CreateUpload {
        bucket: input.bucket,
        row,
    };
    store.write(move |edit| edit.create_upload(&create)).await?;
    Ok(S3Response::new(output))
}

pub(crate) async fn upload_part(
    store: &Store,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let mut input = request.input;
    refuse_customer_keys!(input);
    let target = Target {
        bucket: input.bucket,
        key: input.key,
        upload: input.upload_id,
        number: input.part_number,
    };
    let upload = target.look_up(store).await?;
    let asked = input
        .checksum_algorithm
        .as_ref()
        .map(ChecksumAlgorithm::as_str);
    // The object's checksum is made of those of all parts, whether their senders give them or not.
    let wanted = upload.algorithm.map(Algorithm::name).or(asked);
    let expected = Expected::new(
        input.content_md5.as_deref(),
        given_checksums!(input),
        wanted,
        &request.headers,
    )?;
    let incoming = Incoming {
        body: input.body,
        length: input.content_length,
        expected,
        trailers: request.trailing_headers,
    };
    let (etag, checksums, _) = take_part(store, target, incoming).await?;
    let mut output = UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        ..Default::default()
    };
    put_checksums!(output, &checksums);
    Ok(S3Response::new(output))
}

/// Copies by reading: the part may be any stretch of the source, and its `ETag` is the MD5 of just that.
pub(crate) async fn upload_part_copy(
    store: &Store,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let S3Request {
        input,
        method,
        uri,
        headers,
        extensions,
        ..
    } = request;
    refuse_customer_keys!(input);
    let (bucket, key) = source(&input.copy_source)?;
    let target = Target {
        bucket: input.bucket,
        key: input.key,
        upload: input.upload_id,
        number: input.part_number,
    };
    let upload = target.look_up(store).await?;
    let range = input
        .copy_source_range
        .as_deref()
        .map(Range::parse)
        .transpose();
    let read = GetObjectInput {
        bucket,
        key,
        range: range
            .map_err(|_| s3_error!(InvalidArgument, "invalid header: x-amz-copy-source-range"))?,
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
        ..Default::default()
    };
    let (credentials, region, service, trailing_headers) = (None, None, None, None);
    let read = S3Request {
        input: read,
        method,
        uri,
        headers,
        extensions,
        credentials,
        region,
        service,
        trailing_headers,
    };
    let found = match get_object(store, read).await {
        Err(error) if *error.code() == S3ErrorCode::NotModified => {
            return Err(StoreError::PreconditionFailed.into());
        }
        found => found?,
    };
    let wanted = upload.algorithm.map(Algorithm::name);
    let expected = Expected::new(None, Checksums::default(), wanted, &hyper::HeaderMap::new())?;
    let incoming = Incoming {
        body: found.output.body,
        length: found.output.content_length,
        expected,
        trailers: None,
    };
    let (etag, checksums, modified) = take_part(store, target, incoming).await?;
    let mut result = CopyPartResult {
        e_tag: Some(ETag::Strong(etag)),
        last_modified: Some(clock::timestamp(modified)),
        ..Default::default()
    };
    put_checksums!(result, &checksums);
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..Default::default()
    }))
}

/// The part that a request is about.
struct Target {
    bucket: String,
    key: String,
    upload: String,
    number: PartNumber,
}

impl Target {
    async fn look_up(&self, store: &Store) -> S3Result<UploadRow> {
        if !(1..=MAXIMUM_PARTS).contains(&self.number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive"
            ));
        }
        let (bucket, key, id) = (self.bucket.clone(), self.key.clone(), self.upload.clone());
        Ok(store
            .read(move |connection| upload(connection, &bucket, &key, &id))
            .await?)
    }
}

async fn take_part(
    store: &Store,
    target: Target,
    incoming: Incoming,
) -> S3Result<(String, Checksums, i64)> {
    let received = receive(store.blobs(), incoming, Placement::File).await?;
    let (etag, modified) = (checksum::etag(received.digests.md5), clock::now());
    let checksums = received.digests.checksums;
    let put = PutPart {
        bucket: target.bucket,
        key: target.key,
        upload: target.upload,
        number: target.number,
        content: received.content,
        size_bytes: received.size_bytes,
        etag: etag.clone(),
        modified,
        checksums: checksums.clone(),
    };
    store.write(|edit| edit.put_part(put)).await?;
    Ok((etag, checksums, modified))
}

pub(crate) async fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let mut input = request.input;
    let named = input
        .multipart_upload
        .take()
        .and_then(|list| list.parts)
        .unwrap_or_default();
    if named.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "You must specify at least one part"
        ));
    }
    let complete = CompleteUpload {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        upload: input.upload_id.clone(),
        parts: named.into_iter().map(named_part).collect::<S3Result<_>>()?,
        expected: given_checksums!(input),
        expected_bytes: input
            .mpu_object_size
            .and_then(|size| u64::try_from(size).ok()),
        condition: WriteCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        },
        modified: clock::now(),
    };
    let row = store.write(|edit| edit.complete_upload(complete)).await?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(row.etag)),
        ..Default::default()
    };
    put_checksums!(output, &row.details.checksums);
    put_checksum_type!(output, &row.details.checksums);
    Ok(S3Response::new(output))
}

fn named_part(mut part: CompletedPart) -> S3Result<NamedPart> {
    let checksums = given_checksums!(part);
    let number = part
        .part_number
        .ok_or_else(|| s3_error!(MalformedXML, "Every part needs its number"))?;
    Ok(NamedPart {
        number,
        etag: part.e_tag.map(ETag::into_value),
        checksums,
    })
}

pub(crate) async fn abort(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    store
        .write(move |edit| edit.abort_upload(&input.bucket, &input.key, &input.upload_id))
        .await?;
    Ok(S3Response::with_status(
        AbortMultipartUploadOutput::default(),
        hyper::StatusCode::NO_CONTENT,
    ))
}

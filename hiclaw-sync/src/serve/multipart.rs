//! Multipart uploads: begin, add parts, copy parts, complete, abort, and the listings of both.
//!
//! Owns how these requests become changes of the store.

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyPartResult,
        CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, GetObjectInput,
        ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput,
        MultipartUpload, Part, PartNumber, Range, UploadPartCopyInput, UploadPartCopyOutput,
        UploadPartInput, UploadPartOutput,
    },
    s3_error,
};

use super::{
    buckets::owner,
    checksum::{self, Algorithm, Checksums, Expected, Span},
    clock,
    condition::WriteCondition,
    fields::{
        given_checksums, given_headers, put_checksum_type, put_checksums, refuse_customer_keys,
    },
    listings::{Spelling, limit},
    read::{get_object, signed},
    receive::{Incoming, Placement, receive},
    store::{
        CompleteUpload, CreateUpload, NamedPart, PartRow, PutPart, Store, UploadRow, bucket_id,
        parts, upload, uploads,
    },
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
        .map(|algorithm| algorithm.as_str());
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
    let found = get_object(store, read).await?;
    if found.status == Some(hyper::StatusCode::NOT_MODIFIED) {
        return Err(s3_error!(PreconditionFailed));
    }
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

pub(crate) async fn list_parts(
    store: &Store,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let (max_parts, limit) = limit(input.max_parts)?;
    let after = input.part_number_marker.unwrap_or(0);
    let (bucket, key, id) = (
        input.bucket.clone(),
        input.key.clone(),
        input.upload_id.clone(),
    );
    let (upload, mut rows) = store
        .read(move |connection| {
            let upload = upload(connection, &bucket, &key, &id)?;
            // One more than wanted tells whether there are more.
            let rows = parts(connection, &id, after, limit + 1)?;
            Ok((upload, rows))
        })
        .await?;
    let is_truncated = rows.len() > limit;
    rows.truncate(limit);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        checksum_algorithm: upload
            .algorithm
            .map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: upload
            .span
            .map(|span| ChecksumType::from_static(span.name())),
        is_truncated: Some(is_truncated),
        max_parts: Some(max_parts),
        part_number_marker: Some(after),
        next_part_number_marker: rows.last().map(|row| row.number),
        parts: Some(rows.into_iter().map(listed_part).collect()),
        owner: Some(owner()),
        ..Default::default()
    }))
}

fn listed_part(row: PartRow) -> Part {
    let mut part = Part {
        part_number: Some(row.number),
        size: Some(signed(row.size_bytes)),
        e_tag: Some(ETag::Strong(row.etag)),
        last_modified: Some(clock::timestamp(row.modified)),
        ..Default::default()
    };
    put_checksums!(part, &row.checksums);
    part
}

pub(crate) async fn list(
    store: &Store,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let spelling = Spelling::of(input.encoding_type.as_ref())?;
    let (max_uploads, limit) = limit(input.max_uploads)?;
    let (bucket, prefix) = (
        input.bucket.clone(),
        input.prefix.clone().unwrap_or_default(),
    );
    let key_marker = input.key_marker.clone().unwrap_or_default();
    // Without the id, the marker stands behind all uploads of its key; ids are hexadecimal, so `~` is behind them all.
    let behind = if key_marker.is_empty() { "" } else { "~" };
    let id_marker = input
        .upload_id_marker
        .clone()
        .unwrap_or_else(|| behind.to_owned());
    let mut rows = store
        .read(move |connection| {
            bucket_id(connection, &bucket)?;
            uploads(
                connection,
                &bucket,
                &prefix,
                (&key_marker, &id_marker),
                limit + 1,
            )
        })
        .await?;
    let is_truncated = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| is_truncated);
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix.map(|prefix| spelling.spell(&prefix)),
        key_marker: input.key_marker.map(|marker| spelling.spell(&marker)),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: last.map(|row| spelling.spell(&row.key)),
        next_upload_id_marker: last.map(|row| row.id.clone()),
        max_uploads: Some(max_uploads),
        is_truncated: Some(is_truncated),
        encoding_type: input.encoding_type,
        uploads: Some(
            rows.into_iter()
                .map(|row| listed_upload(row, spelling))
                .collect(),
        ),
        ..Default::default()
    }))
}

fn listed_upload(row: UploadRow, spelling: Spelling) -> MultipartUpload {
    MultipartUpload {
        key: Some(spelling.spell(&row.key)),
        upload_id: Some(row.id),
        initiated: Some(clock::timestamp(row.started)),
        checksum_algorithm: row
            .algorithm
            .map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
        checksum_type: row.span.map(|span| ChecksumType::from_static(span.name())),
        owner: Some(owner()),
        ..Default::default()
    }
}

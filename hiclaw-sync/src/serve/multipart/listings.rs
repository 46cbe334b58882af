//! Listings of parts and of uploads under way.

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        ChecksumAlgorithm, ChecksumType, ETag, ListMultipartUploadsInput,
        ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
    },
};

use super::super::{
    buckets::owner,
    clock,
    fields::put_checksums,
    listings::{Spelling, limit},
    read::signed,
    store::{PartRow, Store, UploadRow, parts, upload, uploads},
};

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

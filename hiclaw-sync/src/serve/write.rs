//! Writing and removing objects: `PutObject`, `CopyObject`, `DeleteObject`, `DeleteObjects`.
//!
//! Owns how these requests become changes of the store.

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        ChecksumAlgorithm, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
        DeletedObject, ETag, ETagCondition, Error, ObjectIdentifier, PutObjectInput,
        PutObjectOutput,
    },
    s3_error,
};

use super::{
    checksum::{self, Expected},
    clock,
    condition::{ReadCondition, WriteCondition},
    details::Details,
    error::StoreError,
    fields::{
        given_checksums, given_headers, put_checksum_type, put_checksums, refuse_customer_keys,
    },
    read::refuse_versions,
    receive::{Incoming, Placement, receive},
    store::{CopyObject, Edit, PutObject, Store, bucket_id, object},
};

/// Most keys of one `DeleteObjects`.
const MAXIMUM_DELETES: usize = 1000;

pub(crate) async fn put_object(
    store: &Store,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let mut input = request.input;
    refuse_customer_keys!(input);
    let headers = given_headers!(input);
    let wanted = input
        .checksum_algorithm
        .as_ref()
        .map(ChecksumAlgorithm::as_str);
    let expected = Expected::new(
        input.content_md5.as_deref(),
        given_checksums!(input),
        wanted,
        &request.headers,
    )?;
    let condition = WriteCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    let condition = refuse_early(store, &input.bucket, &input.key, condition).await?;
    let incoming = Incoming {
        body: input.body,
        length: input.content_length,
        expected,
        trailers: request.trailing_headers,
    };
    let received = receive(store.blobs(), incoming, Placement::Inline).await?;
    let etag = checksum::etag(received.digests.md5);
    let checksums = received.digests.checksums;
    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(etag.clone())),
        ..Default::default()
    };
    put_checksums!(output, &checksums);
    put_checksum_type!(output, &checksums);
    let put = PutObject {
        bucket: input.bucket,
        key: input.key,
        content: received.content,
        size_bytes: received.size_bytes,
        etag,
        modified: clock::now(),
        details: Details {
            headers,
            checksums,
            parts_bytes: Vec::new(),
        },
        condition,
    };
    store.write(|edit| edit.put_object(put)).await?;
    Ok(S3Response::new(output))
}

/// Refuses a write that has no chance before its body is read. The condition counts again when the change is made.
async fn refuse_early(
    store: &Store,
    bucket: &str,
    key: &str,
    condition: WriteCondition,
) -> S3Result<WriteCondition> {
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    let condition = store.read(move |connection| {
        let bucket = bucket_id(connection, &bucket)?;
        if condition.is_given() {
            let current = object(connection, bucket, &key)?;
            condition.check(&key, current.as_ref().map(|row| &*row.etag))?;
        }
        Ok(condition)
    });
    Ok(condition.await?)
}

pub(crate) async fn copy_object(
    store: &Store,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let mut input = request.input;
    refuse_customer_keys!(input);
    let (source_bucket, source_key) = source(&input.copy_source)?;
    let replaces = input
        .metadata_directive
        .as_ref()
        .is_some_and(|directive| directive.as_str() == "REPLACE");
    if !replaces && source_bucket == input.bucket && source_key == input.key {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata."
        ));
    }
    let headers = if replaces {
        Some(given_headers!(input))
    } else {
        None
    };
    let copy = CopyObject {
        source_bucket,
        source_key,
        source_condition: ReadCondition {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        },
        bucket: input.bucket,
        key: input.key,
        condition: WriteCondition {
            if_match: header_condition(&request.headers, &hyper::header::IF_MATCH)?,
            if_none_match: header_condition(&request.headers, &hyper::header::IF_NONE_MATCH)?,
        },
        headers,
        modified: clock::now(),
    };
    let row = store.write(|edit| edit.copy_object(copy)).await?;
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(row.etag)),
        last_modified: Some(clock::timestamp(row.modified)),
        ..Default::default()
    };
    put_checksums!(result, &row.details.checksums);
    put_checksum_type!(result, &row.details.checksums);
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        ..Default::default()
    }))
}

/// Bucket and key of a copy's source.
pub(crate) fn source(source: &CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            refuse_versions(version_id.as_deref())?;
            Ok((bucket.to_string(), key.to_string()))
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => Err(s3_error!(
            NotImplemented,
            "Copy sources are named by bucket and key."
        )),
    }
}

/// A condition on the destination of a copy, which the protocol crate does not pass on.
fn header_condition(
    headers: &hyper::HeaderMap,
    name: &hyper::header::HeaderName,
) -> S3Result<Option<ETagCondition>> {
    headers
        .get(name)
        .map(|value| ETagCondition::parse_http_header(value.as_bytes()))
        .transpose()
        .map_err(|_| s3_error!(InvalidArgument, "invalid header: {}", name))
}

pub(crate) async fn delete_object(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    refuse_versions(input.version_id.as_deref())?;
    let condition = WriteCondition {
        if_match: input.if_match,
        if_none_match: None,
    };
    store
        .write(move |edit| edit.delete_object(&input.bucket, &input.key, &condition))
        .await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

pub(crate) async fn delete_objects(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let DeleteObjectsInput { bucket, delete, .. } = request.input;
    if delete.objects.is_empty() || delete.objects.len() > MAXIMUM_DELETES {
        return Err(s3_error!(
            MalformedXML,
            "A request names between 1 and 1000 objects."
        ));
    }
    let is_quiet = delete.quiet.unwrap_or(false);
    let answers = store
        .write(move |edit| {
            bucket_id(edit.connection(), &bucket)?;
            delete
                .objects
                .into_iter()
                .map(|object| delete_one(edit, &bucket, object))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Deletion::Done(object) => deleted.push(object),
            Deletion::Refused(error) => errors.push(error),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!is_quiet).then_some(deleted),
        errors: Some(errors),
        request_charged: None,
    }))
}

enum Deletion {
    Done(DeletedObject),
    Refused(Error),
}

/// Deletes one of many objects; a refusal of one does not touch the others, a failure of the store takes all back.
fn delete_one(
    edit: &mut Edit<'_>,
    bucket: &str,
    object: ObjectIdentifier,
) -> Result<Deletion, StoreError> {
    let refused = |key: String, code: &str, message: String| {
        Ok(Deletion::Refused(Error {
            code: Some(code.to_owned()),
            key: Some(key),
            message: Some(message),
            version_id: None,
        }))
    };
    if refuse_versions(object.version_id.as_deref()).is_err() {
        return refused(
            object.key,
            "NoSuchVersion",
            "The specified version does not exist.".to_owned(),
        );
    }
    let condition = WriteCondition {
        if_match: object.e_tag.map(ETagCondition::ETag),
        if_none_match: None,
    };
    match edit.delete_object(bucket, &object.key, &condition) {
        Ok(()) => Ok(Deletion::Done(DeletedObject {
            key: Some(object.key),
            ..Default::default()
        })),
        Err(error @ StoreError::PreconditionFailed) => {
            refused(object.key, "PreconditionFailed", error.to_string())
        }
        Err(error @ StoreError::NoSuchKey { .. }) => {
            refused(object.key, "NoSuchKey", error.to_string())
        }
        Err(error) => Err(error),
    }
}

//! Buckets: list, create, remove, and the questions clients ask about them.

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        Bucket, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
        GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
        GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
        ListBucketsOutput, Owner,
    },
};

use super::{
    clock,
    store::{Store, bucket_id, buckets},
};

/// The region the store says it is in.
const REGION: &str = "us-east-1";

/// The one owner of everything.
pub(crate) fn owner() -> Owner {
    Owner {
        display_name: Some("hiclaw-sync".to_owned()),
        id: Some("hiclaw-sync".to_owned()),
    }
}

pub(crate) async fn list_buckets(
    store: &Store,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let prefix = request.input.prefix;
    let rows = store.read(|connection| buckets(connection)).await?;
    let listed = rows
        .into_iter()
        .filter(|row| {
            prefix
                .as_ref()
                .is_none_or(|prefix| row.name.starts_with(&**prefix))
        })
        .map(|row| Bucket {
            name: Some(row.name),
            creation_date: Some(clock::timestamp(row.created)),
            bucket_region: None,
        })
        .collect();
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(listed),
        owner: Some(owner()),
        prefix,
        continuation_token: None,
    }))
}

pub(crate) async fn create_bucket(
    store: &Store,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let bucket = request.input.bucket;
    let location = format!("/{bucket}");
    store
        .write(move |edit| edit.create_bucket(&bucket, clock::now()))
        .await?;
    Ok(S3Response::new(CreateBucketOutput {
        location: Some(location),
    }))
}

pub(crate) async fn delete_bucket(
    store: &Store,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = request.input.bucket;
    store.write(move |edit| edit.delete_bucket(&bucket)).await?;
    Ok(S3Response::with_status(
        DeleteBucketOutput::default(),
        hyper::StatusCode::NO_CONTENT,
    ))
}

pub(crate) async fn head_bucket(
    store: &Store,
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    must_exist(store, request.input.bucket).await?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(REGION.to_owned()),
        ..Default::default()
    }))
}

pub(crate) async fn get_bucket_location(
    store: &Store,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    must_exist(store, request.input.bucket).await?;
    // No constraint means the first region of all.
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

pub(crate) async fn get_bucket_versioning(
    store: &Store,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    must_exist(store, request.input.bucket).await?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

async fn must_exist(store: &Store, bucket: String) -> S3Result<()> {
    store
        .read(move |connection| bucket_id(connection, &bucket))
        .await?;
    Ok(())
}

//! The operations of the protocol that this store has, and where each is done.
//!
//! Owns the table only. Operations that are not in it are answered with `NotImplemented`.

use std::{pin::Pin, sync::Arc};

use s3s::{
    S3, S3Request, S3Response, S3Result,
    auth::{S3Auth, SecretKey},
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
        CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
        CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
        DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
        DeleteObjectsInput, DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput,
        GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectAttributesInput,
        GetObjectAttributesOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
        HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
        ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput, ListObjectsOutput,
        ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput,
        PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
        UploadPartOutput,
    },
    s3_error,
};
use sync_core::secret::Secret;

use super::{buckets, listings, multipart, read, store::Store, write};

/// The protocol's operations on one store.
pub(crate) struct Operations {
    pub(crate) store: Arc<Store>,
}

/// Writes out what an async trait asks for: each operation boxes the future of the function it is done by.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty = $function:path;)*) => {
        impl S3 for Operations {
            $(
                fn $name<'operations, 'future>(
                    &'operations self,
                    request: S3Request<$input>,
                ) -> Pin<Box<dyn Future<Output = S3Result<S3Response<$output>>> + Send + 'future>>
                where
                    'operations: 'future,
                    Self: 'future,
                {
                    Box::pin($function(&self.store, request))
                }
            )*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list_buckets;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create_bucket;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete_bucket;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head_bucket;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::get_bucket_location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::get_bucket_versioning;
    list_objects(ListObjectsInput) -> ListObjectsOutput = listings::list_objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listings::list_objects_v2;
    get_object(GetObjectInput) -> GetObjectOutput = read::get_object;
    head_object(HeadObjectInput) -> HeadObjectOutput = read::head_object;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = read::get_object_attributes;
    put_object(PutObjectInput) -> PutObjectOutput = write::put_object;
    copy_object(CopyObjectInput) -> CopyObjectOutput = write::copy_object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = write::delete_object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = write::delete_objects;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = multipart::upload_part_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_parts(ListPartsInput) -> ListPartsOutput = multipart::list_parts;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list;
}

/// The one pair of keys that the store knows.
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: Secret,
}

impl S3Auth for Keys {
    fn get_secret_key<'keys, 'text, 'future>(
        &'keys self,
        access_key: &'text str,
    ) -> Pin<Box<dyn Future<Output = S3Result<SecretKey>> + Send + 'future>>
    where
        'keys: 'future,
        'text: 'future,
        Self: 'future,
    {
        let found = if access_key == self.access_key {
            Ok(SecretKey::from(self.secret_key.expose()))
        } else {
            Err(s3_error!(
                InvalidAccessKeyId,
                "The access key id you provided does not exist in our records."
            ))
        };
        Box::pin(std::future::ready(found))
    }
}

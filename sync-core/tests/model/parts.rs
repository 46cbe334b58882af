//! Uploads in parts: the same faults, crashes and foreign writes at each of their requests.

use futures_util::{FutureExt as _, future::BoxFuture};
use sync_core::{
    digest::ETag,
    path::ObjectKey,
    store::{
        PutMode, StoreError,
        parts::{MultipartStore, Part, PartLimits, SentPart, StoredPart, UploadId},
    },
};

use super::{history::Conditions, store::ScriptedStore};

impl MultipartStore for ScriptedStore {
    fn part_limits(&self) -> PartLimits {
        self.world.bucket.part_limits()
    }

    fn begin_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        metadata: &'a [(String, String)],
    ) -> BoxFuture<'a, Result<UploadId, StoreError>> {
        async move {
            self.witness("BEGIN", key.as_str());
            let verdict = self.before("BEGIN", key.as_str()).await?;
            let result = self.world.bucket.begin_upload(key, metadata).await;
            self.after("BEGIN", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn send_part<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        part: Part,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move {
            self.witness("PART", key.as_str());
            let verdict = self.before("PART", key.as_str()).await?;
            let result = self.world.bucket.send_part(key, upload, part).await;
            self.after("PART", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn list_parts<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<Vec<StoredPart>, StoreError>> {
        async move {
            self.witness("PARTS", key.as_str());
            let verdict = self.before("PARTS", key.as_str()).await?;
            let result = self.world.bucket.list_parts(key, upload).await;
            self.after("PARTS", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn complete_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
        parts: &'a [SentPart],
        mode: &'a PutMode,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        async move {
            // The one of these requests that changes the object.
            self.witness("PUT", key.as_str());
            let verdict = self.before("PUT", key.as_str()).await?;
            let mode = match self.kind.conditions {
                Conditions::Honoured | Conditions::IgnoredByDelete => mode,
                Conditions::Ignored => &PutMode::Overwrite,
            };
            let bucket = &self.world.bucket;
            let result = bucket.complete_upload(key, upload, parts, mode).await;
            self.after("PUT", key.as_str(), verdict, result).await
        }
        .boxed()
    }

    fn abort_upload<'a>(
        &'a self,
        key: &'a ObjectKey,
        upload: &'a UploadId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.witness("ABORT", key.as_str());
            let verdict = self.before("ABORT", key.as_str()).await?;
            let result = self.world.bucket.abort_upload(key, upload).await;
            self.after("ABORT", key.as_str(), verdict, result).await
        }
        .boxed()
    }
}

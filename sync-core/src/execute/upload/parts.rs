//! Uploads in parts of one mount: what is remembered of them in its baseline, and which of them are abandoned.
//!
//! Only uploads that this mount began are ever aborted: others below its prefix are somebody else's.

use std::{
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use super::{precondition, read::PartedFile};
use crate::{
    baseline::{BaselineError, Refusals, UnfinishedUpload},
    digest::ETag,
    execute::Context,
    failpoint::Point,
    local::{Fingerprint, LocalKind},
    path::{ObjectKey, RelPath},
    store::{
        PutOptions, StoreError, StoreErrorKind,
        parts::{BegunUpload, MultipartStore, PartedUpload, UploadFate, UploadId, UploadJournal},
    },
};

/// An upload that nothing was sent of for so long is not going to be finished. Passes are made every few minutes.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);
/// How long it is tried to abort one.
const GIVEN_UP_AFTER: Duration = Duration::from_hours(8 * 24);

/// Sends a file in parts, going on where an earlier run was interrupted.
pub(super) async fn put(
    context: &Context,
    path: &RelPath,
    key: &ObjectKey,
    file: &PartedFile,
    fingerprint: Fingerprint,
    options: &PutOptions,
) -> Result<ETag, StoreError> {
    let Some(store) = context.store.multipart() else {
        let kind = StoreErrorKind::Other;
        return Err(StoreError::new(
            "PUT",
            key.as_str(),
            kind,
            "no uploads in parts",
        ));
    };
    let journal = Journal {
        context,
        upload: Mutex::new(UnfinishedUpload {
            path: path.clone(),
            store: context.store.identity(),
            key: key.clone(),
            id: UploadId::new(""),
            fingerprint: fingerprint.with_wal(0),
            digest: file.content.whole.digest,
            part_bytes: file.content.part_bytes,
            touched: SystemTime::now(),
            refusals: Refusals::None,
        }),
    };
    journal.abort_others(store).await;
    let upload = PartedUpload {
        store,
        key,
        file: file.file.clone(),
        content: &file.content,
        metadata: &options.metadata,
        permits: &context.transfers,
        at_once: context.concurrency,
        journal: &journal,
        progress: &|bytes| context.progress.bytes(bytes),
    };
    let sent = upload.send().await?;
    // Not earlier: sending may have taken hours.
    let mode = precondition(context, key, options.mode.clone()).await?;
    upload.complete(&sent, &mode).await
}

/// The memory of one file's upload.
struct Journal<'a> {
    context: &'a Context,
    /// As it is or would be remembered; the id is not known before it is begun.
    upload: Mutex<UnfinishedUpload>,
}

impl Journal<'_> {
    fn upload(&self) -> UnfinishedUpload {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, UnfinishedUpload> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> Vec<UnfinishedUpload> {
        let path = self.upload().path;
        let found = self
            .context
            .mount
            .baseline()
            .unfinished_uploads(Some(&path));
        noted(found, &path).unwrap_or_default()
    }

    fn is_of_this_content(&self, other: &UnfinishedUpload) -> bool {
        let this = UnfinishedUpload {
            id: other.id.clone(),
            touched: other.touched,
            refusals: other.refusals,
            ..self.upload()
        };
        this == *other
    }

    /// Other versions of the file that were on their way up are not going to be finished. Those that can't be aborted now
    /// stay remembered.
    async fn abort_others(&self, store: &dyn MultipartStore) {
        for other in self.remembered() {
            if !self.is_of_this_content(&other) {
                abort(self.context, store, &other).await;
            }
        }
    }
}

impl UploadJournal for Journal<'_> {
    fn begun(&self) -> Option<BegunUpload> {
        let uploads = self.remembered();
        let upload = uploads
            .into_iter()
            .find(|upload| self.is_of_this_content(upload))?;
        let parts = self.context.mount.baseline().uploaded_parts(&upload.id);
        let parts = noted(parts, &upload.path)?;
        *self.locked() = upload.clone();
        Some(BegunUpload {
            id: upload.id,
            parts,
        })
    }

    fn open(&self, id: &UploadId) {
        let upload = UnfinishedUpload {
            id: id.clone(),
            refusals: Refusals::None,
            ..self.upload()
        };
        *self.locked() = upload.clone();
        let remembered = self.context.mount.baseline().remember_upload(&upload);
        noted(remembered, &upload.path);
    }

    fn sent(&self, number: u32, etag: &ETag) {
        let UnfinishedUpload { id, path, .. } = self.upload();
        let now = SystemTime::now();
        let mut baseline = self.context.mount.baseline();
        noted(baseline.remember_part(&id, number, etag, now), &path);
    }

    fn fate(&self, kind: StoreErrorKind) -> UploadFate {
        let upload = self.upload();
        match (kind, upload.refusals) {
            (
                StoreErrorKind::Unreachable
                | StoreErrorKind::Unavailable { .. }
                | StoreErrorKind::BadCredentials
                | StoreErrorKind::NoBucket,
                _,
            ) => UploadFate::Kept,
            // Somebody was first. What was sent is still good where the file wins in the end.
            (StoreErrorKind::Precondition, Refusals::None) => {
                let refused = self.context.mount.baseline().remember_refusal(&upload.id);
                noted(refused, &upload.path);
                UploadFate::Kept
            }
            (StoreErrorKind::Precondition, Refusals::Some)
            | (
                StoreErrorKind::Denied
                | StoreErrorKind::NotFound
                | StoreErrorKind::Rejected
                | StoreErrorKind::Other,
                _,
            ) => UploadFate::Aborted,
        }
    }

    fn close(&self) {
        let UnfinishedUpload { id, path, .. } = self.upload();
        noted(self.context.mount.baseline().forget_upload(&id), &path);
    }

    fn reached(&self, point: Point) {
        self.context.mount.root.reached(point);
    }
}

/// Aborts the uploads that nobody is going to finish: their file is gone, changed or agreed upon, or they were left alone
/// for long. What can't be aborted now is tried again after the next pass.
pub(crate) async fn abort_abandoned(context: &Context) {
    let Some(store) = context.store.multipart() else {
        return;
    };
    let uploads = context.mount.baseline().unfinished_uploads(None);
    for upload in uploads.unwrap_or_default() {
        if is_abandoned(context, &upload) {
            abort(context, store, &upload).await;
        }
    }
}

fn is_abandoned(context: &Context, upload: &UnfinishedUpload) -> bool {
    if upload.store != context.store.identity() || age(upload) > ABANDONED_AFTER {
        return true;
    }
    let same = match context.mount.look(&upload.path) {
        // The log beside a database isn't remembered; the digest decides whether the upload is gone on with.
        Ok(Some(entry)) => {
            entry.kind == LocalKind::File && entry.fingerprint.with_wal(0) == upload.fingerprint
        }
        Ok(None) => false,
        // What can't be seen now may be as it was.
        Err(_) => true,
    };
    let row = context.mount.baseline().row(&upload.path).ok().flatten();
    let agreed = row.is_some_and(|row| {
        let local = row.local.map(|local| local.fingerprint.with_wal(0));
        row.remote.is_some() && local == Some(upload.fingerprint)
    });
    !same || agreed
}

fn age(upload: &UnfinishedUpload) -> Duration {
    let age = SystemTime::now().duration_since(upload.touched);
    age.unwrap_or_default()
}

/// One of another store is out of reach with these settings.
async fn abort(context: &Context, store: &dyn MultipartStore, upload: &UnfinishedUpload) {
    let path = &upload.path;
    if upload.store == context.store.identity()
        && let Err(error) = store.abort_upload(&upload.key, &upload.id).await
    {
        tracing::warn!(%path, %error, "an abandoned upload can't be aborted; its parts take space");
        if age(upload) < GIVEN_UP_AFTER {
            return;
        }
    }
    noted(context.mount.baseline().forget_upload(&upload.id), path);
}

/// A memory that fails costs parts that are sent twice, never an upload.
fn noted<T>(result: Result<T, BaselineError>, path: &dyn Display) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!(%path, %error, cause = error.cause(), "can't remember an upload"))
        .ok()
}

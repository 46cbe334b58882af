//! Local to remote: hash, send with the hash and the precondition, record.
//!
//! RACE: on a store without conditional writes (found by the probe) a HEAD is compared before the write; a version that
//! another writer puts between the two is overwritten, and was that writer's alone to keep.

mod parts;
mod read;

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;

pub(crate) use self::parts::abort_abandoned;
use self::read::{Body, Content};

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome, attributes, baseline_problem,
    in_parallel, mode_for,
};
use crate::{
    baseline::{RemoteVersion, Row, RowChange, Written},
    digest::ETag,
    failpoint::Point,
    local::Fingerprint,
    path::ObjectKey,
    plan::Task,
    reconcile::Change,
    report::ProblemKind,
    store::{Capabilities, PutBody, PutMode, PutOptions, StoreError, StoreErrorKind, Support},
};

/// How often a file is tried that changes while it is read, and the wait in between.
const SEND_ATTEMPTS: usize = 3;
const QUIET: Duration = Duration::from_millis(50);
/// Rows written to the baseline at once.
const ROWS_AT_ONCE: usize = 128;

/// Uploads everything.
pub(super) async fn run(
    context: &Arc<Context>,
    tasks: Vec<Task>,
    executed: &mut Executed,
) -> Result<(), ExecuteError> {
    let mut rows = Vec::new();
    let mut failed = Ok(());
    {
        let mut outcomes = std::pin::pin!(in_parallel(context.concurrency, tasks, |task| upload(
            context.clone(),
            task
        )));
        while let Some(outcome) = outcomes.next().await {
            match outcome.map_err(ExecuteError::from).flatten() {
                Ok(outcome) => rows.extend(executed.take(outcome)),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
            if rows.len() >= ROWS_AT_ONCE {
                context.mount.baseline().apply(&std::mem::take(&mut rows))?;
            }
        }
    }
    context.mount.baseline().apply(&rows)?;
    context.mount.root.reached(Point::UploadsRecorded);
    failed
}

async fn upload(context: Arc<Context>, task: Task) -> Result<Outcome, ExecuteError> {
    let path = task.observed.path.clone();
    match send(&context, task).await {
        Ok((row, effect)) => {
            context.progress.file_done(&path);
            Ok(Outcome::Done {
                change: Box::new(RowChange::Record(row)),
                effect,
            })
        }
        Err(failure) => context.outcome(&path, failure),
    }
}

/// Sends one file. A file that changes while it is read or sent is read again a few times without asking the store, and
/// else comes back when it is quiet.
async fn send(context: &Context, task: Task) -> Result<(Row, Effect), Failure> {
    for _ in 1..SEND_ATTEMPTS {
        match send_once(context, &task).await {
            Err(Failure::Changing) => tokio::time::sleep(QUIET).await,
            other => return other,
        }
    }
    send_once(context, &task).await
}

async fn send_once(context: &Context, task: &Task) -> Result<(Row, Effect), Failure> {
    let path = &task.observed.path;
    let content = read::read(context, path).await?;
    context.mount.root.reached(Point::ReadToSend);
    let local = content.local;
    let size_bytes = content.size_bytes();
    let digest = content.digest();
    let row = |remote| Row {
        path: path.clone(),
        local: Some(local),
        remote: Some(remote),
        digest,
    };
    if !context.keeps_key(path).await? {
        let message =
            "the store keeps `\\` as `/`, so that this would become another file there; rename it";
        return Err(Failure::Problem(
            ProblemKind::UnsafePath,
            message.to_owned(),
        ));
    }
    if let Some(remote) = already_there(task, &content) {
        return Ok((row(remote), Effect::Recorded));
    }
    let mode = match &task.observed.remote {
        Some(remote) => PutMode::Update(remote.version.etag.clone()),
        None => PutMode::Create,
    };
    let key = match &task.observed.remote {
        Some(remote) => remote.key.clone(),
        None => context.mount.prefix.key(path),
    };
    let metadata = attributes::metadata(&content.local.fingerprint, &digest);
    context
        .mount
        .baseline()
        .note_sending(path, &digest)
        .map_err(|error| baseline_problem(&error))?;
    context.mount.root.reached(Point::SendingNoted);
    let options = PutOptions {
        mode,
        digest,
        metadata,
    };
    let sent = match content.body {
        Body::Whole(body) => put(context, &key, body, options).await,
        Body::Parts(file) => {
            let fingerprint = content.local.fingerprint;
            parts::put(context, path, &key, &file, fingerprint, &options).await
        }
    };
    let etag = match sent {
        Err(error) if error.kind == StoreErrorKind::Rejected => return Err(Failure::Changing),
        other => other?,
    };
    context.mount.root.reached(Point::PutDone);
    let entry = context.entry(path, &task.handling, size_bytes);
    Ok((
        row(RemoteVersion {
            etag,
            size_bytes,
            written: Written::before(context.store.clock()),
        }),
        Effect::Uploaded(entry),
    ))
}

/// The object, where the file was only touched: its content and its permissions are those that the object holds.
fn already_there(task: &Task, content: &Content) -> Option<RemoteVersion> {
    let row = task.observed.baseline.as_ref()?;
    let before = row.local.as_ref()?;
    let (_, remote) = crate::plan::changes(&task.observed);
    let now = content.local.fingerprint;
    // A rule that wants files to be executable gives them the bits; without them they are as they were.
    let permissions = |of: Fingerprint| mode_for(task.handling.executable, of.permissions());
    let same_attributes = before.fingerprint.kind() == now.kind()
        && permissions(before.fingerprint) == permissions(now);
    (remote == Change::Unchanged && row.digest == content.digest() && same_attributes)
        .then(|| row.remote.clone())?
}

/// Writes an object in one request under its precondition.
async fn put(
    context: &Context,
    key: &ObjectKey,
    body: PutBody,
    mut options: PutOptions,
) -> Result<ETag, StoreError> {
    let _permit = context.permit().await;
    options.mode = precondition(context, key, options.mode).await?;
    let size_bytes = body.size_bytes();
    let again = (options.mode == PutMode::Create)
        .then(|| body.another())
        .flatten();
    let etag = match (context.store.put(key, body, options.clone()).await, again) {
        (Err(error), Some(body)) if error.kind == StoreErrorKind::Precondition => {
            // RACE: SeaweedFS refuses to create an object where it keeps a directory, also an empty one that no listing
            // shows. Where there is no object, an object that appears between the HEAD and this write is overwritten.
            if context.store.head(key).await?.is_some() {
                return Err(error);
            }
            options.mode = PutMode::Overwrite;
            context.store.put(key, body, options).await?
        }
        (result, _) => result?,
    };
    context.progress.bytes(size_bytes);
    Ok(etag)
}

/// The precondition as the store takes it. One that takes none is asked what it holds, right before the write.
async fn precondition(
    context: &Context,
    key: &ObjectKey,
    mode: PutMode,
) -> Result<PutMode, StoreError> {
    let without_conditions = Capabilities {
        conditional_put: Support::No,
        conditional_delete: Support::No,
    };
    let capabilities = context.mount.capabilities().unwrap_or(without_conditions);
    if capabilities.conditional_put == Support::Yes {
        return Ok(mode);
    }
    let found = context.store.head(key).await?.map(|info| info.etag);
    let expected = match &mode {
        PutMode::Overwrite => found.clone(),
        PutMode::Create => None,
        PutMode::Update(etag) => Some(etag.clone()),
    };
    if found == expected {
        Ok(PutMode::Overwrite)
    } else {
        let kind = StoreErrorKind::Precondition;
        Err(StoreError::new("PUT", key.as_str(), kind, ""))
    }
}

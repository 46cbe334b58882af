//! Remote to local: stage a batch, make it durable, write down what it displaces, publish, record.
//!
//! Conflicts come through here too, whoever wins: both need the remote version at hand, to compare and to keep.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome, attributes, in_parallel, merge,
    mode_for,
};
use crate::{
    backoff::Backoff,
    baseline::{Certainty, LocalVersion, RemoteVersion, Row, RowChange},
    digest::Digest,
    join::RemoteEntry,
    local::{Fingerprint, LocalKind},
    path::RelPath,
    plan::{Direction, Task, hash_file},
    reconcile::Decision,
    report::{ConflictEntry, Entry, ProblemKind, Side},
    stage::{DisplacedVersion, Durability, Published, StageWriter, Staged},
    store::{Object, StoreError},
};

/// From this many files on one sync of the file system is cheaper than one of each file.
const BATCH_SYNC_FILES: usize = 8;
/// How often an object is read in one pass, and the waits in between.
const READ_ATTEMPTS: usize = 4;
const FIRST_AGAIN: Duration = Duration::from_millis(100);
const LAST_AGAIN: Duration = Duration::from_secs(1);
/// Bytes of an object gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// A task whose remote version is at hand.
pub(super) enum Prepared {
    /// To be published.
    Publish(Box<Publication>),
    /// The local side won: its version is to be sent, and the remote one kept as a copy first.
    KeepRemote(Box<Task>, Staged),
    /// Nothing to publish.
    Finished(Outcome),
}

/// A staged version on its way to its place.
pub(super) struct Publication {
    pub(super) path: RelPath,
    pub(super) staged: Staged,
    /// The local version that the decision was made for.
    pub(super) expected: Option<Fingerprint>,
    pub(super) displaced: DisplacedVersion,
    /// What the object holds, for the baseline.
    pub(super) remote: RemoteVersion,
    /// The content that both sides are taken to agree on.
    pub(super) digest: Digest,
    pub(super) entry: Entry,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Download,
    Merge,
}

/// Brings a batch in. Gives the tasks to upload that follow from it.
pub(super) async fn run(
    context: &Arc<Context>,
    batch: Vec<Task>,
    executed: &mut Executed,
) -> Result<Vec<Task>, ExecuteError> {
    let durability = if batch.len() < BATCH_SYNC_FILES {
        Durability::Each
    } else {
        Durability::Batch
    };
    let mut prepared = Vec::with_capacity(batch.len());
    {
        let stage = |task| prepare(context.clone(), task, durability);
        let mut results = std::pin::pin!(in_parallel(context.concurrency, batch, stage));
        while let Some(result) = results.next().await {
            prepared.push(result.map_err(ExecuteError::from).flatten()?);
        }
    }
    let blocking = context.clone();
    let published =
        tokio::task::spawn_blocking(move || publish_all(&blocking, prepared, durability)).await??;
    let mut rows = Vec::new();
    for outcome in published.outcomes {
        rows.extend(executed.take(outcome));
    }
    executed.report.conflicts.extend(published.conflicts);
    context.mount.baseline().apply(&rows)?;
    Ok(published.uploads)
}

async fn prepare(
    context: Arc<Context>,
    task: Task,
    durability: Durability,
) -> Result<Prepared, ExecuteError> {
    let path = task.observed.path.clone();
    let prepared = match task.decision {
        Decision::Merge => merge::prepare(&context, task, durability).await,
        Decision::Conflict(winner) => prepare_conflict(&context, task, winner, durability).await,
        Decision::Download => prepare_download(&context, task, durability).await,
        Decision::Upload
        | Decision::DeleteLocal
        | Decision::DeleteRemote
        | Decision::Nothing
        | Decision::RecordGone
        | Decision::Forget => Err(Failure::Stale),
    };
    prepared.or_else(|failure| context.outcome(&path, failure).map(Prepared::Finished))
}

async fn prepare_download(
    context: &Arc<Context>,
    task: Task,
    durability: Durability,
) -> Result<Prepared, Failure> {
    let Some(remote) = &task.observed.remote else {
        return Err(Failure::Stale);
    };
    let staged = fetch(context, &task, remote, durability).await?;
    Ok(publication(
        context,
        &task,
        staged,
        remote.version.clone(),
        DisplacedVersion::Superseded,
    ))
}

/// Both sides have something new: prove them equal if they are, else get hold of both versions.
async fn prepare_conflict(
    context: &Arc<Context>,
    task: Task,
    winner: Side,
    durability: Durability,
) -> Result<Prepared, Failure> {
    let (Some(remote), Some(local)) = (task.observed.remote.clone(), task.observed.local.clone())
    else {
        return Err(Failure::Stale);
    };
    let mount = context.mount.clone();
    let path = task.observed.path.clone();
    let (hash, fingerprint) = tokio::task::spawn_blocking(move || hash_file(&mount, &path))
        .await
        .map_err(|error| Failure::Problem(ProblemKind::Io, error.to_string()))??;
    if fingerprint != local.fingerprint {
        return Err(Failure::Stale);
    }
    let same = || {
        let local = LocalVersion {
            fingerprint,
            certainty: Certainty::Settled,
        };
        let path = task.observed.path.clone();
        let row = Row {
            path,
            local: Some(local),
            remote: Some(remote.version.clone()),
            digest: hash.digest,
        };
        Prepared::Finished(Outcome::Done {
            change: Box::new(RowChange::Record(row)),
            effect: Effect::Recorded,
        })
    };
    if remote.version.size_bytes == hash.size_bytes
        && remote.version.etag.as_md5() == Some(&*hash.md5_hex)
    {
        return Ok(same());
    }
    let staged = fetch(context, &task, &remote, durability).await?;
    if staged.hash().digest == hash.digest {
        return Ok(same());
    }
    match winner {
        Side::Remote => Ok(publication(
            context,
            &task,
            staged,
            remote.version.clone(),
            DisplacedVersion::Loser,
        )),
        Side::Local => Ok(Prepared::KeepRemote(Box::new(task), staged)),
    }
}

fn publication(
    context: &Context,
    task: &Task,
    staged: Staged,
    remote: RemoteVersion,
    displaced: DisplacedVersion,
) -> Prepared {
    Prepared::Publish(Box::new(Publication {
        path: task.observed.path.clone(),
        expected: task.observed.local.as_ref().map(|entry| entry.fingerprint),
        displaced,
        digest: staged.hash().digest,
        entry: context.entry(
            &task.observed.path,
            &task.handling,
            staged.hash().size_bytes,
        ),
        staged,
        remote,
        kind: Kind::Download,
    }))
}

/// Brings an object into the staging area. An answer that breaks off is asked for again.
async fn fetch(
    context: &Arc<Context>,
    task: &Task,
    remote: &RemoteEntry,
    durability: Durability,
) -> Result<Staged, Failure> {
    again_if_it_breaks_off(|| fetch_once(context, task, remote, durability)).await
}

/// Repeats a read whose answer broke off: the SDK repeats requests, but not answers that had begun.
pub(super) async fn again_if_it_breaks_off<T, F>(read: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut backoff = Backoff::new(FIRST_AGAIN, LAST_AGAIN);
    for _ in 1..READ_ATTEMPTS {
        match read().await {
            Err(Failure::Store(error)) if error.kind.is_transient() && !error.kind.is_fatal() => {
                tracing::debug!(%error, "reading again");
                tokio::time::sleep(backoff.next(fastrand::f64())).await;
            }
            other => return other,
        }
    }
    read().await
}

/// An object in the staging area, with the attributes it will have.
async fn fetch_once(
    context: &Arc<Context>,
    task: &Task,
    remote: &RemoteEntry,
    durability: Durability,
) -> Result<Staged, Failure> {
    let object = context
        .store
        .get(&remote.key, Some(&remote.version.etag))
        .await?;
    let local_mode = task
        .observed
        .local
        .as_ref()
        .map(|entry| entry.fingerprint.mode);
    let mode = attributes::mode(&object.info)
        .or(local_mode)
        .unwrap_or(attributes::DEFAULT_MODE);
    let mode = mode_for(task.handling.executable, mode);
    let modified = attributes::modified(&object.info);
    let expected_digest = object.info.metadata("sha256").map(str::to_owned);
    let expected_bytes = object.info.size_bytes;
    let writer = write_body(context, object).await?;
    let staged = blocking(move || writer.finish(mode, modified, durability)).await?;
    let hash = staged.hash();
    if hash.size_bytes != expected_bytes {
        return Err(Failure::Problem(
            ProblemKind::Store,
            format!(
                "the store sent {} of {expected_bytes} bytes",
                hash.size_bytes
            ),
        ));
    }
    if expected_digest.is_some_and(|expected| expected != hash.digest.to_hex())
        && wrong_md5(remote, &staged)
    {
        return Err(Failure::Problem(
            ProblemKind::Store,
            "the content doesn't have its digest".to_owned(),
        ));
    }
    Ok(staged)
}

/// A writer that copies metadata along with new content leaves our digest wrong; then the MD5 tells whether the content
/// is what the store means.
fn wrong_md5(remote: &RemoteEntry, staged: &Staged) -> bool {
    remote.version.etag.as_md5() != Some(&*staged.hash().md5_hex)
}

async fn write_body(context: &Arc<Context>, object: Object) -> Result<StageWriter, Failure> {
    let mount = context.mount.clone();
    let mut writer = blocking(move || StageWriter::create(&mount.root)).await?;
    let mut body = object.body;
    loop {
        let pieces = gather(&mut body).await?;
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        context.progress.bytes(bytes as u64);
        writer = blocking(move || {
            pieces.iter().try_for_each(|piece| writer.write(piece))?;
            Ok(writer)
        })
        .await?;
        if bytes < WRITE_BYTES {
            return Ok(writer);
        }
    }
}

/// The next pieces of a body, about [`WRITE_BYTES`] of them; fewer at the end only.
async fn gather(
    body: &mut futures_util::stream::BoxStream<'static, Result<Bytes, StoreError>>,
) -> Result<Vec<Bytes>, StoreError> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while bytes < WRITE_BYTES
        && let Some(piece) = body.next().await
    {
        let piece = piece?;
        bytes += piece.len();
        pieces.push(piece);
    }
    Ok(pieces)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::root::LocalError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Failure::Local),
        Err(error) => Err(Failure::Problem(ProblemKind::Io, error.to_string())),
    }
}

#[derive(Default)]
struct PublishedBatch {
    outcomes: Vec<Outcome>,
    uploads: Vec<Task>,
    conflicts: Vec<ConflictEntry>,
}

fn publish_all(
    context: &Context,
    prepared: Vec<Prepared>,
    durability: Durability,
) -> Result<PublishedBatch, ExecuteError> {
    if durability == Durability::Batch
        && let Err(error) = context.mount.root.sync_file_system()
    {
        tracing::warn!(mount = context.mount.name, %error, "can't sync the file system; a power failure may lose new files");
    }
    let displacements: Vec<_> = prepared
        .iter()
        .filter_map(|prepared| match prepared {
            Prepared::Publish(publication) => Some(
                publication
                    .staged
                    .displacement(&publication.path, publication.expected?),
            ),
            Prepared::KeepRemote(..) | Prepared::Finished(_) => None,
        })
        .collect();
    if !displacements.is_empty() {
        context
            .mount
            .baseline()
            .plan_displacements(&displacements)?;
    }
    let mut batch = PublishedBatch::default();
    for prepared in prepared {
        match prepared {
            Prepared::Finished(outcome) => batch.outcomes.push(outcome),
            Prepared::Publish(publication) => {
                let outcome = publish(context, *publication, &mut batch)?;
                batch.outcomes.push(outcome);
            }
            Prepared::KeepRemote(task, staged) => keep_remote(context, *task, staged, &mut batch)?,
        }
    }
    let names: Vec<_> = displacements
        .into_iter()
        .map(|displacement| displacement.staged_name)
        .collect();
    if !names.is_empty() {
        context.mount.baseline().finish_displacements(&names)?;
    }
    Ok(batch)
}

fn publish(
    context: &Context,
    publication: Publication,
    batch: &mut PublishedBatch,
) -> Result<Outcome, ExecuteError> {
    let Publication {
        path,
        staged,
        expected,
        displaced,
        remote,
        digest,
        entry,
        kind,
    } = publication;
    let published = match expected {
        None => staged.create_at(&path),
        Some(expected) => staged.replace(&path, &expected, displaced),
    };
    let (fingerprint, copy) = match published {
        Ok(Published::Done(fingerprint)) => (fingerprint, None),
        Ok(Published::Displaced { fingerprint, copy }) => (fingerprint, Some(copy)),
        Ok(Published::Stale) => return Ok(Outcome::Stale(path)),
        Err(error) => return context.outcome(&path, Failure::Local(error)),
    };
    context.progress.file_done(&path);
    let local = LocalVersion {
        fingerprint,
        certainty: Certainty::Settled,
    };
    let row = Row {
        path: path.clone(),
        local: Some(local),
        remote: Some(remote),
        digest,
    };
    let effect = match (kind, copy) {
        (Kind::Merge, copy) => {
            if let Some(copy) = copy {
                push_copy(context, copy, batch);
            }
            Effect::Merged(entry)
        }
        (Kind::Download, None) => Effect::Downloaded(entry),
        (Kind::Download, Some(copy)) => {
            let conflict = conflict_entry(context, &path, Side::Remote, &copy);
            push_copy(context, copy, batch);
            Effect::Conflict(entry, conflict)
        }
    };
    Ok(Outcome::Done {
        change: Box::new(RowChange::Record(row)),
        effect,
    })
}

/// The local side won: the remote version becomes a copy, and only then may the local one replace it in the bucket.
fn keep_remote(
    context: &Context,
    mut task: Task,
    staged: Staged,
    batch: &mut PublishedBatch,
) -> Result<(), ExecuteError> {
    let path = task.observed.path.clone();
    match staged.keep_as_copy(&path, Side::Remote) {
        Ok(copy) => {
            batch
                .conflicts
                .push(conflict_entry(context, &path, Side::Local, &copy));
            push_copy(context, copy, batch);
            task.decision = Decision::Upload;
            batch.uploads.push(task);
        }
        Err(error) => batch
            .outcomes
            .push(context.outcome(&path, Failure::Local(error))?),
    }
    Ok(())
}

fn conflict_entry(
    context: &Context,
    path: &RelPath,
    winner: Side,
    copy: &RelPath,
) -> ConflictEntry {
    let mount = context.mount.name.clone();
    ConflictEntry {
        mount,
        path: path.to_string(),
        winner,
        copy: copy.to_string(),
    }
}

/// A copy is pushed like any file, in this pass where it pushes at all.
fn push_copy(context: &Context, copy: RelPath, batch: &mut PublishedBatch) {
    if context.direction != Direction::Pull {
        batch
            .uploads
            .extend(super::task_for_new_file(&context.mount, copy));
    }
}

/// What lies at a merged path, as text; `None` for nothing.
pub(super) fn read_text(
    context: &Context,
    path: &RelPath,
) -> Result<Option<(String, Fingerprint)>, Failure> {
    use std::io::Read as _;
    match context.mount.look(path)? {
        None => Ok(None),
        Some(entry) if entry.kind != LocalKind::File => Err(Failure::Problem(
            ProblemKind::Unsupported,
            "not a regular file".to_owned(),
        )),
        Some(_) => {
            let (mut file, fingerprint) = context.mount.root.open_file(path)?;
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(|error| {
                if error.kind() == std::io::ErrorKind::InvalidData {
                    Failure::Problem(
                        ProblemKind::Invalid,
                        "the local file is not UTF-8".to_owned(),
                    )
                } else {
                    Failure::Local(crate::root::LocalError::new("read", path, error))
                }
            })?;
            Ok(Some((text, fingerprint)))
        }
    }
}

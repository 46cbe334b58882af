//! Remote to local: stage a batch, make it durable, write down what it displaces, publish, record.
//!
//! Conflicts come through here too, whoever wins: both need the remote version at hand, to compare and to keep.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome, attributes, baseline_problem,
    in_parallel, merge, mode_for, publish, unit,
};
use crate::{
    baseline::{Fate, LocalVersion, RemoteVersion, Row, RowChange, Surprise},
    digest::Digest,
    failpoint::Point,
    join::RemoteEntry,
    local::Fingerprint,
    path::RelPath,
    plan::{Task, hash_file},
    reconcile::Decision,
    report::{Entry, ProblemKind, Side},
    stage::{Durability, StageWriter, Staged},
    store::{Object, StoreError, StoreErrorKind, again_if_it_breaks_off},
};

/// From this many files on one sync of the file system is cheaper than one of each file.
const BATCH_SYNC_FILES: usize = 8;
/// Bytes of an object gathered before they are written.
const WRITE_BYTES: usize = 1024 * 1024;

/// A task whose remote version is at hand.
pub(super) enum Prepared {
    /// To be published.
    Publish(Box<Publication>),
    /// All of a directory that is wholly new, to be published as one.
    NewDirectory(RelPath, Vec<Publication>),
    /// The local side won: its version is to be sent, and the remote one kept as a copy first.
    KeepRemote(Box<Task>, Staged),
    /// The bucket holds an earlier version of ours: the local one is to be sent.
    Overtaken(Box<Task>),
    /// Nothing to publish.
    Finished(Outcome),
}

/// A staged version on its way to its place.
pub(super) struct Publication {
    pub(super) path: RelPath,
    pub(super) staged: Staged,
    /// The local version that the decision was made for.
    pub(super) expected: Option<Fingerprint>,
    pub(super) fate: Fate,
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

impl Kind {
    /// What becomes of a version that the publication finds at its place unexpectedly.
    pub(super) fn surprise(self) -> Surprise {
        match self {
            Self::Download => Surprise::Copy,
            // It was made from the version it expected and from no other.
            Self::Merge => Surprise::PutBack,
        }
    }
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
    let mut wanted = BTreeMap::new();
    for unit in batch.iter().filter_map(|task| unit::unit_of(context, task)) {
        *wanted.entry(unit).or_insert(0) += 1;
    }
    let mut ended = Ok(());
    {
        let stage = |task| {
            let unit = unit::unit_of(context, &task);
            let staged = prepare(context.clone(), task, durability);
            async move { staged.await.map(|staged| (unit, staged)) }
        };
        let mut results = std::pin::pin!(in_parallel(context.concurrency, batch, stage));
        while let Some(result) = results.next().await {
            match result.map_err(ExecuteError::from).flatten() {
                Ok(ready) => prepared.push(ready),
                // What came before the end of the store is published all the same.
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
        }
    }
    let prepared = unit::keep_whole(context, &wanted, prepared).await;
    let blocking = context.clone();
    let published =
        tokio::task::spawn_blocking(move || publish::publish_all(&blocking, prepared, durability))
            .await??;
    context.mount.root.reached(Point::BatchSettled);
    let mut rows = Vec::new();
    for outcome in published.outcomes {
        rows.extend(executed.take(outcome));
    }
    executed.report.conflicts.extend(published.conflicts);
    context.mount.baseline().apply(&rows)?;
    context.mount.root.reached(Point::IncomingRecorded);
    ended.map(|()| published.uploads)
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
        | Decision::MakeWay
        | Decision::Blocked
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
        Fate::Superseded,
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
        let local = LocalVersion::seen(fingerprint, SystemTime::now());
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
    if context
        .mount
        .baseline()
        .sending(&task.observed.path)
        .map_err(|error| baseline_problem(&error))?
        == Some(staged.hash().digest)
    {
        // What the bucket has is a version that we sent and have no row for: the file has only moved on since.
        return Ok(Prepared::Overtaken(Box::new(task)));
    }
    match winner {
        Side::Remote => Ok(publication(
            context,
            &task,
            staged,
            remote.version.clone(),
            Fate::Kept,
        )),
        Side::Local => Ok(Prepared::KeepRemote(Box::new(task), staged)),
    }
}

fn publication(
    context: &Context,
    task: &Task,
    staged: Staged,
    remote: RemoteVersion,
    fate: Fate,
) -> Prepared {
    Prepared::Publish(Box::new(Publication {
        path: task.observed.path.clone(),
        expected: task.observed.local.as_ref().map(|entry| entry.fingerprint),
        fate,
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
    again_if_it_breaks_off(|| fetch_once(context, task, remote, durability), kind_of).await
}

/// The class of a failure, as far as the store is to blame.
fn kind_of(failure: &Failure) -> StoreErrorKind {
    match failure {
        Failure::Store(error) => error.kind,
        Failure::Stale | Failure::Changing | Failure::Local(_) | Failure::Problem(..) => {
            StoreErrorKind::Other
        }
    }
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
    context.mount.root.reached(Point::Staged);
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
        context.mount.root.reached(Point::StagingBegun);
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

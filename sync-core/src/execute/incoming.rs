//! Remote to local: stage a batch, make it durable, write down what it displaces, publish, record.
//!
//! Conflicts come through here too, whoever wins: both need the remote version at hand, to compare and to keep.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome,
    attributes::{self, ObjectKind},
    baseline_problem, in_parallel, merge, mode_for, publish,
};
use crate::{
    baseline::{Fate, LocalVersion, RemoteVersion, Row, RowChange, Surprise},
    digest::Digest,
    failpoint::Point,
    join::RemoteEntry,
    link::{self, LinkRefusal},
    local::{Fingerprint, LocalKind},
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
    /// Permissions to record instead of the file's, which are still to be sent.
    pub(super) recorded_permissions: Option<u32>,
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
    let mut ended = Ok(());
    {
        let stage = |task| prepare(context.clone(), task, durability);
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
    // A tag doesn't tell a link from a file that holds its target.
    let may_be_a_link = local.kind != LocalKind::File
        || context
            .mount
            .reads_like_a_link(&task.observed.path, hash.size_bytes);
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
    if !may_be_a_link
        && remote.version.size_bytes == hash.size_bytes
        && remote.version.etag.as_md5() == Some(&*hash.md5_hex)
    {
        return Ok(same());
    }
    let staged = fetch(context, &task, &remote, durability).await?;
    if staged.hash().digest == hash.digest && staged.kind() == local.kind {
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
    // What is only superseded is the version that both sides agreed on.
    let known = task.observed.baseline.as_ref().map(|row| row.digest);
    let staged = staged.displacing(known.filter(|_| fate == Fate::Superseded));
    let unsent_mode = changed_mode(task).map(|(agreed, _)| agreed);
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
        recorded_permissions: unsent_mode,
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
    let mode = mode(task, &object);
    let modified = attributes::modified(&object.info);
    let expected_digest = object.info.metadata("sha256").map(str::to_owned);
    let expected_bytes = object.info.size_bytes;
    let staged = match attributes::kind(&remote.key, &object.info) {
        ObjectKind::File => {
            let writer = write_body(context, object).await?;
            blocking(move || writer.finish(mode, modified, durability)).await?
        }
        ObjectKind::Link => {
            let target = link_target(context, &task.observed.path, object).await;
            if let Err(Failure::Problem(_, message)) = &target {
                context.mount.refuse(remote, message.clone());
            }
            let target = target?;
            let root = context.mount.root.clone();
            blocking(move || Staged::link(&root, &target, modified, durability)).await?
        }
    };
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

/// The mode that the file will have: what the object says, else what the file has here. One that was changed here since
/// both sides agreed stays, and is sent afterwards.
fn mode(task: &Task, object: &Object) -> u32 {
    let changed = changed_mode(task).map(|(_, here)| here);
    let mode = changed
        .or_else(|| attributes::mode(&object.info))
        .or_else(|| Some(file_here(task)?.permissions()))
        .unwrap_or(attributes::DEFAULT_MODE);
    mode_for(task.handling.executable, mode)
}

fn file_here(task: &Task) -> Option<Fingerprint> {
    let entry = task.observed.local.as_ref()?;
    (entry.kind == LocalKind::File).then_some(entry.fingerprint)
}

/// The permissions that both sides agreed on and those that were set here since, where only they were changed here.
fn changed_mode(task: &Task) -> Option<(u32, u32)> {
    let here = file_here(task)?.permissions();
    let agreed = task.observed.baseline.as_ref()?.local?.fingerprint;
    let differs = agreed.kind() == LocalKind::File && agreed.permissions() != here;
    (task.decision == Decision::Download && differs).then_some((agreed.permissions(), here))
}

/// Reads what claims to be the target of a link. One that may not travel is reported and never made.
async fn link_target(
    context: &Context,
    path: &RelPath,
    mut object: Object,
) -> Result<String, Failure> {
    let refused = |refusal: LinkRefusal| {
        let message = format!("the object claims to be a link that is not synchronised: {refusal}");
        Failure::Problem(ProblemKind::Unsupported, message)
    };
    let mut target = Vec::new();
    while let Some(piece) = object.body.next().await {
        target.extend_from_slice(&piece?);
        if target.len() > link::MAX_TARGET_BYTES {
            return Err(refused(LinkRefusal::NoPath));
        }
    }
    context.progress.bytes(target.len() as u64);
    link::check(path, &target, &context.mount.rules)
        .map(str::to_owned)
        .map_err(refused)
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

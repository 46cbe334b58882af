//! Remote to local: stage a batch, make it durable, write down what it displaces, publish, record.
//!
//! Conflicts come through here too, whoever wins: both need the remote version at hand, to compare and to keep.

use std::{sync::Arc, time::SystemTime};

use futures_util::StreamExt as _;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome, attributes, baseline_problem,
    databases,
    fetch::{changed_mode, fetch},
    in_parallel, merge,
    publish::{self, PublishedBatch},
    unit,
};
use crate::{
    baseline::{Fate, LocalVersion, RemoteVersion, Row, RowChange, Surprise},
    digest::Digest,
    failpoint::Point,
    join::RemoteEntry,
    local::{Fingerprint, LocalKind},
    path::RelPath,
    plan::{Task, hash_file},
    reconcile::Decision,
    report::{Entry, ProblemKind, Side},
    sqlite,
    stage::{Durability, Staged},
};

/// From this many files on one sync of the file system is cheaper than one of each file.
const BATCH_SYNC_FILES: usize = 8;
/// Files staged before they are published together.
const BATCH_FILES: usize = 1000;
/// Objects from this size on are asked for their digest before they are fetched to be compared.
const ASK_FIRST_BYTES: u64 = 1024 * 1024;

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

/// Brings everything in, in batches. Gives the tasks to upload that follow from it.
pub(super) async fn run(
    context: &Arc<Context>,
    tasks: Vec<Task>,
    executed: &mut Executed,
) -> Result<Vec<Task>, ExecuteError> {
    let durability = if tasks.len() < BATCH_SYNC_FILES {
        Durability::Each
    } else {
        Durability::Batch
    };
    let mut publisher = Publisher {
        context,
        durability,
        under_way: None,
        uploads: Vec::new(),
    };
    let mut prepared = Vec::new();
    let mut units = unit::Staging::of(context, &tasks);
    let mut ended = Ok(());
    {
        let stage = |task| {
            let unit = unit::unit_of(context, &task);
            let staged = prepare(context.clone(), task, durability);
            async move { staged.await.map(|staged| (unit, staged)) }
        };
        let mut results = std::pin::pin!(in_parallel(context.concurrency, tasks, stage));
        while let Some(result) = results.next().await {
            match result.map_err(ExecuteError::from).flatten() {
                Ok((None, ready)) => prepared.push(ready),
                Ok((Some(unit), ready)) => prepared.extend(units.take(context, unit, ready).await),
                // What came before the end of the store is published all the same.
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
            if prepared.len() >= BATCH_FILES {
                publisher
                    .start(std::mem::take(&mut prepared), executed)
                    .await?;
            }
        }
    }
    prepared.extend(units.broken_off(context));
    publisher.start(prepared, executed).await?;
    publisher.settle(executed).await?;
    ended.map(|()| publisher.uploads)
}

/// Publishes one batch while the next one is staged. A batch that was begun is published to its end whatever happens:
/// dropping this only stops waiting for it.
struct Publisher<'a> {
    context: &'a Arc<Context>,
    durability: Durability,
    under_way: Option<AbortOnDropHandle<Result<PublishedBatch, ExecuteError>>>,
    uploads: Vec<Task>,
}

impl Publisher<'_> {
    /// Begins to publish a batch, as soon as the one before is done.
    async fn start(
        &mut self,
        batch: Vec<Prepared>,
        executed: &mut Executed,
    ) -> Result<(), ExecuteError> {
        self.settle(executed).await?;
        let (context, durability) = (self.context.clone(), self.durability);
        let publish = move || publish::publish_all(&context, batch, durability);
        self.under_way = Some(AbortOnDropHandle::new(tokio::task::spawn_blocking(publish)));
        Ok(())
    }

    /// Waits for the batch under way and records it.
    async fn settle(&mut self, executed: &mut Executed) -> Result<(), ExecuteError> {
        let Some(under_way) = self.under_way.take() else {
            return Ok(());
        };
        let published = under_way.await??;
        self.context.mount.root.reached(Point::BatchSettled);
        let mut rows = Vec::new();
        for outcome in published.outcomes {
            rows.extend(executed.take(outcome));
        }
        executed.report.conflicts.extend(published.conflicts);
        self.uploads.extend(published.uploads);
        self.context.mount.baseline().apply(&rows)?;
        self.context.mount.root.reached(Point::IncomingRecorded);
        Ok(())
    }
}

async fn prepare(
    context: Arc<Context>,
    task: Task,
    durability: Durability,
) -> Result<Prepared, ExecuteError> {
    let path = task.observed.path.clone();
    match databases::held(&context, &task).await {
        Ok(None) => {}
        Ok(Some(held)) => return Ok(Prepared::Finished(held)),
        Err(failure) => return context.outcome(&path, failure).map(Prepared::Finished),
    }
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
    // A database that is always written to is never as it was a moment ago; where it stays, that is no matter.
    let stays =
        winner == Side::Local && sqlite::is_database(&context.mount.root, &task.observed.path);
    if fingerprint != local.fingerprint && !stays {
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
    let sent_before = context
        .mount
        .baseline()
        .sending(&task.observed.path)
        .map_err(|error| baseline_problem(&error))?;
    if let Some(digest) = announced_digest(context, &remote).await? {
        if digest == hash.digest && remote.version.size_bytes == hash.size_bytes {
            return Ok(same());
        }
        if sent_before == Some(digest) {
            return Ok(Prepared::Overtaken(Box::new(task)));
        }
    }
    let staged = fetch(context, &task, &remote, durability).await?;
    if staged.hash().digest == hash.digest && staged.kind() == local.kind {
        return Ok(same());
    }
    if sent_before == Some(staged.hash().digest) {
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

/// The digest that a large object's writer kept with it: proof without a download. Not where the tag has the form of an
/// MD5: then it says the same by itself, or the digest is that of another content which was copied with its metadata.
async fn announced_digest(
    context: &Context,
    remote: &RemoteEntry,
) -> Result<Option<Digest>, Failure> {
    if remote.version.size_bytes < ASK_FIRST_BYTES || remote.version.etag.as_md5().is_some() {
        return Ok(None);
    }
    let info = context.store.head(&remote.key).await?;
    let info = info.filter(|info| info.etag == remote.version.etag);
    let info = info.ok_or(Failure::Stale)?;
    Ok(info.metadata(attributes::DIGEST).and_then(Digest::from_hex))
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

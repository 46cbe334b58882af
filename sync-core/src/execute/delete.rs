//! Removing what the other side removed.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::StreamExt as _;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome,
    databases::{self, Way},
    in_parallel,
};
use crate::{
    baseline::{Displacement, Fate, RowChange, Surprise},
    failpoint::Point,
    local::LocalKind,
    path::RelPath,
    plan::Task,
    reconcile::Decision,
    stage::{self, Removed},
    store::{StoreError, StoreErrorKind, Support},
};

/// Drops the deletes of files here whose object is there all the same: some stores list an object `x` instead of what lies
/// below `x/`.
pub(super) async fn retain_certain(
    context: &Arc<Context>,
    tasks: &mut Vec<Task>,
    doubtful: &BTreeSet<RelPath>,
) -> Result<(), ExecuteError> {
    let mut stays = BTreeSet::new();
    let ask = |path: RelPath| {
        let context = context.clone();
        async move {
            let found = context.store.head(&context.mount.prefix.key(&path)).await;
            (path, found)
        }
    };
    let paths: Vec<_> = doubtful.iter().cloned().collect();
    let mut answers = std::pin::pin!(in_parallel(context.concurrency, paths, ask));
    while let Some(answer) = answers.next().await {
        match answer? {
            (_, Ok(None)) => {}
            (_, Err(error)) if error.kind.is_fatal() => return Err(error.into()),
            // It is there, or not known to be gone.
            (path, Ok(Some(_)) | Err(_)) => {
                stays.insert(path);
            }
        }
    }
    tasks.retain(|task| {
        task.decision != Decision::DeleteLocal || !stays.contains(&task.observed.path)
    });
    Ok(())
}

/// Deletes everything, on either side.
pub(super) async fn run(
    context: &Arc<Context>,
    tasks: Vec<Task>,
    executed: &mut Executed,
) -> Result<(), ExecuteError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let (local, remote): (Vec<_>, Vec<_>) = tasks
        .into_iter()
        .partition(|task| task.decision == Decision::DeleteLocal);
    if !local.is_empty() {
        let blocking = context.clone();
        let outcomes =
            tokio::task::spawn_blocking(move || delete_local(&blocking, &local)).await??;
        let changes: Vec<_> = outcomes
            .into_iter()
            .filter_map(|outcome| executed.take(outcome))
            .collect();
        context.mount.root.reached(Point::DeletesSettled);
        context.mount.baseline().apply(&changes)?;
    }
    let mut changes = Vec::new();
    let mut failed = Ok(());
    {
        let mut outcomes = std::pin::pin!(in_parallel(context.concurrency, remote, |task| {
            delete_remote(context.clone(), task)
        }));
        while let Some(outcome) = outcomes.next().await {
            match outcome.map_err(ExecuteError::from).flatten() {
                Ok(outcome) => changes.extend(executed.take(outcome)),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
    }
    context.mount.baseline().apply(&changes)?;
    context.mount.root.reached(Point::DeletesRecorded);
    failed
}

fn delete_local(context: &Context, tasks: &[Task]) -> Result<Vec<Outcome>, ExecuteError> {
    // Until everything is gone: a runtime that is about to start waits for this.
    let databases = context.mount.databases();
    let mut planned = Vec::with_capacity(tasks.len());
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        let path = &task.observed.path;
        let Some(entry) = &task.observed.local else {
            continue;
        };
        match databases::make_way(context, *databases, path, &entry.fingerprint) {
            Ok(Way::Clear(expected, digest)) => planned.push((
                task,
                Displacement {
                    staged_name: stage::staging_name(),
                    path: path.clone(),
                    expected,
                    digest: digest.or_else(|| Some(task.observed.baseline.as_ref()?.digest)),
                    staged_inode: 0,
                    fate: Fate::Superseded,
                    surprise: Surprise::PutBack,
                },
            )),
            Ok(Way::Blocked(outcome)) => outcomes.push(outcome),
            Err(failure) => outcomes.push(context.outcome(path, failure)?),
        }
    }
    let displacements: Vec<_> = planned
        .iter()
        .map(|(_, displacement)| displacement.clone())
        .collect();
    context
        .mount
        .baseline()
        .plan_displacements(&displacements)?;
    context.mount.root.reached(Point::DeletesNoted);
    let mut settled = Vec::with_capacity(planned.len());
    for (
        task,
        Displacement {
            staged_name,
            path,
            expected,
            digest,
            ..
        },
    ) in planned
    {
        let removed = stage::remove(
            &context.mount.root,
            &staged_name,
            &path,
            &expected,
            digest.as_ref(),
        );
        if removed.is_ok() {
            settled.push(staged_name);
        }
        outcomes.push(match removed {
            Ok(Removed::Done) => {
                context.progress.file_done(&path);
                let entry = context.entry(&path, &task.handling, 0);
                let change = Box::new(RowChange::Bury(path));
                Outcome::Done {
                    change,
                    effect: Effect::DeletedLocal(entry),
                }
            }
            Ok(Removed::Stale) => Outcome::Stale(path),
            Err(error) => context.outcome(&path, error.into())?,
        });
    }
    context.mount.baseline().finish_displacements(&settled)?;
    Ok(outcomes)
}

async fn delete_remote(context: Arc<Context>, task: Task) -> Result<Outcome, ExecuteError> {
    let path = task.observed.path.clone();
    match remove_object(&context, &task).await {
        Ok(()) => {
            context.mount.root.reached(Point::DeletedRemotely);
            context.progress.file_done(&path);
            let entry = context.entry(&path, &task.handling, 0);
            Ok(Outcome::Done {
                change: Box::new(RowChange::Bury(path)),
                effect: Effect::DeletedRemote(entry),
            })
        }
        Err(failure) => context.outcome(&path, failure),
    }
}

/// RACE: on a store without conditional deletes a version that another writer puts between the HEAD and the DELETE is
/// removed; stores with versioning keep it.
async fn remove_object(context: &Context, task: &Task) -> Result<(), Failure> {
    let Some(remote) = &task.observed.remote else {
        return Ok(());
    };
    // A file that appeared again is newer than the delete; a directory in its place is not.
    let here = context.mount.look(&task.observed.path)?;
    if here.is_some_and(|entry| entry.kind != LocalKind::Directory) {
        return Err(Failure::Stale);
    }
    let conditional = context
        .mount
        .capabilities()
        .is_some_and(|found| found.conditional_delete == Support::Yes);
    if !conditional {
        match context.store.head(&remote.key).await? {
            None => return Ok(()),
            Some(info) if info.etag == remote.version.etag => {}
            Some(_) => return Err(Failure::Stale),
        }
    }
    match context
        .store
        .delete(&remote.key, conditional.then_some(&remote.version.etag))
        .await
    {
        Err(StoreError {
            kind: StoreErrorKind::NotFound,
            ..
        })
        | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

//! Objects that were written again with the same content: their attributes may be others.
//!
//! A changed mode is applied to the file in place, without bringing the content again. A mode that was changed here too
//! stays and is sent. Only what can't be done in place comes back as a download.

use std::{io, sync::Arc};

use futures_util::StreamExt as _;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome,
    attributes::{self, ObjectKind},
    in_parallel, mode_for,
};
use crate::{
    baseline::{Certainty, LocalVersion, RemoteVersion, Row, RowChange},
    join::RemoteEntry,
    local::{Fingerprint, LocalKind},
    plan::Task,
    reconcile::Decision,
    root::LocalError,
    store::ObjectInfo,
};

/// What asking for an object's attributes came to.
enum Looked {
    /// Its time, and a changed mode, are dealt with.
    Settled(Outcome),
    /// Nothing to do, or nothing that can be done now.
    Nothing,
    /// It has to be brought like a changed object.
    Download(Box<Task>),
}

/// Asks for the attributes and applies them. Gives what has to be downloaded instead.
pub(super) async fn run(
    context: &Arc<Context>,
    tasks: Vec<Task>,
    executed: &mut Executed,
) -> Result<Vec<Task>, ExecuteError> {
    let mut downloads = Vec::new();
    let mut rows = Vec::new();
    let look = |task| look(context.clone(), task);
    let mut results = std::pin::pin!(in_parallel(context.concurrency, tasks, look));
    while let Some(result) = results.next().await {
        match result.map_err(ExecuteError::from).flatten()? {
            Looked::Settled(outcome) => rows.extend(executed.take(outcome)),
            Looked::Download(task) => downloads.push(*task),
            Looked::Nothing => {}
        }
    }
    context.mount.baseline().apply(&rows)?;
    Ok(downloads)
}

async fn look(context: Arc<Context>, task: Task) -> Result<Looked, ExecuteError> {
    let path = task.observed.path.clone();
    match settle(&context, task).await {
        Ok(looked) => Ok(looked),
        Err(failure) => context.outcome(&path, failure).map(Looked::Settled),
    }
}

async fn settle(context: &Arc<Context>, task: Task) -> Result<Looked, Failure> {
    let Some(remote) = task.observed.remote.clone() else {
        return Ok(Looked::Nothing);
    };
    match context.store.head(&remote.key).await? {
        Some(info) if info.etag == remote.version.etag => {
            let blocking = context.clone();
            tokio::task::spawn_blocking(move || apply(&blocking, task, &remote, &info))
                .await
                .map_err(|error| {
                    Failure::Problem(crate::report::ProblemKind::Io, error.to_string())
                })?
        }
        // It changed, or went, since it was listed: the next listing tells.
        Some(_) | None => Ok(Looked::Nothing),
    }
}

fn apply(
    context: &Context,
    task: Task,
    remote: &RemoteEntry,
    info: &ObjectInfo,
) -> Result<Looked, Failure> {
    let (Some(entry), Some(row)) = (&task.observed.local, &task.observed.baseline) else {
        return Ok(Looked::Nothing);
    };
    let Some(before) = row.local else {
        return Ok(Looked::Nothing);
    };
    let now = entry.fingerprint;
    let is_unchanged = now == before.fingerprint;
    let there = match attributes::kind(&remote.key, info) {
        ObjectKind::File => LocalKind::File,
        ObjectKind::Link => LocalKind::Symlink,
    };
    if there != entry.kind && is_unchanged {
        return Ok(again(task));
    }
    let wanted = match there {
        LocalKind::File if there == entry.kind => attributes::mode(info),
        LocalKind::File | LocalKind::Symlink | LocalKind::Special | LocalKind::Directory => None,
    };
    let wanted = wanted.map(|mode| mode_for(task.handling.executable, mode));
    let stays = now.permissions() != before.fingerprint.permissions();
    let Some(mode) = wanted.filter(|mode| *mode != now.permissions() && !stays) else {
        let row = record(row, before, &remote.version);
        return Ok(settled(row, Effect::Recorded));
    };
    let path = &task.observed.path;
    match context.mount.root.set_permissions(path, &now, mode) {
        Ok(Some(after)) => {
            let local = local_version(before, after, mode, is_unchanged);
            let entry = context.entry(path, &task.handling, 0);
            let row = record(row, local, &remote.version);
            Ok(settled(row, Effect::Downloaded(entry)))
        }
        Ok(None) if is_unchanged => Ok(again(task)),
        // Edited, and about to be sent with the mode that it has.
        Ok(None) => Ok(settled(
            record(row, before, &remote.version),
            Effect::Recorded,
        )),
        // Not ours to change: a file without its mode is no failed file.
        Err(error) if is_refused(&error) => {
            tracing::debug!(%path, %error, "the mode stays as it is");
            let row = record(row, before, &remote.version);
            Ok(settled(row, Effect::Recorded))
        }
        Err(error) => Err(error.into()),
    }
}

/// An ordinary download.
fn again(task: Task) -> Looked {
    Looked::Download(Box::new(Task {
        decision: Decision::Download,
        ..task
    }))
}

/// What to remember of the file. An edit that is still to be sent must stay visible.
fn local_version(
    before: LocalVersion,
    after: Fingerprint,
    mode: u32,
    is_unchanged: bool,
) -> LocalVersion {
    let fingerprint = if is_unchanged {
        after
    } else {
        before.fingerprint.with_permissions(mode)
    };
    let seen = LocalVersion::published(fingerprint, std::time::SystemTime::now());
    match before.certainty {
        Certainty::Racy => LocalVersion {
            certainty: Certainty::Racy,
            ..seen
        },
        Certainty::Settled => seen,
    }
}

fn record(row: &Row, local: LocalVersion, remote: &RemoteVersion) -> Row {
    Row {
        local: Some(local),
        remote: Some(remote.clone()),
        ..row.clone()
    }
}

fn settled(row: Row, effect: Effect) -> Looked {
    Looked::Settled(Outcome::Done {
        change: Box::new(RowChange::Record(row)),
        effect,
    })
}

fn is_refused(error: &LocalError) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::Unsupported
    )
}

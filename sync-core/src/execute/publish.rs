//! Publishing a staged batch: make it durable, write down what it displaces, rename each to its place.

use std::time::SystemTime;

use super::{
    Context, Effect, ExecuteError, Failure, Outcome,
    databases::{self, Way},
    incoming::{Kind, Prepared, Publication},
    unit,
};
use crate::{
    baseline::{Certainty, LocalVersion, Row, RowChange},
    failpoint::Point,
    local::Fingerprint,
    path::RelPath,
    plan::{Direction, Task},
    reconcile::Decision,
    report::{ConflictEntry, Side},
    root::LocalError,
    sqlite::{self, Databases},
    stage::{Durability, Published, Staged, Synced, create_directory},
};

/// What publishing a batch came to.
#[derive(Default)]
pub(super) struct PublishedBatch {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) uploads: Vec<Task>,
    pub(super) conflicts: Vec<ConflictEntry>,
    /// Names in the staging directory that hold nothing any more. Others wait for the recovery of the next start.
    settled: Vec<String>,
}

pub(super) fn publish_all(
    context: &Context,
    prepared: Vec<Prepared>,
    durability: Durability,
) -> Result<PublishedBatch, ExecuteError> {
    if durability == Durability::Batch
        && prepared.iter().any(waits_for_sync)
        && let Err(error) = context.mount.root.sync_file_system()
    {
        tracing::warn!(mount = context.mount.name, %error, "can't sync the file system; a power failure may lose new files");
    }
    context.mount.root.reached(Point::Synced);
    // Until everything is in its place: a runtime that is about to start waits for this.
    let databases = context.mount.databases();
    let mut prepared: Vec<_> = prepared
        .into_iter()
        .map(|prepared| settled(context, *databases, prepared))
        .collect::<Result<_, _>>()?;
    // Behind the databases that they may be parts of.
    prepared.sort_by_key(|prepared| match prepared {
        Prepared::Publish(publication) => sqlite::main_of(&publication.path).is_some(),
        Prepared::NewDirectory(..)
        | Prepared::KeepRemote(..)
        | Prepared::Overtaken(_)
        | Prepared::Finished(_) => false,
    });
    let displacements: Vec<_> = prepared
        .iter()
        .filter_map(|prepared| match prepared {
            Prepared::Publish(publication) => Some(publication.staged.displacement(
                &publication.path,
                publication.expected?,
                publication.fate,
                publication.kind.surprise(),
            )),
            Prepared::NewDirectory(..)
            | Prepared::KeepRemote(..)
            | Prepared::Overtaken(_)
            | Prepared::Finished(_) => None,
        })
        .collect();
    if !displacements.is_empty() {
        context
            .mount
            .baseline()
            .plan_displacements(&displacements)?;
        context.mount.root.reached(Point::DisplacementsNoted);
    }
    let mut batch = PublishedBatch::default();
    for prepared in prepared {
        match prepared {
            Prepared::Finished(outcome) => batch.outcomes.push(outcome),
            Prepared::Overtaken(mut task) => {
                task.decision = Decision::Upload;
                batch.uploads.push(*task);
            }
            Prepared::Publish(publication) => {
                let outcome = publish(context, *publication, &mut batch)?;
                batch.outcomes.push(outcome);
            }
            Prepared::NewDirectory(directory, files) => {
                publish_directory(context, &directory, files, &mut batch)?;
            }
            Prepared::KeepRemote(task, staged) => keep_remote(context, *task, staged, &mut batch)?,
        }
    }
    context.mount.root.reached(Point::BatchPublished);
    if !displacements.is_empty() {
        context
            .mount
            .baseline()
            .finish_displacements(&batch.settled)?;
    }
    Ok(batch)
}

/// What is to be published over a database waits for whoever uses it, and comes when its log is brought home.
fn settled(
    context: &Context,
    databases: Databases,
    prepared: Prepared,
) -> Result<Prepared, ExecuteError> {
    let Prepared::Publish(mut publication) = prepared else {
        return Ok(prepared);
    };
    let path = &publication.path;
    match databases::blocked(context, databases, path, publication.staged.name()) {
        Ok(None) => {}
        Ok(Some(held)) => return Ok(Prepared::Finished(held)),
        Err(failure) => return context.outcome(path, failure).map(Prepared::Finished),
    }
    let Some(expected) = publication.expected else {
        return Ok(Prepared::Publish(publication));
    };
    match databases::make_way(context, databases, &publication.path, &expected) {
        Ok(Way::Clear(now, digest)) => {
            publication.expected = Some(now);
            if digest.is_some() {
                publication.staged = publication.staged.displacing(digest);
            }
            Ok(Prepared::Publish(publication))
        }
        Ok(Way::Blocked(outcome)) => Ok(Prepared::Finished(outcome)),
        Err(failure) => context
            .outcome(&publication.path, failure)
            .map(Prepared::Finished),
    }
}

fn waits_for_sync(prepared: &Prepared) -> bool {
    let staged = match prepared {
        Prepared::NewDirectory(_, files) => {
            return files.iter().any(|file| file.staged.synced() == Synced::No);
        }
        Prepared::Publish(publication) => &publication.staged,
        Prepared::KeepRemote(_, staged) => staged,
        Prepared::Overtaken(_) | Prepared::Finished(_) => return false,
    };
    staged.synced() == Synced::No
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
        fate,
        remote,
        digest,
        entry,
        recorded_permissions,
        kind,
    } = publication;
    let staged_name = staged.name().to_owned();
    // Planned before its database came, maybe in this very batch.
    if sqlite::is_part(&context.mount.root, &path) {
        return Ok(Outcome::Done {
            change: Box::new(RowChange::Forget(path)),
            effect: Effect::Recorded,
        });
    }
    let published = match expected {
        None => keep_strays(context, &path, &staged_name).and_then(|()| staged.create_at(&path)),
        Some(expected) => staged.replace(&path, &expected, fate, kind.surprise()),
    };
    if published.is_ok() {
        batch.settled.push(staged_name);
    }
    let (fingerprint, copy) = match published {
        Ok(Published::Done(fingerprint)) => (fingerprint, None),
        Ok(Published::Displaced { fingerprint, copy }) => (fingerprint, Some(copy)),
        Ok(Published::Stale) => return Ok(Outcome::Stale(path)),
        Err(error) => return context.outcome(&path, error.into()),
    };
    if kind == Kind::Merge {
        context.mount.root.reached(Point::MergePublished);
    }
    context.progress.file_done(&path);
    let local = version_to_record(fingerprint, recorded_permissions);
    let row = Row {
        path: path.clone(),
        local: Some(local),
        remote: Some(remote),
        digest,
    };
    let effect = match (kind, copy) {
        (Kind::Merge, _) => Effect::Merged(entry),
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

/// A log whose database is gone must not be found beside another one.
fn keep_strays(context: &Context, path: &RelPath, staged_name: &str) -> Result<(), LocalError> {
    for copy in sqlite::keep_strays(&context.mount.root, path, staged_name)? {
        tracing::warn!(mount = context.mount.name, %path, %copy, "a log without its database is kept as a conflict copy");
    }
    Ok(())
}

fn version_to_record(fingerprint: Fingerprint, permissions: Option<u32>) -> LocalVersion {
    let recorded = match permissions {
        Some(permissions) => fingerprint.with_permissions(permissions),
        None => fingerprint,
    };
    LocalVersion::published(recorded, SystemTime::now())
}

/// Publishes all of a new directory at once, or its files one by one where there is a directory by now, or where one of
/// them may turn out to be part of a database among them.
fn publish_directory(
    context: &Context,
    directory: &RelPath,
    mut files: Vec<Publication>,
    batch: &mut PublishedBatch,
) -> Result<(), ExecuteError> {
    let has_parts = files.iter().any(|file| {
        let main = sqlite::main_of(&file.path);
        main.is_some_and(|main| files.iter().any(|other| other.path == main))
    });
    if has_parts || !matches!(context.mount.root.look(directory), Ok(None)) {
        files.sort_by(|left, right| left.path.cmp(&right.path));
        for file in files {
            let outcome = publish(context, file, batch)?;
            batch.outcomes.push(outcome);
        }
        return Ok(());
    }
    let (mut staged, mut rest) = (Vec::new(), Vec::new());
    for file in files {
        staged.push((file.path.clone(), file.staged));
        let permissions = file.recorded_permissions;
        rest.push((file.path, file.remote, file.digest, file.entry, permissions));
    }
    match create_directory(&context.mount.root, directory, staged) {
        Ok(Some(fingerprints)) => {
            for (file, fingerprint) in rest.into_iter().zip(fingerprints) {
                let (path, remote, digest, entry, permissions) = file;
                context.progress.file_done(&path);
                let row = Row {
                    path,
                    local: Some(version_to_record(fingerprint, permissions)),
                    remote: Some(remote),
                    digest,
                };
                batch.outcomes.push(Outcome::Done {
                    change: Box::new(RowChange::Record(row)),
                    effect: Effect::Downloaded(entry),
                });
            }
        }
        Ok(None) => {
            let stale = rest.into_iter().map(|(path, ..)| Outcome::Stale(path));
            batch.outcomes.extend(stale);
        }
        Err(error) => {
            for (path, ..) in rest {
                let outcome = unit::failed_directory(context, &path, &error)?;
                batch.outcomes.push(outcome);
            }
        }
    }
    Ok(())
}

/// The local side won: the remote version becomes a copy, and only then may the local one replace it in the bucket.
fn keep_remote(
    context: &Context,
    mut task: Task,
    staged: Staged,
    batch: &mut PublishedBatch,
) -> Result<(), ExecuteError> {
    let path = task.observed.path.clone();
    let digest = staged.hash().digest;
    match staged.keep_as_copy(&path, Side::Remote) {
        Ok(copy) => {
            context.mount.root.reached(Point::RemoteCopyKept);
            // The remote version is dealt with: should the upload fail, it is not to be copied again at every try.
            let remote = task
                .observed
                .remote
                .as_ref()
                .map(|entry| entry.version.clone());
            let row = Row {
                path: path.clone(),
                local: Some(LocalVersion {
                    fingerprint: Fingerprint::of_nothing(),
                    certainty: Certainty::Settled,
                }),
                remote,
                digest,
            };
            let change = Box::new(RowChange::Record(row.clone()));
            batch.outcomes.push(Outcome::Done {
                change,
                effect: Effect::Recorded,
            });
            task.observed.baseline = Some(row);
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

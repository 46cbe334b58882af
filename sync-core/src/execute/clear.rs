//! Clearing the way: files that stand where the bucket has a directory, and lose, become conflict copies before anything is
//! brought.

use std::sync::Arc;

use super::{
    Context, Effect, ExecuteError, Executed, Outcome,
    databases::{self, Way},
    task_for_new_file,
};
use crate::{
    baseline::{Displacement, Fate, RowChange, Surprise},
    path::RelPath,
    plan::{Direction, Task},
    report::{ConflictEntry, Side},
    stage::{self, KeptAside},
};

/// Moves files aside; gives the copies to push.
pub(super) async fn run(
    context: &Arc<Context>,
    tasks: Vec<Task>,
    executed: &mut Executed,
) -> Result<Vec<Task>, ExecuteError> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let blocking = context.clone();
    let (outcomes, conflicts) =
        tokio::task::spawn_blocking(move || make_way(&blocking, &tasks)).await??;
    let changes: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| executed.take(outcome))
        .collect();
    context.mount.baseline().apply(&changes)?;
    let copies = match context.direction {
        Direction::Pull => Vec::new(),
        Direction::Push | Direction::Sync => conflicts
            .iter()
            .filter_map(|conflict| RelPath::new(&conflict.copy).ok())
            .filter_map(|copy| task_for_new_file(&context.mount, copy))
            .collect(),
    };
    executed.report.conflicts.extend(conflicts);
    Ok(copies)
}

fn make_way(
    context: &Context,
    tasks: &[Task],
) -> Result<(Vec<Outcome>, Vec<ConflictEntry>), ExecuteError> {
    let databases = context.mount.databases();
    let (mut displacements, mut outcomes) = (Vec::new(), Vec::new());
    for task in tasks {
        let path = &task.observed.path;
        let Some(entry) = &task.observed.local else {
            continue;
        };
        match databases::make_way(context, *databases, path, &entry.fingerprint) {
            Ok(Way::Clear(expected, _)) => displacements.push(Displacement {
                staged_name: stage::staging_name(),
                path: path.clone(),
                expected,
                digest: None,
                staged_inode: 0,
                fate: Fate::Kept,
                surprise: Surprise::Copy,
            }),
            Ok(Way::Blocked(outcome)) => outcomes.push(outcome),
            Err(failure) => outcomes.push(context.outcome(path, failure)?),
        }
    }
    context
        .mount
        .baseline()
        .plan_displacements(&displacements)?;
    let (mut conflicts, mut settled) = (Vec::new(), Vec::new());
    for displacement in displacements {
        let Displacement {
            staged_name,
            path,
            expected,
            ..
        } = displacement;
        outcomes.push(
            match stage::keep_aside(&context.mount.root, &staged_name, &path, &expected) {
                Ok(KeptAside::Copy(copy)) => {
                    settled.push(staged_name);
                    conflicts.push(ConflictEntry {
                        mount: context.mount.name.clone(),
                        path: path.to_string(),
                        winner: Side::Remote,
                        copy: copy.to_string(),
                    });
                    context.progress.file_done(&path);
                    Outcome::Done {
                        change: Box::new(RowChange::Bury(path)),
                        effect: Effect::Recorded,
                    }
                }
                Ok(KeptAside::Stale) => {
                    settled.push(staged_name);
                    Outcome::Stale(path)
                }
                Err(error) => context.outcome(&path, error.into())?,
            },
        );
    }
    context.mount.baseline().finish_displacements(&settled)?;
    Ok((outcomes, conflicts))
}

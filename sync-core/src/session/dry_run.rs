//! The plan as a report: what a pass would do, and why.

use std::sync::Arc;

use super::{
    PassRequest, Session, SessionError,
    planning::{Listings, Part},
};
use crate::{
    mount::OpenMount,
    plan::{MountPlan, Task},
    progress::Progress,
    reconcile::Decision,
    report::{ConflictEntry, Entry, Report},
};

impl Session {
    pub(super) async fn run_plan(
        &self,
        request: &PassRequest,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<(), SessionError> {
        for mount in self.selected(request) {
            let scope = self.scope(mount, request);
            let mut planning = self.planning(mount, &scope, Listings::Fetched, progress);
            while let Some(part) = planning.next().await? {
                match part {
                    Part::Plan(plan) => describe(mount, plan, report),
                    Part::Refused(problem) => report.problems.push(problem),
                }
            }
        }
        Ok(())
    }
}

fn describe(mount: &OpenMount, plan: MountPlan, report: &mut Report) {
    report.problems.extend(plan.problems);
    report.held.extend(plan.held);
    for path in plan.look_again {
        report.downloaded.push(Entry {
            mount: mount.name.clone(),
            path: path.to_string(),
            bytes: 0,
            group: mount.rules.rule_for(&path).group.clone(),
            reason: Some("takes the place of what is deleted here".to_owned()),
        });
    }
    for task in plan.tasks {
        let entry = entry(mount, &task);
        match task.decision {
            Decision::Upload => {
                report.bytes_out += entry.bytes;
                report.uploaded.push(entry);
            }
            Decision::Download => {
                report.bytes_in += entry.bytes;
                report.downloaded.push(entry);
            }
            Decision::Merge => report.merged.push(entry),
            Decision::DeleteLocal => report.deleted_local.push(entry),
            Decision::DeleteRemote => report.deleted_remote.push(entry),
            Decision::Conflict(winner) => report.conflicts.push(ConflictEntry {
                mount: entry.mount,
                path: entry.path,
                winner,
                // Named when it is made; the same content on both sides makes none.
                copy: String::new(),
            }),
            Decision::Nothing | Decision::RecordGone | Decision::Forget => {}
        }
    }
}

fn entry(mount: &OpenMount, task: &Task) -> Entry {
    let local = task
        .observed
        .local
        .as_ref()
        .map(|entry| entry.fingerprint.size_bytes);
    let remote = task
        .observed
        .remote
        .as_ref()
        .map(|entry| entry.version.size_bytes);
    let bytes = match task.decision {
        Decision::Upload => local,
        Decision::Download | Decision::Merge => remote,
        Decision::DeleteLocal
        | Decision::DeleteRemote
        | Decision::Conflict(_)
        | Decision::Nothing
        | Decision::RecordGone
        | Decision::Forget => None,
    };
    Entry {
        mount: mount.name.clone(),
        path: task.observed.path.to_string(),
        bytes: bytes.unwrap_or(0),
        group: task.handling.group.clone(),
        reason: Some(task.reason.clone()),
    }
}

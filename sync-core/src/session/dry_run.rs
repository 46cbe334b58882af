//! The plan as a report: what a pass would do, and why.

use std::sync::Arc;

use super::{
    PassRequest, Session, SessionError,
    planning::{Listings, Part},
};
use crate::{
    carry::Verdict,
    execute::carry,
    mount::OpenMount,
    plan::{Direction, IgnoreFiles, MountPlan, Task},
    progress::Progress,
    reconcile::Decision,
    report::{ConflictEntry, Entry, Report, Side},
};

impl Session {
    pub(super) async fn run_plan(
        &self,
        request: &PassRequest,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<(), SessionError> {
        for mount in self.selected(request) {
            let mut scope = self.scope(mount, request);
            scope.ignore_files = IgnoreFiles::InTurn;
            let mut planning = self.planning(mount, &scope, Listings::Fetched, progress);
            while let Some(part) = planning.next().await? {
                match part {
                    Part::Plan(plan) => describe(mount, plan, report),
                    Part::Refused(problem) => report.problems.push(problem),
                }
            }
            describe_carried(mount, request, report);
        }
        Ok(())
    }
}

fn describe(mount: &OpenMount, plan: MountPlan, report: &mut Report) {
    report.problems.extend(plan.problems);
    report.held.extend(plan.held);
    for task in plan.tasks.into_iter().chain(plan.later) {
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
            Decision::MakeWay => report.conflicts.push(ConflictEntry {
                mount: entry.mount,
                path: entry.path,
                winner: Side::Remote,
                copy: String::new(),
            }),
            Decision::Nothing | Decision::RecordGone | Decision::Forget | Decision::Blocked => {}
        }
    }
}

/// What would be carried and then sent; only a plan over everything shows it.
fn describe_carried(mount: &OpenMount, request: &PassRequest, report: &mut Report) {
    if !request.paths.is_empty() || request.direction == Direction::Pull {
        return;
    }
    for pending in carry::pending(mount) {
        if !matches!(pending.verdict, Verdict::Carry | Verdict::CarryOver) {
            continue;
        }
        let path = pending.to.to_string();
        let planned = |entry: &Entry| entry.path == path && entry.mount == mount.name;
        // The plan looked at the version that is there now.
        let replaced: u64 = report
            .uploaded
            .iter()
            .filter(|entry| planned(entry))
            .map(|entry| entry.bytes)
            .sum();
        report.uploaded.retain(|entry| !planned(entry));
        report.bytes_out = report.bytes_out - replaced + pending.size_bytes;
        report.uploaded.push(Entry {
            mount: mount.name.clone(),
            path,
            bytes: pending.size_bytes,
            group: None,
            reason: Some(format!("edited as {}", pending.inner)),
        });
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
        | Decision::MakeWay
        | Decision::Blocked
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

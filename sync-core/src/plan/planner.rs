//! The planner: takes what is observed of each path, decides, and holds what the brakes hold.

mod hidden;
mod mirror;

use std::collections::{BTreeMap, HashMap};

use self::hidden::{Above, Sight};
use super::{
    Extent, Handling, MountPlan, PlanError, PlanScope, RemoteSource, Task,
    change::{
        Touched, Unsupported, changes, explain, gone_row, is_racy, local_problem, settled_row,
        unsupported, was_only_touched,
    },
};
use crate::{
    baseline::{Row, RowChange},
    guard::{self, DeleteCounts},
    join::{Observed, RemoteEntry, join},
    local::Fingerprint,
    mount::OpenMount,
    path::RelPath,
    reconcile::{Change, Decision, reconcile},
    report::{HeldEntry, Problem, ProblemKind, Side},
    scan::{ScanItem, scan},
};

/// Where the planner's knowledge of the bucket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RemoteView {
    /// A listing.
    Listed,
    /// The baseline: nobody asked the store.
    Assumed,
}

pub(super) struct Planner<'a> {
    mount: &'a OpenMount,
    scope: &'a PlanScope,
    remote_view: RemoteView,
    pub(super) plan: MountPlan,
    /// Files that are new here, by inode: a baseline row of such a file was renamed, not deleted.
    created: HashMap<u64, Fingerprint>,
    local_files: u64,
    remote_objects: u64,
    scan_is_complete: bool,
    /// Paths whose object may be stored under an older key, until the whole listing was seen.
    deferred: BTreeMap<RelPath, (RelPath, Option<Observed>)>,
    legacy_objects: BTreeMap<RelPath, RemoteEntry>,
    above: Above,
}

/// The object as it was when the row was written.
fn assumed(mount: &OpenMount, row: Option<&Row>) -> Option<RemoteEntry> {
    let row = row?;
    let version = row.remote.clone()?;
    Some(RemoteEntry {
        path: row.path.clone(),
        key: mount.prefix.key(&row.path),
        version,
    })
}

impl<'a> Planner<'a> {
    pub(super) fn new(mount: &'a OpenMount, scope: &'a PlanScope, remote_view: RemoteView) -> Self {
        let legacy = mount.rules.rules().iter().filter_map(|rule| {
            let path = RelPath::new(rule.paths.first()?.as_str()).ok()?;
            Some((path, (rule.legacy_key.clone()?, None)))
        });
        Self {
            mount,
            scope,
            remote_view,
            plan: MountPlan::default(),
            created: HashMap::new(),
            local_files: 0,
            remote_objects: 0,
            scan_is_complete: true,
            deferred: if remote_view == RemoteView::Assumed {
                BTreeMap::new()
            } else {
                legacy.collect()
            },
            legacy_objects: BTreeMap::new(),
            above: Above::default(),
        }
    }

    pub(super) fn observe(
        &mut self,
        part: Option<&RelPath>,
        remote: RemoteSource,
    ) -> Result<(), PlanError> {
        let mount = self.mount;
        let mut scan_problems = Vec::new();
        let mut rows = mount.rows(part);
        let mut listing = remote.entries(mount, part);
        let local = scan(mount.root.path(), part, &mount.rules).filter_map(|item| match item {
            ScanItem::Entry(entry) => Some(entry),
            ScanItem::Problem {
                path,
                kind,
                message,
            } => {
                scan_problems.push(Problem {
                    mount: mount.name.clone(),
                    path,
                    kind,
                    message,
                });
                None
            }
        });
        for observed in join(rows.by_ref(), local, listing.by_ref()) {
            self.take(observed);
        }
        if let Some(error) = rows.take_error() {
            return Err(error.into());
        }
        self.plan.problems.extend(listing.finish()?);
        self.scan_is_complete &= scan_problems
            .iter()
            .all(|problem| problem.kind != ProblemKind::Incomplete);
        self.plan.problems.extend(scan_problems);
        Ok(())
    }

    /// Counts a path and decides about it, now or when the whole listing was seen.
    fn take(&mut self, mut observed: Observed) {
        if self.remote_view == RemoteView::Assumed {
            observed.remote = assumed(self.mount, observed.baseline.as_ref());
        }
        if self.look_behind(&mut observed) == Sight::Hidden {
            return;
        }
        self.local_files += u64::from(observed.local.is_some());
        self.remote_objects += u64::from(observed.remote.is_some());
        if self
            .deferred
            .values()
            .any(|(legacy, _)| *legacy == observed.path)
            && let Some(remote) = observed.remote.take()
        {
            self.legacy_objects.insert(observed.path.clone(), remote);
        }
        if observed.remote.is_none()
            && let Some((_, deferred)) = self.deferred.get_mut(&observed.path)
        {
            *deferred = Some(observed);
            return;
        }
        if observed.remote.is_some() {
            self.deferred.remove(&observed.path);
        }
        self.consider(observed);
    }

    pub(super) fn consider_deferred(&mut self) {
        for (path, (legacy, deferred)) in std::mem::take(&mut self.deferred) {
            // A part of the mount doesn't show whether the older key is there.
            if self.scope.extent != Extent::Whole {
                continue;
            }
            let remote = self
                .legacy_objects
                .remove(&legacy)
                .map(|entry| RemoteEntry {
                    path: path.clone(),
                    ..entry
                });
            match (deferred, remote) {
                (Some(observed), remote) => self.consider(Observed { remote, ..observed }),
                (None, Some(remote)) => {
                    self.consider(Observed {
                        path,
                        baseline: None,
                        local: None,
                        remote: Some(remote),
                    });
                }
                (None, None) => {}
            }
        }
    }

    pub(super) fn consider(&mut self, mut observed: Observed) {
        if let Some(policy) = self.mount.mirror() {
            return self.consider_mirrored(observed, policy);
        }
        let rule = self.mount.rules.rule_for(&observed.path);
        let handling = Handling::of(rule);
        match unsupported(self.mount, &observed, handling.policy) {
            Unsupported::No => {}
            Unsupported::Ignored => return,
            Unsupported::Problem(problem) => return self.plan.problems.push(problem),
        }
        let (mut local, remote) = changes(&observed);
        if local == Change::Created
            && let Some(entry) = &observed.local
        {
            self.created
                .insert(entry.fingerprint.inode, entry.fingerprint);
        }
        if local == Change::Modified && (is_racy(&observed) || remote != Change::Unchanged) {
            match was_only_touched(self.mount, &observed) {
                Ok(Touched::Yes) => {
                    local = Change::Unchanged;
                    observed.baseline = settled_row(&observed);
                    self.plan
                        .row_changes
                        .extend(observed.baseline.clone().map(RowChange::Record));
                }
                Ok(Touched::No) => {}
                Err(error) => {
                    let problem = local_problem(self.mount, &observed.path, &error);
                    return self.plan.problems.push(problem);
                }
            }
        }
        let decision = reconcile(local, remote, handling.policy);
        match decision {
            Decision::Nothing => {}
            Decision::Forget if observed.baseline.is_none() => {}
            Decision::Forget => self.plan.row_changes.push(RowChange::Forget(observed.path)),
            Decision::RecordGone => self.plan.row_changes.extend(gone_row(observed)),
            decision if !self.scope.direction.allows(decision) => {}
            Decision::Upload
            | Decision::Download
            | Decision::DeleteLocal
            | Decision::DeleteRemote
            | Decision::Conflict(_)
            | Decision::Merge => {
                let reason = explain(local, remote);
                self.plan.tasks.push(Task {
                    observed,
                    decision,
                    handling,
                    reason,
                });
            }
        }
    }

    /// Applies the rules that protect against mass deletion.
    pub(super) fn finish(mut self) -> Result<MountPlan, PlanError> {
        if !self.scan_is_complete {
            // Files that were not seen look deleted: nothing is concluded from that.
            self.plan
                .tasks
                .retain(|task| task.decision != Decision::DeleteRemote);
            self.plan.row_changes.retain(|change| match change {
                RowChange::Record(row) => row.local.is_some(),
                RowChange::Forget(_) => false,
            });
        }
        if let Some(policy) = self.mount.mirror() {
            self.brake_mirror(policy);
            return Ok(self.plan);
        }
        for (side, decision) in [
            (Side::Local, Decision::DeleteLocal),
            (Side::Remote, Decision::DeleteRemote),
        ] {
            self.brake(side, decision)?;
        }
        Ok(self.plan)
    }

    fn brake(&mut self, side: Side, decision: Decision) -> Result<(), PlanError> {
        let deletes = self
            .plan
            .tasks
            .iter()
            .filter(|task| task.decision == decision);
        let deletes = deletes.filter(|task| !self.was_renamed(task)).count() as u64;
        if deletes == 0 {
            self.mount.note_deletes(side, &self.scope.extent, 0);
            return Ok(());
        }
        let known = self.mount.baseline().known()?;
        let counts = match (&self.scope.extent, side) {
            // Parts come one after the other: what the earlier ones deleted counts too.
            (Extent::Paths(_), _) => {
                let earlier = self.mount.deletes_since_whole_pass(side);
                let known = known + earlier;
                let deletes = deletes + earlier;
                DeleteCounts {
                    side,
                    deletes,
                    known,
                    remaining: known.saturating_sub(deletes),
                    approval: self.scope.approval,
                }
            }
            (Extent::Whole, Side::Local) => DeleteCounts {
                side,
                deletes,
                known,
                remaining: self.remote_objects,
                approval: self.scope.approval,
            },
            (Extent::Whole, Side::Remote) => DeleteCounts {
                side,
                deletes,
                known,
                remaining: self.local_files,
                approval: self.scope.approval,
            },
        };
        let Some(brake) = guard::brake(counts) else {
            self.mount.note_deletes(side, &self.scope.extent, deletes);
            return Ok(());
        };
        let reason = brake.to_string();
        let (held, tasks) = std::mem::take(&mut self.plan.tasks)
            .into_iter()
            .partition(|task| task.decision == decision);
        self.plan.tasks = tasks;
        self.plan
            .held
            .extend(held.into_iter().map(|task: Task| HeldEntry {
                mount: self.mount.name.clone(),
                path: task.observed.path.to_string(),
                side,
                reason: reason.clone(),
            }));
        Ok(())
    }

    fn was_renamed(&self, task: &Task) -> bool {
        let before = task
            .observed
            .baseline
            .as_ref()
            .and_then(|row| row.local)
            .map(|local| local.fingerprint);
        // Inode numbers are used again at once: only the same size and time make it the same file.
        before.is_some_and(|before| {
            self.created
                .get(&before.inode)
                .is_some_and(|created| created.is_same_but_renamed(&before))
        })
    }
}

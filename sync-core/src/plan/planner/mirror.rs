//! Planning a mirror: the same look at both sides, another decision, and a brake of its own.

use super::{Planner, changes};
use crate::{
    baseline::RowChange,
    conflict,
    guard::Approval,
    join::Observed,
    local::LocalKind,
    mirror::{self, MirrorCounts, MirrorPolicy, Step},
    plan::{Extent, Handling, Task},
    reconcile::{Change, Decision},
    report::{HeldEntry, Problem, ProblemKind, Side},
};

impl Planner<'_> {
    pub(super) fn consider_mirrored(&mut self, observed: Observed, policy: MirrorPolicy) {
        if observed
            .local
            .as_ref()
            .is_some_and(|entry| entry.kind != LocalKind::File)
        {
            self.plan
                .problems
                .extend(unsupported(&self.mount.name, &observed, policy.source));
            return;
        }
        let (local, remote) = changes(&observed);
        let (source, destination) = match policy.source {
            Side::Local => (local, remote),
            Side::Remote => (remote, local),
        };
        match mirror::decide(source, destination, policy.extras) {
            Step::Nothing => {}
            Step::Forget if observed.baseline.is_none() => {}
            Step::Forget => self.plan.row_changes.push(RowChange::Forget(observed.path)),
            // A copy that a mirror left here is the only one of its version.
            Step::Delete if policy.source == Side::Remote && conflict::is_copy(&observed.path) => {}
            Step::Delete => self.mirror_task(observed, policy, "not in the source"),
            Step::Copy => self.mirror_task(observed, policy, "new"),
            Step::Compare => self.compare_or_copy(observed, policy, remote),
        }
    }

    /// Both sides have a file. Contents are compared only where that can find them equal.
    fn compare_or_copy(&mut self, observed: Observed, policy: MirrorPolicy, remote: Change) {
        let local_bytes = observed
            .local
            .as_ref()
            .map(|entry| entry.fingerprint.size_bytes);
        let remote_bytes = observed
            .remote
            .as_ref()
            .map(|entry| entry.version.size_bytes);
        if local_bytes != remote_bytes {
            self.mirror_task(observed, policy, "another size");
        } else if policy.source == Side::Local && remote == Change::Unchanged {
            // The upload hashes the file in any case, and finds out by itself where it was only touched.
            self.mirror_task(observed, policy, "changed");
        } else {
            let task = self.task(observed, policy, "other content");
            self.plan.compare.push(task);
        }
    }

    fn mirror_task(&mut self, observed: Observed, policy: MirrorPolicy, reason: &str) {
        if let Some(entry) = &observed.local
            && observed.baseline.is_none()
        {
            self.created
                .insert(entry.fingerprint.inode, entry.fingerprint);
        }
        let task = self.task(observed, policy, reason);
        self.plan.tasks.push(task);
    }

    fn task(&self, observed: Observed, policy: MirrorPolicy, reason: &str) -> Task {
        let decision = match policy.source {
            Side::Local if observed.local.is_some() => Decision::Upload,
            Side::Local => Decision::DeleteRemote,
            Side::Remote if observed.remote.is_some() => Decision::Download,
            Side::Remote => Decision::DeleteLocal,
        };
        Task {
            decision,
            handling: Handling::of(self.mount.rules.rule_for(&observed.path)),
            reason: reason.to_owned(),
            observed,
        }
    }

    /// Holds deletes that look like an accident.
    pub(super) fn brake_mirror(&mut self, policy: MirrorPolicy) {
        let (decision, side) = match policy.source {
            Side::Local => (Decision::DeleteRemote, Side::Remote),
            Side::Remote => (Decision::DeleteLocal, Side::Local),
        };
        let is_delete = |task: &Task| task.decision == decision;
        let deletes = self
            .plan
            .tasks
            .iter()
            .filter(|task| is_delete(task) && !self.was_renamed(task));
        let deletes = deletes.count() as u64;
        let Some(brake) = self.mirror_brake(policy, side, deletes) else {
            self.mount.note_deletes(side, &self.scope.extent, deletes);
            return;
        };
        let reason = brake.to_string();
        let held = self.plan.tasks.extract_if(.., |task| is_delete(task));
        self.plan.held.extend(held.map(|task| HeldEntry {
            mount: self.mount.name.clone(),
            path: task.observed.path.to_string(),
            side,
            reason: reason.clone(),
        }));
    }

    fn mirror_brake(
        &self,
        policy: MirrorPolicy,
        side: Side,
        deletes: u64,
    ) -> Option<mirror::MirrorBrake> {
        if [self.scope.approval, policy.approval].contains(&Approval::Given) {
            return None;
        }
        let (source, destination) = match policy.source {
            Side::Local => (self.local_files, self.remote_objects),
            Side::Remote => (self.remote_objects, self.local_files),
        };
        let counts = match &self.scope.extent {
            Extent::Whole => MirrorCounts {
                deletes,
                source,
                destination,
            },
            // Parts come one after the other: what the earlier ones deleted counts too. Nobody knows more of the whole
            // than the rows do.
            Extent::Paths(_) => {
                let earlier = self.mount.deletes_since_whole_pass(side);
                let known = self.mount.baseline().known().unwrap_or(0) + earlier;
                let deletes = deletes + earlier;
                MirrorCounts {
                    deletes,
                    source: known.saturating_sub(deletes),
                    destination: known,
                }
            }
        };
        (deletes > 0).then(|| mirror::brake(counts)).flatten()
    }
}

/// What is said of something here that is no file; nothing where it is in nobody's way.
fn unsupported(mount: &str, observed: &Observed, source: Side) -> Option<Problem> {
    let what = match observed.local.as_ref().map(|entry| entry.kind) {
        None | Some(LocalKind::File) => return None,
        Some(LocalKind::Symlink) => "a symbolic link",
        Some(LocalKind::Special) => "a socket, FIFO or device",
        Some(LocalKind::Directory) => "a directory",
    };
    let message = match source {
        Side::Local => format!("{what} is not copied; leave it out with --exclude"),
        Side::Remote if observed.remote.is_some() => {
            format!("{what} stands where the source has a file; move it away")
        }
        Side::Remote => return None,
    };
    Some(Problem {
        mount: mount.to_owned(),
        path: observed.path.to_string(),
        kind: ProblemKind::Unsupported,
        message,
    })
}

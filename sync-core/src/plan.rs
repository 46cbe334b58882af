//! Planning: observe a mount, reconcile every path, apply the brakes. The plan is a list of tasks; nothing is changed.
//!
//! A dry run is this module's result, shown instead of executed. A fault that makes a side's view incomplete cancels
//! every delete that the view could have caused.

mod remote;

use std::collections::{BTreeMap, HashSet};

pub(crate) use self::remote::{ListingFault, RemoteSource};
use crate::{
    baseline::{BaselineError, Certainty, LocalVersion, Row, RowChange},
    digest::{ContentHash, ContentHasher},
    guard::{self, Approval, DeleteCounts},
    join::{Observed, RemoteEntry, join},
    layout::{Executable, Rule, SyncMode},
    local::{Fingerprint, LocalKind},
    mount::OpenMount,
    path::RelPath,
    reconcile::{Change, Decision, Policy, reconcile},
    report::{HeldEntry, Problem, ProblemKind, Side},
    root::{LocalError, RootState},
    scan::{ScanItem, scan},
};

/// Which way a pass moves content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the bucket.
    Pull,
    /// To the bucket.
    Push,
    /// Both ways.
    Sync,
}

impl Direction {
    fn allows(self, decision: Decision) -> bool {
        match (self, decision.target()) {
            (Self::Sync, _)
            | (_, None)
            | (Self::Pull, Some(Side::Local))
            | (Self::Push, Some(Side::Remote)) => true,
            (Self::Pull, Some(Side::Remote)) | (Self::Push, Some(Side::Local)) => false,
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// What was seen when it was decided.
    pub(crate) observed: Observed,
    /// What to do.
    pub(crate) decision: Decision,
    /// The parts of the path's rule that matter for doing it.
    pub(crate) handling: Handling,
    /// Why, for people.
    pub(crate) reason: String,
}

/// The parts of a rule that matter after the decision.
#[derive(Debug, Clone)]
pub(crate) struct Handling {
    pub(crate) policy: Policy,
    pub(crate) group: Option<String>,
    pub(crate) executable: Executable,
}

impl Handling {
    pub(crate) fn of(rule: &Rule) -> Self {
        let policy = Policy {
            sync: rule.sync,
            prefer: rule.prefer,
            deletes: rule.deletes,
        };
        Self {
            policy,
            group: rule.group.clone(),
            executable: rule.executable,
        }
    }
}

/// What to do about one mount.
#[derive(Debug, Default)]
pub(crate) struct MountPlan {
    pub(crate) tasks: Vec<Task>,
    /// Changes of the baseline that go with no change of a file.
    pub(crate) row_changes: Vec<RowChange>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) held: Vec<HeldEntry>,
}

impl MountPlan {
    /// True when carrying the plan out writes or deletes objects.
    pub(crate) fn writes_to_the_store(&self) -> bool {
        self.tasks
            .iter()
            .any(|task| task.decision.target() == Some(Side::Remote))
    }
}

/// A plan could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Listing(#[from] ListingFault),
    #[error(transparent)]
    Baseline(#[from] BaselineError),
}

/// What a plan is made for.
#[derive(Debug, Clone)]
pub(crate) struct PlanScope {
    pub(crate) extent: Extent,
    pub(crate) direction: Direction,
    pub(crate) approval: Approval,
}

/// How much of a mount a plan looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// What is at and below these paths, none of which is below another.
    Paths(Vec<RelPath>),
}

impl Extent {
    /// The parts to observe one after the other; `None` is the whole mount.
    pub(crate) fn parts(&self) -> Vec<Option<&RelPath>> {
        match self {
            Self::Whole => vec![None],
            Self::Paths(paths) => paths.iter().map(Some).collect(),
        }
    }
}

/// Plans one mount, with a source of the remote side for each part of the extent. Blocks on the file system and on the
/// listings.
pub(crate) fn plan(
    mount: &OpenMount,
    scope: &PlanScope,
    remote: Vec<RemoteSource>,
) -> Result<MountPlan, PlanError> {
    if mount.root.state() == RootState::Gone {
        return Ok(gone_root(mount));
    }
    let assumed = remote
        .iter()
        .any(|source| matches!(source, RemoteSource::Assumed));
    let mut planner = Planner::new(
        mount,
        scope,
        if assumed {
            RemoteView::Assumed
        } else {
            RemoteView::Listed
        },
    );
    for (part, source) in scope.extent.parts().into_iter().zip(remote) {
        planner.observe(part, source)?;
    }
    planner.consider_deferred();
    planner.finish()
}

/// Plans paths that were just looked at on both sides. What was decided about them before passed the brakes already.
pub(crate) fn plan_again(
    mount: &OpenMount,
    direction: Direction,
    observed: Vec<Observed>,
) -> MountPlan {
    let scope = PlanScope {
        extent: Extent::Paths(Vec::new()),
        direction,
        approval: Approval::Given,
    };
    let mut planner = Planner::new(mount, &scope, RemoteView::Listed);
    for observed in observed {
        planner.consider(observed);
    }
    planner.plan
}

/// Where the planner's knowledge of the bucket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RemoteView {
    /// A listing.
    Listed,
    /// The baseline: nobody asked the store.
    Assumed,
}

fn gone_root(mount: &OpenMount) -> MountPlan {
    let message = format!(
        "{} was removed, replaced or unmounted; nothing is synchronised until the worker is restarted",
        mount.root.path().display()
    );
    let problem = Problem {
        mount: mount.name.clone(),
        path: String::new(),
        kind: ProblemKind::Incomplete,
        message,
    };
    MountPlan {
        problems: vec![problem],
        ..MountPlan::default()
    }
}

struct Planner<'a> {
    mount: &'a OpenMount,
    scope: &'a PlanScope,
    remote_view: RemoteView,
    plan: MountPlan,
    /// Inodes of files that are new here: a baseline row with such an inode was renamed, not deleted.
    created_inodes: HashSet<u64>,
    local_files: u64,
    remote_objects: u64,
    scan_is_complete: bool,
    /// Paths whose object may be stored under an older key, until the whole listing was seen.
    deferred: BTreeMap<RelPath, (RelPath, Option<Observed>)>,
    legacy_objects: BTreeMap<RelPath, RemoteEntry>,
}

impl<'a> Planner<'a> {
    fn new(mount: &'a OpenMount, scope: &'a PlanScope, remote_view: RemoteView) -> Self {
        let legacy = mount.rules.rules().iter().filter_map(|rule| {
            let path = RelPath::new(rule.paths.first()?.as_str()).ok()?;
            Some((path, (rule.legacy_key.clone()?, None)))
        });
        Self {
            mount,
            scope,
            remote_view,
            plan: MountPlan::default(),
            created_inodes: HashSet::new(),
            local_files: 0,
            remote_objects: 0,
            scan_is_complete: true,
            deferred: if remote_view == RemoteView::Assumed {
                BTreeMap::new()
            } else {
                legacy.collect()
            },
            legacy_objects: BTreeMap::new(),
        }
    }

    fn observe(&mut self, part: Option<&RelPath>, remote: RemoteSource) -> Result<(), PlanError> {
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
            observed.remote = observed.baseline.as_ref().and_then(|row| {
                let version = row.remote.clone()?;
                Some(RemoteEntry {
                    path: row.path.clone(),
                    key: self.mount.prefix.key(&row.path),
                    version,
                })
            });
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

    fn consider_deferred(&mut self) {
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

    fn consider(&mut self, observed: Observed) {
        let rule = self.mount.rules.rule_for(&observed.path);
        let handling = Handling::of(rule);
        if let Some(problem) = self.unsupported(&observed, handling.policy) {
            self.plan.problems.extend(problem);
            return;
        }
        let (mut local, remote) = changes(&observed);
        if local == Change::Created
            && let Some(entry) = &observed.local
        {
            self.created_inodes.insert(entry.fingerprint.inode);
        }
        if local == Change::Modified && (is_racy(&observed) || is_new(remote)) {
            match self.was_only_touched(&observed) {
                Ok(Touched::Yes) => {
                    local = Change::Unchanged;
                    self.plan
                        .row_changes
                        .extend(settled_row(&observed).map(RowChange::Record));
                }
                Ok(Touched::No) => {}
                Err(error) => return self.local_problem(&observed.path, &error),
            }
        }
        let decision = reconcile(local, remote, handling.policy);
        match decision {
            Decision::Nothing => {}
            Decision::Forget if observed.baseline.is_none() => {}
            Decision::Forget => self.plan.row_changes.push(RowChange::Forget(observed.path)),
            Decision::RecordGone => self
                .plan
                .row_changes
                .extend(gone_row(observed).map(RowChange::Record)),
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

    /// What isn't a file here: nothing to do where the other side knows nothing of it, else a problem.
    fn unsupported(&self, observed: &Observed, policy: Policy) -> Option<Option<Problem>> {
        let kind = observed.local.as_ref().map(|entry| entry.kind)?;
        let what = match kind {
            LocalKind::File => return None,
            LocalKind::Symlink => "a symbolic link",
            LocalKind::Special => "a socket, FIFO or device",
            LocalKind::Directory => "a directory",
        };
        if policy.sync == SyncMode::None
            || (observed.remote.is_none() && observed.baseline.is_none())
        {
            return Some(None);
        }
        let message = format!(
            "{what} stands where the bucket has a file; move it away to synchronise the path"
        );
        let path = observed.path.to_string();
        Some(Some(Problem {
            mount: self.mount.name.clone(),
            path,
            kind: ProblemKind::Unsupported,
            message,
        }))
    }

    /// Whether a file whose stat changed still has the content of the baseline. Asked only where it decides between a
    /// conflict and none, or where only the clock is in doubt; elsewhere the upload finds out for itself.
    fn was_only_touched(&self, observed: &Observed) -> Result<Touched, LocalError> {
        let (Some(row), Some(entry)) = (&observed.baseline, &observed.local) else {
            return Ok(Touched::No);
        };
        if row
            .local
            .is_none_or(|local| local.fingerprint.size_bytes != entry.fingerprint.size_bytes)
        {
            return Ok(Touched::No);
        }
        let (hash, _) = hash_file(self.mount, &observed.path)?;
        Ok(if hash.digest == row.digest {
            Touched::Yes
        } else {
            Touched::No
        })
    }

    fn local_problem(&mut self, path: &RelPath, error: &LocalError) {
        self.plan
            .problems
            .push(local_problem(self.mount, path, error));
    }

    /// Applies the rules that protect against mass deletion.
    fn finish(mut self) -> Result<MountPlan, PlanError> {
        if !self.scan_is_complete {
            self.plan
                .tasks
                .retain(|task| task.decision != Decision::DeleteRemote);
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
            return Ok(());
        }
        let known = self.mount.baseline().known()?;
        let remaining = match (&self.scope.extent, side) {
            (Extent::Paths(_), _) => known.saturating_sub(deletes),
            (Extent::Whole, Side::Local) => self.remote_objects,
            (Extent::Whole, Side::Remote) => self.local_files,
        };
        let counts = DeleteCounts {
            side,
            deletes,
            known,
            remaining,
            approval: self.scope.approval,
        };
        let Some(brake) = guard::brake(counts) else {
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
        let row = task.observed.baseline.as_ref();
        row.and_then(|row| row.local)
            .is_some_and(|local| self.created_inodes.contains(&local.fingerprint.inode))
    }
}

/// True where the stat is that of the baseline and may hide a write of the same moment.
fn is_racy(observed: &Observed) -> bool {
    let before = observed.baseline.as_ref().and_then(|row| row.local);
    let now = observed.local.as_ref().map(|entry| entry.fingerprint);
    before.is_some_and(|before| {
        before.certainty == Certainty::Racy && now == Some(before.fingerprint)
    })
}

fn is_new(remote: Change) -> bool {
    matches!(remote, Change::Created | Change::Modified | Change::Deleted)
}

/// The baseline's row with the stat that the file has now, which was found to hold the same content.
fn settled_row(observed: &Observed) -> Option<Row> {
    let mut row = observed.baseline.clone()?;
    let fingerprint = observed.local.as_ref()?.fingerprint;
    row.local = Some(LocalVersion {
        fingerprint,
        certainty: Certainty::Settled,
    });
    Some(row)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touched {
    Yes,
    No,
}

/// How each side differs from the baseline.
pub(crate) fn changes(observed: &Observed) -> (Change, Change) {
    let row = observed.baseline.as_ref();
    let before = row.and_then(|row| row.local.as_ref());
    let now = observed.local.as_ref().map(|entry| &entry.fingerprint);
    let mut local = Change::between(before.map(|local| &local.fingerprint), now);
    if local == Change::Unchanged && before.is_some_and(|local| local.certainty == Certainty::Racy)
    {
        local = Change::Modified;
    }
    let before = row
        .and_then(|row| row.remote.as_ref())
        .map(|remote| &remote.etag);
    let remote = Change::between(
        before,
        observed.remote.as_ref().map(|entry| &entry.version.etag),
    );
    (local, remote)
}

/// Reads and hashes a whole file; the fingerprint is the one it had before and after.
pub(crate) fn hash_file(
    mount: &OpenMount,
    path: &RelPath,
) -> Result<(ContentHash, Fingerprint), LocalError> {
    use std::io::Read as _;
    let (mut file, fingerprint) = mount.root.open_file(path)?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| LocalError::new("read", path, error))?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    Ok((hasher.finish(), fingerprint))
}

/// The problem that a failed local operation is.
pub(crate) fn local_problem(mount: &OpenMount, path: &RelPath, error: &LocalError) -> Problem {
    let kind = match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            ProblemKind::Denied
        }
        _ => ProblemKind::Io,
    };
    let message = format!("{error}: {}", error.source);
    Problem {
        mount: mount.name.clone(),
        path: path.to_string(),
        kind,
        message,
    }
}

fn gone_row(observed: Observed) -> Option<Row> {
    let row = observed.baseline?;
    let local = observed.local.and(row.local);
    let remote = observed.remote.map(|entry| entry.version);
    Some(Row {
        path: observed.path,
        local,
        remote,
        digest: row.digest,
    })
}

fn explain(local: Change, remote: Change) -> String {
    let word = |change| match change {
        Change::Absent => "absent",
        Change::Unchanged => "unchanged",
        Change::Created => "new",
        Change::Modified => "changed",
        Change::Deleted => "deleted",
    };
    format!("{} here, {} in the bucket", word(local), word(remote))
}

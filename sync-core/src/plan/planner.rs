//! The planner: takes what is observed of each path and decides. What it holds grows with what is new here, 24 bytes for
//! each such file (8 for each object), and with nothing else.

mod mirror;
mod rewritten;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
};

use self::mirror::Mirrored;
pub(crate) use self::mirror::without_other_versions;
use super::{
    Extent, Handling, IgnoreFiles, MountPlan, PlanError, PlanScope, RemoteSource, TakePart, Task,
    Wanted,
    change::{
        Touched, Unsupported, changes, explain, is_racy, local_problem, settled_row, unsupported,
        was_only_touched,
    },
    deferred::{Late, Waiting},
    echo::Tombstones,
    kinds::{Kinds, Room},
    remote::Reading,
    renames::Renames,
    tally::Tally,
    units::Units,
};
use crate::{
    baseline::{BaselineError, RowChange},
    join::{Observed, RemoteEntry, join},
    layout::{ReloadUnit, SyncMode},
    mount::OpenMount,
    order::OrderWatch,
    path::RelPath,
    reconcile::{Change, Decision, reconcile},
    report::{Problem, ProblemKind, Side},
    root::{InTheWay, LocalError},
    scan::{ScanItem, scan},
    selection::{Selection, is_ignore_file},
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
    pub(super) mount: &'a OpenMount,
    pub(super) scope: &'a PlanScope,
    pub(super) selection: Arc<Selection>,
    pub(super) remote_view: RemoteView,
    /// The part that is being made.
    pub(super) part: MountPlan,
    /// What comes in for reload units that may not be complete.
    pub(super) units: Units,
    /// What waits for the end and isn't put aside yet.
    late: Vec<Late>,
    /// The same, put aside.
    pub(super) waiting: Option<Waiting>,
    /// What is new on either side: a baseline row of such a file was renamed, not deleted.
    pub(super) renames: Renames,
    pub(super) tombstones: Tombstones,
    /// What stands around the path that is looked at.
    pub(super) kinds: Kinds,
    /// Ignore files that the bucket has something new of.
    pub(super) ignore_files: Vec<Task>,
    pub(super) local_files: u64,
    pub(super) remote_objects: u64,
    /// What both ends of a mirror hold.
    mirrored: Mirrored,
    /// Rows of paths that both sides held before anything of this plan was carried out; counted as they come by, or
    /// when the first part is handed over.
    pub(super) known: Option<u64>,
    pub(super) watch: OrderWatch,
    /// Sides that were not seen to the end.
    pub(super) unseen: Vec<Side>,
    pub(super) tally: Rc<RefCell<Tally>>,
    /// Paths whose object may be stored under an older key, until the whole listing was seen.
    legacy: BTreeMap<RelPath, (RelPath, Option<Observed>)>,
    legacy_objects: BTreeMap<RelPath, RemoteEntry>,
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
            selection: Arc::new(mount.selection()),
            remote_view,
            part: MountPlan::default(),
            units: Units::default(),
            late: Vec::new(),
            waiting: None,
            renames: Renames::of(mount),
            tombstones: Tombstones::of(mount, scope, remote_view),
            kinds: Kinds::default(),
            ignore_files: Vec::new(),
            local_files: 0,
            remote_objects: 0,
            mirrored: Mirrored::default(),
            known: match scope.extent {
                Extent::Whole => Some(0),
                Extent::Paths(_) => None,
            },
            watch: OrderWatch::default(),
            unseen: Vec::new(),
            tally: Rc::default(),
            legacy: if remote_view == RemoteView::Assumed {
                BTreeMap::new()
            } else {
                legacy.collect()
            },
            legacy_objects: BTreeMap::new(),
        }
    }

    pub(super) fn observe(
        &mut self,
        part: Option<&RelPath>,
        remote: RemoteSource,
        reading: Reading,
        take: TakePart<'_>,
    ) -> Result<(), PlanError> {
        let mount = self.mount;
        let scan_tally = self.tally.clone();
        let scan_was_cut_short = Cell::new(false);
        let mut rows = mount.rows(part);
        let order = mount.baseline().order();
        let watch = std::mem::take(&mut self.watch);
        let mut listing = remote.entries(mount, part, reading, watch, self.tally.clone());
        let selection = self.selection.clone();
        let local = scan(&mount.root, part, &selection, order).filter_map(|item| match item {
            ScanItem::Entry(entry) => Some(entry),
            ScanItem::Problem {
                path,
                kind,
                message,
            } => {
                scan_was_cut_short.set(scan_was_cut_short.get() || kind == ProblemKind::Incomplete);
                scan_tally.borrow_mut().add(Problem {
                    mount: mount.name.clone(),
                    path,
                    kind,
                    message,
                });
                None
            }
        });
        for observed in join(order, rows.by_ref(), local, listing.by_ref()) {
            self.take(observed);
            self.put_aside()?;
            if !self.ignore_files.is_empty() {
                // Everything is planned anew when they are here.
                self.part = MountPlan::default();
                self.units = Units::default();
            }
            if self.part.size() >= self.scope.part_tasks {
                self.hand_over(take)?;
            }
        }
        self.put_aside()?;
        if let Some(error) = rows.take_error() {
            return Err(error.into());
        }
        self.depart(None);
        self.put_aside()?;
        let listed = listing.finish()?;
        self.watch = listed.watch;
        if listed.foreign_keys > 0 {
            self.foreign_keys(listed.foreign_keys);
        }
        if scan_was_cut_short.get() | self.tell_ignore_problems() {
            self.unseen.push(Side::Local);
        }
        Ok(())
    }

    /// What was wrong with the ignore files that were read; whether one of them could not be.
    fn tell_ignore_problems(&mut self) -> bool {
        let mut unknown = false;
        for problem in self.selection.take_problems() {
            unknown |= problem.kind == ProblemKind::Incomplete;
            self.tally.borrow_mut().add(Problem {
                mount: self.mount.name.clone(),
                path: problem.path.to_string(),
                kind: problem.kind,
                message: problem.message,
            });
        }
        unknown
    }

    /// A store that lists what nobody asked for may leave out what was asked for.
    fn foreign_keys(&mut self, count: u64) {
        self.unseen.push(Side::Remote);
        let message = format!(
            "the store listed {count} keys outside of {}; nothing is deleted on the word of this listing",
            self.mount.prefix
        );
        self.tally.borrow_mut().add(Problem {
            mount: self.mount.name.clone(),
            path: String::new(),
            kind: ProblemKind::Incomplete,
            message,
        });
    }

    /// What waits for the end goes where it takes no memory.
    pub(super) fn put_aside(&mut self) -> Result<(), PlanError> {
        for late in std::mem::take(&mut self.late) {
            if self.waiting.is_none() {
                self.waiting = Some(Waiting::new(self.mount.root.spill()?));
            }
            if let Some(waiting) = &mut self.waiting {
                waiting.push(&late)?;
            }
        }
        Ok(())
    }

    /// Gives away what is planned so far.
    pub(super) fn hand_over(&mut self, take: TakePart<'_>) -> Result<(), PlanError> {
        if self.known.is_none() {
            self.known = Some(self.mount.baseline().known()?);
        }
        let mut part = std::mem::take(&mut self.part);
        part.problems.extend(self.tally.borrow_mut().take());
        match take(part) {
            Wanted::More => Ok(()),
            Wanted::NoMore => Err(PlanError::GivenUp),
        }
    }

    /// What is planned about paths that were looked at one by one. One answer that a key is absent is no ground to
    /// delete, nor to forget: the next listing decides, with the brakes.
    pub(super) fn into_part_without_deletes(mut self) -> Result<MountPlan, BaselineError> {
        self.units.finish(&mut self.part.tasks);
        for late in &self.late {
            let change = late.row_change(self.mount)?;
            self.part
                .row_changes
                .extend(change.filter(|change| matches!(change, RowChange::Record(_))));
        }
        self.part.problems.extend(self.tally.borrow_mut().take());
        Ok(self.part)
    }

    /// Counts a path and decides about it, now or when the whole listing was seen.
    fn take(&mut self, mut observed: Observed) {
        // The scan doesn't show what is ignored, and what the bucket has of it is not looked at.
        if self.selection.ignores(&observed.path) {
            (observed.local, observed.remote) = (None, None);
            return self.decide(observed, Room::Free);
        }
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
        if let (Some(known), Some(row)) = (&mut self.known, &observed.baseline)
            && self.scope.extent == Extent::Whole
        {
            *known += u64::from(row.local.is_some() && row.remote.is_some());
        }
        if self.is_echo(&observed) {
            observed.remote = None;
        }
        self.local_files += u64::from(observed.local.is_some());
        self.remote_objects += u64::from(observed.remote.is_some());
        if self
            .legacy
            .values()
            .any(|(legacy, _)| *legacy == observed.path)
            && let Some(remote) = observed.remote.take()
        {
            self.legacy_objects.insert(observed.path.clone(), remote);
        }
        if observed.remote.is_none()
            && let Some((_, deferred)) = self.legacy.get_mut(&observed.path)
        {
            *deferred = Some(observed);
            return;
        }
        if observed.remote.is_some() {
            self.legacy.remove(&observed.path);
        }
        self.arrive(observed);
    }

    pub(super) fn consider_legacy(&mut self) {
        for (path, (legacy, deferred)) in std::mem::take(&mut self.legacy) {
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
                (Some(observed), remote) => {
                    self.consider(Observed { remote, ..observed });
                }
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

    /// Decides about a path by itself.
    pub(super) fn consider(&mut self, observed: Observed) {
        let room = self.room(&observed);
        self.decide_in(observed, room);
    }

    /// Decides about a path, if it could be found out what is in its way.
    pub(super) fn decide_in(&mut self, observed: Observed, room: Result<Room, LocalError>) {
        match room {
            Ok(room) => self.decide(observed, room),
            Err(error) => {
                let problem = local_problem(self.mount, &observed.path, &error);
                self.tally.borrow_mut().add(problem);
            }
        }
    }

    /// Decides about a path, knowing what is in its way.
    pub(super) fn decide(&mut self, mut observed: Observed, room: Room) {
        if let Some(policy) = self.mount.mirror() {
            return self.decide_mirrored(observed, room, policy);
        }
        let handling = Handling::of(self.selection.rule_for(&observed.path));
        match unsupported(self.mount, &observed, handling.policy, self.scope.direction) {
            Unsupported::No => {}
            Unsupported::Ignored => return,
            Unsupported::Problem(problem) => return self.report_once(problem),
        }
        if let Room::NotHere(what) = room {
            observed.local = None;
            // Nothing is known of what lies behind a link.
            if what == InTheWay::LinkAbove && handling.policy.sync != SyncMode::None {
                return self.report_in_the_way(&observed.path, what);
            }
        }
        let (mut local, remote) = room.apply(changes(&observed));
        self.renames.note(&observed, local, remote);
        if local == Change::Modified && (is_racy(&observed) || remote != Change::Unchanged) {
            match was_only_touched(self.mount, &observed) {
                Ok(Touched::Yes) => {
                    local = Change::Unchanged;
                    observed.baseline = settled_row(&observed);
                    self.part
                        .row_changes
                        .extend(observed.baseline.clone().map(RowChange::Record));
                }
                Ok(Touched::No) => {}
                Err(error) => {
                    let problem = local_problem(self.mount, &observed.path, &error);
                    self.tally.borrow_mut().add(problem);
                    return;
                }
            }
        }
        let decision = reconcile(local, remote, handling.policy);
        self.note_rewritten(&observed, &handling);
        let is_allowed = self.scope.direction.allows(decision);
        if is_allowed {
            self.note_decision(&observed, decision);
        }
        match decision {
            Decision::Nothing => {}
            Decision::Forget if observed.baseline.is_none() => {}
            Decision::Forget => self
                .late
                .push(Late::over(observed.path, handling.policy.sync)),
            Decision::RecordGone => self.late.extend(Late::gone(observed)),
            _ if !is_allowed => {}
            Decision::Blocked => {
                let what = match room {
                    Room::NotHere(what) => what,
                    Room::Free | Room::Later | Room::NotThere | Room::TakenThere => {
                        InTheWay::Nothing
                    }
                };
                self.report_in_the_way(&observed.path, what);
            }
            Decision::Download | Decision::Conflict(_) if self.was_refused(&observed) => {}
            Decision::Download if room == Room::TakenThere => {
                self.report_in_the_way(&observed.path, InTheWay::Directory);
            }
            Decision::DeleteLocal | Decision::DeleteRemote => {
                let side = decision.target().unwrap_or(Side::Local);
                let reason = explain(local, remote);
                let may_be_hidden = self.may_be_hidden(&observed);
                let late = Late::delete(self.mount, observed, side, reason);
                self.late
                    .push(if may_be_hidden { late.in_doubt() } else { late });
            }
            Decision::Upload
            | Decision::Download
            | Decision::Conflict(_)
            | Decision::MakeWay
            | Decision::Merge => {
                let reason = explain(local, remote);
                let task = Task {
                    observed,
                    decision,
                    handling,
                    reason,
                };
                self.add(task, room);
            }
        }
    }

    /// Adds a task to where it belongs.
    fn add(&mut self, task: Task, room: Room) {
        let brings = matches!(
            task.decision,
            Decision::Download | Decision::Conflict(Side::Remote)
        );
        let ignore_file = self.scope.ignore_files == IgnoreFiles::First
            && brings
            && is_ignore_file(&task.observed.path);
        if ignore_file {
            self.ignore_files.push(task);
        } else if room == Room::Later {
            self.part.later.push(task);
        } else if let Some(unit) = self.unit_of(&task) {
            self.units.add(unit, task, &mut self.part.tasks);
        } else {
            self.part.tasks.push(task);
        }
    }

    /// The reload unit that a task brings something for.
    fn unit_of(&self, task: &Task) -> Option<ReloadUnit> {
        if !task.decision.brings() {
            return None;
        }
        let path = &task.observed.path;
        self.selection.rule_for(path).unit_of(path)
    }
}

//! Planning: observe a mount, reconcile every path, apply the brakes. The plan is a list of tasks; nothing is changed.
//!
//! A plan is made in parts, so that it never holds the tree: a part is handed over as soon as it is full, and what rests
//! on the absence of a path comes after all others, when both sides were seen to the end ([`Deferred`]). A dry run is
//! this module's result, shown instead of executed. A fault that makes a side's view incomplete cancels every delete that
//! the view could have caused.

mod change;
mod conclude;
mod deferred;
mod echo;
mod kinds;
mod planner;
mod remote;
mod renames;
mod tally;
mod units;

use std::{
    collections::{BTreeSet, HashSet},
    io,
};

use self::planner::{Planner, RemoteView};
pub(crate) use self::{
    change::{changes, hash_file, local_problem},
    conclude::Conclusion,
    deferred::Deferred,
    planner::without_other_versions,
    remote::{ListingFault, Reading, RemoteSource},
};
use crate::{
    baseline::{BaselineError, RowChange},
    guard::Approval,
    join::Observed,
    layout::{Executable, Rule},
    mount::OpenMount,
    path::RelPath,
    reconcile::{Decision, Policy},
    report::{HeldEntry, Problem, ProblemKind, Side},
    root::RootState,
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

/// A part of what to do about one mount.
#[derive(Debug, Default)]
pub(crate) struct MountPlan {
    pub(crate) tasks: Vec<Task>,
    /// Tasks of a mirror that are to be done unless both sides turn out to hold the same content.
    pub(crate) compare: Vec<Task>,
    /// Changes of the baseline that go with no change of a file.
    pub(crate) row_changes: Vec<RowChange>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) held: Vec<HeldEntry>,
    /// Paths whose deletes are halves of renames: they count for no brake.
    pub(crate) renamed: HashSet<RelPath>,
    /// What can be brought when deletes of this plan have made room for it.
    pub(crate) later: Vec<Task>,
    /// Paths to plan anew then: what comes later lies at or below them.
    pub(crate) again: Vec<RelPath>,
    /// Files whose object was written again with the same content: its attributes may be others.
    pub(crate) rewritten: Vec<Task>,
    /// Deletes of files whose object the store may have left out of the listing: its key has to be asked for first.
    pub(crate) doubtful: BTreeSet<RelPath>,
}

impl MountPlan {
    /// What a part is measured by.
    fn size(&self) -> usize {
        let tasks = self.tasks.len() + self.compare.len() + self.later.len();
        tasks.max(self.row_changes.len())
    }

    /// True when carrying the plan out writes or deletes objects.
    pub(crate) fn writes_to_the_store(&self) -> bool {
        self.tasks.iter().any(|task| {
            // The copy that a conflict leaves is sent too.
            task.decision.target() == Some(Side::Remote)
                || matches!(task.decision, Decision::Conflict(_) | Decision::MakeWay)
        })
    }
}

/// A plan could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error(transparent)]
    Listing(#[from] ListingFault),
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// What doesn't fit in memory can't be put aside.
    #[error("can't use the staging directory")]
    Spill(#[from] io::Error),
    /// It brings ignore files, which decide about everything else: a plan with nothing but them.
    #[error("ignore files come first")]
    IgnoreFiles(Box<MountPlan>),
    /// Nobody wants the plan any more.
    #[error("the plan was given up")]
    GivenUp,
}

/// Takes the parts of a plan as they are made.
pub(crate) type TakePart<'a> = &'a mut dyn FnMut(MountPlan) -> Wanted;

/// Whether a plan goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It does.
    More,
    /// It doesn't.
    NoMore,
}

/// What a plan is made for.
#[derive(Debug, Clone)]
pub(crate) struct PlanScope {
    pub(crate) extent: Extent,
    pub(crate) direction: Direction,
    pub(crate) approval: Approval,
    /// Tasks, or changes of rows, that make a full part.
    pub(crate) part_tasks: usize,
    /// What becomes of a plan that brings ignore files.
    pub(crate) ignore_files: IgnoreFiles,
    pub(crate) turn: Turn,
}

/// A mount is planned a second time for what needs the room that deletes have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// What needs room waits.
    First,
    /// What has no room now is reported.
    Last,
}

/// When ignore files are brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IgnoreFiles {
    /// Before anything else: the plan ends with [`PlanError::IgnoreFiles`].
    First,
    /// With everything else.
    InTurn,
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

/// Plans one mount, with a source of the remote side for each part of the extent. Full parts of the plan go to `take`
/// while the rest is still being observed; the end of the plan is the result. Blocks on the file system, on the listings
/// and on `take`.
pub(crate) fn plan(
    mount: &OpenMount,
    scope: &PlanScope,
    reading: Reading,
    remote: Vec<RemoteSource>,
    take: TakePart<'_>,
) -> Result<Conclusion, PlanError> {
    if mount.root.state() == RootState::Gone {
        return Conclusion::of_nothing(mount, gone_root(mount));
    }
    let assumed = remote
        .iter()
        .any(|source| matches!(source, RemoteSource::Assumed));
    let view = if assumed {
        RemoteView::Assumed
    } else {
        mount.baseline().arrange(reading.order())?;
        RemoteView::Listed
    };
    let mut planner = Planner::new(mount, scope, view);
    for (part, source) in scope.extent.parts().into_iter().zip(remote) {
        planner.observe(part, source, reading, take)?;
    }
    planner.consider_legacy();
    planner.finish()
}

/// Plans paths that were just looked at on both sides. What was decided about them before passed the brakes already.
pub(crate) fn plan_again(
    mount: &OpenMount,
    direction: Direction,
    observed: Vec<Observed>,
) -> Result<MountPlan, BaselineError> {
    let scope = PlanScope {
        extent: Extent::Paths(Vec::new()),
        direction,
        approval: Approval::Given,
        part_tasks: usize::MAX,
        ignore_files: IgnoreFiles::InTurn,
        turn: Turn::First,
    };
    let mut planner = Planner::new(mount, &scope, RemoteView::Listed);
    for observed in observed {
        planner.consider(observed);
    }
    planner.into_part_without_deletes()
}

fn gone_root(mount: &OpenMount) -> Problem {
    let message = format!(
        "{} was removed, replaced or unmounted; nothing is synchronised until the worker is restarted",
        mount.root.path().display()
    );
    Problem {
        mount: mount.name.clone(),
        path: String::new(),
        kind: ProblemKind::Incomplete,
        message,
    }
}

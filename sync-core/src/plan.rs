//! Planning: observe a mount, reconcile every path, apply the brakes. The plan is a list of tasks; nothing is changed.
//!
//! A dry run is this module's result, shown instead of executed. A fault that makes a side's view incomplete cancels
//! every delete that the view could have caused.

mod change;
mod planner;
mod remote;

use self::planner::{Planner, RemoteView};
pub(crate) use self::{
    change::{changes, hash_file, local_problem},
    remote::{ListingFault, RemoteSource},
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

/// What to do about one mount.
#[derive(Debug, Default)]
pub(crate) struct MountPlan {
    pub(crate) tasks: Vec<Task>,
    /// Tasks of a mirror that are to be done unless both sides turn out to hold the same content.
    pub(crate) compare: Vec<Task>,
    /// Changes of the baseline that go with no change of a file.
    pub(crate) row_changes: Vec<RowChange>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) held: Vec<HeldEntry>,
}

impl MountPlan {
    /// True when carrying the plan out writes or deletes objects.
    pub(crate) fn writes_to_the_store(&self) -> bool {
        self.tasks.iter().any(|task| {
            // The copy that a conflict leaves is sent too.
            task.decision.target() == Some(Side::Remote)
                || matches!(task.decision, Decision::Conflict(_))
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
    let mut plan = planner.plan;
    // One answer that a key is absent is no ground to delete, nor to forget: the next listing decides, with the brakes.
    plan.tasks.retain(|task| {
        !matches!(
            task.decision,
            Decision::DeleteLocal | Decision::DeleteRemote
        )
    });
    plan.row_changes
        .retain(|change| matches!(change, RowChange::Record(_)));
    plan
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

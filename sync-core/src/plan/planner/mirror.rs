//! Planning a mirror: the same look at both sides, another decision, and a brake of its own.
//!
//! What is deleted is the version that was seen at the destination, whatever earlier runs knew of it. It waits for the end
//! of the plan like every delete: both sides have to be seen to their ends first.

use super::{Planner, RemoteView};
use crate::{
    baseline::{BaselineError, Certainty, RowChange},
    conflict,
    guard::Approval,
    join::Observed,
    layout::SyncMode,
    mirror::{self, MirrorCounts, MirrorPolicy, Step},
    plan::{
        Extent, Handling, Task,
        change::{Unsupported, changes, unsupported},
        deferred::Late,
        kinds::Room,
    },
    reconcile::{Change, Decision},
    report::{Problem, Side},
    root::InTheWay,
};

/// How many files both ends of a mirror were seen to hold, of those that travel.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    source: u64,
    destination: u64,
}

impl Planner<'_> {
    /// Decides about a path of a mirror, knowing what is in its way here.
    pub(super) fn decide_mirrored(
        &mut self,
        mut observed: Observed,
        room: Room,
        policy: MirrorPolicy,
    ) {
        let handling = Handling::of(self.selection.rule_for(&observed.path));
        if handling.policy.sync == SyncMode::None {
            // Left out only now.
            let forget = observed.baseline.map(|row| RowChange::Forget(row.path));
            return self.part.row_changes.extend(forget);
        }
        if self.remote_view == RemoteView::Assumed && policy.source == Side::Remote {
            // Nobody asked the source.
            return;
        }
        match unsupported(self.mount, &observed, handling.policy, self.scope.direction) {
            Unsupported::No => {}
            Unsupported::Ignored => return,
            Unsupported::Problem(problem) => return self.report_once(advised(problem, policy)),
        }
        if let Room::NotHere(what) = room {
            observed.local = None;
            // Nothing is known of what lies behind a link.
            if what == InTheWay::LinkAbove {
                return self.report_in_the_way(&observed.path, what);
            }
        }
        let (local, remote) = room.apply(changes(&observed));
        self.renames.note(&observed, local, remote);
        let (source, destination) = match policy.source {
            Side::Local => (local, remote),
            Side::Remote => (remote, local),
        };
        self.mirrored.count(source, destination);
        let mut step = mirror::decide(source, destination, policy.extras);
        if step == Step::Delete
            && policy.source == Side::Remote
            && conflict::is_copy(&observed.path)
        {
            // A copy that a mirror left here is the only one of its version.
            step = Step::Nothing;
        }
        self.note_decision(&observed, decision(step, policy));
        match step {
            Step::Nothing => {
                if (source, destination) == (Change::Unchanged, Change::Unchanged) {
                    self.note_rewritten(&observed, &handling);
                }
            }
            Step::Forget if observed.baseline.is_none() => {}
            Step::Forget => self
                .late
                .push(Late::over(observed.path, handling.policy.sync)),
            Step::Delete => self.delete_extra(observed, policy),
            Step::Copy | Step::Compare => {
                self.copy_or_compare(observed, room, policy, handling, (step, remote));
            }
        }
    }

    fn delete_extra(&mut self, observed: Observed, policy: MirrorPolicy) {
        let may_be_hidden = self.may_be_hidden(&observed);
        let side = destination(policy);
        let late = Late::delete_seen(self.mount, observed, side, "not in the source".to_owned());
        self.late
            .push(if may_be_hidden { late.in_doubt() } else { late });
    }

    fn copy_or_compare(
        &mut self,
        observed: Observed,
        room: Room,
        policy: MirrorPolicy,
        handling: Handling,
        (step, remote): (Step, Change),
    ) {
        if policy.source == Side::Remote {
            match room {
                Room::NotHere(what) => return self.report_in_the_way(&observed.path, what),
                Room::TakenThere => {
                    return self.report_in_the_way(&observed.path, InTheWay::Directory);
                }
                Room::Free | Room::Later | Room::NotThere => {}
            }
            if self.was_refused(&observed) {
                return;
            }
        }
        let verdict = match step {
            Step::Compare => compared(&observed, policy, remote),
            Step::Copy | Step::Nothing | Step::Delete | Step::Forget => Verdict::Copy("new"),
        };
        if verdict == Verdict::Compare {
            // Equal contents say nothing of the mode.
            self.note_rewritten(&observed, &handling);
        }
        let task = |reason: &str, observed| Task {
            observed,
            decision: decision(Step::Copy, policy),
            handling,
            reason: reason.to_owned(),
        };
        match verdict {
            Verdict::Compare => self.part.compare.push(task("other content", observed)),
            Verdict::Copy(reason) => {
                let task = task(reason, without_other_versions(observed, policy));
                if room == Room::Later {
                    self.part.later.push(task);
                } else {
                    self.part.tasks.push(task);
                }
            }
        }
    }

    /// Why a mirror's deletes are to be held, if they are: nobody approved them and they look like an accident.
    pub(in crate::plan) fn mirror_brake(
        &self,
        policy: MirrorPolicy,
        side: Side,
        deletes: u64,
        known: u64,
    ) -> Result<Option<String>, BaselineError> {
        if policy.approval == Approval::Given {
            return Ok(None);
        }
        let (source, destination) = match &self.scope.extent {
            Extent::Whole => (self.mirrored.source, self.mirrored.destination),
            // Nobody knows more of the whole than the rows do.
            Extent::Paths(_) => (known.saturating_sub(deletes), known),
        };
        let brake = mirror::brake(MirrorCounts {
            deletes,
            earlier: self.mount.recent_deletes(side)?,
            source,
            destination,
        });
        Ok(brake.map(|brake| brake.to_string()))
    }
}

impl Mirrored {
    fn count(&mut self, source: Change, destination: Change) {
        let is_there = |change| {
            matches!(
                change,
                Change::Unchanged | Change::Created | Change::Modified
            )
        };
        self.source += u64::from(is_there(source));
        self.destination += u64::from(is_there(destination));
    }
}

/// The side that is written to.
fn destination(policy: MirrorPolicy) -> Side {
    match policy.source {
        Side::Local => Side::Remote,
        Side::Remote => Side::Local,
    }
}

/// The word that passes have for a step.
fn decision(step: Step, policy: MirrorPolicy) -> Decision {
    match (step, policy.source) {
        (Step::Nothing, _) => Decision::Nothing,
        (Step::Forget, _) => Decision::Forget,
        (Step::Copy | Step::Compare, Side::Local) => Decision::Upload,
        (Step::Copy | Step::Compare, Side::Remote) => Decision::Download,
        (Step::Delete, Side::Local) => Decision::DeleteRemote,
        (Step::Delete, Side::Remote) => Decision::DeleteLocal,
    }
}

/// Whether two files have to be looked into.
#[derive(PartialEq, Eq)]
enum Verdict {
    Compare,
    Copy(&'static str),
}

/// Both sides have a file. Contents are compared only where that can find them equal.
fn compared(observed: &Observed, policy: MirrorPolicy, remote: Change) -> Verdict {
    let local_bytes = observed
        .local
        .as_ref()
        .map(|entry| entry.fingerprint.size_bytes);
    let remote_bytes = observed
        .remote
        .as_ref()
        .map(|entry| entry.version.size_bytes);
    if local_bytes != remote_bytes {
        Verdict::Copy("another size")
    } else if policy.source == Side::Local && remote == Change::Unchanged {
        // The upload hashes the file in any case, and finds out by itself where it was only touched.
        Verdict::Copy("changed")
    } else {
        Verdict::Compare
    }
}

/// What is to be overwritten here is the version that was seen. A row that tells of another one would let it be taken for
/// one that nobody has seen.
pub(crate) fn without_other_versions(mut observed: Observed, policy: MirrorPolicy) -> Observed {
    let now = observed.local.as_ref().map(|entry| entry.fingerprint);
    let is_known = |known: &crate::baseline::Row| {
        known.local.is_some_and(|known| {
            Some(known.fingerprint) == now && known.certainty == Certainty::Settled
        })
    };
    if policy.source == Side::Remote {
        observed.baseline = observed.baseline.filter(is_known);
    }
    observed
}

/// A problem of a path that can't be copied, with what can be done about it in a mirror.
fn advised(problem: Problem, policy: MirrorPolicy) -> Problem {
    let what = problem
        .message
        .split_once("; ")
        .map_or(&*problem.message, |(what, _)| what);
    let advice = match policy.source {
        Side::Local => "leave it out with --exclude",
        Side::Remote => "the source has a file here; move this away",
    };
    Problem {
        message: format!("{what}; {advice}"),
        ..problem
    }
}

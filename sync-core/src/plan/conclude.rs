//! The end of a plan: both sides were seen; what waited for that is let through, held by a brake, or dropped.

use std::collections::BTreeMap;

use super::{
    Deferred, Extent, MountPlan, PlanError,
    deferred::{FileIdentity, Late, Waiting, What},
    planner::Planner,
};
use crate::{
    guard::{self, DeleteCounts},
    mount::OpenMount,
    order::OrderWatch,
    report::{HeldEntry, Problem, Side},
    root::RootState,
};

/// Held deletes towards one side that are told one by one.
const HELD_TOLD: u64 = 1000;

/// The end of a plan.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// The last part but for those that waited.
    pub(crate) part: MountPlan,
    /// What waited. To be carried out after all other parts.
    pub(crate) deferred: Deferred,
    /// The orders that the listings kept.
    pub(crate) watch: OrderWatch,
}

impl Conclusion {
    /// Nothing can be planned, because of a problem.
    pub(super) fn of_nothing(mount: &OpenMount, problem: Problem) -> Result<Self, PlanError> {
        Ok(Self {
            part: MountPlan {
                problems: vec![problem],
                ..MountPlan::default()
            },
            deferred: Waiting::new(mount.root.spill()?).finish(Vec::new())?,
            watch: OrderWatch::default(),
        })
    }
}

impl Planner<'_> {
    /// Applies the rules that protect against mass deletion.
    pub(super) fn finish(mut self) -> Result<Conclusion, PlanError> {
        if self.mount.root.state() == RootState::Gone {
            // Taken away during the scan: what was not found any more is not deleted.
            self.unseen.push(Side::Local);
            let problem = super::gone_root(self.mount);
            self.tally.borrow_mut().add(problem);
        }
        self.put_aside()?;
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => Waiting::new(self.mount.root.spill()?),
        };
        // Files that were not seen look deleted: nothing is concluded from that.
        let mut deferred = waiting.finish(std::mem::take(&mut self.unseen))?;
        self.created.sort_unstable();
        for side in [Side::Local, Side::Remote] {
            self.brake(side, &mut deferred)?;
        }
        let mut tally = self.tally.borrow_mut();
        self.part.problems.extend(tally.take());
        self.part.problems.extend(tally.rest(&self.mount.name));
        drop(tally);
        Ok(Conclusion {
            part: self.part,
            deferred,
            watch: self.watch,
        })
    }

    fn brake(&mut self, side: Side, deferred: &mut Deferred) -> Result<(), PlanError> {
        let mut deletes = 0;
        deferred.rewind()?;
        while let Some(late) = deferred.next()? {
            let counts = late.note.what == What::Delete(side) && !self.was_renamed(&late);
            deletes += u64::from(counts);
        }
        deferred.rewind()?;
        if deletes == 0 {
            self.mount.note_deletes(side, &self.scope.extent, 0);
            return Ok(());
        }
        let known = match self.known {
            Some(known) => known,
            None => self.mount.baseline().known()?,
        };
        let mut brake = guard::brake(self.counts(side, deletes, known));
        if brake.is_some() && side == Side::Remote {
            deletes -= self.renamed_before(deferred)?;
            brake = guard::brake(self.counts(side, deletes, known));
        }
        let Some(brake) = brake else {
            self.mount.note_deletes(side, &self.scope.extent, deletes);
            return Ok(());
        };
        self.tell_held(side, &brake.to_string(), deferred)?;
        deferred.hold(side);
        Ok(deferred.rewind()?)
    }

    fn counts(&self, side: Side, deletes: u64, known: u64) -> DeleteCounts {
        let approval = self.scope.approval;
        match (&self.scope.extent, side) {
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
                    approval,
                }
            }
            (Extent::Whole, Side::Local) => DeleteCounts {
                side,
                deletes,
                known,
                remaining: self.remote_objects,
                approval,
            },
            (Extent::Whole, Side::Remote) => DeleteCounts {
                side,
                deletes,
                known,
                remaining: self.local_files,
                approval,
            },
        }
    }

    /// The first of them one by one, the rest by number: an emptied bucket of a million objects is no reason to run out
    /// of memory.
    fn tell_held(
        &mut self,
        side: Side,
        reason: &str,
        deferred: &mut Deferred,
    ) -> Result<(), PlanError> {
        let entry = |path: String, reason: String| HeldEntry {
            mount: self.mount.name.clone(),
            path,
            side,
            reason,
        };
        let mut held = 0;
        while let Some(late) = deferred.next()? {
            if late.note.what != What::Delete(side) {
                continue;
            }
            held += 1;
            if held <= HELD_TOLD {
                self.part
                    .held
                    .push(entry(late.path.to_string(), reason.to_owned()));
            }
        }
        if held > HELD_TOLD {
            let rest = format!("and {} more: {reason}", held - HELD_TOLD);
            self.part.held.push(entry(String::new(), rest));
        }
        Ok(())
    }

    /// How many of the deletes are old names of files whose new names an earlier push has sent: a busy watcher tells of the
    /// two names of a directory at different times. Looked for only where a brake would act.
    fn renamed_before(&self, deferred: &mut Deferred) -> Result<u64, PlanError> {
        let mut gone: BTreeMap<FileIdentity, u64> = BTreeMap::new();
        while let Some(late) = deferred.next()? {
            if late.note.what == What::Delete(Side::Remote)
                && !self.was_renamed(&late)
                && let Some(before) = late.note.before
            {
                gone.insert(before, 0);
            }
        }
        deferred.rewind()?;
        self.mount.baseline().each_fingerprint(|fingerprint| {
            if let Some(names) = gone.get_mut(&FileIdentity::of(&fingerprint)) {
                *names += 1;
            }
        })?;
        // One name is the one that goes.
        Ok(gone.values().filter(|names| **names > 1).count() as u64)
    }

    fn was_renamed(&self, late: &Late) -> bool {
        let is_new_elsewhere = |before: &FileIdentity| self.created.binary_search(before).is_ok();
        late.note.before.as_ref().is_some_and(is_new_elsewhere)
    }
}

//! The end of a plan: both sides were seen; what waited for that is let through, held by a brake, or dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    Deferred, Extent, MountPlan, PlanError,
    change::hash_file,
    deferred::{FileIdentity, Late, Waiting, What},
    planner::Planner,
    renames::Renames,
};
use crate::{
    digest::Digest,
    guard::{self, DeleteCounts},
    mount::OpenMount,
    order::OrderWatch,
    path::RelPath,
    reconcile::Decision,
    report::{HeldEntry, Problem, Side},
    root::RootState,
};

/// Held deletes towards one side that are told one by one.
const HELD_TOLD: u64 = 1000;
/// Deleted files that are looked for among the new ones by content.
const COMPARED: usize = 100_000;

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
            deferred: Waiting::new(mount.root.spill()?).finish(Vec::new(), Renames::default())?,
            watch: OrderWatch::default(),
        })
    }
}

impl Planner<'_> {
    /// Applies the rules that protect against mass deletion.
    pub(super) fn finish(mut self) -> Result<Conclusion, PlanError> {
        if !self.ignore_files.is_empty() {
            return Err(PlanError::IgnoreFiles(Box::new(MountPlan {
                tasks: self.ignore_files,
                ..MountPlan::default()
            })));
        }
        if self.mount.root.state() == RootState::Gone {
            // Taken away during the scan: what was not found any more is not deleted.
            self.unseen.push(Side::Local);
            let problem = super::gone_root(self.mount);
            self.tally.borrow_mut().add(problem);
        }
        self.units.finish(&mut self.part.tasks);
        self.put_aside()?;
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => Waiting::new(self.mount.root.spill()?),
        };
        // Files that were not seen look deleted: nothing is concluded from that.
        let mut renames = std::mem::take(&mut self.renames);
        renames.seal();
        let mut deferred = waiting.finish(std::mem::take(&mut self.unseen), renames)?;
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
        let deletes = count(side, deferred)?;
        if deletes == 0 {
            return Ok(());
        }
        let known = match self.known {
            Some(known) => known,
            None => self.mount.baseline().known()?,
        };
        let found = match self.mount.mirror() {
            Some(policy) => self.mirror_brake(policy, side, deletes, known)?,
            None => self.usual_brake(side, deletes, known, deferred)?,
        };
        let Some(reason) = found else {
            return Ok(());
        };
        self.tell_held(side, &reason, deferred)?;
        deferred.hold(side);
        Ok(deferred.rewind()?)
    }

    fn usual_brake(
        &self,
        side: Side,
        deletes: u64,
        known: u64,
        deferred: &mut Deferred,
    ) -> Result<Option<String>, PlanError> {
        let mut counts = DeleteCounts {
            side,
            deletes,
            earlier: self.mount.recent_deletes(side)?,
            known,
            remaining: match (&self.scope.extent, side) {
                (Extent::Paths(_), _) => known.saturating_sub(deletes),
                (Extent::Whole, Side::Local) => self.remote_objects,
                (Extent::Whole, Side::Remote) => self.local_files,
            },
            approval: self.scope.approval,
        };
        let mut found = guard::brake(counts);
        if found.is_some() && side == Side::Remote {
            // Worth a closer look: a file that was copied and removed is no loss either.
            let copied = self.copied(deferred)?;
            deferred.renames.note_copied(copied);
            counts.deletes = count(side, deferred)?;
            found = guard::brake(counts);
        }
        Ok(found.map(|brake| brake.to_string()))
    }

    /// Paths to delete in the bucket whose content is in a new file here, as far as the last part of the plan has it: files
    /// of the same size are read.
    fn copied(&self, deferred: &mut Deferred) -> Result<HashSet<RelPath>, PlanError> {
        let wanted = deletes(Side::Remote, deferred)?;
        let sizes: HashSet<u64> = wanted
            .iter()
            .filter_map(|late| Some(late.note.before.as_ref()?.size_bytes()))
            .collect();
        let mut new: HashMap<Digest, u64> = HashMap::new();
        for task in &self.part.tasks {
            let size = task
                .observed
                .local
                .as_ref()
                .map(|entry| entry.fingerprint.size_bytes);
            let is_new = task.decision == Decision::Upload && task.observed.baseline.is_none();
            if is_new
                && size.is_some_and(|size| sizes.contains(&size))
                // What can't be read is not known to be a copy.
                && let Ok((hash, _)) = hash_file(self.mount, &task.observed.path)
            {
                *new.entry(hash.digest).or_default() += 1;
            }
        }
        let sent_before = self.sent_before(&wanted)?;
        let mut copied = HashSet::new();
        for late in wanted {
            if late
                .note
                .before
                .as_ref()
                .is_some_and(|before| sent_before.contains(before))
            {
                copied.insert(late.path);
                continue;
            }
            let row = self.mount.baseline().row(&late.path)?;
            let left = row.and_then(|row| new.get_mut(&row.digest));
            if let Some(left) = left.filter(|left| **left > 0) {
                *left -= 1;
                copied.insert(late.path);
            }
        }
        Ok(copied)
    }

    /// Files to delete whose other names an earlier push has sent: a busy watcher tells of the two names of a directory at
    /// different times.
    fn sent_before(&self, wanted: &[Late]) -> Result<BTreeSet<FileIdentity>, PlanError> {
        let mut names_left: BTreeMap<FileIdentity, i64> = BTreeMap::new();
        for before in wanted.iter().filter_map(|late| late.note.before) {
            *names_left.entry(before).or_default() -= 1;
        }
        self.mount.baseline().each_fingerprint(|fingerprint| {
            if let Some(names) = names_left.get_mut(&FileIdentity::of(&fingerprint)) {
                *names += 1;
            }
        })?;
        names_left.retain(|_, names| *names > 0);
        Ok(names_left.into_keys().collect())
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
}

/// How many files or objects would be deleted on a side; halves of renames don't count.
fn count(side: Side, deferred: &mut Deferred) -> Result<u64, PlanError> {
    let mut deletes = 0;
    deferred.rewind()?;
    while let Some(late) = deferred.next()? {
        let is_delete = late.note.what == What::Delete(side);
        deletes += u64::from(is_delete && !deferred.renames.is_half(&late));
    }
    deferred.rewind()?;
    Ok(deletes)
}

/// The deletes towards a side that are not halves of renames, up to a number that is no accident of an hour.
fn deletes(side: Side, deferred: &mut Deferred) -> Result<Vec<Late>, PlanError> {
    let mut found = Vec::new();
    deferred.rewind()?;
    while found.len() < COMPARED
        && let Some(late) = deferred.next()?
    {
        if late.note.what == What::Delete(side) && !deferred.renames.is_half(&late) {
            found.push(late);
        }
    }
    deferred.rewind()?;
    Ok(found)
}

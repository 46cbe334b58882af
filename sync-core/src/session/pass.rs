//! How a pass goes over the mounts.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use tokio::sync::Semaphore;

use super::{
    Clock, PassRequest, Session, SessionError,
    planning::{Listings, Part},
};
use crate::{
    baseline::{RemoteVersion, Written},
    execute::{self, Context, Executed},
    guard::Approval,
    join::{Observed, RemoteEntry},
    mount::OpenMount,
    path::{ObjectKey, RelPath},
    plan::{self, Direction, Extent, IgnoreFiles, MountPlan, PlanScope, Turn},
    progress::Progress,
    report::{Problem, ProblemKind, Report, Side},
    store::StoreError,
};

/// How often paths that change under our hands are looked at again in one pass.
const ROUNDS: usize = 4;

/// What may have changed locally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dirty {
    /// Nobody knows: the whole mount is scanned.
    Everything,
    /// These paths and what is below them.
    Paths(Vec<RelPath>),
}

impl Session {
    pub(super) async fn run_pass(
        &self,
        request: &PassRequest,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<(), SessionError> {
        for mount in self.selected(request) {
            let mut scope = self.scope(mount, request);
            self.carry(mount, &mut scope, report).await?;
            self.run_mount(
                mount,
                &scope,
                Listings::Fetched,
                request.direction,
                progress,
                report,
            )
            .await?;
            if scope.approval == Approval::Given {
                mount.baseline().forget_recent_deletes()?;
            }
        }
        Ok(())
    }

    /// Plans a mount and carries each part of the plan out as soon as it is made. Gives the paths to try again later.
    pub(super) async fn run_mount(
        &self,
        mount: &Arc<OpenMount>,
        scope: &PlanScope,
        listings: Listings,
        direction: Direction,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let context = self.context(mount, direction, progress);
        let (mut unfinished, mut units) = (Vec::new(), Vec::new());
        let mut scope = scope.clone();
        // A second time for what needs the room that deletes have made, and no third.
        for _ in 0..2 {
            let (mut again, mut held) = (Vec::new(), false);
            let mut planning = self.planning(mount, &scope, listings, progress);
            while let Some(part) = planning.next().await? {
                match part {
                    Part::Plan(mut plan) => {
                        again.append(&mut plan.again);
                        held |= !plan.held.is_empty();
                        let carried = self.carry_out(&context, plan, listings, &mut units, report);
                        unfinished.extend(carried.await?);
                    }
                    Part::Refused(problem) => report.problems.push(problem),
                }
            }
            // A brake is not to be got around by looking at one path.
            if again.is_empty() || held {
                break;
            }
            scope.extent = extent(again);
            scope.turn = Turn::Last;
        }
        execute::abort_abandoned_uploads(&context).await;
        if !units.is_empty() {
            (scope.extent, scope.direction) = (extent(units), direction);
            let whole = self.run_mount(
                mount,
                &scope,
                Listings::Fetched,
                direction,
                progress,
                report,
            );
            unfinished.extend(Box::pin(whole).await?);
        }
        Ok(unfinished)
    }

    pub(super) fn context(
        &self,
        mount: &Arc<OpenMount>,
        direction: Direction,
        progress: &Arc<dyn Progress>,
    ) -> Arc<Context> {
        Arc::new(Context {
            store: self.store.clone(),
            mount: mount.clone(),
            merges: self.merges.clone(),
            progress: progress.clone(),
            concurrency: self.concurrency,
            direction: mount.direction(direction),
            unsent: Mutex::default(),
            validator: self.validator.clone(),
            withheld: Mutex::default(),
            transfers: Semaphore::new(self.concurrency.max(1)),
            tags_are_opaque: AtomicBool::new(false),
        })
    }

    /// Sends what changed in one mount, without asking the store first: a changed file costs one write. Gives the paths
    /// that are to be tried again later.
    pub async fn push_dirty(
        &self,
        mount: &Arc<OpenMount>,
        dirty: Dirty,
        progress: &Arc<dyn Progress>,
    ) -> Result<(Report, Vec<RelPath>), super::PassError> {
        let _one_at_a_time = self.passes.lock().await;
        let clock = Clock::start(&*self.store);
        let dirty_extent = match dirty {
            Dirty::Everything => Extent::Whole,
            Dirty::Paths(paths) => extent(paths),
        };
        let mut scope = PlanScope {
            extent: dirty_extent,
            direction: mount.direction(Direction::Push),
            approval: mount.approval(Approval::None),
            part_tasks: self.part_tasks,
            ignore_files: IgnoreFiles::First,
            turn: Turn::First,
        };
        let mut report = Report::default();
        // What the store holds by now is looked at only where a precondition fails; then either side may win.
        let direction = Direction::Sync;
        let result = async {
            let later = self.carry(mount, &mut scope, &mut report).await?;
            let unsent = self
                .run_mount(
                    mount,
                    &scope,
                    Listings::Assumed,
                    direction,
                    progress,
                    &mut report,
                )
                .await?;
            Ok(later.into_iter().chain(unsent).collect())
        }
        .await;
        clock.conclude(&*self.store, report, result)
    }

    pub(super) fn scope(&self, mount: &OpenMount, request: &PassRequest) -> PlanScope {
        let paths: Vec<_> = request
            .paths
            .iter()
            .filter(|path| path.mount == mount.name)
            .map(|path| path.path.clone())
            .collect();
        let extent = if paths.is_empty() || request.mounts.contains(&mount.name) {
            Extent::Whole
        } else {
            extent(paths)
        };
        PlanScope {
            extent,
            direction: mount.direction(request.direction),
            approval: mount.approval(request.approval),
            part_tasks: self.part_tasks,
            ignore_files: IgnoreFiles::First,
            turn: Turn::First,
        }
    }

    pub(super) fn selected<'a>(
        &'a self,
        request: &'a PassRequest,
    ) -> impl Iterator<Item = &'a Arc<OpenMount>> {
        self.mounts.iter().filter(|mount| {
            let everything = request.mounts.is_empty() && request.paths.is_empty();
            everything
                || request.mounts.contains(&mount.name)
                || request.paths.iter().any(|path| path.mount == mount.name)
        })
    }

    /// Executes a part of a plan and whatever follows from paths that changed meanwhile. Gives the paths to try again later.
    pub(super) async fn carry_out(
        &self,
        context: &Arc<Context>,
        mut plan: MountPlan,
        listings: Listings,
        units: &mut Vec<RelPath>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let mount = &context.mount;
        let mut unfinished = Vec::new();
        for round in 1..=ROUNDS {
            if plan.writes_to_the_store() {
                self.probe().await?;
            }
            let renamed = std::mem::take(&mut plan.renamed);
            let mut executed = Executed::default();
            let result = execute::execute(context, plan, &mut executed).await;
            note_deletes(mount, &executed.report, &renamed)?;
            report.absorb(executed.report);
            unfinished.extend(executed.unfinished);
            result?;
            let stale = executed.stale;
            if stale.is_empty() {
                return Ok(unfinished);
            }
            if round == ROUNDS {
                report
                    .problems
                    .extend(stale.iter().map(|path| busy(mount, path)));
                unfinished.extend(stale);
                return Ok(unfinished);
            }
            plan = self
                .look_again(mount, context.direction, stale, report)
                .await?;
            if listings == Listings::Assumed {
                units.extend(without_units(mount, &mut plan));
            }
        }
        Ok(unfinished)
    }

    async fn look_again(
        &self,
        mount: &Arc<OpenMount>,
        direction: Direction,
        paths: Vec<RelPath>,
        report: &mut Report,
    ) -> Result<MountPlan, SessionError> {
        let mut observed = Vec::with_capacity(paths.len());
        for path in paths {
            match self.observe(mount, &path).await {
                Ok(seen) => observed.push(seen),
                Err(SessionError::Store(error)) if !error.kind.is_fatal() => {
                    report
                        .problems
                        .push(store_problem(mount, path.as_str(), &error));
                }
                Err(error) => return Err(error),
            }
        }
        let again = mount.clone();
        let plan =
            tokio::task::spawn_blocking(move || plan::plan_again(&again, direction, observed))
                .await??;
        self.compare(mount, plan).await
    }

    pub(super) async fn observe(
        &self,
        mount: &OpenMount,
        path: &RelPath,
    ) -> Result<Observed, SessionError> {
        let baseline = mount.baseline().row(path)?;
        let mut remote = self.remote_at(path, mount.prefix.key(path)).await?;
        // A file that is still stored under its older key is no deleted file.
        if remote.is_none()
            && let Some(legacy) = &mount.rules.rule_for(path).legacy_key
        {
            remote = self.remote_at(path, mount.prefix.key(legacy)).await?;
        }
        let local = mount.look(path).map_err(crate::mount::MountError::from)?;
        Ok(Observed {
            path: path.clone(),
            baseline,
            local,
            remote,
        })
    }

    async fn remote_at(
        &self,
        path: &RelPath,
        key: ObjectKey,
    ) -> Result<Option<RemoteEntry>, StoreError> {
        Ok(self.store.head(&key).await?.map(|info| {
            let version = RemoteVersion {
                etag: info.etag,
                size_bytes: info.size_bytes,
                written: Written::at(info.modified),
            };
            RemoteEntry {
                path: path.clone(),
                key,
                version,
            }
        }))
    }
}

/// Takes what would be brought for a part of a reload unit out of a plan, and gives the directories to look at as a whole: a
/// push meets one file's new version at a time, and what belongs to it is known from a listing only.
pub(super) fn without_units(mount: &OpenMount, plan: &mut MountPlan) -> Vec<RelPath> {
    let mut directories = Vec::new();
    plan.tasks.retain(|task| {
        let path = &task.observed.path;
        let moves_here = task.decision.target() == Some(Side::Local) && task.decision.brings();
        let unit = mount.rules.rule_for(path).unit_of(path);
        let directory = unit.and_then(|unit| unit.directory);
        match directory.filter(|_| moves_here) {
            Some(directory) => directories.push(directory),
            None => return true,
        }
        false
    });
    directories
}

/// Lets what was deleted count in the passes of the next minutes.
fn note_deletes(
    mount: &OpenMount,
    did: &Report,
    renamed: &HashSet<RelPath>,
) -> Result<(), SessionError> {
    for (side, deleted) in [
        (Side::Local, &did.deleted_local),
        (Side::Remote, &did.deleted_remote),
    ] {
        let was_renamed = |path: &str| RelPath::new(path).is_ok_and(|path| renamed.contains(&path));
        let count = deleted.iter().filter(|entry| !was_renamed(&entry.path));
        mount.note_deletes(side, count.count() as u64)?;
    }
    Ok(())
}

/// Drops paths that lie below others.
pub(super) fn extent(paths: Vec<RelPath>) -> Extent {
    let all: BTreeSet<RelPath> = paths.into_iter().collect();
    let covered = |path: &RelPath| {
        std::iter::successors(path.parent(), RelPath::parent).any(|above| all.contains(&above))
    };
    Extent::Paths(all.iter().filter(|path| !covered(path)).cloned().collect())
}

pub(super) fn store_problem(mount: &OpenMount, path: &str, error: &StoreError) -> Problem {
    let kind = execute::problem_kind(error);
    Problem {
        mount: mount.name.clone(),
        path: path.to_owned(),
        kind,
        message: error.to_string(),
    }
}

fn busy(mount: &OpenMount, path: &RelPath) -> Problem {
    Problem {
        mount: mount.name.clone(),
        path: path.to_string(),
        kind: ProblemKind::Busy,
        message: "it kept changing; it is tried again with the next change or pass".to_owned(),
    }
}

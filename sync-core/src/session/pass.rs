//! How a pass goes over the mounts.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Clock, PassRequest, Session, SessionError};
use crate::{
    baseline::RemoteVersion,
    execute::{self, Context, Executed},
    guard::Approval,
    join::{Observed, RemoteEntry},
    mount::OpenMount,
    path::{ObjectKey, RelPath},
    plan::{self, Direction, Extent, ListingFault, MountPlan, PlanError, PlanScope, RemoteSource},
    progress::Progress,
    report::{Problem, ProblemKind, Report},
    store::{ListPage, ListedObject, ObjectStore, StoreError},
};

/// How often paths that change under our hands are looked at again in one pass.
const ROUNDS: usize = 4;
/// Pages of a listing in memory.
const PAGES_AHEAD: usize = 2;

/// Whether the store is asked what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listings {
    /// It is.
    Fetched,
    /// It is taken to hold what the baseline says; conditional writes find out if not.
    Assumed,
}

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
            let scope = scope(mount, request);
            let plan = match self
                .plan_mount(mount, &scope, Listings::Fetched, progress)
                .await?
            {
                Planned::Plan(plan) => plan,
                Planned::Refused(problem) => {
                    report.problems.push(problem);
                    continue;
                }
            };
            self.carry_out(mount, request.direction, plan, progress, report)
                .await?;
        }
        Ok(())
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
        let scope = PlanScope {
            extent: dirty_extent,
            direction: Direction::Push,
            approval: Approval::None,
        };
        let mut report = Report::default();
        let result = async {
            match self
                .plan_mount(mount, &scope, Listings::Assumed, progress)
                .await?
            {
                // What the store holds by now is looked at only where a precondition fails; then either side may win.
                Planned::Plan(plan) => {
                    self.carry_out(mount, Direction::Sync, plan, progress, &mut report)
                        .await
                }
                Planned::Refused(problem) => {
                    report.problems.push(problem);
                    Ok(Vec::new())
                }
            }
        }
        .await;
        clock.conclude(&*self.store, report, result)
    }

    pub(super) fn selected<'a>(
        &'a self,
        request: &'a PassRequest,
    ) -> impl Iterator<Item = &'a Arc<OpenMount>> {
        self.mounts.iter().filter(|mount| {
            let named = request.mounts.is_empty() || request.mounts.contains(&mount.name);
            let touched = request.paths.is_empty()
                || request.paths.iter().any(|path| path.mount == mount.name);
            named && touched
        })
    }

    /// Plans a mount for a dry run.
    pub(super) async fn plan_for(
        &self,
        mount: &Arc<OpenMount>,
        request: &PassRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<Planned, SessionError> {
        self.plan_mount(mount, &scope(mount, request), Listings::Fetched, progress)
            .await
    }

    /// Executes a plan and whatever follows from paths that changed meanwhile. Gives the paths to try again later.
    async fn carry_out(
        &self,
        mount: &Arc<OpenMount>,
        direction: Direction,
        mut plan: MountPlan,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let direction = mount.direction(direction);
        let context = Arc::new(Context {
            store: self.store.clone(),
            mount: mount.clone(),
            merges: self.merges.clone(),
            progress: progress.clone(),
            concurrency: self.concurrency,
            direction,
        });
        let mut unfinished = Vec::new();
        for round in 1..=ROUNDS {
            if plan.writes_to_the_store() {
                self.probe().await?;
            }
            let Executed {
                report: did,
                stale,
                unfinished: later,
            } = execute::execute(&context, plan).await?;
            report.absorb(did);
            unfinished.extend(later);
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
            plan = self.look_again(mount, direction, stale, report).await?;
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
                .await?;
        self.compare(mount, plan).await
    }

    async fn observe(&self, mount: &OpenMount, path: &RelPath) -> Result<Observed, SessionError> {
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
            };
            RemoteEntry {
                path: path.clone(),
                key,
                version,
            }
        }))
    }

    async fn plan_mount(
        &self,
        mount: &Arc<OpenMount>,
        scope: &PlanScope,
        listings: Listings,
        progress: &Arc<dyn Progress>,
    ) -> Result<Planned, SessionError> {
        let first = self.try_plan(mount, scope, listings, progress).await?;
        let planned = match first {
            Err(PlanError::Listing(ListingFault::OutOfOrder)) => {
                self.sort_listings.store(true, Ordering::Relaxed);
                tracing::info!(
                    "the store doesn't list in byte order; listings are sorted from now on"
                );
                self.try_plan(mount, scope, listings, progress).await?
            }
            other => other,
        };
        match planned {
            Ok(plan) => Ok(Planned::Plan(self.compare(mount, plan).await?)),
            Err(PlanError::Baseline(error)) => Err(error.into()),
            Err(PlanError::Listing(ListingFault::Store(error)))
                if error.kind.is_fatal() || error.kind.is_transient() =>
            {
                Err(error.into())
            }
            // Nothing is known of the mount's objects, so nothing is decided about it; the other mounts go on.
            Err(PlanError::Listing(ListingFault::Store(error))) => {
                Ok(Planned::Refused(store_problem(mount, "", &error)))
            }
            Err(PlanError::Listing(fault)) => Ok(Planned::Refused(Problem {
                mount: mount.name.clone(),
                path: String::new(),
                kind: ProblemKind::Incomplete,
                message: fault.to_string(),
            })),
        }
    }

    async fn try_plan(
        &self,
        mount: &Arc<OpenMount>,
        scope: &PlanScope,
        listings: Listings,
        progress: &Arc<dyn Progress>,
    ) -> Result<Result<MountPlan, PlanError>, SessionError> {
        let mut sources = Vec::new();
        let mut listers = Vec::new();
        for part in scope.extent.parts() {
            let prefix = match part {
                None => mount.prefix.as_str().to_owned(),
                Some(path) => mount.prefix.key(path).as_str().to_owned(),
            };
            match listings {
                Listings::Assumed => sources.push(RemoteSource::Assumed),
                Listings::Fetched if self.sorts_listings() => match self.sorted(&prefix).await {
                    Ok(objects) => sources.push(RemoteSource::Sorted(objects)),
                    Err(error) => return Ok(Err(ListingFault::Store(error).into())),
                },
                Listings::Fetched => {
                    let (sender, pages) = mpsc::channel(PAGES_AHEAD);
                    let lister = list(self.store.clone(), prefix, sender, progress.clone());
                    listers.push(AbortOnDropHandle::new(tokio::spawn(lister)));
                    sources.push(RemoteSource::Listing(pages));
                }
            }
        }
        let mount = mount.clone();
        let scope = scope.clone();
        Ok(tokio::task::spawn_blocking(move || plan::plan(&mount, &scope, sources)).await?)
    }

    async fn sorted(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        let mut objects: Vec<ListedObject> = Vec::new();
        let mut token = None;
        loop {
            let page = self.store.list(prefix, token.as_deref()).await?;
            objects.extend(page.objects);
            token = page.next;
            if token.is_none() {
                objects.sort_unstable_by(|left, right| left.key.cmp(&right.key));
                objects.dedup_by(|left, right| left.key == right.key);
                return Ok(objects);
            }
        }
    }
}

/// What planning a mount came to.
pub(super) enum Planned {
    Plan(MountPlan),
    /// The store doesn't show this mount; nothing is decided about it.
    Refused(Problem),
}

/// Lists page by page into the channel, ahead of whoever reads it.
async fn list(
    store: Arc<dyn ObjectStore>,
    prefix: String,
    pages: mpsc::Sender<Result<ListPage, StoreError>>,
    progress: Arc<dyn Progress>,
) {
    let mut token: Option<String> = None;
    let mut listed = 0;
    loop {
        let page = store.list(&prefix, token.as_deref()).await;
        token = page.as_ref().ok().and_then(|page| page.next.clone());
        listed += page.as_ref().map_or(0, |page| page.objects.len() as u64);
        progress.listing(listed);
        // A closed channel: the plan was given up.
        if pages.send(page).await.is_err() || token.is_none() {
            return;
        }
    }
}

fn scope(mount: &OpenMount, request: &PassRequest) -> PlanScope {
    let paths: Vec<_> = request
        .paths
        .iter()
        .filter(|path| path.mount == mount.name)
        .map(|path| path.path.clone())
        .collect();
    let extent = if paths.is_empty() {
        Extent::Whole
    } else {
        extent(paths)
    };
    PlanScope {
        extent,
        direction: mount.direction(request.direction),
        approval: request.approval,
    }
}

/// Drops paths that lie below others.
fn extent(paths: Vec<RelPath>) -> Extent {
    let all: BTreeSet<RelPath> = paths.into_iter().collect();
    let covered = |path: &RelPath| {
        std::iter::successors(path.parent(), RelPath::parent).any(|above| all.contains(&above))
    };
    Extent::Paths(all.iter().filter(|path| !covered(path)).cloned().collect())
}

fn store_problem(mount: &OpenMount, path: &str, error: &StoreError) -> Problem {
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

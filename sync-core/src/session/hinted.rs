//! Passes over what the bucket says has changed.
//!
//! Owns how few requests settle a hint. Each changed key costs one HEAD; a key that is said to be gone costs one listing
//! of that key, because a single look that finds nothing is no ground to delete; many keys cost one listing of what they
//! have in common. What this client wrote itself costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{
    Clock, Direction, PassError, PassRequest, Session, SessionError, pass::without_units,
    planning::Listings,
};
use crate::{
    events::{Hint, Noted},
    guard::Approval,
    join::Observed,
    mount::OpenMount,
    path::RelPath,
    plan::{self, IgnoreFiles, PlanScope, Turn},
    progress::Progress,
    report::{ProblemKind, Report},
    root::RootState,
    selection::is_ignore_file,
};

/// A listing's page is worth this many looks at single keys.
const LOOKS_PER_PAGE: u64 = 16;
const PAGE_OBJECTS: u64 = 1000;
/// More single looks than this are never made.
const MOST_LOOKS: u64 = 64;

/// What is left of hints when those that are no news are taken away.
#[derive(Debug, Default)]
struct News {
    /// Said to be written.
    written: Vec<RelPath>,
    /// Said to be gone.
    gone: Vec<RelPath>,
    /// Those of the written ones that were looked at before.
    known: BTreeSet<RelPath>,
}

impl Session {
    /// Brings what `noted` says has changed in the bucket below one mount. Gives the paths to try again later; after an
    /// error all of them are.
    pub(crate) async fn pull_hinted(
        &self,
        mount: &Arc<OpenMount>,
        noted: Noted,
        progress: &Arc<dyn Progress>,
    ) -> Result<(Report, Vec<RelPath>), PassError> {
        let _one_at_a_time = self.passes.lock().await;
        let clock = Clock::start(&*self.store);
        let mut report = Report::default();
        let result = match noted {
            Noted::Everything => self.pull_whole(mount, progress, &mut report).await,
            Noted::Paths(paths) => self.pull_news(mount, paths, progress, &mut report).await,
        };
        clock.conclude(&*self.store, report, result)
    }

    async fn pull_whole(
        &self,
        mount: &Arc<OpenMount>,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let request = PassRequest {
            mounts: vec![mount.name.clone()],
            ..PassRequest::everything(Direction::Pull)
        };
        self.run_pass(&request, progress, report).await?;
        self.remember_pass(&request);
        Ok(Vec::new())
    }

    async fn pull_news(
        &self,
        mount: &Arc<OpenMount>,
        paths: BTreeMap<RelPath, Vec<Hint>>,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let News {
            written,
            mut gone,
            known,
        } = self.without_echoes(mount, paths).await?;
        if written.is_empty() && gone.is_empty() {
            return Ok(Vec::new());
        }
        let looks = (written.len() + gone.len()) as u64;
        let pages = 1 + mount.baseline().known()? / PAGE_OBJECTS;
        let too_many = looks > (LOOKS_PER_PAGE * pages).min(MOST_LOOKS);
        // What it says may concern everything, and comes before everything else.
        if written.iter().chain(&gone).any(is_ignore_file) {
            return self.pull_whole(mount, progress, report).await;
        }
        if too_many || mount.root.state() == RootState::Gone {
            gone.extend(written);
            return match common_directory(&gone) {
                Some(directory) => {
                    self.pull_listed(mount, vec![directory], progress, report)
                        .await
                }
                None => self.pull_whole(mount, progress, report).await,
            };
        }
        let told = report.problems.len();
        let mut later = self.pull_looked(mount, written, progress, report).await?;
        // What is in the way of one may be said to be gone a moment later.
        let blocked = report.problems.iter().skip(told);
        let blocked = blocked.filter(|problem| problem.kind == ProblemKind::Unsupported);
        let blocked = blocked.filter_map(|problem| RelPath::new(&problem.path).ok());
        later.extend(blocked.filter(|path| !known.contains(path)));
        if !gone.is_empty() {
            later.extend(self.pull_listed(mount, gone, progress, report).await?);
        }
        Ok(later)
    }

    /// Brings what single looks find. Where nothing is found the word of a removal is on its way, or the next listing
    /// shows it. Gives the paths to try again later.
    async fn pull_looked(
        &self,
        mount: &Arc<OpenMount>,
        paths: Vec<RelPath>,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let mut later = self
            .carry(mount, &mut self.pull_of(mount, paths.clone()), report)
            .await?;
        let mut there = self.look_at(mount, paths, report).await?;
        there.retain(|observed| observed.remote.is_some());
        let planned = mount.clone();
        let direction = mount.direction(Direction::Pull);
        let plan =
            tokio::task::spawn_blocking(move || plan::plan_again(&planned, direction, there));
        let context = self.context(mount, direction, progress);
        let mut plan = self.compare(mount, plan.await??).await?;
        // What belongs together may not have been told completely: a listing shows all of it.
        let mut units = without_units(mount, &mut plan);
        let listings = Listings::Fetched;
        let carried = self.carry_out(&context, plan, listings, &mut units, report);
        later.extend(carried.await?);
        if !units.is_empty() {
            later.extend(self.pull_listed(mount, units, progress, report).await?);
        }
        Ok(later)
    }

    /// Takes away what this client did itself, and what the baseline knows already.
    async fn without_echoes(
        &self,
        mount: &Arc<OpenMount>,
        paths: BTreeMap<RelPath, Vec<Hint>>,
    ) -> Result<News, SessionError> {
        let (store, mount) = (self.store.clone(), mount.clone());
        let filter = move || -> Result<News, SessionError> {
            let mut news = News::default();
            let selection = mount.selection();
            for (path, mut hints) in paths {
                // What is ignored is not looked at; when that ends everything is.
                if selection.ignores(&path) {
                    continue;
                }
                let key = mount.prefix.key(&path);
                let row = mount.baseline().row(&path)?;
                let known = row.and_then(|row| row.remote).map(|remote| remote.etag);
                // Every hint is asked about: each write of ours answers for one.
                hints.retain(|hint| match hint {
                    Hint::Written(etag) => {
                        !store.takes_as_own(&key, Some(etag)) && known.as_ref() != Some(etag)
                    }
                    Hint::Removed => !store.takes_as_own(&key, None) && known.is_some(),
                    Hint::Unknown => true,
                });
                if hints.contains(&Hint::Removed) {
                    news.gone.push(path);
                } else if !hints.is_empty() {
                    if hints.contains(&Hint::Unknown) {
                        news.known.insert(path.clone());
                    }
                    news.written.push(path);
                }
            }
            Ok(news)
        };
        tokio::task::spawn_blocking(filter).await?
    }

    /// Looks at both sides of each path. A key that can't be looked at is a problem of its own; a store that fails ends
    /// it, and everything is tried again.
    async fn look_at(
        &self,
        mount: &Arc<OpenMount>,
        paths: Vec<RelPath>,
        report: &mut Report,
    ) -> Result<Vec<Observed>, SessionError> {
        let looks = futures_util::stream::iter(paths).map(|path| async move {
            match self.observe(mount, &path).await {
                Err(SessionError::Store(error))
                    if !error.kind.is_fatal() && !error.kind.is_transient() =>
                {
                    Ok(Err((path, error)))
                }
                other => other.map(Ok),
            }
        });
        let looks: Vec<_> = looks
            .buffered(self.concurrency.max(1))
            .try_collect()
            .await?;
        let mut observed = Vec::with_capacity(looks.len());
        for look in looks {
            match look {
                Ok(seen) => observed.push(seen),
                Err((path, error)) => {
                    let problem = super::pass::store_problem(mount, path.as_str(), &error);
                    report.problems.push(problem);
                }
            }
        }
        Ok(observed)
    }

    /// Brings what a listing of these paths shows.
    async fn pull_listed(
        &self,
        mount: &Arc<OpenMount>,
        paths: Vec<RelPath>,
        progress: &Arc<dyn Progress>,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        let mut scope = self.pull_of(mount, paths);
        let mut later = self.carry(mount, &mut scope, report).await?;
        let direction = Direction::Pull;
        let more = self.run_mount(
            mount,
            &scope,
            Listings::Fetched,
            direction,
            progress,
            report,
        );
        later.extend(more.await?);
        Ok(later)
    }

    fn pull_of(&self, mount: &OpenMount, paths: Vec<RelPath>) -> PlanScope {
        PlanScope {
            extent: super::pass::extent(paths),
            direction: mount.direction(Direction::Pull),
            approval: mount.approval(Approval::None),
            part_tasks: self.part_tasks,
            ignore_files: IgnoreFiles::First,
            turn: Turn::First,
        }
    }
}

/// The deepest directory that all paths are in; `None` where that is the mount itself.
fn common_directory(paths: &[RelPath]) -> Option<RelPath> {
    let (first, rest) = paths.split_first()?;
    let mut directory = first.parent()?;
    while !rest.iter().all(|path| path.is_under(&directory)) {
        directory = directory.parent()?;
    }
    Some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_directory_of_all_paths_is_found() {
        for (paths, expected) in [
            (&["a/b/c", "a/b/d"][..], Some("a/b")),
            (&["a/b/c", "a/bc/d"], Some("a")),
            // What is looked at is a path and all that is below it.
            (&["a/b/c", "a/b"], Some("a/b")),
            (&["a/b", "c/d"], None),
            (&["a"], None),
            (&[], None),
        ] {
            let paths: Vec<_> = paths
                .iter()
                .map(|text| RelPath::new(text).unwrap())
                .collect();
            let found = common_directory(&paths);
            assert_eq!(found.as_ref().map(RelPath::as_str), expected, "{paths:?}");
        }
    }
}

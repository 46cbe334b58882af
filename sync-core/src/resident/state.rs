//! What the engine remembers for its status.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::jobs::What;
use crate::{
    debounce::{DirtyPath, MountIndex, Scope},
    events::{Noted, StreamState},
    path::RelPath,
    report::{HeldEntry, Problem, ProblemKind, Report, Side},
    resident::streams::Streams,
    selection::is_ignore_file,
    session::{Direction, MountPath, PassError},
    status::{Status, Totals},
    watch::WatchMode,
};

/// Results of the engine's jobs, condensed.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Names of the mounts, by their index.
    mounts: Vec<String>,
    pub(super) pending: u64,
    /// Time between two scheduled passes.
    pub(super) pull_every: Duration,
    last_pull: Option<jiff::Timestamp>,
    last_push: Option<jiff::Timestamp>,
    last_change: Option<jiff::Timestamp>,
    /// By mount and path.
    problems: BTreeMap<(String, String), Problem>,
    held: Vec<HeldEntry>,
    outage: Option<(Instant, String)>,
    watch: BTreeMap<MountIndex, WatchMode>,
    streams: Streams,
    totals: Totals,
}

impl State {
    pub(super) fn new(mounts: Vec<String>) -> Self {
        Self {
            mounts,
            ..Self::default()
        }
    }

    pub(super) fn set_watch_mode(&mut self, mount: MountIndex, mode: WatchMode) {
        self.watch.insert(mount, mode);
    }

    /// A file changed here.
    pub(super) fn note_change(&mut self) {
        self.last_change = Some(jiff::Timestamp::now());
    }

    /// Nothing is watched any more.
    pub(super) fn forget_watch_modes(&mut self) {
        self.watch.clear();
    }

    /// Takes what a job did.
    pub(super) fn conclude(&mut self, what: &What, result: &Result<Report, PassError>) {
        let report = match result {
            Ok(report) => {
                self.outage = None;
                report
            }
            Err(error) => {
                self.totals.failed_passes += 1;
                let since = self
                    .outage
                    .take()
                    .map_or_else(Instant::now, |(since, _)| since);
                self.outage = Some((since, error.to_string()));
                &error.report
            }
        };
        if matches!(what, What::Plan) {
            self.totals.requests = self.totals.requests + report.requests;
            return;
        }
        self.totals.add(report);
        let now = jiff::Timestamp::now();
        if report.changes_files() {
            self.last_change = Some(now);
        }
        match what {
            What::Pass(request) if result.is_ok() => {
                self.forget_problems(&request.paths, &request.mounts);
                if what.is_whole() {
                    self.conclude_whole(request.direction, now);
                }
            }
            What::Plan | What::Pass(_) => {}
            What::Look(looked) => {
                if result.is_ok() {
                    self.forget_looked(&looked.hints);
                }
            }
            What::Push(dirty) => {
                if result.is_ok() {
                    self.forget_dirty_problems(dirty);
                    self.last_push = Some(now);
                }
            }
        }
        // What is being written to is sent when it is quiet: no problem before somebody waits for it.
        let passing =
            |problem: &&Problem| matches!(what, What::Push(_)) && problem.kind == ProblemKind::Busy;
        for problem in report.problems.iter().filter(|problem| !passing(problem)) {
            self.problems.insert(
                (problem.mount.clone(), problem.path.clone()),
                problem.clone(),
            );
        }
        for held in &report.held {
            self.held.retain(|known| !is_same(known, held));
            self.held.push(held.clone());
        }
    }

    /// A pass over everything: what it holds, it holds again.
    fn conclude_whole(&mut self, direction: Direction, now: jiff::Timestamp) {
        self.totals.passes += 1;
        if direction != Direction::Push {
            self.last_pull = Some(now);
            self.held.retain(|held| held.side != Side::Local);
        }
        if direction != Direction::Pull {
            self.last_push = Some(now);
            self.held.retain(|held| held.side != Side::Remote);
        }
    }

    /// A pass looked at these anew.
    fn forget_problems(&mut self, paths: &[MountPath], mounts: &[String]) {
        self.problems.retain(|(mount, path), _| {
            let everything = mounts.is_empty() && paths.is_empty();
            let looked_at =
                |looked: &MountPath| looked.mount == *mount && is_under(path, &looked.path);
            !(everything || mounts.contains(mount) || paths.iter().any(looked_at))
        });
    }

    /// Forgets the problems of what hints led to.
    fn forget_looked(&mut self, hints: &BTreeMap<MountIndex, Noted>) {
        for (index, noted) in hints {
            let Some(name) = self.mounts.get(usize::from(index.0)).cloned() else {
                continue;
            };
            self.problems.retain(|(mount, path), _| {
                let looked = match noted {
                    Noted::Everything => true,
                    Noted::Paths(paths) => {
                        RelPath::new(path).is_ok_and(|path| paths.contains_key(&path))
                    }
                };
                *mount != name || !looked
            });
        }
    }

    /// Adds a problem; true when it is new.
    pub(super) fn add_problem(&mut self, problem: &Problem) -> bool {
        let key = (problem.mount.clone(), problem.path.clone());
        self.problems.insert(key, problem.clone()).is_none()
    }

    /// How the stream of a prefix is.
    pub(super) fn set_stream(&mut self, prefix: &str, state: StreamState) {
        self.streams.set(prefix, state);
    }

    /// An event came.
    pub(super) fn count_event(&mut self) {
        self.totals.events += 1;
    }

    /// What is no event came.
    pub(super) fn count_malformed(&mut self, prefix: &str, count: u64) {
        self.streams.count_malformed(prefix, count);
    }

    fn forget_dirty_problems(&mut self, dirty: &[DirtyPath]) {
        let mounts = &self.mounts;
        // Nor what is invalid in it, but for ignore files: those are read here.
        let is_seen = |path: &str, kind| {
            kind != ProblemKind::Invalid
                || RelPath::new(path).is_ok_and(|path| is_ignore_file(&path))
        };
        self.problems.retain(|(mount, path), problem| {
            !is_seen(path, problem.kind)
                || !dirty.iter().any(|dirty| match &dirty.scope {
                    // A push doesn't see what is wrong with the bucket's side.
                    Scope::Mount => false,
                    Scope::Path(looked) | Scope::Subtree(looked) => {
                        mounts.get(usize::from(dirty.mount.0)) == Some(mount)
                            && is_under(path, looked)
                    }
                })
        });
    }

    /// Fills in what only the engine knows.
    pub(super) fn describe(&self, status: &mut Status) {
        status.resident = true;
        status.pending = self.pending;
        // Until the first pass, what the engine before this one remembered.
        if let Some(time) = self.last_pull {
            status.last_pull = Some(time.to_string());
        }
        if let Some(time) = self.last_push {
            status.last_push = Some(time.to_string());
        }
        status.last_change = self.last_change.map(|time| time.to_string());
        status.problems = self.problems.values().cloned().collect();
        status.held.clone_from(&self.held);
        status.watch = self.watch_mode();
        status.events = self.streams.describe();
        status.pull_every_seconds = self.pull_every.as_secs();
        status.outage = self.outage.as_ref().map(|(_, message)| message.clone());
        status.lag_seconds = self
            .outage
            .as_ref()
            .map_or(Duration::ZERO, |(since, _)| since.elapsed())
            .as_secs();
        status.totals = self.totals;
    }

    fn watch_mode(&self) -> String {
        if self.watch.is_empty() {
            return "scheduled passes only".to_owned();
        }
        let mut modes: Vec<_> = self.watch.values().map(ToString::to_string).collect();
        modes.sort();
        modes.dedup();
        modes.join("; ")
    }
}

/// True for the same delete, whatever the brake's words were.
fn is_same(left: &HeldEntry, right: &HeldEntry) -> bool {
    (&left.mount, &left.path, left.side) == (&right.mount, &right.path, right.side)
}

fn is_under(path: &str, looked: &RelPath) -> bool {
    RelPath::new(path).is_ok_and(|path| path.is_under(looked))
}

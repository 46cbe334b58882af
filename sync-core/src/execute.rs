//! Carrying a mount's plan out: stage and publish, upload, delete, record.
//!
//! Order: incoming files are staged in batches and published together, then uploads, then deletes, so that a renamed
//! file is never missing on either side. Only what loses against an incoming directory goes first. One path has at most one
//! task. A task whose path changed since it was decided touches nothing and is reported as stale; whoever called observes
//! and decides anew.

mod attributes;
pub(crate) mod carry;
mod clear;
mod databases;
mod delete;
mod fetch;
mod incoming;
mod merge;
mod publish;
mod rewritten;
mod unit;
mod upload;

pub(crate) use self::attributes::{ObjectKind, kind, metadata};

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use futures_util::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::upload::abort_abandoned as abort_abandoned_uploads;
use crate::{
    baseline::{BaselineError, RowChange},
    content,
    failpoint::Point,
    join::Observed,
    layout::{Executable, ReloadUnit},
    merge::MergeRules,
    mount::OpenMount,
    path::RelPath,
    plan::{Direction, Handling, MountPlan, Task, local_problem},
    progress::Progress,
    reconcile::{Decision, reconcile},
    report::{ConflictEntry, Entry, HeldEntry, Problem, ProblemKind, Report},
    root::LocalError,
    store::{ObjectStore, StoreError, StoreErrorKind, Support, probe},
    validate::Validate,
};

/// What executing needs.
pub(crate) struct Context {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) mount: Arc<OpenMount>,
    pub(crate) merges: Arc<BTreeMap<RelPath, MergeRules>>,
    pub(crate) progress: Arc<dyn Progress>,
    pub(crate) concurrency: usize,
    pub(crate) direction: Direction,
    /// Inodes of the files that could not be sent so far.
    pub(crate) unsent: Mutex<HashSet<u64>>,
    /// Who is asked before a reload unit is published.
    pub(crate) validator: Option<Arc<dyn Validate>>,
    /// Reload units of which nothing was published, although something is there.
    pub(crate) withheld: Mutex<BTreeSet<ReloadUnit>>,
    /// One for each transfer that may be under way: files, parts and stretches of files share them.
    pub(crate) transfers: Semaphore,
    /// `ETag`s of the form of an MD5 turned out to be none.
    pub(crate) tags_are_opaque: AtomicBool,
}

/// What executing one plan did.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    pub(crate) report: Report,
    /// Paths that changed since they were decided about.
    pub(crate) stale: Vec<RelPath>,
    /// Paths whose problem may pass by itself.
    pub(crate) unfinished: Vec<RelPath>,
}

/// Why nothing more can be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    #[error("an internal task ended unexpectedly")]
    Task(#[from] tokio::task::JoinError),
}

/// How one task ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done; this is what both sides hold now, and what to report, if anything.
    Done {
        change: Box<RowChange>,
        effect: Effect,
    },
    /// Somebody changed the path first.
    Stale(RelPath),
    /// It waits until a database is no longer used.
    Held(HeldEntry),
    /// It can't be done.
    Problem(Problem),
    /// It can't be done now.
    Unfinished(Problem, RelPath),
}

/// What a finished task is reported as.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Nothing was moved: both sides turned out to hold the same content.
    Recorded,
    Downloaded(Entry),
    Uploaded(Entry),
    Merged(Entry),
    DeletedLocal(Entry),
    DeletedRemote(Entry),
    /// A download over a local version that is kept as a copy.
    Conflict(Entry, ConflictEntry),
}

/// Why a task didn't end well; becomes an [`Outcome`] or ends the pass.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The path isn't as it was when it was decided about.
    Stale,
    /// The file is being written to.
    Changing,
    Store(StoreError),
    Local(LocalError),
    Problem(ProblemKind, String),
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        // Gone between the look and the act, or its directory became something else.
        let gone = [
            std::io::ErrorKind::NotFound,
            std::io::ErrorKind::NotADirectory,
        ];
        if gone.contains(&error.kind()) || content::is_link(&error) {
            Self::Stale
        } else if error.kind() == std::io::ErrorKind::WouldBlock {
            Self::Changing
        } else {
            Self::Local(error)
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let overtaken = [StoreErrorKind::Precondition, StoreErrorKind::NotFound];
        if overtaken.contains(&error.kind) {
            Self::Stale
        } else {
            Self::Store(error)
        }
    }
}

/// Executes `plan`. An error ends the pass; what was done before it is recorded, and told in `executed`.
pub(crate) async fn execute(
    context: &Arc<Context>,
    plan: MountPlan,
    executed: &mut Executed,
) -> Result<(), ExecuteError> {
    executed.report.problems = plan.problems;
    executed.report.held = plan.held;
    context.mount.baseline().apply(&plan.row_changes)?;
    context.mount.root.reached(Point::PlanRecorded);
    announce(context, &plan.tasks);
    let (mut incoming, mut uploads, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
    let mut in_the_way = Vec::new();
    for task in plan.tasks {
        match task.decision {
            Decision::Upload => uploads.push(task),
            Decision::DeleteLocal | Decision::DeleteRemote => deletes.push(task),
            Decision::Download | Decision::Merge | Decision::Conflict(_) => incoming.push(task),
            Decision::MakeWay => in_the_way.push(task),
            Decision::Nothing | Decision::RecordGone | Decision::Forget | Decision::Blocked => {}
        }
    }
    uploads.extend(clear::run(context, in_the_way, executed).await?);
    incoming.extend(rewritten::run(context, plan.rewritten, executed).await?);
    uploads.extend(incoming::run(context, incoming, executed).await?);
    let sent: Vec<_> = uploads.iter().filter_map(inode_of).collect();
    upload::run(context, uploads, executed).await?;
    context.note_sent(sent, executed);
    let mut deletes = without_halves_of_renames(context, deletes);
    delete::retain_certain(context, &mut deletes, &plan.doubtful).await?;
    let deletes = unit::deletes(context, deletes);
    delete::run(context, deletes, executed).await
}

/// The inode of the file that a task sends, and its path.
fn inode_of(task: &Task) -> Option<(u64, RelPath)> {
    let entry = task.observed.local.as_ref()?;
    Some((entry.fingerprint.inode, task.observed.path.clone()))
}

/// A renamed file is a new path and a deleted one: while the new one could not be sent, the old object stays. The next pass
/// over everything sees both again; to try the delete alone would forget why it waits.
fn without_halves_of_renames(context: &Context, mut deletes: Vec<Task>) -> Vec<Task> {
    let unsent = context
        .unsent
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    deletes.retain(|task| {
        let before = task.observed.baseline.as_ref().and_then(|row| row.local);
        let waits = before.is_some_and(|local| unsent.contains(&local.fingerprint.inode));
        task.decision != Decision::DeleteRemote || !waits
    });
    deletes
}

fn announce(context: &Context, tasks: &[Task]) {
    let bytes = tasks
        .iter()
        .map(|task| match task.decision {
            Decision::Upload => task
                .observed
                .local
                .as_ref()
                .map_or(0, |entry| entry.fingerprint.size_bytes),
            Decision::Download | Decision::Merge | Decision::Conflict(_) => task
                .observed
                .remote
                .as_ref()
                .map_or(0, |entry| entry.version.size_bytes),
            Decision::DeleteLocal
            | Decision::DeleteRemote
            | Decision::MakeWay
            | Decision::Blocked
            | Decision::Nothing
            | Decision::RecordGone
            | Decision::Forget => 0,
        })
        .sum();
    if !tasks.is_empty() {
        context.progress.planned(tasks.len() as u64, bytes);
    }
}

/// Runs `work` on every item on the runtime's threads, a bounded number at a time, and gives the results as they come.
/// Dropping the stream ends what is under way.
pub(crate) fn in_parallel<T, F, R>(
    concurrency: usize,
    items: Vec<T>,
    work: impl Fn(T) -> F,
) -> impl Stream<Item = Result<R, tokio::task::JoinError>>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    futures_util::stream::iter(
        items
            .into_iter()
            .map(move |item| AbortOnDropHandle::new(tokio::spawn(work(item)))),
    )
    .buffer_unordered(concurrency.max(1))
}

impl Context {
    /// Waits for the turn of a transfer, which lasts until the permit is dropped.
    pub(crate) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // `None` where it was closed, which nobody does.
        self.transfers.acquire().await.ok()
    }

    /// An entry of the report for a path.
    pub(crate) fn entry(&self, path: &RelPath, handling: &Handling, bytes: u64) -> Entry {
        Entry {
            mount: self.mount.name.clone(),
            path: path.to_string(),
            bytes,
            group: handling.group.clone(),
            reason: None,
        }
    }

    /// Remembers which of these files could not be sent, and forgets those that now were.
    fn note_sent(&self, files: Vec<(u64, RelPath)>, executed: &Executed) {
        let problems = executed
            .report
            .problems
            .iter()
            .map(|problem| &*problem.path);
        let others = executed.stale.iter().chain(&executed.unfinished);
        let failed: HashSet<&str> = problems.chain(others.map(RelPath::as_str)).collect();
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        for (inode, path) in files {
            if failed.contains(path.as_str()) {
                unsent.insert(inode);
            } else {
                unsent.remove(&inode);
            }
        }
    }

    pub(crate) fn problem(
        &self,
        path: &RelPath,
        kind: ProblemKind,
        message: impl Into<String>,
    ) -> Problem {
        Problem {
            mount: self.mount.name.clone(),
            path: path.to_string(),
            kind,
            message: message.into(),
        }
    }

    /// Whether the store keeps the key of a path as it is. SeaweedFS takes `\` for `/`; asked once, and only where such a
    /// path is to be sent.
    pub(crate) async fn keeps_key(&self, path: &RelPath) -> Result<bool, StoreError> {
        if !path.as_str().contains('\\') {
            return Ok(true);
        }
        let ask = || probe::keeps_backslashes(&*self.store, &self.mount.prefix);
        let found = self.mount.backslashes.get_or_try_init(ask).await?;
        Ok(*found == Support::Yes)
    }

    /// What a failed task is: an outcome of its path, or the end of the pass.
    pub(crate) fn outcome(
        &self,
        path: &RelPath,
        failure: Failure,
    ) -> Result<Outcome, ExecuteError> {
        match failure {
            Failure::Stale => Ok(Outcome::Stale(path.clone())),
            Failure::Changing => {
                let message = "it is being written to; it is sent when it is quiet";
                Ok(Outcome::Unfinished(
                    self.problem(path, ProblemKind::Busy, message),
                    path.clone(),
                ))
            }
            Failure::Problem(kind, message) => {
                Ok(Outcome::Problem(self.problem(path, kind, message)))
            }
            // Waiting doesn't help: the next pass says what stands in the way.
            Failure::Local(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let message = "a file stands here where the bucket has its directory";
                Ok(Outcome::Problem(self.problem(
                    path,
                    ProblemKind::Unsupported,
                    message,
                )))
            }
            Failure::Local(error) => Ok(Outcome::Unfinished(
                local_problem(&self.mount, path, &error),
                path.clone(),
            )),
            Failure::Store(error) if error.kind.is_fatal() => Err(error.into()),
            Failure::Store(error) => {
                let kind = problem_kind(&error);
                let problem = self.problem(path, kind, error.to_string());
                if error.kind.is_transient() {
                    Ok(Outcome::Unfinished(problem, path.clone()))
                } else {
                    Ok(Outcome::Problem(problem))
                }
            }
        }
    }
}

impl Executed {
    /// Takes an outcome into the report; gives the change of the baseline that goes with it.
    pub(crate) fn take(&mut self, outcome: Outcome) -> Option<RowChange> {
        match outcome {
            Outcome::Stale(path) => self.stale.push(path),
            Outcome::Held(held) => self.report.held.push(held),
            Outcome::Problem(problem) => self.report.problems.push(problem),
            Outcome::Unfinished(problem, path) => {
                self.report.problems.push(problem);
                self.unfinished.push(path);
            }
            Outcome::Done { change, effect } => {
                self.report_effect(effect);
                return Some(*change);
            }
        }
        None
    }

    fn report_effect(&mut self, effect: Effect) {
        let report = &mut self.report;
        match effect {
            Effect::Recorded => {}
            Effect::Downloaded(entry) => {
                report.bytes_in += entry.bytes;
                report.downloaded.push(entry);
            }
            Effect::Uploaded(entry) => {
                report.bytes_out += entry.bytes;
                report.uploaded.push(entry);
            }
            Effect::Merged(entry) => {
                report.bytes_in += entry.bytes;
                report.merged.push(entry);
            }
            Effect::DeletedLocal(entry) => report.deleted_local.push(entry),
            Effect::DeletedRemote(entry) => report.deleted_remote.push(entry),
            Effect::Conflict(entry, conflict) => {
                report.bytes_in += entry.bytes;
                report.downloaded.push(entry);
                report.conflicts.push(conflict);
            }
        }
    }
}

/// A failing baseline is reported with the path; the next pass finds out more.
pub(crate) fn baseline_problem(error: &BaselineError) -> Failure {
    Failure::Problem(ProblemKind::Io, format!("{error}: {}", error.cause()))
}

/// The word for a failure of the store.
pub(crate) fn problem_kind(error: &StoreError) -> ProblemKind {
    if error.kind == StoreErrorKind::Denied {
        ProblemKind::Denied
    } else {
        ProblemKind::Store
    }
}

/// Executable bits for a rule that wants them: whoever may read may execute.
pub(crate) fn mode_for(executable: Executable, mode: u32) -> u32 {
    match executable {
        Executable::AsItIs => mode,
        Executable::Always => mode | ((mode & 0o444) >> 2),
    }
}

/// A task for a path that this pass created: a conflict copy to push.
pub(crate) fn task_for_new_file(mount: &OpenMount, path: RelPath) -> Option<Task> {
    let handling = Handling::of(mount.selection().rule_for(&path));
    let local = mount.look(&path).ok().flatten();
    let observed = Observed {
        path,
        baseline: None,
        local,
        remote: None,
    };
    let (local, remote) = crate::plan::changes(&observed);
    let decision = reconcile(local, remote, handling.policy);
    (decision == Decision::Upload).then(|| Task {
        observed,
        decision,
        handling,
        reason: "conflict copy".to_owned(),
    })
}

//! A session: the mounts of one worker, opened on one store, and the passes over them.
//!
//! A pass plans each mount, executes the plan, and decides anew about the paths that changed meanwhile, a few times at
//! most. Never decides anything itself. One session at a time has a mount open; passes of a session run one by one.

mod capabilities;
mod carry;
mod conflicts;
mod dry_run;
mod hinted;
mod listing;
mod mirror;
mod pass;
mod planning;
mod status;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, RwLock},
    time::Instant,
};

pub use self::{
    conflicts::{ConflictDetails, ConflictError, ConflictVersion, InBucket, Resolved},
    mirror::{MIRROR, MirrorSpec},
    pass::Dirty,
};
pub use crate::plan::Direction;
use crate::{
    baseline::BaselineError,
    execute::ExecuteError,
    failpoint::Point,
    guard::Approval,
    layout::{Mount, ResolvedLayout},
    merge::MergeRules,
    mount::{MountError, OpenMount, OtherPlace},
    order::ListingOrder,
    path::{PathError, RelPath},
    progress::Progress,
    report::{Report, RequestCounts},
    store::{Capabilities, ObjectStore, StoreError},
    validate::Validate,
};

/// Tasks that make a part of a plan. Large enough for the transfers of a part to run side by side to the end, small enough
/// for three parts in memory: one being made, one waiting, one being carried out.
const PART_TASKS: usize = 8192;
/// Names under which a baseline remembers the last whole pass of a direction, as RFC 3339.
const LAST_PULL: &str = "last-pull";
const LAST_PUSH: &str = "last-push";

/// The mounts of a worker on a store.
pub struct Session {
    store: Arc<dyn ObjectStore>,
    mounts: Vec<Arc<OpenMount>>,
    merges: Arc<BTreeMap<RelPath, MergeRules>>,
    concurrency: usize,
    /// The order that the store was last seen to list in.
    listing_order: RwLock<Option<ListingOrder>>,
    part_tasks: usize,
    validator: Option<Arc<dyn Validate>>,
    probed: RwLock<Option<Capabilities>>,
    passes: tokio::sync::Mutex<()>,
}

/// What to do in a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassRequest {
    /// Which way.
    pub direction: Direction,
    /// Names of mounts to look at as a whole.
    pub mounts: Vec<String>,
    /// Parts of other mounts: what is at and below these. Everything when there are neither mounts nor paths.
    pub paths: Vec<MountPath>,
    /// Whether held deletes are wanted.
    pub approval: Approval,
}

impl PassRequest {
    /// Everything, one or both ways.
    #[must_use]
    pub fn everything(direction: Direction) -> Self {
        Self {
            direction,
            mounts: Vec::new(),
            paths: Vec::new(),
            approval: Approval::None,
        }
    }

    /// True when it is for everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.mounts.is_empty() && self.paths.is_empty()
    }
}

/// A path in a mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountPath {
    /// Name of the mount.
    pub mount: String,
    /// Path in it.
    pub path: RelPath,
}

/// A session could not be opened, or a pass could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// A mount can't be opened.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The store can't be used at all: unreachable, wrong keys, no bucket.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A baseline failed.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// A path is in no mount.
    #[error("{path} is in no mount of this layout")]
    NoMount {
        /// The path as it was given.
        path: String,
    },
    /// A path can't be a key.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Part of the engine ended unexpectedly.
    #[error("an internal task ended unexpectedly")]
    Task(#[from] tokio::task::JoinError),
}

impl From<ExecuteError> for SessionError {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Store(error) => Self::Store(error),
            ExecuteError::Baseline(error) => Self::Baseline(error),
            ExecuteError::Task(error) => Self::Task(error),
        }
    }
}

/// A pass that could not go on, and what it did until then.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct PassError {
    /// Why.
    #[source]
    pub source: SessionError,
    /// What was done before; it is done and recorded.
    pub report: Box<Report>,
}

impl Session {
    /// Opens every mount of the layout: takes its lock and recovers it from a crash. Sends nothing to the store, unless
    /// a directory is to belong to another bucket or prefix than before: then that is looked at first.
    pub async fn open(
        layout: &ResolvedLayout,
        store: Arc<dyn ObjectStore>,
        concurrency: usize,
    ) -> Result<Self, SessionError> {
        Self::with_mounts(
            layout.mounts.clone(),
            layout.merges.clone(),
            store,
            concurrency,
        )
        .await
    }

    /// The same without a layout: mounts and the field rules of merged files.
    pub async fn with_mounts(
        mounts: Vec<Mount>,
        merges: BTreeMap<RelPath, MergeRules>,
        store: Arc<dyn ObjectStore>,
        concurrency: usize,
    ) -> Result<Self, SessionError> {
        let mounts = Arc::new(mounts);
        let opened = open_all(&mounts, &store, OtherPlace::Refused).await;
        let mounts = match opened {
            Err(SessionError::Mount(MountError::OtherPlace { prefix, .. })) => {
                // A mistyped bucket, or a store that is away, is no reason to move an agent's files.
                match store.list(prefix.as_str(), None).await {
                    Err(error) if error.kind.is_fatal() || error.kind.is_transient() => {
                        return Err(error.into());
                    }
                    Ok(_) | Err(_) => {}
                }
                open_all(&mounts, &store, OtherPlace::SetAside).await?
            }
            other => other?,
        };
        let session = Self {
            store,
            mounts,
            merges: Arc::new(merges),
            concurrency,
            listing_order: RwLock::new(None),
            part_tasks: PART_TASKS,
            validator: None,
            probed: RwLock::new(None),
            passes: tokio::sync::Mutex::new(()),
        };
        session.recall_capabilities()?;
        session.recall_listing_order()?;
        Ok(session)
    }

    /// Sets how many tasks make a part of a plan. The default suits everything but tests of what happens between parts.
    #[must_use]
    pub fn with_part_tasks(mut self, tasks: usize) -> Self {
        self.part_tasks = tasks;
        self
    }

    /// Sets who is asked before files of a reload group are published.
    #[must_use]
    pub fn with_validator(mut self, validator: Arc<dyn Validate>) -> Self {
        self.validator = Some(validator);
        self
    }

    /// The mounts, in the order of the layout.
    #[must_use]
    pub fn mounts(&self) -> &[Arc<OpenMount>] {
        &self.mounts
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// A request for what `texts` mean, each an absolute path, a path relative to the first mount, or one that begins with the
    /// name of another mount. A mount's own directory, `.`, and another mount's name mean the whole mount.
    pub fn request(
        &self,
        direction: Direction,
        texts: &[String],
    ) -> Result<PassRequest, SessionError> {
        let mut request = PassRequest::everything(direction);
        for text in texts {
            let (mount, path) = self.locate(text)?;
            let mount = mount.name.clone();
            if path.is_empty() {
                request.mounts.push(mount);
            } else {
                let path = RelPath::new(&path)?;
                request.paths.push(MountPath { mount, path });
            }
        }
        Ok(request)
    }

    /// The mount that `text` means, and the path in it; empty for the mount itself.
    fn locate(&self, text: &str) -> Result<(&Arc<OpenMount>, String), SessionError> {
        let nowhere = || SessionError::NoMount {
            path: text.to_owned(),
        };
        let first = self.mounts.first().ok_or_else(nowhere)?;
        let trimmed = text.trim_end_matches('/');
        if Path::new(text).is_absolute() {
            let below = |mount: &&Arc<OpenMount>| Path::new(trimmed).starts_with(mount.root.path());
            let mount = self.mounts.iter().find(below).ok_or_else(nowhere)?;
            let path = Path::new(trimmed).strip_prefix(mount.root.path());
            let path = path.ok().and_then(Path::to_str).ok_or_else(nowhere)?;
            return Ok((mount, path.to_owned()));
        }
        let trimmed = trimmed.strip_prefix("./").unwrap_or(trimmed);
        if trimmed == "." {
            return Ok((first, String::new()));
        }
        let (name, rest) = trimmed.split_once('/').unwrap_or((trimmed, ""));
        let other = self.mounts.iter().skip(1).find(|mount| mount.name == name);
        Ok(match other {
            Some(mount) => (mount, rest.to_owned()),
            None if trimmed.is_empty() => return Err(nowhere()),
            None => (first, trimmed.to_owned()),
        })
    }

    /// One pass.
    pub async fn pass(
        &self,
        request: &PassRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<Report, PassError> {
        let _one_at_a_time = self.passes.lock().await;
        let clock = Clock::start(&*self.store);
        let mut report = Report::default();
        let result = self.run_pass(request, progress, &mut report).await;
        if result.is_ok() {
            self.remember_pass(request);
            self.reached(Point::PassRemembered);
        }
        clock
            .conclude(&*self.store, report, result)
            .map(|(report, ())| report)
    }

    /// What a pass would do. Nothing is changed on either side.
    pub async fn plan(
        &self,
        request: &PassRequest,
        progress: &Arc<dyn Progress>,
    ) -> Result<Report, PassError> {
        let _one_at_a_time = self.passes.lock().await;
        let clock = Clock::start(&*self.store);
        let mut report = Report::default();
        let result = self.run_plan(request, progress, &mut report).await;
        clock
            .conclude(&*self.store, report, result)
            .map(|(report, ())| report)
    }

    /// A failpoint of the session as a whole.
    pub(crate) fn reached(&self, point: Point) {
        if let Some(mount) = self.mounts.first() {
            mount.root.reached(point);
        }
    }

    fn remember_pass(&self, request: &PassRequest) {
        if !request.paths.is_empty() {
            return;
        }
        let now = jiff::Timestamp::now().to_string();
        let names = match request.direction {
            Direction::Pull => &[LAST_PULL][..],
            Direction::Push => &[LAST_PUSH],
            Direction::Sync => &[LAST_PULL, LAST_PUSH],
        };
        for mount in self.selected(request) {
            for name in names {
                if let Err(error) = mount.baseline().set_value(name, &now) {
                    tracing::warn!(mount = mount.name, %error, "can't remember the pass");
                }
            }
        }
    }
}

async fn open_all(
    mounts: &Arc<Vec<Mount>>,
    store: &Arc<dyn ObjectStore>,
    other: OtherPlace,
) -> Result<Vec<Arc<OpenMount>>, SessionError> {
    let (mounts, store) = (mounts.clone(), store.clone());
    let open = move || {
        mounts
            .iter()
            .map(|mount| OpenMount::open(mount, &*store, other).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// What a pass is measured by.
struct Clock {
    started: Instant,
    requests: RequestCounts,
}

impl Clock {
    fn start(store: &dyn ObjectStore) -> Self {
        Self {
            started: Instant::now(),
            requests: store.requests(),
        }
    }

    /// Puts time and requests into the report, whatever the pass came to.
    fn conclude<T>(
        self,
        store: &dyn ObjectStore,
        mut report: Report,
        result: Result<T, SessionError>,
    ) -> Result<(Report, T), PassError> {
        report.requests = store.requests() - self.requests;
        report.duration = self.started.elapsed();
        match result {
            Ok(value) => Ok((report, value)),
            Err(source) => Err(PassError {
                source,
                report: Box::new(report),
            }),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

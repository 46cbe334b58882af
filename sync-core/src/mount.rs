//! An open mount: its rules, root directory, baseline and lock.
//!
//! Invariant: one process at a time has a mount open; the lock is released when the value is dropped or the process
//! ends, however it ends.

mod mirror;

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    baseline::{Baseline, BaselineError, Row},
    layout::{Mount, Rules},
    local::LocalEntry,
    mirror::MirrorPolicy,
    path::{Prefix, RelPath},
    plan::Extent,
    report::Side,
    root::{LocalError, Root, STATE_DIRECTORY},
    stage::{self, RecoverError},
    store::Capabilities,
};

/// Rows read from the baseline at once.
const PAGE_ROWS: usize = 1000;

/// A mount that can be synchronised.
#[derive(Debug)]
pub struct OpenMount {
    /// Its name in the layout.
    pub name: String,
    /// The prefix of its keys.
    pub prefix: Prefix,
    /// Who owns what in it.
    pub rules: Rules,
    /// Its directory.
    pub root: Arc<Root>,
    baseline: Mutex<Baseline>,
    capabilities: RwLock<Option<Capabilities>>,
    /// Deletes towards the local and the remote side that were let through since the last pass over everything.
    recent_deletes: [AtomicU64; 2],
    /// Present where the mount is copied one way instead of being kept the same.
    mirror: Option<MirrorPolicy>,
    _locks: Vec<File>,
}

/// A mount could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// Another process synchronises it.
    #[error("{} is being synchronised by another process", path.display())]
    Locked {
        /// The mount's directory.
        path: PathBuf,
    },
    /// Its directory can't be used.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// Its baseline can't be used.
    #[error("{}", path.display())]
    Baseline {
        /// The mount's directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: BaselineError,
    },
    /// What a crash left behind can't be dealt with.
    #[error("can't recover {}", path.display())]
    Recover {
        /// The mount's directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: RecoverError,
    },
}

impl OpenMount {
    /// Opens a mount: takes its lock, opens its baseline, recovers from a crash. `store` is the identity of the store.
    pub fn open(mount: &Mount, store: &str) -> Result<Self, MountError> {
        let root = Root::open(&mount.local)?;
        let state = mount.local.join(STATE_DIRECTORY);
        let lock = lock(&mount.local, &state.join("lock"))?;
        let binding = format!("{store} {} {}", mount.prefix, root.identity()?);
        let path = || mount.local.clone();
        let mut baseline = Baseline::open(&state.join("state.db"), &binding).map_err(|source| {
            MountError::Baseline {
                path: path(),
                source,
            }
        })?;
        let copies =
            stage::recover(&root, &mut baseline).map_err(|source| MountError::Recover {
                path: path(),
                source,
            })?;
        for copy in copies {
            tracing::warn!(mount = mount.name, %copy, "kept a version that a crash had left unpublished");
        }
        Ok(Self {
            name: mount.name.clone(),
            prefix: mount.prefix.clone(),
            rules: mount.rules.clone(),
            root: Arc::new(root),
            baseline: Mutex::new(baseline),
            capabilities: RwLock::new(None),
            recent_deletes: [AtomicU64::new(0), AtomicU64::new(0)],
            mirror: None,
            _locks: vec![lock],
        })
    }

    /// The baseline, for as short as possible.
    pub(crate) fn baseline(&self) -> MutexGuard<'_, Baseline> {
        // A panic while it was held can't leave it torn: every change is one transaction.
        self.baseline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store was found to do; `None` until it was probed.
    pub(crate) fn capabilities(&self) -> Option<Capabilities> {
        *self
            .capabilities
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_capabilities(&self, capabilities: Capabilities) {
        *self
            .capabilities
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(capabilities);
    }

    fn recent_deletes(&self, side: Side) -> &AtomicU64 {
        let [local, remote] = &self.recent_deletes;
        match side {
            Side::Local => local,
            Side::Remote => remote,
        }
    }

    /// Deletes towards `side` that were let through since the last pass over everything.
    pub(crate) fn deletes_since_whole_pass(&self, side: Side) -> u64 {
        self.recent_deletes(side).load(Ordering::Relaxed)
    }

    /// Counts deletes that were let through. A pass over everything was judged by itself and starts the count anew.
    pub(crate) fn note_deletes(&self, side: Side, extent: &Extent, deletes: u64) {
        match extent {
            Extent::Whole => self.recent_deletes(side).store(0, Ordering::Relaxed),
            Extent::Paths(_) => {
                self.recent_deletes(side)
                    .fetch_add(deletes, Ordering::Relaxed);
            }
        }
    }

    /// Looks at one path; what can't be seen for a reason other than absence is an error.
    pub(crate) fn look(&self, path: &RelPath) -> Result<Option<LocalEntry>, LocalError> {
        let found = self.root.look(path)?;
        Ok(found.map(|(kind, fingerprint)| LocalEntry {
            path: path.clone(),
            kind,
            fingerprint,
        }))
    }

    /// The baseline's rows in order: all, or those at and below `scope`.
    pub(crate) fn rows(&self, scope: Option<&RelPath>) -> Rows<'_> {
        let (after, end) = match scope {
            None => (String::new(), None),
            // `0` follows `/`: everything that begins with the scope and a slash lies between.
            Some(scope) => (format!("{scope}/"), Some(format!("{scope}0"))),
        };
        Rows {
            mount: self,
            first: scope.cloned(),
            after,
            end,
            page: Vec::new().into_iter(),
            error: None,
        }
    }
}

fn lock(mount: &std::path::Path, path: &std::path::Path) -> Result<File, MountError> {
    let failed = |error| LocalError::new("lock", mount.display(), error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(MountError::Locked {
            path: mount.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

/// Iterator of [`OpenMount::rows`]. Ends early on an error; ask for it afterwards.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    mount: &'a OpenMount,
    /// The scope itself, which lies before the range below it.
    first: Option<RelPath>,
    after: String,
    end: Option<String>,
    page: std::vec::IntoIter<Row>,
    error: Option<BaselineError>,
}

impl Rows<'_> {
    /// What ended the iteration early.
    pub(crate) fn take_error(&mut self) -> Option<BaselineError> {
        self.error.take()
    }

    fn fetch(&mut self) -> Result<Option<Row>, BaselineError> {
        if let Some(path) = self.first.take()
            && let Some(row) = self.mount.baseline().row(&path)?
        {
            return Ok(Some(row));
        }
        if let Some(row) = self.page.next() {
            return Ok(Some(row));
        }
        self.page = self
            .mount
            .baseline()
            .rows_between(&self.after, self.end.as_deref(), PAGE_ROWS)?
            .into_iter();
        if let Some(last) = self.page.as_slice().last() {
            last.path.as_str().clone_into(&mut self.after);
        }
        Ok(self.page.next())
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.error.is_some() {
            return None;
        }
        self.fetch().unwrap_or_else(|error| {
            self.error = Some(error);
            None
        })
    }
}

//! An open mount: its rules, root directory, baseline and lock.
//!
//! Invariant: one process at a time has a mount open; the lock is released when the value is dropped or the process
//! ends, however it ends.

mod mirror;
mod place;

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
    time::SystemTime,
};

pub use self::place::OtherPlace;
use self::place::Place;
use crate::{
    baseline::{Baseline, BaselineError, RemoteVersion, Row},
    failpoint::{self, Point},
    join::RemoteEntry,
    layout::{Mount, Rules},
    link,
    local::LocalEntry,
    mirror::MirrorPolicy,
    order::KeyOrder,
    path::{Prefix, RelPath},
    report::Side,
    root::{LocalError, Root, STATE_DIRECTORY},
    selection::Selection,
    sqlite::Databases,
    stage::{self, RecoverError},
    store::{Capabilities, ObjectStore, Support},
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
    pub rules: Arc<Rules>,
    /// Its directory.
    pub root: Arc<Root>,
    baseline: Mutex<Baseline>,
    capabilities: RwLock<Option<Capabilities>>,
    databases: RwLock<Databases>,
    refused: Mutex<BTreeMap<RelPath, (RemoteVersion, String)>>,
    /// Whether the store keeps a `\` in a key, once that was asked.
    pub(crate) backslashes: tokio::sync::OnceCell<Support>,
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
    /// Its files belong to another place in a bucket.
    #[error("{} holds the files of {before}, and is to hold those of {now}", path.display())]
    OtherPlace {
        /// The mount's directory.
        path: PathBuf,
        /// Bucket and prefix that it belongs to.
        before: String,
        /// Bucket and prefix that it is to belong to.
        now: String,
        /// That prefix.
        prefix: Prefix,
    },
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
    /// Opens a mount: takes its lock, opens its baseline, recovers from a crash. Files of another bucket or prefix than
    /// the mount's are set aside, where that is allowed.
    pub fn open(
        mount: &Mount,
        store: &dyn ObjectStore,
        other: OtherPlace,
    ) -> Result<Self, MountError> {
        let root = Root::open(&mount.local)?;
        let state = mount.local.join(STATE_DIRECTORY);
        let lock = lock(&mount.local, &state.join("lock"))?;
        let (before, now) = (
            Place::of(&root)?,
            Place::new(&store.bucket(), &mount.prefix),
        );
        let moves = before.filter(|before| *before != now);
        if let (Some(before), OtherPlace::Refused) = (&moves, other) {
            return Err(MountError::OtherPlace {
                path: mount.local.clone(),
                before: before.to_string(),
                now: now.to_string(),
                prefix: mount.prefix.clone(),
            });
        }
        let binding = format!("{} {} {}", store.identity(), mount.prefix, root.identity()?);
        let path = || mount.local.clone();
        let mut baseline = Baseline::open(&state.join("state.db"), &binding).map_err(|source| {
            MountError::Baseline {
                path: path(),
                source,
            }
        })?;
        root.reached(Point::BaselineOpened);
        let copies =
            stage::recover(&root, &mut baseline).map_err(|source| MountError::Recover {
                path: path(),
                source,
            })?;
        for copy in copies {
            tracing::warn!(mount = mount.name, %copy, "kept a version that a crash had left unpublished");
        }
        if let Some(before) = moves
            && let Some(aside) = before.set_aside(&root)?
        {
            tracing::warn!(
                mount = mount.name, %before, %now, aside = %aside.display(),
                "the directory held the files of another prefix; they are set aside and not pushed to this one"
            );
        }
        now.write(&root)?;
        Ok(Self::of(mount, root, baseline, None, vec![lock]))
    }

    fn of(
        mount: &Mount,
        root: Root,
        baseline: Baseline,
        mirror: Option<MirrorPolicy>,
        locks: Vec<File>,
    ) -> Self {
        Self {
            name: mount.name.clone(),
            prefix: mount.prefix.clone(),
            rules: Arc::new(mount.rules.clone()),
            root: Arc::new(root),
            baseline: Mutex::new(baseline),
            capabilities: RwLock::new(None),
            databases: RwLock::default(),
            refused: Mutex::default(),
            backslashes: tokio::sync::OnceCell::new(),
            mirror,
            _locks: locks,
        }
    }

    /// What travels, as the ignore files are from now on. Whoever looks at the mount keeps one value for the whole look.
    #[must_use]
    pub fn selection(&self) -> Selection {
        if self.mirror.is_some() {
            // A copy that leaves out what somebody else ignores is none.
            return Selection::without_ignore_files(self.rules.clone(), self.root.clone());
        }
        Selection::new(self.rules.clone(), self.root.clone())
    }

    /// Directories with files that were set aside because they belong to another bucket or prefix, and are still there.
    #[must_use]
    pub fn aside(&self) -> Vec<String> {
        place::aside(&self.root)
    }

    /// The baseline, for as short as possible.
    pub(crate) fn baseline(&self) -> MutexGuard<'_, Baseline> {
        failpoint::alive(self.root.path());
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

    /// Whether what comes for databases is applied. Whoever changes one keeps the guard until that is done.
    pub(crate) fn databases(&self) -> RwLockReadGuard<'_, Databases> {
        self.databases
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for changes of databases that are under way.
    pub(crate) fn set_databases(&self, databases: Databases) {
        *self
            .databases
            .write()
            .unwrap_or_else(PoisonError::into_inner) = databases;
    }

    /// Deletes towards `side` in the last minutes that nobody approved.
    pub(crate) fn recent_deletes(&self, side: Side) -> Result<u64, BaselineError> {
        self.baseline().recent_deletes(side, SystemTime::now())
    }

    /// Notes deletes that were carried out; renamed files are not meant.
    pub(crate) fn note_deletes(&self, side: Side, deletes: u64) -> Result<(), BaselineError> {
        self.baseline()
            .note_deletes(side, deletes, SystemTime::now())
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

    /// True for a small file whose whole content names something here, as the target of a link at its place would.
    pub(crate) fn reads_like_a_link(&self, path: &RelPath, size_bytes: u64) -> bool {
        use std::io::Read as _;
        if size_bytes > link::MAX_TARGET_BYTES as u64 {
            return false;
        }
        let mut content = Vec::new();
        let read = self.root.open_file(path).is_ok_and(|(file, _)| {
            let mut start = file.take(link::MAX_TARGET_BYTES as u64 + 1);
            start.read_to_end(&mut content).is_ok()
        });
        let named = link::leads_to(path, &content, &self.rules);
        !read || named.is_some_and(|named| matches!(self.root.look(&named), Ok(Some(_))))
    }

    /// What is known of an object that can't be made a file or link here, if it is still this version.
    pub(crate) fn refusal(&self, remote: &RemoteEntry) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, message) = refused.get(&remote.path)?;
        (*version == remote.version).then(|| message.clone())
    }

    /// Remembers it, so that it isn't brought again in every pass only to be refused again.
    pub(crate) fn refuse(&self, remote: &RemoteEntry, message: String) {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(remote.path.clone(), (remote.version.clone(), message));
    }

    /// The baseline's rows in its order: all, or those at and below `scope`.
    pub(crate) fn rows(&self, scope: Option<&RelPath>) -> Rows<'_> {
        let (after, end) = match scope {
            None => (String::new(), None),
            Some(scope) => {
                // What follows a slash: everything that begins with the scope and a slash lies between.
                let end = match self.baseline().order() {
                    KeyOrder::Bytes => '0',
                    KeyOrder::Tree => '\u{1}',
                };
                (format!("{scope}/"), Some(format!("{scope}{end}")))
            }
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

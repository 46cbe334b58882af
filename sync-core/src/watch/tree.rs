//! The directories of one mount: which are watched, which are polled, and how a subtree gets its watches.
//!
//! Owns the order "watch, check, list". Sends nothing.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    PollReason, Shared, WatchMode, WatchedMount,
    backend::{Backend, Refusal},
    intake::nameable,
};
use crate::{debounce::first_beneath, path::RelPath};

/// More polled subtrees than this are polled as one: the whole mount.
const POLLED_SUBTREES: usize = 64;
/// More files than this in a new directory are reported as a subtree.
const REPORTED_FILES: usize = 1000;

/// Whether the mount's root is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    Gone,
}

/// What can't be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Polled {
    Nothing,
    Subtrees(BTreeSet<RelPath>, PollReason),
    Whole(PollReason),
}

/// Files found while watches were placed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// These, and no others.
    Files(Vec<RelPath>),
    /// Too many, or not all of them could be listed.
    Unknown,
}

impl Found {
    fn add(&mut self, path: RelPath) {
        match self {
            Self::Files(files) if files.len() < REPORTED_FILES => files.push(path),
            Self::Files(_) => *self = Self::Unknown,
            Self::Unknown => {}
        }
    }
}

/// One mount. `None` as a place is its root.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) mount: WatchedMount,
    pub(super) presence: Presence,
    pub(super) polled: Polled,
    /// Directories beneath the root that have a watch.
    watched: BTreeSet<RelPath>,
    /// Roots of other mounts, which are no part of this one.
    others: Arc<[PathBuf]>,
    shared: Option<Arc<Shared>>,
}

/// Resolves the roots, so that events and mounts agree about names.
pub(super) fn open(mounts: Vec<WatchedMount>) -> Vec<Tree> {
    let mut trees: Vec<Tree> = mounts.into_iter().map(Tree::new).collect();
    let roots: Arc<[PathBuf]> = trees.iter().map(|tree| tree.mount.path.clone()).collect();
    for tree in &mut trees {
        tree.others = roots.clone();
    }
    trees
}

impl Tree {
    fn new(mut mount: WatchedMount) -> Self {
        let presence = match fs::canonicalize(&mount.path) {
            Ok(real) if real.is_dir() => {
                mount.path = real;
                Presence::Here
            }
            Ok(_) | Err(_) => Presence::Gone,
        };
        Self {
            mount,
            presence,
            polled: Polled::Nothing,
            watched: BTreeSet::new(),
            others: Arc::new([]),
            shared: None,
        }
    }

    /// Lets a walk end early when the watcher is stopped.
    pub(super) fn heed(&mut self, shared: Arc<Shared>) {
        self.shared = Some(shared);
    }

    pub(super) fn absolute(&self, place: Option<&RelPath>) -> PathBuf {
        match place {
            Some(path) => self.mount.path.join(path.as_str()),
            None => self.mount.path.clone(),
        }
    }

    pub(super) fn mode(&self, interval: Duration) -> WatchMode {
        match &self.polled {
            Polled::Nothing => WatchMode::Events,
            Polled::Subtrees(subtrees, reason) => WatchMode::Mixed {
                interval,
                subtrees: subtrees.len(),
                reason: reason.clone(),
            },
            Polled::Whole(reason) => WatchMode::Polling {
                interval,
                reason: reason.clone(),
            },
        }
    }

    pub(super) fn is_watched(&self, path: &RelPath) -> bool {
        self.watched.contains(path)
    }

    /// True when `path` is a directory that belongs to this mount and is not pruned. Symlinks are none.
    pub(super) fn is_ours(&self, path: &RelPath) -> bool {
        (self.mount.enters)(path) && !self.others.contains(&self.absolute(Some(path)))
    }

    /// Forgets every watch, because there is a new backend or no mount any more.
    pub(super) fn forget_all(&mut self) {
        self.watched.clear();
        self.polled = Polled::Nothing;
    }

    /// Ends every watch.
    pub(super) fn release(&mut self, backend: &mut dyn Backend) {
        backend.unwatch(&self.mount.path);
        for path in &self.watched {
            backend.unwatch(&self.mount.path.join(path.as_str()));
        }
        self.forget_all();
    }

    /// Places the watches of `place` and of what is beneath it by what the filters say now. A directory that is entered
    /// still is watched all the time.
    pub(super) fn renew(&mut self, place: Option<&RelPath>, backend: &mut dyn Backend) {
        let is_in = |path: &&RelPath| place.is_none_or(|place| path.is_under(place));
        let before: Vec<RelPath> = self.watched.iter().filter(is_in).cloned().collect();
        match place {
            Some(place) => {
                self.forget(place);
            }
            None => self.forget_all(),
        }
        self.adopt(place.cloned(), backend);
        for path in before {
            if !self.watched.contains(&path) {
                backend.unwatch(&self.mount.path.join(path.as_str()));
            }
        }
    }

    /// Forgets `path` and what is beneath it: whatever is there now has to be watched anew. The backend drops the
    /// watches of removed and renamed directories itself. True when `path` was known as a directory.
    pub(super) fn forget(&mut self, path: &RelPath) -> bool {
        let was_watched = self.watched.remove(path);
        if let Some(first) = first_beneath(path) {
            let beneath = self
                .watched
                .range((Bound::Included(first), Bound::Unbounded));
            let stale: Vec<RelPath> = beneath
                .take_while(|dir| dir.is_under(path))
                .cloned()
                .collect();
            for dir in stale {
                self.watched.remove(&dir);
            }
        }
        let Polled::Subtrees(subtrees, _) = &mut self.polled else {
            return was_watched;
        };
        let before = subtrees.len();
        subtrees.retain(|dir| !dir.is_under(path));
        let was_polled = subtrees.len() < before;
        if subtrees.is_empty() {
            self.polled = Polled::Nothing;
        }
        was_watched || was_polled
    }

    /// Gives `place` and every directory beneath it a watch, the shallow ones first, and says which files are there.
    ///
    /// When no more watches can be had, the rest is polled from then on.
    pub(super) fn adopt(&mut self, place: Option<RelPath>, backend: &mut dyn Backend) -> Found {
        let mut found = Found::Files(Vec::new());
        let mut queue = VecDeque::from([place]);
        while let Some(place) = queue.pop_front() {
            if self.shared.as_ref().is_some_and(|shared| shared.stopping()) {
                return Found::Unknown;
            }
            let directory = self.absolute(place.as_ref());
            match backend.watch(&directory) {
                Ok(()) => {}
                // Its parent tells when that changes.
                Err(Refusal::Vanished | Refusal::Denied) => continue,
                Err(Refusal::Unwatchable(reason)) => {
                    self.poll(place, &reason);
                    for rest in queue {
                        self.poll(rest, &reason);
                    }
                    return Found::Unknown;
                }
            }
            // Watching follows links, and a link may have taken the directory's place.
            // RACE: link and directory may change places twice around the watch; the parent's events lead back here.
            if place.is_some() && !is_directory(&directory) {
                backend.unwatch(&directory);
                continue;
            }
            self.list(&directory, place.as_ref(), &mut queue, &mut found);
            self.watched.extend(place);
        }
        found
    }

    /// Puts `place` under polling.
    pub(super) fn poll(&mut self, place: Option<RelPath>, reason: &PollReason) {
        let polled = std::mem::replace(&mut self.polled, Polled::Nothing);
        self.polled = match (polled, place) {
            (Polled::Whole(reason), _) => Polled::Whole(reason),
            (_, None) => Polled::Whole(reason.clone()),
            (Polled::Nothing, Some(path)) => {
                Polled::Subtrees(BTreeSet::from([path]), reason.clone())
            }
            (Polled::Subtrees(mut subtrees, reason), Some(path)) => {
                subtrees.insert(path);
                if subtrees.len() > POLLED_SUBTREES {
                    Polled::Whole(reason)
                } else {
                    Polled::Subtrees(subtrees, reason)
                }
            }
        };
    }

    fn list(
        &self,
        directory: &Path,
        place: Option<&RelPath>,
        queue: &mut VecDeque<Option<RelPath>>,
        found: &mut Found,
    ) {
        // A directory that vanished or can't be read is noticed by its parent's watch; the scan reports it.
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let path = match (place, name.to_str()) {
                (Some(place), Some(name)) => place.join(name).ok(),
                (None, _) => nameable(Path::new(&name)),
                (Some(_), None) => None,
            };
            let Some(path) = path else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    if self.is_ours(&path) {
                        queue.push_back(Some(path));
                    }
                }
                Ok(_) if (self.mount.cares)(&path) => found.add(path),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// True for a directory, false for a link to one.
pub(super) fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

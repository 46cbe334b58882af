//! What is pending in one mount, and since when.
//!
//! Owns the "covers" structure of one mount. Knows nothing of the queue of deadlines.

use std::{
    collections::BTreeMap,
    ops::Bound,
    time::{Duration, Instant},
};

use super::{DebounceSettings, Scope, first_beneath};
use crate::path::RelPath;

/// Deadlines lie at most this far ahead, so that adding a setting to an instant cannot overflow.
const FARTHEST: Duration = Duration::from_hours(365 * 24);

/// When an entry was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    first: Instant,
    last: Instant,
    not_before: Option<Instant>,
}

impl Pending {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            first: now,
            last: now,
            not_before: None,
        }
    }

    pub(super) fn not_before(self, until: Instant) -> Self {
        Self {
            not_before: Some(until),
            ..self
        }
    }

    pub(super) fn without_deferral(self) -> Self {
        Self {
            not_before: None,
            ..self
        }
    }

    /// The same entry noted once more.
    pub(super) fn merged_with(self, other: &Pending) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            ..self.with_history_of(other)
        }
    }

    /// This entry after it took over a smaller one: the age of the oldest news counts for the maximum delay.
    pub(super) fn with_history_of(self, swallowed: &Pending) -> Self {
        Self {
            first: self.first.min(swallowed.first),
            last: self.last.max(swallowed.last),
            not_before: self.not_before,
        }
    }

    pub(super) fn deadline(&self, settings: &DebounceSettings) -> Instant {
        let quiet = later(self.last, settings.quiet);
        let latest = later(self.first, settings.max_delay);
        let deadline = quiet.min(latest);
        self.not_before
            .map_or(deadline, |until| until.max(deadline))
    }
}

fn later(instant: Instant, delay: Duration) -> Instant {
    instant.checked_add(delay.min(FARTHEST)).unwrap_or(instant)
}

/// Where an entry is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Mount,
    At(RelPath),
}

impl Slot {
    pub(super) fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Mount => Slot::Mount,
            Scope::Subtree(path) | Scope::Path(path) => Slot::At(path.clone()),
        }
    }
}

/// How much an entry at a path covers; the larger one sorts last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    Path,
    Subtree,
}

impl Extent {
    fn scope(self, path: RelPath) -> Scope {
        match self {
            Extent::Path => Scope::Path(path),
            Extent::Subtree => Scope::Subtree(path),
        }
    }
}

/// All entries of one mount. When `whole` is there, `paths` is empty.
#[derive(Debug, Default)]
pub(super) struct MountPending {
    whole: Option<Pending>,
    paths: BTreeMap<RelPath, (Extent, Pending)>,
    /// How many of `paths` are subtrees: while there is none, nobody has to look for ancestors.
    subtrees: usize,
}

impl MountPending {
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// The entry that covers `scope`, if there is one.
    pub(super) fn covering(&self, scope: &Scope) -> Option<Slot> {
        if self.whole.is_some() {
            return Some(Slot::Mount);
        }
        let (path, extent) = match scope {
            Scope::Mount => return None,
            Scope::Subtree(path) => (path, Extent::Subtree),
            Scope::Path(path) => (path, Extent::Path),
        };
        if self
            .paths
            .get(path)
            .is_some_and(|(held, _)| *held >= extent)
        {
            return Some(Slot::At(path.clone()));
        }
        if self.subtrees == 0 {
            return None;
        }
        std::iter::successors(path.parent(), RelPath::parent)
            .find(|dir| matches!(self.paths.get(dir), Some((Extent::Subtree, _))))
            .map(Slot::At)
    }

    pub(super) fn get_mut(&mut self, slot: &Slot) -> Option<&mut Pending> {
        match slot {
            Slot::Mount => self.whole.as_mut(),
            Slot::At(path) => self.paths.get_mut(path).map(|(_, pending)| pending),
        }
    }

    /// Adds an entry that nothing covers and that covers nothing.
    pub(super) fn put(&mut self, scope: Scope, pending: Pending) -> Slot {
        let (path, extent) = match scope {
            Scope::Mount => {
                self.whole = Some(pending);
                return Slot::Mount;
            }
            Scope::Subtree(path) => (path, Extent::Subtree),
            Scope::Path(path) => (path, Extent::Path),
        };
        if extent == Extent::Subtree {
            self.subtrees += 1;
        }
        self.paths.insert(path.clone(), (extent, pending));
        Slot::At(path)
    }

    pub(super) fn remove(&mut self, slot: &Slot) -> Option<Scope> {
        match slot {
            Slot::Mount => self.whole.take().map(|_| Scope::Mount),
            Slot::At(path) => {
                let (path, (extent, _)) = self.paths.remove_entry(path)?;
                if extent == Extent::Subtree {
                    self.subtrees -= 1;
                }
                Some(extent.scope(path))
            }
        }
    }

    /// Removes and returns every entry that `scope` covers, in the order of paths.
    pub(super) fn take_covered(&mut self, scope: &Scope) -> Vec<(Scope, Pending)> {
        match scope {
            Scope::Mount => self.take_everything(),
            Scope::Subtree(dir) => self.take_under(dir),
            // A path entry that is there already covers the new one; `covering` has found it.
            Scope::Path(_) => Vec::new(),
        }
    }

    fn take_everything(&mut self) -> Vec<(Scope, Pending)> {
        self.subtrees = 0;
        let whole = self.whole.take().map(|pending| (Scope::Mount, pending));
        let paths = std::mem::take(&mut self.paths)
            .into_iter()
            .map(|(path, (extent, pending))| (extent.scope(path), pending));
        whole.into_iter().chain(paths).collect()
    }

    fn take_under(&mut self, dir: &RelPath) -> Vec<(Scope, Pending)> {
        let mut covered: Vec<RelPath> = self
            .paths
            .contains_key(dir)
            .then(|| dir.clone())
            .into_iter()
            .collect();
        if let Some(first) = first_beneath(dir) {
            let beneath = self.paths.range((Bound::Included(first), Bound::Unbounded));
            covered.extend(
                beneath
                    .map(|(path, _)| path.clone())
                    .take_while(|path| path.is_under(dir)),
            );
        }
        covered
            .into_iter()
            .filter_map(|path| {
                let pending = self.paths.get(&path).map(|(_, pending)| *pending)?;
                self.remove(&Slot::At(path)).map(|scope| (scope, pending))
            })
            .collect()
    }
}

//! Which paths changed, and when each of them has been quiet for long enough to be looked at.
//!
//! Owns the set of dirty paths between the watcher and the pass: what covers what, deadlines, the bound on memory.
//! Never reads a clock (the caller passes `now`) and never touches the file system.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::path::RelPath;

mod pending;
#[cfg(test)]
mod tests;

use pending::{MountPending, Pending, Slot};

/// Which mount of the session a path belongs to: its position in the layout's list of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountIndex(pub u16);

/// Something that may have changed and has to be looked at.
///
/// It is a hint, never a fact: what is true is what the pass observes when it looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirtyPath {
    /// The mount it is in.
    pub mount: MountIndex,
    /// How much of the mount has to be looked at.
    pub scope: Scope,
}

/// How much of a mount a [`DirtyPath`] stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything: single changes are not known, because events were lost or there were too many.
    Mount,
    /// This path and all that is, or was, beneath it.
    Subtree(RelPath),
    /// This path alone.
    Path(RelPath),
}

impl DirtyPath {
    /// The whole of `mount`.
    #[must_use]
    pub fn mount(mount: MountIndex) -> Self {
        Self {
            mount,
            scope: Scope::Mount,
        }
    }

    /// `path` and everything beneath it.
    #[must_use]
    pub fn subtree(mount: MountIndex, path: RelPath) -> Self {
        Self {
            mount,
            scope: Scope::Subtree(path),
        }
    }

    /// `path` alone.
    #[must_use]
    pub fn path(mount: MountIndex, path: RelPath) -> Self {
        Self {
            mount,
            scope: Scope::Path(path),
        }
    }

    /// True when looking at this one makes looking at `other` unnecessary.
    #[must_use]
    pub fn covers(&self, other: &DirtyPath) -> bool {
        self.mount == other.mount && self.scope.covers(&other.scope)
    }
}

impl Scope {
    /// True when looking at this scope makes looking at `other`, in the same mount, unnecessary.
    #[must_use]
    pub fn covers(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::Mount, _) => true,
            (Scope::Subtree(dir), Scope::Subtree(path) | Scope::Path(path)) => path.is_under(dir),
            (Scope::Path(one), Scope::Path(another)) => one == another,
            (Scope::Subtree(_) | Scope::Path(_), Scope::Mount)
            | (Scope::Path(_), Scope::Subtree(_)) => false,
        }
    }
}

/// How long to wait, and for how many paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebounceSettings {
    /// A path is due once nothing was noted about it for this long.
    pub quiet: Duration,
    /// A path that never gets quiet is due this long after it was first noted.
    pub max_delay: Duration,
    /// More dirty paths of one mount than this become one rescan of that mount.
    pub max_paths: usize,
}

impl Default for DebounceSettings {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(250),
            max_delay: Duration::from_secs(2),
            max_paths: 100_000,
        }
    }
}

/// The dirty paths of all mounts, each with its deadline.
///
/// - nothing noted is lost: it is returned once, or something that covers it is
/// - nothing is due before [`DebounceSettings::quiet`] has passed without news of it, unless
///   [`DebounceSettings::max_delay`] has passed since the first news
/// - no two entries cover each other; a new note of what is covered already prolongs the covering entry's quiet time
/// - at most [`DebounceSettings::max_paths`] entries per mount
///
/// ```
/// use std::time::{Duration, Instant};
/// use sync_core::{debounce::{DebounceSettings, Debouncer, DirtyPath, MountIndex}, path::RelPath};
///
/// let mut debouncer = Debouncer::new(DebounceSettings::default());
/// let start = Instant::now();
/// let soul = DirtyPath::path(MountIndex(0), RelPath::new("SOUL.md")?);
/// debouncer.note(soul.clone(), start);
/// assert_eq!(debouncer.due(start), []);
/// assert_eq!(debouncer.next_deadline(), Some(start + Duration::from_millis(250)));
/// assert_eq!(debouncer.due(start + Duration::from_millis(250)), [soul]);
/// # Ok::<(), sync_core::path::PathError>(())
/// ```
#[derive(Debug)]
pub struct Debouncer {
    settings: DebounceSettings,
    mounts: BTreeMap<MountIndex, MountPending>,
    /// Every pending entry once, by deadline.
    queue: BTreeSet<(Instant, MountIndex, Slot)>,
}

impl Debouncer {
    /// An empty one.
    #[must_use]
    pub fn new(settings: DebounceSettings) -> Self {
        Self {
            settings,
            mounts: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }

    /// Takes news of a change at `now`.
    pub fn note(&mut self, dirty: DirtyPath, now: Instant) {
        self.insert(dirty, Pending::new(now));
    }

    /// Takes back something that was due and could not be finished: it is due again after one quiet time.
    ///
    /// The earlier history of the path is forgotten, so a path that always fails comes back every quiet time and not
    /// at once. Use [`defer`](Self::defer) for a longer wait.
    pub fn requeue(&mut self, dirty: DirtyPath, now: Instant) {
        self.insert(dirty, Pending::new(now));
    }

    /// Like [`requeue`](Self::requeue), and not due before `until`, whatever is noted about the path in between.
    ///
    /// A note of something that covers it ends the deferral: the covering entry has its own deadline.
    pub fn defer(&mut self, dirty: DirtyPath, now: Instant, until: Instant) {
        self.insert(dirty, Pending::new(now).not_before(until));
    }

    /// Removes and returns what is due at `now`, the longest overdue first.
    pub fn due(&mut self, now: Instant) -> Vec<DirtyPath> {
        let mut due = Vec::new();
        while let Some((deadline, _, _)) = self.queue.first()
            && *deadline <= now
        {
            let Some((_, mount, slot)) = self.queue.pop_first() else {
                break;
            };
            if let Some(scope) = self.pending(mount).remove(&slot) {
                due.push(DirtyPath { mount, scope });
            }
        }
        due
    }

    /// When [`due`](Self::due) will next return something; `None` when nothing is pending.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.queue.first().map(|(deadline, _, _)| *deadline)
    }

    /// Removes and returns everything, due or not, in the order of mounts and paths.
    pub fn drain_all(&mut self) -> Vec<DirtyPath> {
        self.queue.clear();
        let mut all = Vec::new();
        for (mount, mut pending) in std::mem::take(&mut self.mounts) {
            let scopes = pending.take_covered(&Scope::Mount);
            all.extend(
                scopes
                    .into_iter()
                    .map(|(scope, _)| DirtyPath { mount, scope }),
            );
        }
        all
    }

    /// How many entries are pending, over all mounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// True when nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True when something pending covers `path` alone.
    #[must_use]
    pub fn is_dirty(&self, mount: MountIndex, path: &RelPath) -> bool {
        self.mounts
            .get(&mount)
            .is_some_and(|pending| pending.covering(&Scope::Path(path.clone())).is_some())
    }

    fn insert(&mut self, dirty: DirtyPath, news: Pending) {
        let DirtyPath { mount, scope } = dirty;
        if let Some(slot) = self.pending(mount).covering(&scope) {
            self.prolong(mount, slot, &scope, news);
            return;
        }
        let mut merged = news;
        for (swallowed, pending) in self.pending(mount).take_covered(&scope) {
            let slot = Slot::of(&swallowed);
            self.queue
                .remove(&(pending.deadline(&self.settings), mount, slot));
            merged = merged.with_history_of(&pending);
        }
        let deadline = merged.deadline(&self.settings);
        let slot = self.pending(mount).put(scope, merged);
        self.queue.insert((deadline, mount, slot));
        if self.pending(mount).len() > self.settings.max_paths {
            self.insert(DirtyPath::mount(mount), merged.without_deferral());
        }
    }

    /// Adds `news` about `scope` to the entry at `slot`, which covers it.
    fn prolong(&mut self, mount: MountIndex, slot: Slot, scope: &Scope, news: Pending) {
        // Deferring one path of a subtree must not hold up the subtree.
        let same = slot == Slot::of(scope);
        let news = if same { news } else { news.without_deferral() };
        let settings = self.settings;
        let Some(pending) = self.pending(mount).get_mut(&slot) else {
            return;
        };
        let before = pending.deadline(&settings);
        *pending = pending.merged_with(&news);
        let after = pending.deadline(&settings);
        if before != after {
            self.queue.remove(&(before, mount, slot.clone()));
            self.queue.insert((after, mount, slot));
        }
    }

    fn pending(&mut self, mount: MountIndex) -> &mut MountPending {
        self.mounts.entry(mount).or_default()
    }
}

/// The part of an ordered collection that lies beneath `dir`, without `dir` itself, as the bound to start from.
///
/// `None` when no valid path can lie beneath it. Siblings such as `a-b` sort between `a` and `a/b`, so that starting
/// after `a` would walk over all of them.
pub(crate) fn first_beneath(dir: &RelPath) -> Option<RelPath> {
    // U+0001 is the smallest character a component may start with.
    dir.join("\u{1}").ok()
}

//! What events said since somebody last looked.
//!
//! Owns the set of hints between the stream and the look: what is known of each path, when it is time, and the bound on
//! memory. Pure: the caller brings the time.
//!
//! - nothing noted is lost: it is given out once, or as "everything" of its mount
//! - many notes of one path are one look; each of them is kept until then, because each may be an echo or not
//! - nothing waits for longer than the greatest delay, however much follows
//! - what is said to be gone waits until for two seconds nothing more is said to be: whoever empties a prefix by accident
//!   does so key by key, and the brakes must see all of it in one plan
//! - what belongs together, as a skill does, waits until for half a second nothing more of such is written: whoever writes it
//!   does so key by key, and half of it must not be seen

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use super::{EventSettings, Hint};
use crate::{debounce::MountIndex, path::RelPath};

/// More paths of one mount than this become a listing of it.
const MAX_PATHS: usize = 20_000;
/// More hints of one path than this become [`Hint::Unknown`].
const MAX_HINTS: usize = 16;
/// Removals are looked at once there was none for so long, and this long after the first at the latest.
const REMOVED: Patience = Patience {
    quiet: Duration::from_secs(2),
    delay: Duration::from_secs(30),
};
/// The same for what belongs together.
const TOGETHER: Patience = Patience {
    quiet: Duration::from_millis(500),
    delay: Duration::from_secs(10),
};

/// What was noted of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Single changes are not known.
    Everything,
    /// These paths, each with everything that was said of it, in order.
    Paths(BTreeMap<RelPath, Vec<Hint>>),
}

impl Noted {
    fn add(&mut self, path: RelPath, hint: Hint) {
        let Self::Paths(paths) = self else { return };
        let hints = paths.entry(path).or_default();
        if hints.len() < MAX_HINTS {
            hints.push(hint);
        } else if let Some(last) = hints.last_mut() {
            // How it ended still matters: what was removed last is looked for in another way.
            *last = if hint == Hint::Removed {
                hint
            } else {
                Hint::Unknown
            };
        }
        if paths.len() > MAX_PATHS {
            *self = Self::Everything;
        }
    }
}

/// Whether a path is read as one thing with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// It stands for itself.
    Alone,
    /// It belongs to a directory that is published as a whole.
    Together,
}

/// How long hints wait: for quiet, and at most.
#[derive(Debug, Clone, Copy)]
struct Patience {
    quiet: Duration,
    delay: Duration,
}

/// Hints that wait for the same reason.
#[derive(Debug)]
struct Heap {
    patience: Patience,
    mounts: BTreeMap<MountIndex, Noted>,
    /// When the first and the last of them were noted.
    times: Option<(Instant, Instant)>,
}

impl Heap {
    fn new(patience: Patience) -> Self {
        Self {
            patience,
            mounts: BTreeMap::new(),
            times: None,
        }
    }

    fn touch(&mut self, now: Instant) {
        let first = self.times.map_or(now, |(first, _)| first);
        self.times = Some((first, now));
    }

    fn deadline(&self) -> Option<Instant> {
        let Patience { quiet, delay } = self.patience;
        self.times
            .map(|(first, last)| (last + quiet).min(first + delay))
    }

    fn take(&mut self) -> BTreeMap<MountIndex, Noted> {
        self.times = None;
        std::mem::take(&mut self.mounts)
    }
}

/// Hints that wait to be looked at.
#[derive(Debug)]
pub(crate) struct Gather {
    alone: Heap,
    together: Heap,
    /// What is said to be gone.
    removed: Heap,
    /// What was looked at and has to be looked at again, not before its time.
    later: BTreeMap<(Instant, MountIndex), Noted>,
}

impl Gather {
    pub(crate) fn new(settings: &EventSettings) -> Self {
        Self {
            alone: Heap::new(Patience {
                quiet: settings.quiet,
                delay: settings.max_delay,
            }),
            together: Heap::new(TOGETHER),
            removed: Heap::new(REMOVED),
            later: BTreeMap::new(),
        }
    }

    /// Takes a hint.
    pub(crate) fn note(
        &mut self,
        mount: MountIndex,
        path: RelPath,
        hint: Hint,
        company: Company,
        now: Instant,
    ) {
        let heap = match (&hint, company) {
            (Hint::Removed, _) => &mut self.removed,
            (Hint::Written(_) | Hint::Unknown, Company::Together) => &mut self.together,
            (Hint::Written(_) | Hint::Unknown, Company::Alone) => &mut self.alone,
        };
        heap.touch(now);
        let noted = heap
            .mounts
            .entry(mount)
            .or_insert_with(|| Noted::Paths(BTreeMap::new()));
        noted.add(path, hint);
    }

    /// Takes that anything in a mount may have changed.
    pub(crate) fn note_everything(&mut self, mount: MountIndex, now: Instant) {
        self.alone.touch(now);
        self.alone.mounts.insert(mount, Noted::Everything);
    }

    /// Takes back what could not be settled; it is due at `at`.
    pub(crate) fn put_back(&mut self, mount: MountIndex, noted: Noted, at: Instant) {
        match self.later.entry((at, mount)) {
            Entry::Vacant(entry) => {
                entry.insert(noted);
            }
            Entry::Occupied(mut entry) => merge(entry.get_mut(), noted),
        }
    }

    /// When something is due; `None` when nothing waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let heaps = [&self.alone, &self.together, &self.removed];
        let later = self.later.keys().next().map(|(at, _)| *at);
        let waiting = heaps.into_iter().filter_map(Heap::deadline);
        waiting.chain(later).min()
    }

    /// Removes and gives everything that was noted and waits for no company, and what of the rest is due at `now`.
    pub(crate) fn take(&mut self, now: Instant) -> BTreeMap<MountIndex, Noted> {
        let mut taken = self.alone.take();
        for heap in [&mut self.together, &mut self.removed] {
            if heap.deadline().is_some_and(|at| at <= now) {
                for (mount, noted) in heap.take() {
                    join(&mut taken, mount, noted);
                }
            }
        }
        while let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let ((_, mount), noted) = entry.remove_entry();
            join(&mut taken, mount, noted);
        }
        taken
    }

    /// Forgets everything: a look at all there is begins.
    pub(crate) fn clear(&mut self) {
        for heap in [&mut self.alone, &mut self.together, &mut self.removed] {
            heap.take();
        }
        self.later.clear();
    }
}

/// Adds what was noted of a mount to what is known of all.
fn join(all: &mut BTreeMap<MountIndex, Noted>, mount: MountIndex, noted: Noted) {
    match all.entry(mount) {
        Entry::Vacant(entry) => {
            entry.insert(noted);
        }
        Entry::Occupied(mut entry) => merge(entry.get_mut(), noted),
    }
}

/// Adds what was noted before to what was noted since.
fn merge(noted: &mut Noted, other: Noted) {
    match other {
        Noted::Everything => *noted = Noted::Everything,
        Noted::Paths(paths) => {
            for (path, hints) in paths {
                for hint in hints {
                    noted.add(path.clone(), hint);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ETag;

    const MOUNT: MountIndex = MountIndex(0);

    fn gather() -> Gather {
        Gather::new(&EventSettings::default())
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn a_key_is_due_when_it_is_quiet_and_never_later_than_the_greatest_delay() {
        let (mut gather, start) = (gather(), Instant::now());
        assert_eq!(gather.deadline(), None);
        gather.note(MOUNT, path("a"), Hint::Unknown, Company::Alone, start);
        assert_eq!(gather.deadline(), Some(start + ms(50)));
        for step in 1..=20 {
            gather.note(
                MOUNT,
                path("a"),
                Hint::Unknown,
                Company::Alone,
                start + ms(40 * step),
            );
        }
        assert_eq!(gather.deadline(), Some(start + ms(150)));
        assert_eq!(gather.take(start + ms(150)).len(), 1);
        assert_eq!(gather.deadline(), None);
    }

    #[test]
    fn every_hint_of_a_path_is_kept_in_order_up_to_a_bound() {
        let (mut gather, start) = (gather(), Instant::now());
        let tag = |number: usize| Hint::Written(ETag::new(&number.to_string()));
        for number in 0..3 {
            gather.note(MOUNT, path("a"), tag(number), Company::Alone, start);
        }
        for number in 0..MAX_HINTS + 5 {
            gather.note(MOUNT, path("b"), tag(number), Company::Alone, start);
        }
        gather.note(MOUNT, path("b"), Hint::Unknown, Company::Alone, start);
        let taken = gather.take(start);
        let Some(Noted::Paths(paths)) = taken.get(&MOUNT) else {
            panic!("{taken:?}")
        };
        assert_eq!(paths[&path("a")], [tag(0), tag(1), tag(2)]);
        assert_eq!(paths[&path("b")].len(), MAX_HINTS);
        assert_eq!(paths[&path("b")].last(), Some(&Hint::Unknown));
    }

    #[test]
    fn removals_wait_for_each_other_and_hold_nothing_else_up() {
        let (mut gather, start) = (gather(), Instant::now());
        for step in 0..10 {
            let name = step.to_string();
            gather.note(
                MOUNT,
                path(&name),
                Hint::Removed,
                Company::Alone,
                start + ms(1000 * step),
            );
        }
        let quiet = start + ms(11_000);
        assert_eq!(gather.deadline(), Some(quiet));
        gather.note(
            MOUNT,
            path("new"),
            Hint::Unknown,
            Company::Alone,
            start + ms(9000),
        );
        assert_eq!(gather.deadline(), Some(start + ms(9050)));
        let taken = gather.take(start + ms(9050));
        assert!(
            matches!(&taken[&MOUNT], Noted::Paths(paths) if paths.len() == 1),
            "{taken:?}"
        );
        assert_eq!(gather.deadline(), Some(quiet));
        let taken = gather.take(quiet);
        assert!(
            matches!(&taken[&MOUNT], Noted::Paths(paths) if paths.len() == 10),
            "{taken:?}"
        );
        assert_eq!(gather.deadline(), None);
        for step in 0..100 {
            gather.note(
                MOUNT,
                path("a"),
                Hint::Removed,
                Company::Alone,
                start + ms(1000 * step),
            );
        }
        assert_eq!(gather.deadline(), Some(start + ms(30_000)));
        gather.clear();
        assert_eq!(gather.deadline(), None);
    }

    #[test]
    fn what_belongs_together_waits_for_its_end_and_holds_nothing_else_up() {
        let (mut gather, start) = (gather(), Instant::now());
        let written = |gather: &mut Gather, name: &str, at: Instant| {
            gather.note(MOUNT, path(name), Hint::Unknown, Company::Together, at);
        };
        for step in 0..5 {
            written(
                &mut gather,
                &format!("skills/web/{step}"),
                start + ms(400 * step),
            );
        }
        gather.note(
            MOUNT,
            path("openclaw.json"),
            Hint::Unknown,
            Company::Alone,
            start,
        );
        assert_eq!(gather.deadline(), Some(start + ms(50)));
        assert_eq!(gather.take(start + ms(50)).len(), 1);
        let whole = start + ms(1600 + 500);
        assert_eq!(gather.deadline(), Some(whole));
        let taken = gather.take(whole);
        assert!(
            matches!(&taken[&MOUNT], Noted::Paths(paths) if paths.len() == 5),
            "{taken:?}"
        );
        for step in 0..100 {
            written(&mut gather, "skills/web/x", start + ms(400 * step));
        }
        assert_eq!(gather.deadline(), Some(start + ms(10_000)));
    }

    #[test]
    fn too_many_paths_become_everything_and_everything_stays_it() {
        let (mut gather, start) = (gather(), Instant::now());
        for number in 0..=MAX_PATHS {
            gather.note(
                MOUNT,
                path(&number.to_string()),
                Hint::Unknown,
                Company::Alone,
                start,
            );
        }
        gather.note(MOUNT, path("more"), Hint::Unknown, Company::Alone, start);
        gather.note(
            MountIndex(1),
            path("x"),
            Hint::Unknown,
            Company::Alone,
            start,
        );
        gather.note_everything(MountIndex(1), start);
        let taken = gather.take(start);
        assert!(taken.values().all(|noted| *noted == Noted::Everything));
        assert_eq!(taken.len(), 2);
    }

    #[test]
    fn what_is_put_back_comes_at_its_time_with_what_came_meanwhile() {
        let (mut gather, start) = (gather(), Instant::now());
        let one = |name| Noted::Paths([(path(name), vec![Hint::Unknown])].into());
        gather.put_back(MOUNT, one("a"), start + ms(1000));
        gather.put_back(MOUNT, one("b"), start + ms(1000));
        gather.put_back(MOUNT, one("c"), start + ms(2000));
        assert_eq!(gather.deadline(), Some(start + ms(1000)));
        gather.note(MOUNT, path("d"), Hint::Unknown, Company::Alone, start);
        assert_eq!(gather.take(start).len(), 1);
        let taken = gather.take(start + ms(1000));
        assert!(
            matches!(&taken[&MOUNT], Noted::Paths(paths) if paths.len() == 2),
            "{taken:?}"
        );
        assert_eq!(gather.deadline(), Some(start + ms(2000)));
        gather.clear();
        assert_eq!(gather.deadline(), None);
    }
}

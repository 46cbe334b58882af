//! Tables for the cases that have a name, and random histories for the invariants.

use proptest::prelude::*;

use super::*;

const MOUNT: MountIndex = MountIndex(0);

fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

fn path(text: &str) -> DirtyPath {
    DirtyPath::path(MOUNT, rel(text))
}

fn subtree(text: &str) -> DirtyPath {
    DirtyPath::subtree(MOUNT, rel(text))
}

fn mount() -> DirtyPath {
    DirtyPath::mount(MOUNT)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn debouncer() -> (Debouncer, Instant) {
    (Debouncer::new(DebounceSettings::default()), Instant::now())
}

#[test]
fn a_path_is_due_after_the_quiet_time_and_only_once() {
    let (mut debouncer, start) = debouncer();
    debouncer.note(path("a"), start);
    assert_eq!(debouncer.due(start + ms(249)), []);
    assert_eq!(debouncer.due(start + ms(250)), [path("a")]);
    assert_eq!(debouncer.due(start + ms(10_000)), []);
    assert_eq!(debouncer.next_deadline(), None);
}

#[test]
fn each_note_starts_the_quiet_time_again_until_the_maximum_delay() {
    let (mut debouncer, start) = debouncer();
    for step in 0..20 {
        debouncer.note(path("log"), start + ms(step * 100));
        assert_eq!(debouncer.due(start + ms(step * 100)), [], "at step {step}");
    }
    assert_eq!(debouncer.next_deadline(), Some(start + ms(2000)));
    assert_eq!(debouncer.due(start + ms(2000)), [path("log")]);
}

#[test]
fn after_it_was_due_a_path_gets_a_new_maximum_delay() {
    let (mut debouncer, start) = debouncer();
    debouncer.note(path("log"), start);
    assert_eq!(debouncer.due(start + ms(250)), [path("log")]);
    debouncer.note(path("log"), start + ms(1900));
    debouncer.note(path("log"), start + ms(2100));
    assert_eq!(debouncer.due(start + ms(2100)), []);
    assert_eq!(debouncer.next_deadline(), Some(start + ms(2350)));
}

#[test]
fn what_is_overdue_longest_comes_first() {
    let (mut debouncer, start) = debouncer();
    debouncer.note(path("late"), start + ms(20));
    debouncer.note(path("early"), start);
    debouncer.note(path("middle"), start + ms(10));
    assert_eq!(
        debouncer.due(start + ms(1000)),
        [path("early"), path("middle"), path("late")]
    );
}

#[test]
fn what_covers_takes_over_what_it_covers() {
    let table: &[(&str, &[DirtyPath], &[DirtyPath])] = &[
        ("the same path twice", &[path("a"), path("a")], &[path("a")]),
        (
            "a subtree over its paths",
            &[path("a/b"), path("a/c/d"), subtree("a")],
            &[subtree("a")],
        ),
        (
            "a path under a subtree",
            &[subtree("a"), path("a/b/c")],
            &[subtree("a")],
        ),
        (
            "a subtree under a subtree",
            &[subtree("a"), subtree("a/b")],
            &[subtree("a")],
        ),
        (
            "a subtree over a subtree",
            &[subtree("a/b"), subtree("a")],
            &[subtree("a")],
        ),
        (
            "a path that becomes a subtree",
            &[path("a"), subtree("a")],
            &[subtree("a")],
        ),
        (
            "a subtree whose own path is noted",
            &[subtree("a"), path("a")],
            &[subtree("a")],
        ),
        (
            "a path is no cover for what is beneath it",
            &[path("a"), path("a/b")],
            &[path("a"), path("a/b")],
        ),
        (
            "siblings that sort between a directory and its contents",
            &[
                path("a-b"),
                path("a.b"),
                path("a/b"),
                path("a0"),
                subtree("a"),
            ],
            &[subtree("a"), path("a-b"), path("a.b"), path("a0")],
        ),
        (
            "a mount over everything",
            &[path("a"), subtree("b"), mount()],
            &[mount()],
        ),
        (
            "anything under a mount",
            &[mount(), path("a"), subtree("b"), mount()],
            &[mount()],
        ),
        (
            "control characters under a directory",
            &[path("a/\u{1}"), path("a/\u{1}\u{1}"), subtree("a")],
            &[subtree("a")],
        ),
    ];
    for (name, notes, expected) in table {
        let (mut debouncer, start) = debouncer();
        for dirty in *notes {
            debouncer.note(dirty.clone(), start);
        }
        assert_eq!(debouncer.len(), expected.len(), "{name}");
        assert_eq!(debouncer.drain_all(), *expected, "{name}");
        assert!(debouncer.is_empty(), "{name}");
    }
}

#[test]
fn mounts_do_not_cover_each_other() {
    let (mut debouncer, start) = debouncer();
    let elsewhere = DirtyPath::path(MountIndex(1), rel("a"));
    debouncer.note(elsewhere.clone(), start);
    debouncer.note(mount(), start);
    assert_eq!(debouncer.drain_all(), [mount(), elsewhere]);
}

#[test]
fn a_covering_entry_keeps_the_age_of_the_oldest_news_it_took_over() {
    let (mut debouncer, start) = debouncer();
    debouncer.note(path("a/b"), start);
    debouncer.note(path("a/b"), start + ms(200));
    debouncer.note(subtree("a"), start + ms(400));
    for step in 3..10 {
        debouncer.note(path("a/c"), start + ms(step * 200));
    }
    assert_eq!(debouncer.next_deadline(), Some(start + ms(2000)));
}

#[test]
fn too_many_paths_of_a_mount_become_a_rescan_of_that_mount_alone() {
    let mut debouncer = Debouncer::new(DebounceSettings {
        max_paths: 3,
        ..DebounceSettings::default()
    });
    let start = Instant::now();
    let elsewhere = DirtyPath::path(MountIndex(1), rel("a"));
    debouncer.note(elsewhere.clone(), start);
    for name in ["a", "b", "c"] {
        debouncer.note(path(name), start);
    }
    assert_eq!(debouncer.len(), 4);
    debouncer.note(path("d"), start + ms(100));
    assert_eq!(debouncer.len(), 2);
    assert_eq!(debouncer.due(start + ms(300)), [elsewhere]);
    assert_eq!(debouncer.due(start + ms(350)), [mount()]);
}

#[test]
fn a_requeued_path_comes_back_after_one_quiet_time() {
    let (mut debouncer, start) = debouncer();
    debouncer.note(path("a"), start);
    assert_eq!(debouncer.due(start + ms(250)), [path("a")]);
    debouncer.requeue(path("a"), start + ms(300));
    assert_eq!(debouncer.due(start + ms(549)), []);
    assert_eq!(debouncer.due(start + ms(550)), [path("a")]);
}

#[test]
fn a_deferred_path_waits_whatever_is_noted_and_others_do_not() {
    let (mut debouncer, start) = debouncer();
    debouncer.defer(path("hot"), start, start + ms(60_000));
    debouncer.note(path("hot"), start + ms(100));
    debouncer.note(path("other"), start + ms(100));
    assert_eq!(debouncer.due(start + ms(59_999)), [path("other")]);
    assert!(debouncer.is_dirty(MOUNT, &rel("hot")));
    assert_eq!(debouncer.due(start + ms(60_000)), [path("hot")]);
}

#[test]
fn deferring_a_path_does_not_hold_up_the_subtree_that_covers_it() {
    let (mut debouncer, start) = debouncer();
    debouncer.note(subtree("a"), start);
    debouncer.defer(path("a/hot"), start, start + ms(60_000));
    assert_eq!(debouncer.due(start + ms(250)), [subtree("a")]);
    debouncer.defer(path("b/hot"), start, start + ms(60_000));
    debouncer.note(subtree("b"), start + ms(300));
    assert_eq!(debouncer.due(start + ms(550)), [subtree("b")]);
    assert!(debouncer.is_empty());
}

#[test]
fn absurd_settings_and_a_clock_that_steps_back_do_not_panic() {
    let mut debouncer = Debouncer::new(DebounceSettings {
        quiet: Duration::MAX,
        max_delay: Duration::MAX,
        max_paths: 0,
    });
    let start = Instant::now() + ms(1000);
    debouncer.note(path("a"), start);
    debouncer.note(path("b"), start.checked_sub(ms(500)).unwrap());
    assert_eq!(debouncer.due(start + ms(100_000)), []);
    assert_eq!(debouncer.drain_all(), [mount()]);
}

#[derive(Debug, Clone)]
enum Step {
    Note(DirtyPath),
    Requeue(DirtyPath),
    Look,
}

fn any_dirty() -> impl Strategy<Value = DirtyPath> {
    let names = prop::sample::select(vec!["a", "a-b", "b", "a0", "\u{1}"]);
    let rel_path = prop::collection::vec(names, 1..4).prop_map(|names| rel(&names.join("/")));
    (0..2_u16, 0..20_u8, rel_path).prop_map(|(index, kind, path)| {
        let mount = MountIndex(index);
        match kind {
            0 => DirtyPath::mount(mount),
            1..6 => DirtyPath::subtree(mount, path),
            _ => DirtyPath::path(mount, path),
        }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_dirty().prop_map(Step::Note),
        1 => any_dirty().prop_map(Step::Requeue),
        3 => Just(Step::Look),
    ]
}

/// What was noted and not returned since.
#[derive(Default)]
struct Outstanding(Vec<(Instant, DirtyPath)>);

impl Outstanding {
    fn settle(&mut self, returned: &DirtyPath) -> Vec<Instant> {
        let (settled, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, dirty)| returned.covers(dirty));
        self.0 = left;
        Vec::from_iter::<Vec<(Instant, DirtyPath)>>(settled)
            .into_iter()
            .map(|(noted, _)| noted)
            .collect()
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_is_early_or_late(
        steps in prop::collection::vec((0..400_u64, any_step()), 1..120),
        max_paths in 1..12_usize,
    ) {
        let settings = DebounceSettings { max_paths, ..DebounceSettings::default() };
        let mut debouncer = Debouncer::new(settings);
        let mut outstanding = Outstanding::default();
        let mut now = Instant::now();
        for (wait, step) in steps {
            now += ms(wait);
            match step {
                Step::Note(dirty) => {
                    debouncer.note(dirty.clone(), now);
                    outstanding.0.push((now, dirty));
                }
                Step::Requeue(dirty) => {
                    debouncer.requeue(dirty.clone(), now);
                    outstanding.0.push((now, dirty));
                }
                Step::Look => {
                    for returned in debouncer.due(now) {
                        let noted = outstanding.settle(&returned);
                        let first = noted.iter().min();
                        let last = noted.iter().max();
                        prop_assert!(first.is_some(), "{returned:?} was never noted");
                        let quiet = last.is_some_and(|last| now - *last >= settings.quiet);
                        let delayed = first.is_some_and(|first| now - *first >= settings.max_delay);
                        prop_assert!(quiet || delayed, "{returned:?} came too early");
                    }
                    for (noted, dirty) in &outstanding.0 {
                        prop_assert!(now - *noted < settings.max_delay, "{dirty:?} is late");
                    }
                    prop_assert!(debouncer.next_deadline().is_none_or(|deadline| deadline > now));
                }
            }
            for (_, dirty) in &outstanding.0 {
                if let Scope::Path(path) = &dirty.scope {
                    prop_assert!(debouncer.is_dirty(dirty.mount, path));
                }
            }
            prop_assert_eq!(debouncer.next_deadline().is_none(), debouncer.is_empty());
            prop_assert!(debouncer.len() <= 2 * max_paths);
        }
        for returned in debouncer.drain_all() {
            prop_assert!(!outstanding.settle(&returned).is_empty(), "{returned:?} was never noted");
        }
        prop_assert!(outstanding.0.is_empty(), "lost: {:?}", outstanding.0);
    }
}

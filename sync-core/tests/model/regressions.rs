//! Histories that once failed, named after what went wrong.

use sync_core::{failpoint::Point, session::Direction};

use super::{
    check,
    history::{
        Approve, BaselineFate, Effect, Event, Happening, History, HowToWrite, LocalOp, Moment,
        Mounts, PathName, RemoteOp, Size, Step, StoreKind,
    },
    run::run_and,
    world::World,
};

fn holds(steps: Vec<Step>) {
    holds_and(steps, |_| {});
}

fn holds_and(steps: Vec<Step>, look: impl FnOnce(&World)) {
    let history = History {
        store: StoreKind::PLAIN,
        mounts: Mounts::Two,
        steps,
    };
    if let Err(failure) = run_and(&history, look) {
        panic!(
            "{}\n  {}",
            failure.violations.join("\n"),
            failure.trace.join("\n  ")
        );
    }
}

fn write(path: PathName) -> Step {
    Step::Local(LocalOp::Write(path, HowToWrite::InPlace, Size::Small))
}

fn put(path: PathName) -> Step {
    Step::Remote(RemoteOp::Put(path, Size::Small))
}

fn sync() -> Step {
    sync_while(Vec::new())
}

fn sync_while(events: Vec<Event>) -> Step {
    Step::Pass {
        direction: Direction::Sync,
        scope: None,
        approval: Approve::No,
        events,
    }
}

fn at_call(call: usize, what: Happening) -> Event {
    Event {
        at: Moment::Call(call),
        what,
    }
}

fn after_file(file: usize, what: Happening) -> Event {
    Event {
        at: Moment::FileDone(file),
        what,
    }
}

fn at_point(point: Point, what: Happening) -> Event {
    Event {
        at: Moment::Point(point, 0),
        what,
    }
}

/// The touch put the new stat into the baseline, and remembering that the object is gone put the old one back.
#[test]
fn a_touched_file_whose_object_went_is_not_sent_again() {
    holds(vec![
        write("delpush/a"),
        sync(),
        Step::Remote(RemoteOp::Delete("delpush/a")),
        Step::Local(LocalOp::Rewrite("delpush/a")),
    ]);
}

/// The size and the mtime were those of the version that the download was decided for; only the ctime told.
#[test]
fn a_write_that_puts_the_mtime_back_during_a_download_is_kept() {
    let stealthy = LocalOp::Write("a", HowToWrite::Stealthy, Size::Small);
    holds(vec![
        write("a"),
        sync(),
        put("a"),
        sync_while(vec![at_call(1, Happening::Local(stealthy))]),
    ]);
}

/// Between looking at the file to delete and deleting it the same as above.
#[test]
fn a_write_that_puts_the_mtime_back_during_a_delete_is_kept() {
    let stealthy = LocalOp::Write("a", HowToWrite::Stealthy, Size::Small);
    holds(vec![
        write("a"),
        write("b"),
        sync(),
        put("b"),
        Step::Remote(RemoteOp::Delete("a")),
        sync_while(vec![at_call(1, Happening::Local(stealthy))]),
    ]);
}

/// The conflict was recorded as dealt with, so that the object looked like one whose local delete must not travel.
#[test]
fn a_winner_that_is_deleted_before_it_was_sent_leaves_both_sides_equal() {
    let delete = Happening::Local(LocalOp::Delete("a"));
    holds(vec![
        write("a"),
        put("a"),
        sync_while(vec![after_file(0, delete)]),
    ]);
}

#[test]
fn a_crash_after_keeping_the_loser_makes_no_second_copy_of_it() {
    for effect in [Effect::None, Effect::Done] {
        for call in 0..6 {
            holds(vec![
                write("a"),
                put("a"),
                sync_while(vec![at_call(call, Happening::Crash(effect))]),
            ]);
        }
    }
    for file in 0..2 {
        holds(vec![
            write("a"),
            put("a"),
            sync_while(vec![after_file(file, Happening::Crash(Effect::None))]),
        ]);
    }
}

/// The copy was made, and neither the row nor the baseline itself is left to tell.
#[test]
fn a_lost_baseline_makes_no_second_copy_of_a_loser() {
    holds(vec![
        write("a"),
        put("a"),
        sync_while(vec![at_call(11, Happening::Crash(Effect::None))]),
        Step::Reopen(BaselineFate::Lost),
    ]);
}

/// The version that the other writer put after the delete was recorded as known, and then overwritten without a copy.
#[test]
fn a_version_put_after_a_delete_under_push_is_no_known_version() {
    holds(vec![
        write("push/a"),
        sync(),
        Step::Local(LocalOp::Delete("push/a")),
        put("push/a"),
        sync(),
        write("push/a"),
        sync(),
    ]);
}

/// The first plan wrote nothing to the store, so the store wasn't asked what it can do, and what followed wrote unguarded.
#[test]
fn a_write_that_was_not_planned_at_first_is_guarded_too() {
    for call in 2..20 {
        let here = LocalOp::Write("a", HowToWrite::InPlace, Size::Small);
        holds(vec![
            put("a"),
            sync_while(vec![
                at_call(1, Happening::Local(here)),
                at_call(call, Happening::Remote(RemoteOp::Put("a", Size::Small))),
            ]),
        ]);
    }
}

/// Recovery made a conflict copy of the edit, and the document that was merged from an older one stayed in its place.
#[test]
fn an_edit_of_a_merged_file_at_the_moment_of_a_crash_stays_in_the_file() {
    for crash in [Point::Exchanged, Point::PutBack] {
        holds(vec![
            Step::Local(LocalOp::SetField),
            Step::Remote(RemoteOp::SetField),
            sync(),
            Step::Remote(RemoteOp::SetField),
            sync_while(vec![
                at_point(Point::BeforeExchange, Happening::Local(LocalOp::SetField)),
                at_point(crash, Happening::Crash(Effect::None)),
            ]),
        ]);
    }
}

/// The mode after the publication was taken for the one that was published.
#[test]
fn a_change_of_the_mode_at_the_moment_of_the_publication_is_sent() {
    let chmod = Happening::Local(LocalOp::Chmod("a", 0o755));
    let steps = vec![
        write("a"),
        sync(),
        put("a"),
        sync_while(vec![at_point(Point::Exchanged, chmod)]),
    ];
    holds_and(steps, |world| {
        assert_eq!(check::mode_there(world, "a"), Some(0o100_755));
    });
}

//! A history that comes past every failpoint, and ends at one of them: chance alone would miss some for long.

use sync_core::{failpoint::Point, session::Direction};

use super::{
    generate::peaceful_pass,
    history::{
        Act, Approve, Effect, EndOfEngine, Event, Happening, HowToWrite, LocalOp, Moment, News,
        PathName, RemoteOp, Size, Step,
    },
};

/// Steps whose last one ends at `point`, unless the point is one of an S3 store's.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new point is one of a pass until its history proves otherwise"
)]
pub(crate) fn ending_at(point: Point) -> Vec<Step> {
    let crash = at(point, 0, Happening::Crash(Effect::None));
    match point {
        Point::Probed => vec![
            Step::Local(write("a")),
            Step::Remote(RemoteOp::Put("b", Size::Small)),
            pass(vec![crash]),
        ],
        Point::DirtyTaken => vec![Step::Resident {
            acts: vec![Act::Local(write("a"), News::Told)],
            end: EndOfEngine::Kill,
            events: vec![crash],
        }],
        Point::RecoveredCopyKept => with_work(vec![
            at(Point::BeforeExchange, 0, Happening::Local(write("a"))),
            at(Point::Exchanged, 0, Happening::Crash(Effect::None)),
            crash,
        ]),
        Point::MovedBack => with_work(vec![edit_of_deleted(), crash]),
        Point::RecoveredPutBack => with_work(vec![
            edit_of_deleted(),
            at(Point::MovedAway, 0, Happening::Crash(Effect::None)),
            crash,
        ]),
        Point::PutBack => with_work(vec![
            at(
                Point::BeforeExchange,
                1,
                Happening::Local(LocalOp::SetField),
            ),
            crash,
        ]),
        _ => with_work(vec![crash]),
    }
}

/// Work of every kind for one pass, during which `events` happen.
fn with_work(events: Vec<Event>) -> Vec<Step> {
    let put = |path| Step::Remote(RemoteOp::Put(path, Size::Small));
    let mut steps: Vec<_> = ["a", "b", "d/x", "d-x", "remote/a"]
        .map(|path| Step::Local(write(path)))
        .into();
    steps.extend([
        Step::Local(LocalOp::SetField),
        Step::Remote(RemoteOp::SetField),
        peaceful_pass(),
        put("a"),
        Step::Remote(RemoteOp::Delete("b")),
        Step::Local(LocalOp::Delete("d/x")),
        Step::Remote(RemoteOp::SetField),
        put("d/deep/y"),
        Step::Local(write("keep/a")),
    ]);
    for path in ["d-x", "remote/a"] {
        steps.extend([Step::Local(write(path)), put(path)]);
    }
    steps.push(pass(events));
    steps
}

fn edit_of_deleted() -> Event {
    at(Point::BeforeMovedAway, 0, Happening::Local(write("b")))
}

fn write(path: PathName) -> LocalOp {
    LocalOp::Write(path, HowToWrite::Replace, Size::Small)
}

fn pass(events: Vec<Event>) -> Step {
    Step::Pass {
        direction: Direction::Sync,
        scope: None,
        approval: Approve::Yes,
        events,
    }
}

fn at(point: Point, times: usize, what: Happening) -> Event {
    Event {
        at: Moment::Point(point, times),
        what,
    }
}

//! What happens when, during one pass: counts requests and finished files, and gives out what is due.

use std::collections::BTreeMap;

use sync_core::failpoint::Point;

use super::history::{Effect, Event, Fault, Happening, Moment};

#[derive(Default)]
pub(crate) struct Script {
    calls: usize,
    files_done: usize,
    points: BTreeMap<Point, usize>,
    points_reached: usize,
    events: Vec<Event>,
}

/// What is to become of a request after the events before it.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) fault: Option<(Fault, Effect)>,
    pub(crate) crash: Option<Effect>,
    pub(crate) break_off: bool,
}

impl Script {
    pub(crate) fn new(events: &[Event]) -> Self {
        Self {
            events: events.to_vec(),
            ..Self::default()
        }
    }

    /// What is due at the next request. The other users of the bucket wait for the one after it if it is `unguarded`.
    pub(crate) fn next_call(&mut self, unguarded: bool) -> Vec<Event> {
        let now = self.calls;
        self.calls += 1;
        let is_due = |event: &mut Event| match (event.at, &event.what) {
            (Moment::Call(_), Happening::Remote(_)) if unguarded => false,
            (Moment::Call(at), _) => at <= now,
            (Moment::FileDone(_) | Moment::Point(..) | Moment::AnyPoint(_), _) => false,
        };
        self.events.extract_if(.., is_due).collect()
    }

    /// What is due at the next finished file.
    pub(crate) fn next_file(&mut self) -> Vec<Event> {
        let now = Moment::FileDone(self.files_done);
        self.files_done += 1;
        self.take(now)
    }

    /// What is due when a failpoint is reached once more.
    pub(crate) fn next_point(&mut self, point: Point) -> Vec<Event> {
        let times = self.points.entry(point).or_default();
        let now = Moment::Point(point, *times);
        *times += 1;
        let any = Moment::AnyPoint(self.points_reached);
        self.points_reached += 1;
        let mut due = self.take(now);
        due.extend(self.take(any));
        due
    }

    /// Leaves only what is to happen at failpoints.
    pub(crate) fn keep_points(&mut self) {
        self.events
            .retain(|event| matches!(event.at, Moment::Point(..)));
    }

    fn take(&mut self, now: Moment) -> Vec<Event> {
        self.events
            .extract_if(.., |event| event.at == now)
            .collect()
    }
}

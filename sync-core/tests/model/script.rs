//! What happens when, during one pass: counts requests and finished files, and gives out what is due.

use super::history::{Effect, Event, Fault, Happening, Moment};

#[derive(Default)]
pub(crate) struct Script {
    calls: usize,
    files_done: usize,
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
            (Moment::FileDone(_), _) => false,
        };
        self.events.extract_if(.., is_due).collect()
    }

    /// What is due at the next finished file.
    pub(crate) fn next_file(&mut self) -> Vec<Event> {
        let now = Moment::FileDone(self.files_done);
        self.files_done += 1;
        self.events
            .extract_if(.., |event| event.at == now)
            .collect()
    }
}

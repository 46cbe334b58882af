//! How the streams of events are, for the status.

use std::collections::BTreeMap;

use crate::{events::StreamState, status::EventStream};

/// The streams, by prefix.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<String, Stream>);

#[derive(Debug)]
struct Stream {
    state: StreamState,
    since: jiff::Timestamp,
    malformed: u64,
}

impl Streams {
    pub(super) fn set(&mut self, prefix: &str, state: StreamState) {
        let now = jiff::Timestamp::now();
        let stream = self.0.entry(prefix.to_owned()).or_insert_with(|| Stream {
            state: state.clone(),
            since: now,
            malformed: 0,
        });
        if stream.state.word() != state.word() {
            stream.since = now;
        }
        stream.state = state;
    }

    pub(super) fn count_malformed(&mut self, prefix: &str, count: u64) {
        if let Some(stream) = self.0.get_mut(prefix) {
            stream.malformed += count;
        }
    }

    pub(super) fn describe(&self) -> Vec<EventStream> {
        let describe = |(prefix, stream): (&String, &Stream)| EventStream {
            prefix: prefix.clone(),
            state: stream.state.word().to_owned(),
            since: stream.since.to_string(),
            message: stream.state.to_string(),
            malformed: stream.malformed,
        };
        self.0.iter().map(describe).collect()
    }
}

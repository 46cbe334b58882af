//! Who wants to know of changes.
//!
//! Owns the subscribers and the order in which they hear. The writer's thread announces and never waits: a subscriber
//! that doesn't keep up is dropped, and knows it by the end of its channel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::{super::clock, effects::Change};

/// Changes that wait for a subscriber before it is dropped.
const QUEUED: usize = 4096;

/// A change and its place among all changes.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) change: Change,
    /// When it was announced, in milliseconds since 1970.
    pub(crate) at: i64,
    /// Greater than that of every change before, also of those before a restart.
    pub(crate) sequence: u64,
}

type Wants = Box<dyn Fn(&Change) -> bool + Send>;

struct Subscriber {
    wants: Wants,
    news: mpsc::Sender<Arc<Announced>>,
}

/// The subscribers of a store.
#[derive(Default)]
pub(crate) struct Feed(Mutex<State>);

#[derive(Default)]
struct State {
    subscribers: Vec<Subscriber>,
    sequence: u64,
    is_closed: bool,
}

impl Feed {
    /// From now on everything that `wants` says yes to. The channel ends when the feed is closed, or when it is full.
    pub(crate) fn subscribe(
        &self,
        wants: impl Fn(&Change) -> bool + Send + 'static,
    ) -> mpsc::Receiver<Arc<Announced>> {
        let (news, receiver) = mpsc::channel(QUEUED);
        let mut state = self.state();
        if !state.is_closed {
            let wants = Box::new(wants);
            state.subscribers.push(Subscriber { wants, news });
        }
        receiver
    }

    /// Tells of durable changes, in the order they were made.
    pub(super) fn announce(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.state();
        state.subscribers.retain(|one| !one.news.is_closed());
        if state.subscribers.is_empty() {
            return;
        }
        for change in changes {
            let at = clock::now();
            // Nanoseconds leave room for all changes of one millisecond.
            let by_time = u64::try_from(at).unwrap_or(0).saturating_mul(1_000_000);
            state.sequence = by_time.max(state.sequence + 1);
            let announced = Arc::new(Announced {
                change,
                at,
                sequence: state.sequence,
            });
            state.subscribers.retain(|one| {
                let is_told =
                    !(one.wants)(&announced.change) || one.news.try_send(announced.clone()).is_ok();
                if !is_told {
                    tracing::warn!("a subscriber of events reads too slowly; its stream is ended");
                }
                is_told
            });
        }
    }

    /// Ends every subscription, and those to come.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.subscribers.clear();
    }

    /// How many listen.
    #[cfg(test)]
    pub(crate) fn subscribers(&self) -> usize {
        let mut state = self.state();
        state.subscribers.retain(|one| !one.news.is_closed());
        state.subscribers.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(key: &str) -> Vec<Change> {
        vec![Change::Removed {
            bucket: "bucket".to_owned(),
            key: key.to_owned(),
        }]
    }

    #[test]
    fn everybody_hears_what_they_want_in_order() {
        let feed = Feed::default();
        feed.announce(removed("nobody listens yet"));
        let mut all = feed.subscribe(|_| true);
        let mut some = feed.subscribe(|change| change.key().starts_with('b'));
        for key in ["a", "b", "c"] {
            feed.announce(removed(key));
        }
        let mut last = 0;
        for key in ["a", "b", "c"] {
            let heard = all.try_recv().unwrap();
            assert_eq!(heard.change.key(), key);
            assert!(heard.sequence > last);
            last = heard.sequence;
        }
        assert_eq!(some.try_recv().unwrap().change.key(), "b");
        assert!(some.try_recv().is_err());
    }

    #[test]
    fn who_reads_too_slowly_is_dropped_and_holds_nobody_up() {
        let feed = Feed::default();
        let mut slow = feed.subscribe(|_| true);
        let mut quick = feed.subscribe(|_| true);
        for number in 0..=QUEUED {
            feed.announce(removed(&number.to_string()));
            assert!(quick.try_recv().is_ok());
        }
        assert_eq!(feed.subscribers(), 1);
        let mut heard = 0;
        while slow.try_recv().is_ok() {
            heard += 1;
        }
        assert_eq!(heard, QUEUED, "what was queued is still there");
        assert_eq!(
            slow.try_recv().unwrap_err(),
            mpsc::error::TryRecvError::Disconnected
        );
    }

    #[test]
    fn a_closed_feed_ends_every_stream() {
        let feed = Feed::default();
        let mut before = feed.subscribe(|_| true);
        feed.close();
        let mut after = feed.subscribe(|_| true);
        for receiver in [&mut before, &mut after] {
            let ended = receiver.try_recv().unwrap_err();
            assert_eq!(ended, mpsc::error::TryRecvError::Disconnected);
        }
    }
}

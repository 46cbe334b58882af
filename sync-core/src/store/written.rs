//! What this client wrote itself a moment ago, so that the store's word of it is no news.
//!
//! The baseline knows the last version of each path; this knows the ones before it, whose events may arrive late. Keeps
//! hashes, a bounded number of them and for a bounded time. Forgetting one costs a look at a key that didn't change.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{digest::ETag, path::ObjectKey};

/// An event that comes later than this is news.
const KEPT: Duration = Duration::from_mins(1);
/// Most writes remembered: 32 KiB.
const MOST: usize = 2048;

/// Writes whose events have not been seen yet, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<VecDeque<(Instant, u64)>>);

impl Written {
    /// Remembers a write, or a delete where there is no tag.
    pub(crate) fn note(&self, key: &ObjectKey, etag: Option<&ETag>, now: Instant) {
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if writes.len() >= MOST {
            writes.pop_front();
        }
        writes.push_back((now, hash(key, etag)));
    }

    /// True for a write that is remembered; it is forgotten then.
    pub(crate) fn take(&self, key: &ObjectKey, etag: Option<&ETag>, now: Instant) -> bool {
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, _)) = writes.front()
            && now.saturating_duration_since(*at) > KEPT
        {
            writes.pop_front();
        }
        let wanted = hash(key, etag);
        let found = writes.iter().position(|(_, write)| *write == wanted);
        found.is_some_and(|at| writes.remove(at).is_some())
    }
}

fn hash(key: &ObjectKey, etag: Option<&ETag>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key.as_str(), etag).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_answers_for_one_event_and_not_for_ever() {
        let (written, start) = (Written::default(), Instant::now());
        let key = |text| ObjectKey::new(text).unwrap();
        let (one, two) = (ETag::new("1"), ETag::new("2"));
        written.note(&key("a"), Some(&one), start);
        written.note(&key("a"), Some(&two), start);
        written.note(&key("b"), None, start);
        assert!(!written.take(&key("b"), Some(&one), start), "another key");
        assert!(written.take(&key("a"), Some(&two), start), "in any order");
        assert!(written.take(&key("a"), Some(&one), start));
        assert!(
            !written.take(&key("a"), Some(&one), start),
            "the same again is somebody else's"
        );
        assert!(written.take(&key("b"), None, start), "a delete");
        written.note(&key("a"), Some(&one), start);
        assert!(!written.take(&key("a"), Some(&one), start + KEPT + KEPT));
    }

    #[test]
    fn many_writes_cost_a_bounded_memory() {
        let (written, start) = (Written::default(), Instant::now());
        for number in 0..10 * MOST {
            let key = ObjectKey::new(number.to_string()).unwrap();
            written.note(&key, None, start);
        }
        assert_eq!(written.0.lock().unwrap().len(), MOST);
    }
}

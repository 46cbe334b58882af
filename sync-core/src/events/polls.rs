//! How often a store that doesn't tell of its changes is asked for them.
//!
//! Owns the interval between two scheduled passes. Pure. Changes come in groups: after one was found the next look comes
//! soon, and each look that finds nothing doubles the wait, up to the interval that was set. Nothing is ever asked but by
//! a scheduled pass, and never less often than was set.

use std::time::Duration;

/// Between two looks at a bucket that just changed.
const SHORTEST: Duration = Duration::from_secs(15);

/// What a look at the whole bucket found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Something changed there.
    Changes,
    /// Nothing did.
    Nothing,
}

/// The interval as it is at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Polls {
    longest: Duration,
    current: Duration,
}

impl Polls {
    /// `longest` is the interval that was set; it begins with that.
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            longest,
            current: longest,
        }
    }

    /// Takes what a look found.
    pub(crate) fn note(&mut self, found: Found) {
        self.current = match found {
            Found::Changes => self.shortest(),
            Found::Nothing => self.current.saturating_mul(2).min(self.longest),
        };
    }

    /// Something may have changed that nobody understood.
    pub(crate) fn shortest(&self) -> Duration {
        SHORTEST.min(self.longest)
    }

    /// Time until the next look.
    pub(crate) fn interval(&self) -> Duration {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_make_the_next_look_come_soon_and_quiet_lets_it_come_late_again() {
        let mut polls = Polls::new(Duration::from_mins(5));
        let after = |polls: &mut Polls, found| {
            polls.note(found);
            polls.interval().as_secs()
        };
        assert_eq!(polls.interval(), Duration::from_mins(5));
        assert_eq!(after(&mut polls, Found::Nothing), 300);
        assert_eq!(after(&mut polls, Found::Changes), 15);
        let waits: Vec<_> = (0..6).map(|_| after(&mut polls, Found::Nothing)).collect();
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
    }

    #[test]
    fn the_interval_that_was_set_is_never_exceeded() {
        let mut polls = Polls::new(Duration::from_secs(2));
        for found in [Found::Changes, Found::Nothing, Found::Changes] {
            polls.note(found);
            assert_eq!(polls.interval(), Duration::from_secs(2));
        }
    }
}

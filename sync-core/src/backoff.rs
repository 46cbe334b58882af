//! Waiting longer after each failure.
//!
//! Pure: gives durations; the caller waits.

use std::time::Duration;

/// Exponential backoff with a cap. The random part keeps a fleet from coming back all at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits `first` after the first failure, twice as long after each further one, `cap` at most.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first,
            cap,
            failures: 0,
        }
    }

    /// The wait after one more failure; `random` in 0..1 takes off up to half of it.
    pub fn next(&mut self, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        doubled
            .min(self.cap)
            .mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// Starts anew after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// True while the last attempt failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let waits: Vec<_> = (0..5).map(|_| backoff.next(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(backoff.next(1.0), Duration::from_millis(2500));
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_secs(), 1);
    }
}

//! What benchmarks print: order statistics, the load of the machine, and how long they run.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A worker that has sent nothing for so long has done what a start comes with: MinIO confirms a subscription after up to
/// five seconds, and each is followed by a listing.
pub const START_IS_OVER: Duration = Duration::from_secs(8);

/// Durations in order.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Of these, in any order.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    /// The one that `percent` of all are not longer than; the longest for 100. Zero where there are none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

/// `n 200  p50 87 ms  p90 …  p99 …  max …`.
impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "n {:>5}", self.0.len())?;
        for (name, percent) in [("p50", 50), ("p90", 90), ("p99", 99), ("max", 100)] {
            let millis = self.percentile(percent).as_secs_f64() * 1000.0;
            write!(formatter, "  {name} {millis:>5.0} ms")?;
        }
        Ok(())
    }
}

/// `load 1.53 on 2 processors`: the average over the last minute, what is measured included.
pub fn load() -> Result<String> {
    let averages = fs::read_to_string("/proc/loadavg")?;
    let minute = averages
        .split(' ')
        .next()
        .context("/proc/loadavg is empty")?;
    let processors = std::thread::available_parallelism()?;
    Ok(format!("load {minute} on {processors} processors"))
}

/// The first argument as a number of seconds; `default` where there is none. Cargo's own `--bench` is passed over.
pub fn seconds_or(default: Duration) -> Result<Duration> {
    let given = std::env::args().skip(1).find(|word| word != "--bench");
    match given {
        Some(word) => {
            let seconds = word.parse();
            let seconds = seconds.with_context(|| format!("{word:?} is no number of seconds"))?;
            Ok(Duration::from_secs(seconds))
        }
        None => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let millis = |numbers: &[u64]| {
            let times = numbers.iter().copied().map(Duration::from_millis);
            Times::of(times.collect())
        };
        let hundred: Vec<_> = (1..=100).rev().collect();
        for (times, percent, expected) in [
            (millis(&hundred), 50, 50),
            (millis(&hundred), 99, 99),
            (millis(&hundred), 100, 100),
            (millis(&[7]), 50, 7),
            (millis(&[3, 1, 2]), 50, 2),
            (millis(&[]), 99, 0),
        ] {
            let found = times.percentile(percent);
            assert_eq!(found, Duration::from_millis(expected), "{times:?}");
        }
    }
}

//! How often a file that keeps changing is sent.
//!
//! An agent appends to its logs all day, and each upload sends the whole file. So each file has a purse: what is written
//! to it pays in twice, time pays in one whole file a minute, an upload pays out its size. While the purse is too empty a
//! change waits, but never longer than until the file has been quiet for [`QUIET`]: then the last state goes, whatever it
//! costs. Small files are free, for nobody gains from waiting.
//!
//! Cases:
//! - the first upload of a file goes at once, and so does one after a minute of rest
//! - a file that grows by little is sent about once a minute; one of which half is new, or that is written anew, at once
//! - how much an edit within the file has written isn't seen: it counts as nothing
//!
//! Pure: the caller says what time it is and what the file looks like.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{debounce::MountIndex, path::RelPath};

/// Files up to this size are sent whenever they change.
pub const FREE_BYTES: u64 = 64 * 1024;
/// A file that nothing was heard of for so long is sent: the upload itself must be over two seconds after the last write.
pub const QUIET: Duration = Duration::from_millis(1200);
/// The time that pays for one whole file.
const REFILL: Duration = Duration::from_mins(1);
/// What is written to a file pays for so many times its bytes.
const BYTES_PER_BYTE: u64 = 2;

/// What a file looks like, as far as it tells how much was written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Which file it is.
    pub inode: u64,
    /// Its size now.
    pub size_bytes: u64,
}

/// Whether a changed file goes up now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Send,
    /// It is asked about again at this time.
    Wait(Instant),
}

/// The purses of the files that were sent within the last minute.
#[derive(Debug, Default)]
pub struct Pace {
    purses: BTreeMap<(MountIndex, RelPath), Purse>,
}

#[derive(Debug)]
struct Purse {
    /// Bytes that may be sent; never more than one file.
    bytes: u64,
    /// When it was paid into last.
    filled: Instant,
    shape: Shape,
    /// The last word of a change.
    heard: Instant,
}

impl Pace {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes news of a change at `now`.
    pub fn note(&mut self, mount: MountIndex, path: &RelPath, now: Instant) {
        if self.purses.is_empty() {
            return;
        }
        if let Some(purse) = self.purses.get_mut(&(mount, path.clone())) {
            purse.heard = now;
        }
    }

    /// True for a file that [`ask`](Self::ask) has something to say about.
    #[must_use]
    pub fn knows(&self, mount: MountIndex, path: &RelPath) -> bool {
        !self.purses.is_empty() && self.purses.contains_key(&(mount, path.clone()))
    }

    /// Whether a changed file of this shape goes up at `now`.
    pub fn ask(
        &mut self,
        mount: MountIndex,
        path: &RelPath,
        shape: Shape,
        now: Instant,
    ) -> Verdict {
        let Some(purse) = self.purses.get_mut(&(mount, path.clone())) else {
            return Verdict::Send;
        };
        purse.fill(shape, now);
        let quiet_at = purse.heard + QUIET;
        if purse.bytes >= shape.size_bytes || quiet_at <= now {
            return Verdict::Send;
        }
        let missing = shape.size_bytes - purse.bytes;
        Verdict::Wait(quiet_at.min(now + time_for(missing, shape.size_bytes)))
    }

    /// A file was sent at `now`, in this shape.
    pub fn sent(&mut self, mount: MountIndex, path: &RelPath, shape: Shape, now: Instant) {
        if shape.size_bytes <= FREE_BYTES {
            self.purses.remove(&(mount, path.clone()));
            return;
        }
        let new = || Purse {
            // What is new to us was written, or has rested: the minute's file is what was just sent.
            bytes: shape.size_bytes,
            filled: now,
            shape,
            heard: now,
        };
        let purse = self.purses.entry((mount, path.clone())).or_insert_with(new);
        purse.fill(shape, now);
        purse.bytes = purse.bytes.saturating_sub(shape.size_bytes);
    }

    /// Forgets the files that have rested long enough.
    pub fn sweep(&mut self, now: Instant) {
        self.purses.retain(|_, purse| {
            now.saturating_duration_since(purse.heard.max(purse.filled)) < REFILL
        });
    }
}

impl Purse {
    fn fill(&mut self, shape: Shape, now: Instant) {
        let written =
            if shape.inode == self.shape.inode && shape.size_bytes >= self.shape.size_bytes {
                shape.size_bytes - self.shape.size_bytes
            } else {
                shape.size_bytes
            };
        let elapsed = now.saturating_duration_since(self.filled).min(REFILL);
        let rest = bytes_for(elapsed, shape.size_bytes);
        self.bytes = self
            .bytes
            .saturating_add(written.saturating_mul(BYTES_PER_BYTE))
            .saturating_add(rest)
            .min(shape.size_bytes);
        self.shape = shape;
        self.filled = now;
    }
}

/// What time pays for a file of this size.
fn bytes_for(elapsed: Duration, size_bytes: u64) -> u64 {
    let bytes = u128::from(size_bytes) * elapsed.as_micros() / REFILL.as_micros();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// How long it takes until time has paid for so many bytes of a file of this size.
fn time_for(bytes: u64, size_bytes: u64) -> Duration {
    let micros = u128::from(bytes) * REFILL.as_micros() / u128::from(size_bytes.max(1)) + 1;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(REFILL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNT: MountIndex = MountIndex(0);
    const MIB: u64 = 1024 * 1024;

    fn log() -> RelPath {
        RelPath::new("log.jsonl").unwrap()
    }

    fn shape(size_bytes: u64) -> Shape {
        Shape {
            inode: 1,
            size_bytes,
        }
    }

    /// Appends every tenth of a second and asks as the engine does; gives the bytes that were sent.
    fn run(start: u64, step: u64, time: Duration) -> (u64, u64) {
        let begin = Instant::now();
        let (mut pace, mut size, mut sent) = (Pace::new(), start, 0);
        pace.sent(MOUNT, &log(), shape(size), begin);
        let tick = Duration::from_millis(100);
        let (mut now, mut next) = (begin, begin);
        while now < begin + time {
            now += tick;
            size += step;
            pace.note(MOUNT, &log(), now);
            if now >= next {
                next = match pace.ask(MOUNT, &log(), shape(size), now) {
                    Verdict::Send => {
                        pace.sent(MOUNT, &log(), shape(size), now);
                        sent += size;
                        now + Duration::from_secs(2)
                    }
                    Verdict::Wait(until) => until,
                };
            }
        }
        (sent, size)
    }

    #[test]
    fn a_large_log_that_grows_slowly_goes_about_once_a_minute() {
        let time = Duration::from_mins(5);
        let (sent, size) = run(20 * MIB, 300, time);
        let written = size - 20 * MIB;
        assert!(sent <= 2 * written + 5 * size, "{sent}");
        assert!(
            sent >= 4 * 20 * MIB,
            "{sent}: it goes though it never rests"
        );
    }

    #[test]
    fn the_last_state_goes_when_the_file_is_quiet() {
        let now = Instant::now();
        let mut pace = Pace::new();
        pace.sent(MOUNT, &log(), shape(20 * MIB), now);
        let changed = now + Duration::from_millis(300);
        pace.note(MOUNT, &log(), changed);
        let asked = changed + Duration::from_millis(250);
        let verdict = pace.ask(MOUNT, &log(), shape(20 * MIB + 1), asked);
        assert_eq!(verdict, Verdict::Wait(changed + QUIET));
        let verdict = pace.ask(MOUNT, &log(), shape(20 * MIB + 1), changed + QUIET);
        assert_eq!(verdict, Verdict::Send);
    }

    #[test]
    fn what_is_written_anew_or_has_doubled_goes_at_once() {
        let now = Instant::now();
        let later = now + Duration::from_millis(300);
        for other in [
            shape(4 * MIB),
            Shape {
                inode: 2,
                size_bytes: 2 * MIB,
            },
            shape(MIB),
        ] {
            let mut pace = Pace::new();
            pace.sent(MOUNT, &log(), shape(2 * MIB), now);
            pace.note(MOUNT, &log(), later);
            assert_eq!(
                pace.ask(MOUNT, &log(), other, later),
                Verdict::Send,
                "{other:?}"
            );
        }
    }

    #[test]
    fn small_files_and_new_ones_and_rested_ones_are_free() {
        let now = Instant::now();
        let mut pace = Pace::new();
        assert_eq!(pace.ask(MOUNT, &log(), shape(MIB), now), Verdict::Send);
        pace.sent(MOUNT, &log(), shape(FREE_BYTES), now);
        assert!(!pace.knows(MOUNT, &log()));
        pace.sent(MOUNT, &log(), shape(MIB), now);
        assert!(pace.knows(MOUNT, &log()));
        pace.sweep(now + REFILL);
        assert!(!pace.knows(MOUNT, &log()));
    }

    proptest! {
        #[test]
        fn no_minute_costs_more_than_what_was_written_twice_and_one_file(
            start in 1..40_u64, step in 0..200_000_u64,
        ) {
            let time = Duration::from_mins(3);
            let (sent, size) = run(start * MIB, step, time);
            let written = size - start * MIB;
            prop_assert!(sent <= 2 * written + 3 * size, "{sent} of {size}");
        }
    }
}

//! Brakes: deletes that look like an accident are held back.
//!
//! Pure. A brake holds only the deletes towards one side of one mount; uploads and downloads go on, and the next pass
//! decides anew, so a brake releases itself when its cause is gone.

use crate::report::Side;

/// A pass that deletes up to this many paths is never braked for its number.
const FREE_DELETES: u64 = 50;

/// What a brake looks at, for one mount and the side that deletes would happen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteCounts {
    /// The side that would lose files.
    pub side: Side,
    /// Deletes the pass decided; renamed files don't count.
    pub deletes: u64,
    /// Deletes towards the same side of the last minutes, which count together with these: what goes in small portions
    /// goes all the same.
    pub earlier: u64,
    /// Paths that the baseline holds present on both sides.
    pub known: u64,
    /// Files that the other side (the one whose deletes would travel) still holds.
    pub remaining: u64,
    /// Whether somebody approved the deletes.
    pub approval: Approval,
}

/// Whether an operator looked at held deletes and wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Nobody did.
    None,
    /// `approve` was given for this pass.
    Given,
}

/// Why deletes are held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Brake {
    /// The side whose deletes would travel holds nothing at all any more.
    #[error(
        "the {emptied} side is empty though {known} files are known; check the directory or bucket, then `hiclaw-sync approve`"
    )]
    Emptied {
        /// The side that is empty.
        emptied: Side,
        /// Paths in the baseline.
        known: u64,
    },
    /// Too many within minutes.
    #[error(
        "{deletes} of {known} known files would be deleted within minutes; `hiclaw-sync approve` releases them"
    )]
    TooMany {
        /// Deletes decided, and those before.
        deletes: u64,
        /// Paths in the baseline, and those deleted before.
        known: u64,
    },
}

/// The brake that holds these deletes, if any.
#[must_use]
pub fn brake(counts: DeleteCounts) -> Option<Brake> {
    let DeleteCounts {
        side,
        deletes,
        earlier,
        known,
        remaining,
        approval,
    } = counts;
    if deletes == 0 || approval == Approval::Given {
        return None;
    }
    // A single known file cannot be told from an emptied tree, and little is lost with it.
    if remaining == 0 && known > 1 {
        let emptied = match side {
            Side::Local => Side::Remote,
            Side::Remote => Side::Local,
        };
        return Some(Brake::Emptied { emptied, known });
    }
    let (deletes, known) = (deletes + earlier, known + earlier);
    (deletes > FREE_DELETES && deletes > known / 2).then_some(Brake::TooMany { deletes, known })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(deletes: u64, known: u64, remaining: u64) -> DeleteCounts {
        DeleteCounts {
            side: Side::Remote,
            deletes,
            earlier: 0,
            known,
            remaining,
            approval: Approval::None,
        }
    }

    #[test]
    fn few_deletes_or_a_small_share_pass() {
        assert_eq!(brake(counts(0, 100, 100)), None);
        assert_eq!(brake(counts(50, 60, 10)), None);
        assert_eq!(brake(counts(51, 200, 149)), None);
        assert_eq!(brake(counts(100, 200, 100)), None);
        assert_eq!(brake(counts(1, 1, 0)), None);
    }

    #[test]
    fn more_than_fifty_that_are_more_than_half_are_held() {
        assert_eq!(
            brake(counts(51, 100, 49)),
            Some(Brake::TooMany {
                deletes: 51,
                known: 100
            })
        );
        assert_eq!(
            brake(counts(101, 201, 100)),
            Some(Brake::TooMany {
                deletes: 101,
                known: 201
            })
        );
    }

    #[test]
    fn deletes_of_the_last_minutes_count_together() {
        let portion = |earlier, deletes, known| {
            brake(DeleteCounts {
                earlier,
                ..counts(deletes, known, known - deletes)
            })
        };
        assert_eq!(portion(0, 40, 100), None);
        assert_eq!(
            portion(40, 40, 60),
            Some(Brake::TooMany {
                deletes: 80,
                known: 100
            })
        );
        assert_eq!(portion(40, 40, 1000), None);
        assert_eq!(portion(100, 0, 10), None);
    }

    #[test]
    fn an_emptied_side_is_held_whatever_the_number() {
        let held = brake(counts(2, 2, 0));
        assert_eq!(
            held,
            Some(Brake::Emptied {
                emptied: Side::Local,
                known: 2
            })
        );
        let held = brake(DeleteCounts {
            side: Side::Local,
            ..counts(10, 10, 0)
        });
        assert_eq!(
            held,
            Some(Brake::Emptied {
                emptied: Side::Remote,
                known: 10
            })
        );
    }

    #[test]
    fn an_approval_releases() {
        assert_eq!(
            brake(DeleteCounts {
                approval: Approval::Given,
                ..counts(100, 100, 0)
            }),
            None
        );
    }
}

//! The one decision function: what to do about a path, from what both sides held, what they hold, and the path's rule.
//!
//! Pure and total. The table is in the semantics document; each of its rows is a test below. Never looks at content:
//! whether two changed sides hold the same bytes is found out by whoever carries the decision out.

use crate::{
    layout::{Deletes, SyncMode},
    report::Side,
};

/// How one side differs from what it held when both last agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// Not there, and wasn't there before.
    Absent,
    /// There, as before.
    Unchanged,
    /// There, but wasn't before, or nobody knows what was there before.
    Created,
    /// There, but different.
    Modified,
    /// Gone.
    Deleted,
}

impl Change {
    /// All changes, for tables.
    pub const ALL: [Change; 5] = [
        Self::Absent,
        Self::Unchanged,
        Self::Created,
        Self::Modified,
        Self::Deleted,
    ];

    /// Compares what was there with what is there.
    #[must_use]
    pub fn between<T: PartialEq>(before: Option<&T>, now: Option<&T>) -> Self {
        match (before, now) {
            (None, None) => Self::Absent,
            (Some(before), Some(now)) if before == now => Self::Unchanged,
            (Some(_), Some(_)) => Self::Modified,
            (None, Some(_)) => Self::Created,
            (Some(_), None) => Self::Deleted,
        }
    }
}

/// The part of a rule that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Which way content travels.
    pub sync: SyncMode,
    /// Who wins a conflict.
    pub prefer: Side,
    /// Which way deletes travel.
    pub deletes: Deletes,
}

impl Policy {
    /// Who wins a conflict: what travels one way only can't be won by the side that it doesn't travel from.
    fn winner(self) -> Side {
        match (self.pulls(), self.pushes()) {
            (true, false) => Side::Remote,
            (false, true) => Side::Local,
            (true, true) | (false, false) => self.prefer,
        }
    }

    fn pushes(self) -> bool {
        matches!(self.sync, SyncMode::Both | SyncMode::Push)
    }

    fn pulls(self) -> bool {
        matches!(self.sync, SyncMode::Both | SyncMode::Pull)
    }

    fn pushes_deletes(self) -> bool {
        self.pushes() && matches!(self.deletes, Deletes::Both | Deletes::Push)
    }

    fn pulls_deletes(self) -> bool {
        self.pulls() && matches!(self.deletes, Deletes::Both | Deletes::Pull)
    }
}

/// What to do about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Nothing.
    Nothing,
    /// Send the local version; the object must be as it was seen.
    Upload,
    /// Bring the remote version; the file must be as it was seen.
    Download,
    /// Remove the file.
    DeleteLocal,
    /// Remove the object.
    DeleteRemote,
    /// Both sides changed: the same content is recorded, otherwise this side wins and the other becomes a copy.
    Conflict(Side),
    /// Merge the remote version into the local file by field.
    Merge,
    /// Remember that the file is gone here and stays in the bucket, or the other way round.
    RecordGone,
    /// Drop what is known of the path.
    Forget,
}

impl Decision {
    /// The way a decision moves something: towards the local side, the remote side, or neither.
    #[must_use]
    pub fn target(self) -> Option<Side> {
        match self {
            Self::Upload | Self::DeleteRemote | Self::Conflict(Side::Local) => Some(Side::Remote),
            Self::Download | Self::DeleteLocal | Self::Merge | Self::Conflict(Side::Remote) => {
                Some(Side::Local)
            }
            Self::Nothing | Self::RecordGone | Self::Forget => None,
        }
    }
}

/// Decides about one path. `local` and `remote` compare each side with the baseline; without a baseline a side is
/// [`Change::Absent`] or [`Change::Created`], so nothing is ever deleted.
#[must_use]
pub fn reconcile(local: Change, remote: Change, policy: Policy) -> Decision {
    match policy.sync {
        SyncMode::None => ignored(local, remote),
        SyncMode::Merge => merged(local, remote),
        SyncMode::Both | SyncMode::Pull | SyncMode::Push => mirrored(local, remote, policy),
    }
}

/// A path that doesn't travel: what was once known of it is dropped, the files stay.
fn ignored(local: Change, remote: Change) -> Decision {
    use Change::{Absent, Created};
    match (local, remote) {
        (Absent | Created, Absent | Created) => Decision::Nothing,
        _ => Decision::Forget,
    }
}

/// A merged file is never pushed and never deleted; it is merged anew when either side changed.
fn merged(local: Change, remote: Change) -> Decision {
    use Change::{Absent, Created, Deleted, Modified, Unchanged};
    match (local, remote) {
        (Unchanged, Unchanged) | (Absent | Created, Absent) => Decision::Nothing,
        (_, Unchanged | Created | Modified) => Decision::Merge,
        // Gone from the bucket: the local file stays, as if there had never been a remote one.
        (Unchanged | Modified | Deleted, Absent) | (_, Deleted) => Decision::Forget,
    }
}

#[expect(
    clippy::match_same_arms,
    reason = "each row of the table stands for itself, grouped by what happened"
)]
fn mirrored(local: Change, remote: Change, policy: Policy) -> Decision {
    use Change::{Absent, Created, Deleted, Modified, Unchanged};
    match (local, remote) {
        // In agreement, or as agreed: a side that is absent without having changed is a delete that was not to travel.
        (Unchanged, Unchanged | Absent) | (Absent, Unchanged) => Decision::Nothing,
        (Absent | Deleted, Absent | Deleted) => Decision::Forget,

        // Only the remote side has something new.
        (Absent | Unchanged, Created | Modified) => pull_or_wait(policy),
        // Modify beats delete. Where nothing is pulled the object stays and the delete is remembered.
        (Deleted, Created | Modified) if policy.pulls() => Decision::Download,
        (Deleted, Created | Modified) => Decision::RecordGone,

        // Only the local side has something new.
        (Created | Modified, Absent | Unchanged) => push_or_wait(policy),
        // Modify beats delete. Where nothing is pushed the file stays as if it had always been only here.
        (Created | Modified, Deleted) if policy.pushes() => Decision::Upload,
        (Created | Modified, Deleted) => Decision::Forget,

        // Both have something new.
        (Created | Modified, Created | Modified) => Decision::Conflict(policy.winner()),

        // One side deleted what the other left as it was.
        (Unchanged, Deleted) if policy.pulls_deletes() => Decision::DeleteLocal,
        (Unchanged, Deleted) if policy.pulls() => Decision::RecordGone,
        // Push only: the files are the truth, and what went missing is sent again.
        (Unchanged, Deleted) => Decision::Upload,
        (Deleted, Unchanged) if policy.pushes_deletes() => Decision::DeleteRemote,
        (Deleted, Unchanged) if policy.pushes() => Decision::RecordGone,
        // Pull only: the bucket is the truth, and what went missing is brought again.
        (Deleted, Unchanged) => Decision::Download,
    }
}

fn pull_or_wait(policy: Policy) -> Decision {
    if policy.pulls() {
        Decision::Download
    } else {
        Decision::Nothing
    }
}

fn push_or_wait(policy: Policy) -> Decision {
    if policy.pushes() {
        Decision::Upload
    } else {
        Decision::Nothing
    }
}

#[cfg(test)]
mod tests;

//! The one decision function: what to do about a path, from what both sides held, what they hold, and the path's rule.
//!
//! Pure and total. The table is in the semantics document and read by the test below, which finds every combination in
//! exactly one of its rows. Never looks at content: whether two changed sides hold the same bytes is found out by whoever
//! carries the decision out.

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
    /// No file can stand there any more, because something of another kind does. Here: a directory stands at the path, or
    /// a file above it. In the bucket: there is no object, but new ones lie below the path, as if it were a directory.
    /// What lies below has paths and decisions of its own.
    TypeChanged,
}

impl Change {
    /// All changes, for tables.
    pub const ALL: [Change; 6] = [
        Self::Absent,
        Self::Unchanged,
        Self::Created,
        Self::Modified,
        Self::Deleted,
        Self::TypeChanged,
    ];

    /// Compares what was there with what is there. A change of type shows only to who looks around: see
    /// [`Change::TypeChanged`].
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
    /// The bucket has a directory where a changed file stands here, and wins: the file becomes a conflict copy and makes
    /// way for what lies below.
    MakeWay,
    /// The bucket has a version that can't stand here, because something of another kind does: both stay, and it is said.
    Blocked,
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
            Self::Download
            | Self::DeleteLocal
            | Self::Merge
            | Self::MakeWay
            | Self::Blocked
            | Self::Conflict(Side::Remote) => Some(Side::Local),
            Self::Nothing | Self::RecordGone | Self::Forget => None,
        }
    }

    /// True when the bucket's version has to be fetched.
    #[must_use]
    pub fn brings(self) -> bool {
        matches!(self, Self::Download | Self::Merge | Self::Conflict(_))
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
    use Change::{Absent, Created, Deleted, Modified, TypeChanged, Unchanged};
    match (local, remote) {
        (Unchanged, Unchanged) | (Absent | Created, Absent) => Decision::Nothing,
        (TypeChanged, Unchanged | Created | Modified) => Decision::Blocked,
        (_, Unchanged | Created | Modified) => Decision::Merge,
        // Gone from the bucket: the local file stays, as if there had never been a remote one.
        (Unchanged | Modified | Deleted | TypeChanged, Absent) | (_, Deleted | TypeChanged) => {
            Decision::Forget
        }
    }
}

fn mirrored(local: Change, remote: Change, policy: Policy) -> Decision {
    match (local, remote) {
        (Change::TypeChanged, _) => no_file_can_stand_here(remote, policy),
        (_, Change::TypeChanged) => directory_in_the_bucket(local, policy),
        _ => same_type(local, remote, policy),
    }
}

#[expect(
    clippy::match_same_arms,
    reason = "each row of the table stands for itself, grouped by what happened"
)]
fn same_type(local: Change, remote: Change, policy: Policy) -> Decision {
    use Change::{Absent, Created, Deleted, Modified, TypeChanged, Unchanged};
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
        (Unchanged, Deleted) => gone_from_the_bucket(policy),
        (Deleted, Unchanged) => gone_from_here(policy),

        // Decided above.
        (TypeChanged, _) | (_, TypeChanged) => Decision::Blocked,
    }
}

fn gone_from_the_bucket(policy: Policy) -> Decision {
    match (policy.pulls_deletes(), policy.pulls()) {
        (true, _) => Decision::DeleteLocal,
        (false, true) => Decision::RecordGone,
        // Push only: the files are the truth, and what went missing is sent again.
        (false, false) => Decision::Upload,
    }
}

fn gone_from_here(policy: Policy) -> Decision {
    match (policy.pushes_deletes(), policy.pushes()) {
        (true, _) => Decision::DeleteRemote,
        (false, true) => Decision::RecordGone,
        // Pull only: the bucket is the truth, and what went missing is brought again.
        (false, false) => Decision::Download,
    }
}

/// Something of another kind stands here: the file is as good as deleted, and no version can be brought. Nobody wins
/// against a directory: what is in it can't be a copy of one file.
fn no_file_can_stand_here(remote: Change, policy: Policy) -> Decision {
    use Change::{Absent, Created, Deleted, Modified, TypeChanged, Unchanged};
    match remote {
        Absent | Deleted | TypeChanged => Decision::Forget,
        Unchanged if policy.pushes() => gone_from_here(policy),
        Unchanged => Decision::Blocked,
        Created | Modified if policy.pulls() => Decision::Blocked,
        Created | Modified => Decision::RecordGone,
    }
}

/// The object is gone and the bucket has a directory in its place.
fn directory_in_the_bucket(local: Change, policy: Policy) -> Decision {
    use Change::{Absent, Created, Deleted, Modified, TypeChanged, Unchanged};
    match local {
        Absent | Deleted | TypeChanged => Decision::Forget,
        Unchanged => gone_from_the_bucket(policy),
        // Both have something new, of different kinds.
        Created | Modified => match policy.winner() {
            Side::Local => Decision::Upload,
            Side::Remote => Decision::MakeWay,
        },
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

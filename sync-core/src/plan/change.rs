//! How what is observed of a path differs from what was known.

use std::time::SystemTime;

use crate::{
    baseline::{Certainty, LocalVersion, Row, RowChange},
    content,
    digest::ContentHash,
    join::Observed,
    layout::SyncMode,
    link,
    local::{Fingerprint, LocalKind},
    mount::OpenMount,
    path::RelPath,
    plan::Direction,
    reconcile::{Change, Policy},
    report::{Problem, ProblemKind},
    root::LocalError,
};

/// Whether what stands at a path can be synchronised.
pub(super) enum Unsupported {
    /// A file or a link that may travel, or nothing.
    No,
    /// Something else, which nobody wants to have in the bucket.
    Ignored,
    /// Something else, where the bucket has a file or should get one.
    Problem(Problem),
}

/// Looks at the kind of what is here, and where links lead. What can't be sent is a problem where it would be sent.
pub(super) fn unsupported(
    mount: &OpenMount,
    observed: &Observed,
    policy: Policy,
    direction: Direction,
) -> Unsupported {
    let Some(entry) = &observed.local else {
        return Unsupported::No;
    };
    let what = entry.fingerprint.kind_name();
    let why = match entry.kind {
        // A directory is a change of type, which is decided about.
        LocalKind::File | LocalKind::Directory => return Unsupported::No,
        LocalKind::Symlink if policy.sync != SyncMode::Merge => match refused(mount, observed) {
            None => return Unsupported::No,
            Some(reason) => format!("{what} is not synchronised: {reason}"),
        },
        LocalKind::Symlink | LocalKind::Special => format!("{what} is not synchronised"),
    };
    let nothing_known = observed.remote.is_none() && observed.baseline.is_none();
    let would_travel = policy.sync.pushes() && direction != Direction::Pull;
    if policy.sync == SyncMode::None || (nothing_known && !would_travel) {
        return Unsupported::Ignored;
    }
    let advice = if nothing_known {
        "remove it, or exclude it by a rule or an ignore file"
    } else {
        "the bucket has a file here; move this away to synchronise the path"
    };
    let path = observed.path.to_string();
    Unsupported::Problem(Problem {
        mount: mount.name.clone(),
        path,
        kind: ProblemKind::Unsupported,
        message: format!("{why}; {advice}"),
    })
}

/// Why a link may not travel. One that is as both sides know it was looked at before.
fn refused(mount: &OpenMount, observed: &Observed) -> Option<String> {
    let now = observed.local.as_ref()?.fingerprint;
    let before = observed.baseline.as_ref().and_then(|row| row.local);
    if before.is_some_and(|before| before.fingerprint == now) {
        return None;
    }
    let (target, _) = match mount.root.read_link(&observed.path) {
        Ok(found) => found,
        // Gone or another thing by now; whoever acts on it looks again.
        Err(error) => {
            tracing::debug!(path = %observed.path, %error, "a link is no link any more");
            return None;
        }
    };
    let refusal = link::check(&observed.path, &target, &mount.rules).err()?;
    Some(format!("{refusal} ({})", String::from_utf8_lossy(&target)))
}

/// Whether a file whose stat changed still has the content of the baseline. Asked only where it decides between a
/// conflict and none, or where only the clock is in doubt; elsewhere the upload finds out for itself.
pub(super) fn was_only_touched(
    mount: &OpenMount,
    observed: &Observed,
) -> Result<Touched, LocalError> {
    let (Some(row), Some(entry)) = (&observed.baseline, &observed.local) else {
        return Ok(Touched::No);
    };
    let may_be_same = |local: LocalVersion| {
        let before = local.fingerprint;
        before.size_bytes == entry.fingerprint.size_bytes && before.kind() == entry.kind
    };
    if !row.local.is_some_and(may_be_same) {
        return Ok(Touched::No);
    }
    let (hash, _) = hash_file(mount, &observed.path)?;
    Ok(if hash.digest == row.digest {
        Touched::Yes
    } else {
        Touched::No
    })
}

/// True where the stat is that of the baseline and may hide a write of the same moment.
pub(super) fn is_racy(observed: &Observed) -> bool {
    let before = observed.baseline.as_ref().and_then(|row| row.local);
    let now = observed.local.as_ref().map(|entry| entry.fingerprint);
    before.is_some_and(|before| {
        before.certainty == Certainty::Racy && now == Some(before.fingerprint)
    })
}

/// The baseline's row with the stat that the file has now, which was found to hold the same content. The permissions stay
/// those of the baseline: others are a change of their own, which is still to be sent.
pub(super) fn settled_row(observed: &Observed) -> Option<Row> {
    let mut row = observed.baseline.clone()?;
    let fingerprint = observed.local.as_ref()?.fingerprint;
    let permissions = row.local?.fingerprint.permissions();
    row.local = Some(LocalVersion::seen(
        fingerprint.with_permissions(permissions),
        SystemTime::now(),
    ));
    Some(row)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    Yes,
    No,
}

/// How each side differs from the baseline.
pub(crate) fn changes(observed: &Observed) -> (Change, Change) {
    let row = observed.baseline.as_ref();
    let before = row.and_then(|row| row.local.as_ref());
    let now = observed.local.as_ref().map(|entry| &entry.fingerprint);
    let mut local = Change::between(before.map(|local| &local.fingerprint), now);
    if local == Change::Unchanged && before.is_some_and(|local| local.certainty == Certainty::Racy)
    {
        local = Change::Modified;
    }
    let before = row
        .and_then(|row| row.remote.as_ref())
        .map(|remote| &remote.etag);
    let remote = Change::between(
        before,
        observed.remote.as_ref().map(|entry| &entry.version.etag),
    );
    (local, remote)
}

/// Reads and hashes what stands at a path; see [`content::hash`].
pub(crate) fn hash_file(
    mount: &OpenMount,
    path: &RelPath,
) -> Result<(ContentHash, Fingerprint), LocalError> {
    content::hash(&mount.root, path)
}

/// The problem that a failed local operation is.
pub(crate) fn local_problem(mount: &OpenMount, path: &RelPath, error: &LocalError) -> Problem {
    let denied = [
        std::io::ErrorKind::PermissionDenied,
        std::io::ErrorKind::ReadOnlyFilesystem,
    ];
    let kind = if denied.contains(&error.kind()) {
        ProblemKind::Denied
    } else {
        ProblemKind::Io
    };
    let message = format!("{error}: {}", error.source);
    Problem {
        mount: mount.name.clone(),
        path: path.to_string(),
        kind,
        message,
    }
}

/// What to remember of a path that is gone on one side and not to go on the other. A version that nobody here has seen
/// stays unknown: it must not be overwritten later as if it were.
pub(super) fn gone_row(observed: Observed) -> Option<RowChange> {
    let row = observed.baseline?;
    let local = observed.local.and(row.local);
    let remote = observed.remote.and(row.remote);
    if local.is_none() && remote.is_none() {
        return Some(RowChange::Forget(observed.path));
    }
    Some(RowChange::Record(Row {
        path: observed.path,
        local,
        remote,
        digest: row.digest,
    }))
}

pub(super) fn explain(local: Change, remote: Change) -> String {
    let word = |change| match change {
        Change::Absent => "absent",
        Change::Unchanged => "unchanged",
        Change::Created => "new",
        Change::Modified => "changed",
        Change::Deleted => "deleted",
        Change::TypeChanged => "of another kind",
    };
    format!("{} here, {} in the bucket", word(local), word(remote))
}

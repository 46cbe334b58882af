//! How what is observed of a path differs from what was known.

use std::time::SystemTime;

use crate::{
    baseline::{Certainty, LocalVersion, Row, RowChange},
    digest::{ContentHash, ContentHasher},
    join::Observed,
    layout::SyncMode,
    local::{Fingerprint, LocalKind},
    mount::OpenMount,
    path::RelPath,
    reconcile::{Change, Policy},
    report::{Problem, ProblemKind},
    root::LocalError,
};

/// Whether something other than a file stands at a path.
pub(super) enum Unsupported {
    /// A file, or nothing.
    No,
    /// It does, and the other side knows nothing of the path.
    Ignored,
    /// It does, where the other side has a file.
    Problem(Problem),
}

/// Looks at the kind of what is here.
pub(super) fn unsupported(mount: &OpenMount, observed: &Observed, policy: Policy) -> Unsupported {
    let what = match observed.local.as_ref().map(|entry| entry.kind) {
        // A directory is a change of type, which is decided about.
        None | Some(LocalKind::File | LocalKind::Directory) => return Unsupported::No,
        Some(LocalKind::Symlink) => "a symbolic link",
        Some(LocalKind::Special) => "a socket, FIFO or device",
    };
    if policy.sync == SyncMode::None || (observed.remote.is_none() && observed.baseline.is_none()) {
        return Unsupported::Ignored;
    }
    let message =
        format!("{what} stands where the bucket has a file; move it away to synchronise the path");
    let path = observed.path.to_string();
    Unsupported::Problem(Problem {
        mount: mount.name.clone(),
        path,
        kind: ProblemKind::Unsupported,
        message,
    })
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
    if row
        .local
        .is_none_or(|local| local.fingerprint.size_bytes != entry.fingerprint.size_bytes)
    {
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

/// The baseline's row with the stat that the file has now, which was found to hold the same content.
pub(super) fn settled_row(observed: &Observed) -> Option<Row> {
    let mut row = observed.baseline.clone()?;
    let fingerprint = observed.local.as_ref()?.fingerprint;
    row.local = Some(LocalVersion::seen(fingerprint, SystemTime::now()));
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

/// Reads and hashes a whole file. The fingerprint is taken after reading: one that equals an earlier look proves that
/// nothing was written meanwhile.
pub(crate) fn hash_file(
    mount: &OpenMount,
    path: &RelPath,
) -> Result<(ContentHash, Fingerprint), LocalError> {
    use std::io::Read as _;
    let failed = |error| LocalError::new("read", path, error);
    let (mut file, _) = mount.root.open_file(path)?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    Ok((
        hasher.finish(),
        Fingerprint::of(&file.metadata().map_err(failed)?),
    ))
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

//! What is particular about bringing, replacing and deleting databases.
//!
//! Owns which of it is held, and that the log of a version that goes is brought home before anything else happens to it.
//! Never waits for somebody who uses a database: what comes is held, and the next pass tries again.

use std::sync::Arc;

use super::{Context, Failure, Outcome, baseline_problem};
use crate::{
    baseline::{LocalVersion, Row, RowChange},
    digest::Digest,
    local::Fingerprint,
    path::RelPath,
    plan::Task,
    reconcile::Decision,
    report::{HeldEntry, ProblemKind, Side},
    sqlite::{self, Databases, Settled},
};

/// Why a running runtime's databases are left alone.
const RUNTIME_RUNS: &str =
    "a database that the running runtime may have open; it comes with the worker's next start";

/// Whether a local version can be replaced, moved or deleted.
pub(super) enum Way {
    /// It can, if it is still this version. Its content, where it is known anew.
    Clear(Fingerprint, Option<Digest>),
    /// Not now.
    Blocked(Outcome),
}

/// The outcome of a task that would change a database while the runtime runs. Asked before anything is brought.
pub(super) async fn held(context: &Arc<Context>, task: &Task) -> Result<Option<Outcome>, Failure> {
    let displaces = match task.decision {
        Decision::Download | Decision::Conflict(Side::Remote) => true,
        Decision::Conflict(Side::Local)
        | Decision::Merge
        | Decision::Upload
        | Decision::DeleteLocal
        | Decision::DeleteRemote
        | Decision::MakeWay
        | Decision::Blocked
        | Decision::Nothing
        | Decision::RecordGone
        | Decision::Forget => false,
    };
    if !displaces || *context.mount.databases() == Databases::Free {
        return Ok(None);
    }
    let (blocking, path) = (context.clone(), task.observed.path.clone());
    tokio::task::spawn_blocking(move || {
        let open = sqlite::is_database(&blocking.mount.root, &path);
        Ok(open.then(|| blocking.held(&path, RUNTIME_RUNS.to_owned())))
    })
    .await
    .map_err(|error| Failure::Problem(ProblemKind::Io, error.to_string()))?
}

/// The outcome of publishing a staged file where the running runtime may have a database open, though there is none now.
pub(super) fn blocked(
    context: &Context,
    databases: Databases,
    path: &RelPath,
    staged_name: &str,
) -> Result<Option<Outcome>, Failure> {
    let root = &context.mount.root;
    let becomes_one = || sqlite::is_staged_database(root, staged_name);
    let open = databases == Databases::InUse && sqlite::may_be_open(root, path, becomes_one)?;
    Ok(open.then(|| context.held(path, RUNTIME_RUNS.to_owned())))
}

/// Makes way for what is to happen to the version `expected`. The caller has `databases` locked until it has happened.
pub(super) fn make_way(
    context: &Context,
    databases: Databases,
    path: &RelPath,
    expected: &Fingerprint,
) -> Result<Way, Failure> {
    let root = &context.mount.root;
    if databases == Databases::InUse && sqlite::is_database(root, path) {
        let held = context.held(path, RUNTIME_RUNS.to_owned());
        return Ok(Way::Blocked(held));
    }
    match sqlite::settle(root, path, expected)? {
        Settled::Ordinary => Ok(Way::Clear(*expected, None)),
        Settled::Whole(now, digest) => {
            if let Some(digest) = digest {
                note_settled(context, path, expected, now, digest)?;
            }
            Ok(Way::Clear(now, digest))
        }
        Settled::Changed => Ok(Way::Blocked(Outcome::Stale(path.clone()))),
        Settled::InUse(user) => {
            let reason = format!("a database in use: {user}; it comes when nobody uses it");
            Ok(Way::Blocked(context.held(path, reason)))
        }
    }
}

/// The version that both sides agreed on looks different since its log was brought home. Known before anything else
/// happens: a crash would show a change that nobody made.
fn note_settled(
    context: &Context,
    path: &RelPath,
    before: &Fingerprint,
    now: Fingerprint,
    digest: Digest,
) -> Result<(), Failure> {
    let noted = || {
        let mut baseline = context.mount.baseline();
        let Some(row) = baseline.row(path)? else {
            return Ok(());
        };
        if !row.local.is_some_and(|local| local.fingerprint == *before) {
            return Ok(());
        }
        let local = Some(LocalVersion::seen(now, std::time::SystemTime::now()));
        baseline.apply(&[RowChange::Record(Row {
            local,
            digest,
            ..row
        })])
    };
    noted().map_err(|error| baseline_problem(&error))
}

impl Context {
    /// A change of a file here that waits.
    fn held(&self, path: &RelPath, reason: String) -> Outcome {
        Outcome::Held(HeldEntry {
            mount: self.mount.name.clone(),
            path: path.to_string(),
            side: Side::Local,
            reason,
        })
    }
}

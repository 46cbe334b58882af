//! Sessions that copy one way.
//!
//! Owns how a mirror is opened, and comparing contents where nothing else proves them equal. The passes are those of any
//! session.

use std::{
    path::PathBuf,
    sync::{Arc, RwLock, atomic::AtomicBool},
    time::SystemTime,
};

use futures_util::StreamExt as _;

use super::{Session, SessionError};
use crate::{
    baseline::{LocalVersion, Row, RowChange},
    execute,
    layout::{Mount, Rules},
    mirror::MirrorPolicy,
    mount::OpenMount,
    path::Prefix,
    plan::{MountPlan, Task, hash_file, local_problem},
    report::{Problem, ProblemKind},
    store::{ObjectStore, StoreError},
};

/// Name of a mirror's only mount.
pub const MIRROR: &str = "mirror";

/// What is copied, and how.
#[derive(Debug, Clone)]
pub struct MirrorSpec {
    /// The directory; absolute. A source must exist, a destination is created.
    pub local: PathBuf,
    /// The beginning of the keys.
    pub prefix: Prefix,
    /// Which way.
    pub policy: MirrorPolicy,
    /// What is left out, see [`rules`](crate::mirror::rules).
    pub rules: Rules,
    /// A directory for what is remembered between runs of this pair of source and destination. It may be thrown away
    /// between runs: then contents are compared again.
    pub state: PathBuf,
}

impl Session {
    /// Opens a mirror. Sends nothing to the store. Passes go the mirror's way, whatever direction they are asked for.
    pub async fn mirror(
        spec: MirrorSpec,
        store: Arc<dyn ObjectStore>,
        concurrency: usize,
    ) -> Result<Self, SessionError> {
        let identity = store.identity();
        let mount = tokio::task::spawn_blocking(move || {
            let mount = Mount {
                name: MIRROR.to_owned(),
                prefix: spec.prefix,
                local: spec.local,
                rules: spec.rules,
            };
            OpenMount::open_mirror(&mount, spec.policy, &identity, &spec.state)
        })
        .await??;
        let session = Self {
            store,
            mounts: vec![Arc::new(mount)],
            merges: Arc::default(),
            concurrency,
            sort_listings: AtomicBool::new(false),
            probed: RwLock::new(None),
            passes: tokio::sync::Mutex::new(()),
        };
        session.recall_capabilities()?;
        Ok(session)
    }

    /// Finds out which of the tasks to compare are to be done. What is equal enters the rows.
    pub(super) async fn compare(
        &self,
        mount: &Arc<OpenMount>,
        mut plan: MountPlan,
    ) -> Result<MountPlan, SessionError> {
        let tasks = std::mem::take(&mut plan.compare);
        let work = |task| compare(self.store.clone(), mount.clone(), task);
        let mut compared = std::pin::pin!(execute::in_parallel(self.concurrency, tasks, work));
        while let Some(result) = compared.next().await {
            match result?? {
                Compared::Same(row) => plan.row_changes.push(RowChange::Record(row)),
                Compared::Different(task) => plan.tasks.push(*task),
                Compared::Problem(problem) => plan.problems.push(problem),
            }
        }
        Ok(plan)
    }
}

/// What comparing both sides of a path came to.
enum Compared {
    Same(Row),
    Different(Box<Task>),
    Problem(Problem),
}

async fn compare(
    store: Arc<dyn ObjectStore>,
    mount: Arc<OpenMount>,
    task: Task,
) -> Result<Compared, StoreError> {
    let (Some(local), Some(remote)) = (&task.observed.local, &task.observed.remote) else {
        return Ok(Compared::Different(Box::new(task)));
    };
    let path = task.observed.path.clone();
    let blocking = mount.clone();
    let hashed = tokio::task::spawn_blocking(move || hash_file(&blocking, &path)).await;
    let (hash, fingerprint) = match hashed {
        Ok(Ok(hashed)) => hashed,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Compared::Different(Box::new(task)));
        }
        Ok(Err(error)) => {
            let problem = local_problem(&mount, &task.observed.path, &error);
            return Ok(Compared::Problem(problem));
        }
        Err(error) => {
            return Ok(Compared::Problem(Problem {
                mount: mount.name.clone(),
                path: task.observed.path.to_string(),
                kind: ProblemKind::Io,
                message: error.to_string(),
            }));
        }
    };
    // Written to meanwhile: whoever carries the task out looks again.
    if fingerprint != local.fingerprint || hash.size_bytes != remote.version.size_bytes {
        return Ok(Compared::Different(Box::new(task)));
    }
    let known = task.observed.baseline.as_ref().is_some_and(|row| {
        row.digest == hash.digest
            && row.remote.as_ref().map(|known| &known.etag) == Some(&remote.version.etag)
    });
    let same = known
        || match remote.version.etag.as_md5() {
            Some(md5) => md5 == hash.md5_hex,
            // An object that came in parts: its writer may have told the digest.
            None => store.head(&remote.key).await?.is_some_and(|info| {
                info.etag == remote.version.etag
                    && info.metadata("sha256") == Some(&hash.digest.to_hex())
            }),
        };
    if !same {
        return Ok(Compared::Different(Box::new(task)));
    }
    Ok(Compared::Same(Row {
        path: task.observed.path.clone(),
        local: Some(LocalVersion::seen(fingerprint, SystemTime::now())),
        remote: Some(remote.version.clone()),
        digest: hash.digest,
    }))
}

#[cfg(test)]
mod tests;

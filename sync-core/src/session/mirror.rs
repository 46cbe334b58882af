//! Sessions that copy one way.
//!
//! Owns how a mirror is opened, and comparing contents where nothing else proves them equal. The passes are those of any
//! session.

use std::{
    path::PathBuf,
    sync::{Arc, RwLock},
    time::SystemTime,
};

use futures_util::StreamExt as _;

use super::{PART_TASKS, Session, SessionError, pass::store_problem};
use crate::{
    baseline::{LocalVersion, Row, RowChange},
    digest::ContentHash,
    execute::{self, ObjectKind},
    join::RemoteEntry,
    layout::{Mount, Rules},
    local::{Fingerprint, LocalKind},
    mirror::MirrorPolicy,
    mount::OpenMount,
    path::Prefix,
    plan::{MountPlan, Task, hash_file, local_problem, without_other_versions},
    report::{Problem, ProblemKind},
    root::LocalError,
    store::{ObjectInfo, ObjectStore, StoreError},
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
            validator: None,
            concurrency,
            listing_order: RwLock::new(None),
            part_tasks: PART_TASKS,
            probed: RwLock::new(None),
            passes: tokio::sync::Mutex::new(()),
        };
        session.recall_capabilities()?;
        session.recall_listing_order()?;
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
        return Ok(different(&mount, task));
    };
    let (path, size_bytes) = (task.observed.path.clone(), remote.version.size_bytes);
    let blocking = mount.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let hashed = hash_file(&blocking, &path)?;
        Ok((hashed, blocking.reads_like_a_link(&path, size_bytes)))
    });
    let ((hash, fingerprint), reads_like_a_link) = match looked.await {
        Ok(Ok(looked)) => looked,
        Ok(Err(error)) if LocalError::kind(&error) == std::io::ErrorKind::NotFound => {
            return Ok(different(&mount, task));
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
        return Ok(different(&mount, task));
    }
    // A tag doesn't tell a link from a file that holds its target.
    let may_be_a_link = local.kind != LocalKind::File || reads_like_a_link;
    let proven = is_known(&task, &hash, fingerprint)
        || (!may_be_a_link && remote.version.etag.as_md5() == Some(&*hash.md5_hex));
    let same = match proven {
        true => true,
        false if !may_be_a_link && remote.version.etag.as_md5().is_some() => false,
        // An object that came in parts, or one that may be a link: its writer may have told.
        false => match store.head(&remote.key).await {
            Ok(info) => info.is_some_and(|info| is_told(&info, remote, &hash, local.kind)),
            Err(error) if error.kind.is_fatal() => return Err(error),
            Err(error) => {
                let problem = store_problem(&mount, task.observed.path.as_str(), &error);
                return Ok(Compared::Problem(problem));
            }
        },
    };
    if !same {
        return Ok(different(&mount, task));
    }
    // That the same content was written again is dealt with elsewhere, and only then known.
    let known = task
        .observed
        .baseline
        .as_ref()
        .and_then(|row| row.remote.as_ref());
    let known = known.filter(|known| known.was_rewritten(&remote.version));
    Ok(Compared::Same(Row {
        path: task.observed.path.clone(),
        local: Some(LocalVersion::seen(fingerprint, SystemTime::now())),
        remote: Some(known.unwrap_or(&remote.version).clone()),
        digest: hash.digest,
    }))
}

fn different(mount: &OpenMount, mut task: Task) -> Compared {
    if let Some(policy) = mount.mirror() {
        task.observed = without_other_versions(task.observed, policy);
    }
    Compared::Different(Box::new(task))
}

/// Whether an earlier run found this very content in this very object.
fn is_known(task: &Task, hash: &ContentHash, now: Fingerprint) -> bool {
    let (Some(row), Some(remote)) = (&task.observed.baseline, &task.observed.remote) else {
        return false;
    };
    let known = row.remote.as_ref().map(|known| &known.etag);
    let same_kind = |known: LocalVersion| known.fingerprint.kind() == now.kind();
    row.digest == hash.digest
        && known == Some(&remote.version.etag)
        && row.local.is_some_and(same_kind)
}

/// Whether the object's writer says that it holds this content, as a file or as a link.
fn is_told(info: &ObjectInfo, remote: &RemoteEntry, hash: &ContentHash, kind: LocalKind) -> bool {
    let there = match execute::kind(&remote.key, info) {
        ObjectKind::File => LocalKind::File,
        ObjectKind::Link => LocalKind::Symlink,
    };
    let told = info.metadata("sha256") == Some(&hash.digest.to_hex());
    let md5 = info.etag.as_md5() == Some(&*hash.md5_hex);
    info.etag == remote.version.etag && there == kind && (told || md5)
}

#[cfg(test)]
mod tests;

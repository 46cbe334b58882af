//! Mounts of mirrors: what is remembered of them lies outside of the tree, and may be thrown away at any time.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use super::{MountError, OpenMount, lock};
use crate::{
    baseline::Baseline,
    guard::Approval,
    layout::Mount,
    mirror::MirrorPolicy,
    plan::Direction,
    report::Side,
    root::{LocalError, Root, STATE_DIRECTORY},
    stage,
};

impl OpenMount {
    /// Opens a mount to be mirrored. `state` is a directory of this pair of source and destination alone.
    ///
    /// RACE: a version that somebody else wrote to a destination in the instant of its exchange lies in the staging area
    /// until it was looked at. If the process is killed just then, and `state` is thrown away before the next run, that
    /// version is taken for a leftover and removed.
    pub(crate) fn open_mirror(
        mount: &Mount,
        policy: MirrorPolicy,
        store: &str,
        state: &Path,
    ) -> Result<Self, MountError> {
        let failed = |error| LocalError::new("create", state.display(), error);
        let elsewhere = state.join("tmp");
        std::fs::create_dir_all(&elsewhere).map_err(failed)?;
        let mut locks = vec![lock(&mount.local, &state.join("lock"))?];
        let root = match policy.source {
            Side::Local => Root::open_source(&mount.local, &elsewhere)?,
            Side::Remote => {
                locks.extend(engines_lock(&mount.local)?);
                Root::open_destination(&mount.local).map_err(|error| in_use(error, &mount.local))?
            }
        };
        let binding = format!("{store} {} {}", mount.prefix, root.identity()?);
        let path = || mount.local.clone();
        let mut baseline = Baseline::open(&state.join("state.db"), &binding).map_err(|source| {
            MountError::Baseline {
                path: path(),
                source,
            }
        })?;
        let copies = match policy.source {
            // Only a destination has displaced versions; a copy the other way round must not forget them.
            Side::Local => Vec::new(),
            Side::Remote => {
                stage::recover(&root, &mut baseline).map_err(|source| MountError::Recover {
                    path: path(),
                    source,
                })?
            }
        };
        for copy in copies {
            tracing::warn!(%copy, "kept a version that a crash had left unpublished");
        }
        Ok(Self::of(mount, root, baseline, Some(policy), locks))
    }

    /// How the mount is copied, where it is a mirror's.
    pub(crate) fn mirror(&self) -> Option<MirrorPolicy> {
        self.mirror
    }

    /// Whether held deletes are wanted in a pass that was asked for: a mirror was told when it was opened.
    pub(crate) fn approval(&self, asked: Approval) -> Approval {
        self.mirror.map_or(asked, |policy| policy.approval)
    }

    /// The direction of a pass that was asked for: a mirror knows one only.
    pub(crate) fn direction(&self, asked: Direction) -> Direction {
        match self.mirror.map(|policy| policy.source) {
            None => asked,
            Some(Side::Local) => Direction::Push,
            Some(Side::Remote) => Direction::Pull,
        }
    }
}

/// The lock of the engine that keeps `directory` the same as its prefix, where there ever was one: a mirror into its tree
/// would be taken for edits of the agent.
fn engines_lock(directory: &Path) -> Result<Option<File>, MountError> {
    let path = directory.join(STATE_DIRECTORY).join("lock");
    let failed = |error| LocalError::new("lock", directory.display(), error);
    let file = match File::options().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error).into()),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(MountError::Locked {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

fn in_use(error: LocalError, directory: &Path) -> MountError {
    if error.kind() == std::io::ErrorKind::WouldBlock {
        MountError::Locked {
            path: directory.to_owned(),
        }
    } else {
        error.into()
    }
}

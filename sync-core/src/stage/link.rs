//! Staging a symbolic link.

use std::{io, sync::Arc, time::SystemTime};

use rustix::fs::{AtFlags, Timespec, Timestamps};

use super::{Disposal, Durability, Slot, Staged, Synced, staged_fingerprint, staging_name};
use crate::{
    digest::ContentHasher,
    root::{LocalError, Root},
};

impl Staged {
    /// A link in the staging directory, published like a file. Its content is its target, which the caller has checked:
    /// nothing here ever follows it.
    pub fn link(
        root: &Arc<Root>,
        target: &str,
        modified: Option<SystemTime>,
        durability: Durability,
    ) -> Result<Self, LocalError> {
        let slot = Slot {
            root: root.clone(),
            name: staging_name(),
            disposal: Disposal::RemoveOnDrop,
        };
        let made = || -> io::Result<_> {
            rustix::fs::symlinkat(target, root.staging(), slot.name.as_str())?;
            if let Some(time) = modified.and_then(timestamps)
                && let Err(error) = rustix::fs::utimensat(
                    root.staging(),
                    slot.name.as_str(),
                    &time,
                    AtFlags::SYMLINK_NOFOLLOW,
                )
            {
                tracing::debug!(%error, "a link doesn't have its time");
            }
            if durability == Durability::Each {
                // A link has no descriptor to sync; its directory brings it along.
                rustix::fs::fsync(root.staging())?;
            }
            staged_fingerprint(root, &slot.name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let fingerprint = made()
            .map_err(|error| LocalError::new("stage a link in", root.path().display(), error))?;
        let mut hasher = ContentHasher::default();
        hasher.update(target.as_bytes());
        let hash = hasher.finish();
        Ok(Self {
            slot,
            fingerprint,
            hash: hash.sized_digest(),
            md5_hex: Some(hash.md5_hex),
            synced: if durability == Durability::Each {
                Synced::Yes
            } else {
                Synced::No
            },
            displaces: None,
        })
    }
}

fn timestamps(time: SystemTime) -> Option<Timestamps> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let time = Timespec {
        tv_sec: i64::try_from(since.as_secs()).ok()?,
        tv_nsec: since.subsec_nanos().into(),
    };
    Some(Timestamps {
        last_access: time,
        last_modification: time,
    })
}

//! Echoes of deletes: an object that shows up as the very version that was deleted a moment ago.

use std::time::SystemTime;

use super::{
    Extent, PlanScope,
    planner::{Planner, RemoteView},
};
use crate::{join::Observed, mount::OpenMount};

/// Whether tombstones are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tombstones {
    /// They are.
    Heeded,
    /// There are none, or somebody wants these very paths, or a single look has shown the object.
    Unheeded,
}

impl Tombstones {
    pub(super) fn of(mount: &OpenMount, scope: &PlanScope, view: RemoteView) -> Self {
        // A mirror's destination becomes what the source is now.
        let is_mirror = mount.mirror().is_some();
        if scope.extent != Extent::Whole || view != RemoteView::Listed || is_mirror {
            return Self::Unheeded;
        }
        match mount.baseline().sweep_tombstones(SystemTime::now()) {
            Ok(true) => Self::Heeded,
            Ok(false) => Self::Unheeded,
            Err(error) => {
                tracing::warn!(mount = mount.name, %error, "can't look at the tombstones");
                Self::Unheeded
            }
        }
    }
}

impl Planner<'_> {
    /// True for an object that is the version which was deleted a moment ago: a replica that lags shows it once more.
    pub(super) fn is_echo(&self, observed: &Observed) -> bool {
        if self.tombstones == Tombstones::Unheeded || observed.baseline.is_some() {
            return false;
        }
        let Some(remote) = &observed.remote else {
            return false;
        };
        match self.mount.baseline().tombstone(&observed.path) {
            Ok(buried) => {
                // The same content, put back on purpose, is of another time.
                let is_echo = buried.is_some_and(|buried| {
                    buried.etag == remote.version.etag && !buried.was_rewritten(&remote.version)
                });
                if is_echo {
                    tracing::info!(mount = self.mount.name, path = %observed.path, "the bucket shows the version again that was deleted a moment ago; it is brought if it stays");
                }
                is_echo
            }
            Err(error) => {
                tracing::warn!(mount = self.mount.name, %error, "can't look at a tombstone");
                false
            }
        }
    }
}

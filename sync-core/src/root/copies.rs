//! Roots of mirrors: directories that belong to no engine, and keep no trace of one.

use std::{path::Path, sync::atomic::AtomicU64};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};

use super::{LocalError, Residue, Root, STATE_DIRECTORY, make_directory, open_directory};

/// Staging of a mirror, relative to its destination; another one than an engine's, which sweeps its own.
const MIRROR_STAGING: &str = ".hiclaw-sync/mirror";

impl Root {
    /// Opens a directory that is only read. It must exist; nothing is created in it. `elsewhere` is a directory outside of
    /// it that stands in for the staging area.
    pub(crate) fn open_source(path: &Path, elsewhere: &Path) -> Result<Self, LocalError> {
        let open = |path: &Path| {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
                .map_err(|error| LocalError::new("open", path.display(), error))
        };
        Ok(Self {
            descriptor: open(path)?,
            staging: open(elsewhere)?,
            path: path.to_owned(),
            contents_opened: AtomicU64::new(0),
            residue: Residue::Stays,
        })
    }

    /// Opens a directory that is written to by one mirror at a time, creating it where it is missing. The staging area
    /// goes away with the value.
    pub(crate) fn open_destination(path: &Path) -> Result<Self, LocalError> {
        let failed = |operation| {
            move |error: std::io::Error| LocalError::new(operation, path.display(), error)
        };
        std::fs::create_dir_all(path).map_err(failed("create"))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| LocalError::new("open", path.display(), error))?;
        rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| LocalError::new("lock", path.display(), error))?;
        for directory in [STATE_DIRECTORY, MIRROR_STAGING] {
            make_directory(&descriptor, directory, Mode::RWXU)
                .map_err(failed("create the staging directory in"))?;
        }
        let staging = open_directory(&descriptor, MIRROR_STAGING)
            .map_err(failed("open the staging directory of"))?;
        Ok(Self {
            descriptor,
            staging,
            path: path.to_owned(),
            contents_opened: AtomicU64::new(0),
            residue: Residue::GoesWhenEmpty,
        })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.residue == Residue::Stays {
            return;
        }
        // What is still in use, or not ours, keeps its directory.
        for directory in [MIRROR_STAGING, STATE_DIRECTORY] {
            if let Err(error) =
                rustix::fs::unlinkat(&self.descriptor, directory, AtFlags::REMOVEDIR)
            {
                tracing::debug!(directory, %error, "a directory of the mirror stays");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_keeps_no_trace_and_has_one_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let root = Root::open_destination(&path).unwrap();
        assert!(path.join(MIRROR_STAGING).is_dir());
        let refused = Root::open_destination(&path).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
        drop(root);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn the_state_of_an_engine_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join(".hiclaw-sync/state.db");
        std::fs::create_dir(dir.path().join(".hiclaw-sync")).unwrap();
        std::fs::write(&state, "rows").unwrap();
        drop(Root::open_destination(dir.path()).unwrap());
        assert!(state.exists());
        assert!(!dir.path().join(MIRROR_STAGING).exists());
    }

    #[test]
    fn a_source_is_not_created_and_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert!(Root::open_source(&missing, elsewhere.path()).is_err());
        assert!(!missing.exists());
        drop(Root::open_source(dir.path(), elsewhere.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

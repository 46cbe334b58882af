//! Directories in the staging area: a whole new one on its way to its place, and staged files under their own names.
//!
//! Owns everything in them until they are published. After a crash they are swept like any other staged file.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    path::Arg,
};

use super::{Disposal, Staged, staging_name};
use crate::{
    failpoint::{self, Point},
    local::Fingerprint,
    path::RelPath,
    root::{self, LocalError, Root, STAGING},
};

const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// Publishes files that make up `directory`, all of which lie below it, by one rename. Gives what to record of each, in order;
/// `None` when something stands at `directory`: then nothing was touched, and the staged files are gone.
pub(crate) fn create_directory(
    root: &Arc<Root>,
    directory: &RelPath,
    mut files: Vec<(RelPath, Staged)>,
) -> Result<Option<Vec<Fingerprint>>, LocalError> {
    let failed = |error: io::Error| LocalError::new("publish", directory, error);
    let mut tree = StagedTree::create(root)?;
    for (path, staged) in &mut files {
        let below = path.as_str().strip_prefix(directory.as_str());
        let below = below.and_then(|below| RelPath::new(below.strip_prefix('/')?).ok());
        let below = below.ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        tree.adopt(staged, &below)?;
    }
    let parent = root.make_parent(directory).map_err(failed)?;
    match root::rename(
        root.staging(),
        &tree.name,
        &parent,
        directory.file_name(),
        RenameFlags::NOREPLACE,
    ) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    }
    tree.disposal = Disposal::Published;
    root.reached(Point::Created);
    let seen = files
        .iter()
        .map(|(path, staged)| staged.published_fingerprint(path));
    Ok(Some(seen.collect()))
}

/// A directory in the staging area. Removed with all that is in it when dropped unpublished.
pub(crate) struct StagedTree {
    root: Arc<Root>,
    name: String,
    disposal: Disposal,
}

impl StagedTree {
    /// Creates an empty one.
    pub(crate) fn create(root: &Arc<Root>) -> Result<Self, LocalError> {
        let name = staging_name();
        rustix::fs::mkdirat(root.staging(), name.as_str(), DIRECTORY_MODE)
            .map_err(|error| LocalError::new("stage a file in", root.path().display(), error))?;
        Ok(Self {
            root: root.clone(),
            name,
            disposal: Disposal::RemoveOnDrop,
        })
    }

    /// Moves a staged file in.
    fn adopt(&mut self, staged: &mut Staged, path: &RelPath) -> Result<(), LocalError> {
        let failed = |error: io::Error| LocalError::new("publish", path, error);
        let parent = self.make_parent(path).map_err(failed)?;
        let (staging, name) = (self.root.staging(), staged.slot.name.as_str());
        let flags = RenameFlags::NOREPLACE;
        root::rename(staging, name, &parent, path.file_name(), flags)
            .map_err(|error| failed(error.into()))?;
        staged.slot.disposal = Disposal::Published;
        Ok(())
    }

    /// Shows a staged file under `path` as well; gives its full path.
    pub(crate) fn show(&self, staged: &Staged, path: &RelPath) -> Result<PathBuf, LocalError> {
        let failed = |error: io::Error| LocalError::new("stage", path, error);
        let parent = self.make_parent(path).map_err(failed)?;
        rustix::fs::linkat(
            self.root.staging(),
            staged.slot.name.as_str(),
            &parent,
            path.file_name(),
            AtFlags::empty(),
        )
        .map_err(|error| failed(error.into()))?;
        let staging = self.root.path().join(STAGING);
        Ok(staging.join(&self.name).join(path.as_str()))
    }

    fn make_parent(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let mut above = open_directory(self.root.staging(), self.name.as_str())?;
        if let Some(parent) = path.parent() {
            for component in parent.components() {
                match rustix::fs::mkdirat(&above, component, DIRECTORY_MODE) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                above = open_directory(&above, component)?;
            }
        }
        Ok(above)
    }
}

impl Drop for StagedTree {
    fn drop(&mut self) {
        if self.disposal == Disposal::RemoveOnDrop
            && !failpoint::has_ended(self.root.path())
            && let Err(error) = remove_tree(self.root.staging(), self.name.as_str())
        {
            tracing::debug!(name = self.name, %error, "a staged directory stays until the next start");
        }
    }
}

/// Removes a directory of the staging area with all that is in it.
pub(super) fn remove_tree(at: impl AsFd, name: impl Arg + Copy) -> io::Result<()> {
    let directory = open_directory(&at, name)?;
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        match rustix::fs::unlinkat(&directory, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {
                remove_tree(&directory, name)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rustix::fs::unlinkat(&at, name, AtFlags::REMOVEDIR)?)
}

fn open_directory(at: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

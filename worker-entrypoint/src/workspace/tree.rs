//! Whole directories: walking, removing, copying in.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, RenameFlags},
    io::Errno,
};
use sync_core::{path::RelPath, root::STATE_DIRECTORY};

use super::{Entry, Workspace, WorkspaceError, error, is_absence, look_in, open_directory};

/// Whether a walk goes into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descend {
    /// It does.
    Enter,
    /// It does not.
    Pass,
}

impl Workspace {
    /// Calls `visit` for everything below `directory` (the whole workspace without one), parents first; the engine's own
    /// directory is passed over, as are names that no path can hold. A directory that isn't there has nothing in it.
    pub fn walk(
        &self,
        directory: Option<&RelPath>,
        visit: &mut dyn FnMut(&RelPath, &Entry) -> Descend,
    ) -> Result<(), WorkspaceError> {
        let opened = match directory {
            Some(path) => open_directory(&self.descriptor, path.as_str()),
            None => self.descriptor.try_clone(),
        };
        let descriptor = match opened {
            Ok(descriptor) => descriptor,
            Err(failure) if is_absence(&failure) => return Ok(()),
            Err(source) => return Err(failed(directory, source)),
        };
        let names = names(&descriptor).map_err(|source| failed(directory, source))?;
        for name in names {
            let path = match directory {
                Some(directory) => directory.join(&name),
                None if name == STATE_DIRECTORY => continue,
                None => RelPath::new(&name),
            };
            let Ok(path) = path else { continue };
            let entry = look_in(&descriptor, &name).map_err(error("look at", &path))?;
            let Some(entry) = entry else { continue };
            if visit(&path, &entry) == Descend::Enter && entry == Entry::Directory {
                self.walk(Some(&path), visit)?;
            }
        }
        Ok(())
    }

    /// Removes whatever is at `path`, a directory with everything in it; links are removed, not followed.
    pub fn remove(&self, path: &RelPath) -> Result<(), WorkspaceError> {
        if self.look(path)? != Some(Entry::Directory) {
            return self.remove_file(path);
        }
        let remove = || -> io::Result<()> {
            let parent = self.parent(path)?;
            remove_directory(&parent, path.file_name())
        };
        match remove() {
            Err(failure) if is_absence(&failure) => Ok(()),
            other => other.map_err(error("remove", path)),
        }
    }

    /// Copies the directory or file `from` to `to`, where there must be nothing; it appears there complete. Links in it are
    /// left out.
    pub fn copy_in(&self, from: &Path, to: &RelPath) -> Result<(), WorkspaceError> {
        let copy = || -> io::Result<()> {
            let staging = self.staging()?;
            let name = format!("step-{:032x}", fastrand::u128(..));
            let target = self.path().join(STATE_DIRECTORY).join("tmp").join(&name);
            let published = copy_tree(from, &target).and_then(|()| {
                let parent = self.make_parent(to)?;
                let flags = RenameFlags::NOREPLACE;
                Ok(rustix::fs::renameat_with(
                    &staging,
                    &name,
                    &parent,
                    to.file_name(),
                    flags,
                )?)
            });
            if published.is_err() {
                remove_directory(&staging, &name)
                    .or_else(|_| rustix::fs::unlinkat(&staging, &name, AtFlags::empty()))?;
            }
            published
        };
        copy().map_err(error("copy a template to", to))
    }
}

fn failed(directory: Option<&RelPath>, source: io::Error) -> WorkspaceError {
    let path = directory.map_or_else(|| ".".to_owned(), RelPath::to_string);
    WorkspaceError {
        operation: "list",
        path,
        source,
    }
}

/// The names in a directory, sorted. Those that are no UTF-8 are left out.
fn names(directory: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory.as_fd())? {
        if let Ok(name) = entry?.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn remove_directory(parent: &OwnedFd, name: &str) -> io::Result<()> {
    let directory = open_directory(parent, name)?;
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        let inner = entry.file_name();
        if inner == c"." || inner == c".." {
            continue;
        }
        match rustix::fs::unlinkat(&directory, inner, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => remove_any_name(&directory, inner)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// A directory whose name may be no UTF-8.
fn remove_any_name(parent: &OwnedFd, name: &std::ffi::CStr) -> io::Result<()> {
    match name.to_str() {
        Ok(name) => remove_directory(parent, name),
        Err(_) => Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?),
    }
}

/// Copies from the image, which is trusted, into the staging directory, which nobody else writes.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_file() {
        std::fs::copy(from, to)?;
    } else if metadata.is_dir() {
        std::fs::create_dir(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy_tree(&entry.path(), &to.join(entry.file_name()))?;
        }
        let mode = Mode::from_raw_mode(metadata.mode() & 0o777) | Mode::RWXU;
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode.as_raw_mode()))?;
    }
    Ok(())
}

//! Many files of one directory at once, and the brakes that such deletes have to set off.

use std::fs;

use sync_core::{report::Report, report::Side, status::Status};

use super::{
    history::{HowToWrite, MassOp, PathName, Size},
    rules::{DIRECTORIES, mass},
    world::{State, World, bytes_of},
};

/// How many of the files are deleted: more than fifty.
const MOST: usize = 55;
/// Deletes that are never held.
const FREE: u64 = 50;

impl World {
    pub(crate) fn apply_mass(&self, op: MassOp) {
        let mut state = self.state();
        let [before, after] = mass();
        match op {
            MassOp::CreateHere => {
                for path in absent(before, |path| self.local_content(path).is_some()) {
                    if !self.is_obstructed(path) {
                        self.write(&mut state, path, HowToWrite::InPlace, Size::Small);
                    }
                }
            }
            MassOp::CreateThere => {
                for path in absent(before, |path| self.remote_content(path).is_some()) {
                    let content =
                        state.new_version(bytes_of(Size::Small), format!("there as {path}"));
                    self.put(&mut state, path, content);
                }
            }
            MassOp::DeleteMostHere => {
                for path in &before[..MOST] {
                    if let Some(old) = self.local_content(path) {
                        state.supersede(&old);
                        fs::remove_file(self.file(path)).unwrap();
                        state.changed_locally(path, None);
                    }
                }
            }
            MassOp::DeleteMostThere => {
                for path in &before[..MOST] {
                    if let Some(old) = self.remote_content(path) {
                        state.supersede(&old);
                        self.bucket.remove(&super::rules::key(path));
                        state.changed_remotely(path, None);
                    }
                }
            }
            MassOp::RenameHere => self.rename_mass(&mut state, before, after),
            MassOp::RenameThere => {
                for (from, to) in before.iter().zip(after) {
                    if let Some(content) = self.remote_content(from)
                        && self.remote_content(to).is_none()
                    {
                        self.put(&mut state, to, content);
                        self.bucket.remove(&super::rules::key(from));
                        state.changed_remotely(from, None);
                    }
                }
            }
        }
    }

    fn rename_mass(&self, state: &mut State, before: &[PathName], after: &[PathName]) {
        let directory = |path: &str| self.file(path).parent().unwrap().to_owned();
        let (from, to) = (directory(before[0]), directory(after[0]));
        if !from.is_dir() || fs::symlink_metadata(&to).is_ok() {
            return;
        }
        fs::rename(from, to).unwrap();
        for (from, to) in before.iter().zip(after) {
            if let Some(content) = self.local_content(to) {
                state.changed_locally(from, None);
                state.changed_locally(to, Some(content));
            }
        }
    }

    /// Nobody approved: a pass that found `known` files deletes no more than the brakes let through, and what it says
    /// that it held is there.
    pub(crate) fn check_brakes(&self, before: &Status, report: &Report) {
        for (mount, directory) in before.mounts.iter().zip(DIRECTORIES) {
            let known = mount.files;
            for (side, deleted) in [
                (Side::Local, &report.deleted_local),
                (Side::Remote, &report.deleted_remote),
            ] {
                let of_mount = deleted.iter().filter(|entry| entry.mount == directory);
                // What was sent under its new name was not deleted.
                let renamed = |path: &str| {
                    let new = path.replace("mass/", "moved/");
                    let moved = report.uploaded.iter().chain(&report.downloaded);
                    moved.into_iter().any(|moved| moved.path == new)
                };
                let deletes = of_mount.filter(|entry| !renamed(&entry.path)).count() as u64;
                if deletes > FREE && deletes > known / 2 {
                    self.violation(format!("{deletes} of {known} deleted, {side}"));
                }
            }
        }
    }
}

fn absent(
    paths: &'static [PathName],
    is_there: impl Fn(PathName) -> bool,
) -> impl Iterator<Item = PathName> {
    paths.iter().copied().filter(move |path| !is_there(path))
}

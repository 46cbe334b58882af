//! Things that stand where files or their directories should be: directories, links out of the mount, files.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{
    history::{Obstacle, PathName},
    rules::{DIRECTORIES, IGNORE_FILE, is_under, key, key_in, related},
    world::{ELSEWHERE, State, VICTIM, World},
};

impl World {
    /// Whether something that is no file or directory of the writers stands at the path or above it.
    pub(crate) fn is_obstructed(&self, path: &str) -> bool {
        let full = self.file(path);
        let above = full.ancestors().skip(1);
        let mut above = above.take_while(|directory| !self.is_mount(directory));
        fs::symlink_metadata(&full).is_ok_and(|here| !here.is_file() && !self.is_link(path))
            || above
                .any(|directory| fs::symlink_metadata(directory).is_ok_and(|here| !here.is_dir()))
    }

    fn is_mount(&self, directory: &Path) -> bool {
        directory.parent() == Some(&self.outside)
    }

    /// Puts an obstacle up.
    pub(crate) fn obstruct(&self, state: &mut State, path: PathName, obstacle: Obstacle) {
        let full = self.file(path);
        let parent = full.parent().unwrap();
        let place = match obstacle {
            Obstacle::Directory | Obstacle::Link => full.as_path(),
            Obstacle::ParentLink | Obstacle::ParentFile => parent,
        };
        if self.is_mount(place) {
            return;
        }
        // An empty directory is nothing.
        fs::remove_dir(place).ok();
        if fs::symlink_metadata(place).is_ok() {
            return;
        }
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match obstacle {
            Obstacle::Directory => fs::create_dir(place),
            Obstacle::Link => symlink(self.outside.join(VICTIM), place),
            Obstacle::ParentLink => symlink(self.outside.join(ELSEWHERE), place),
            Obstacle::ParentFile => {
                let content =
                    state.new_version(16, format!("here in place of {}", place.display()));
                fs::write(place, content)
            }
        }
        .unwrap();
        state.obstacles.push(place.to_owned());
        state.dirty.insert(path);
    }

    /// Moves files away that stand where the other side has a directory: somebody has to.
    fn settle_kinds(&self, state: &mut State) {
        for path in self.pool.iter().copied() {
            self.remove_empty_directories(path);
            let below = related(path).into_iter();
            let mut below = below.filter(|other| *other != path && is_under(other, path));
            let has_both = below.any(|other| {
                let there = self.remote_content(other).is_some();
                (self.local_content(path).is_some() && there)
                    || (self.remote_content(path).is_some()
                        && (there || self.local_content(other).is_some()))
            });
            if !has_both {
                continue;
            }
            if let Some(old) = self.local_content(path) {
                state.supersede(&old);
                fs::remove_file(self.file(path)).unwrap();
                state.changed_locally(path, None);
            }
            if let Some(old) = self.remote_content(path) {
                state.supersede(&old);
                self.bucket.remove(&key(path));
                state.changed_remotely(path, None);
            }
        }
    }

    /// Takes all obstacles away.
    pub(crate) fn clear_the_way(&self) {
        let mut state = self.state();
        for place in std::mem::take(&mut state.obstacles) {
            let Ok(found) = fs::symlink_metadata(&place) else {
                continue;
            };
            if found.is_file() {
                let content = fs::read(&place).unwrap();
                state.supersede(&content);
                // As an object it would stand in the way of the directory for ever.
                for (at, _) in DIRECTORIES.iter().enumerate() {
                    if let Ok(path) = place.strip_prefix(self.mount(at)) {
                        let key = key_in(at, path.to_str().unwrap());
                        if let Some(content) = self.bucket.content(&key) {
                            state.supersede(&content);
                        }
                        self.bucket.remove(&key);
                    }
                }
            }
            if found.is_dir() {
                // Gone already, or in use by now.
                fs::remove_dir(place).ok();
            } else {
                fs::remove_file(place).unwrap();
            }
        }
        fs::remove_file(self.file(IGNORE_FILE)).ok();
        self.bucket.remove(&key(IGNORE_FILE));
        self.settle_kinds(&mut state);
    }
}

//! Things that stand where files or their directories should be: directories, links out of the mount, files.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{
    history::{Obstacle, PathName},
    rules::{DIRECTORIES, key_in},
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
                        self.bucket.remove(&key_in(at, path.to_str().unwrap()));
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
    }
}

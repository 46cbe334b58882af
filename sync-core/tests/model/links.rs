//! Links and attributes: what the writers do with them, and what must agree at rest.
//!
//! A link is a version like any other: its target is the content. Its target names nothing, so that nothing is reached
//! through it by mistake. Obstacles are links too, but absolute ones.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use bytes::Bytes;
use sync_core::layout::SyncMode;

use super::{
    check::Picture,
    history::PathName,
    rules::{key, rule_for},
    world::{State, World},
};

/// The mode that makes a link of an object.
pub(crate) const LINK_MODE: &str = "120777";
/// Path of an object that claims to be a link out of the mount.
pub(crate) const HOSTILE_LINK: &str = "hostile";

/// The target of a link of the writers, which is a version.
pub(crate) fn content_of_link(full: &Path) -> Option<Bytes> {
    let target = fs::read_link(full).ok()?;
    let text = target.to_str().unwrap().to_owned();
    (!text.starts_with('/')).then(|| text.into())
}

impl World {
    /// Whether a link of the writers stands at a path.
    pub(crate) fn is_link(&self, path: &str) -> bool {
        content_of_link(&self.file(path)).is_some()
    }

    /// Whether the object at a path is a link.
    pub(crate) fn is_remote_link(&self, path: &str) -> bool {
        self.remote_mode(path).as_deref() == Some(LINK_MODE)
    }

    fn remote_mode(&self, path: &str) -> Option<String> {
        self.bucket.metadata(&key(path), "mode")
    }

    /// Whether both sides hold the same at a path: nothing, a file, or a link.
    pub(crate) fn agrees(&self, path: &str) -> bool {
        let remote = self.remote_content(path);
        let same_kind = remote.is_none() || self.is_link(path) == self.is_remote_link(path);
        self.local_content(path) == remote && same_kind
    }

    pub(crate) fn link_here(&self, state: &mut State, path: PathName) {
        if let Some(old) = self.local_content(path) {
            state.supersede(&old);
        }
        let content = state.new_target(format!("here as link {path}"));
        self.make_parent(path);
        self.replace_by_link(path, &content);
        state.changed_locally(path, Some(content));
    }

    pub(crate) fn replace_by_link(&self, path: &str, target: &[u8]) {
        let temporary = self.outside.join("writer");
        symlink(std::str::from_utf8(target).unwrap(), &temporary).unwrap();
        fs::rename(temporary, self.file(path)).unwrap();
    }

    pub(crate) fn link_there(&self, state: &mut State, path: PathName) {
        let content = state.new_target(format!("there as link {path}"));
        self.put_with(state, path, content, LINK_MODE);
    }

    /// The same object once more, with another mode.
    pub(crate) fn chmod_there(&self, state: &mut State, path: PathName, mode: u32) {
        let content = self.remote_content(path);
        if let Some(content) = content.filter(|_| !self.is_remote_link(path)) {
            state.modes_changed_there.insert(path);
            let mode = format!("{:o}", 0o100_000 | mode);
            self.put_with(state, path, content, &mode);
        }
    }

    pub(crate) fn hostile_link_there(&self) {
        let target = self.outside.join("through-a-link");
        let target = target.to_str().unwrap().to_owned();
        let metadata = [("mode", LINK_MODE)];
        self.bucket
            .insert_with_metadata(&key(HOSTILE_LINK), target, &metadata);
    }

    pub(crate) fn put_with(&self, state: &mut State, path: PathName, content: Bytes, mode: &str) {
        self.put(state, path, content.clone());
        self.bucket
            .insert_with_metadata(&key(path), content, &[("mode", mode)]);
    }

    /// What is a link on one side is one on the other; a mode that was changed here is the object's.
    pub(crate) fn check_attributes(&self, picture: &Picture) {
        if self.state().disturbed {
            // Without the baseline a link and a file that holds its target are taken for the same.
            return;
        }
        for path in self.pool.iter().copied() {
            let local = picture.local.get(path);
            if rule_for(path).sync != SyncMode::Both
                || local.is_none()
                || local != picture.remote.get(path)
            {
                continue;
            }
            let link = self.is_link(path);
            if link != self.is_remote_link(path) {
                self.violation(format!("{path} is a link on one side: here {link}"));
            }
            if link || self.state().modes_changed_there.contains(path) {
                continue;
            }
            let here = fs::metadata(self.file(path)).unwrap().permissions().mode() & 0o777;
            let there = self.remote_mode(path);
            let there = there.map(|mode| u32::from_str_radix(&mode, 8).unwrap() & 0o777);
            if there.is_some_and(|there| there != here) {
                self.violation(format!("{path} has mode {here:o} here, {there:?} there"));
            }
        }
    }
}

//! What is watched of a mount: what its selection lets travel.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::WatchedMount;
use crate::{
    debounce::MountIndex,
    mount::OpenMount,
    selection::{Selection, is_ignore_file},
};

impl WatchedMount {
    /// A mount of which everything is watched that may travel.
    #[must_use]
    pub fn of(index: MountIndex, mount: &Arc<OpenMount>) -> Self {
        // The watcher's own view of the ignore files, from one change of theirs to the next.
        let view = Arc::new(RwLock::new(mount.selection()));
        let (directories, files, mount) = (view.clone(), view.clone(), mount.clone());
        Self {
            index,
            path: mount.root.path().to_owned(),
            enters: Arc::new(move |path| !read(&directories).hides(path)),
            cares: Arc::new(move |path| read(&files).notices(path)),
            governs: Arc::new(move |path| {
                let governs = is_ignore_file(path);
                if governs {
                    *view.write().unwrap_or_else(PoisonError::into_inner) = mount.selection();
                }
                governs
            }),
        }
    }
}

fn read(view: &RwLock<Selection>) -> RwLockReadGuard<'_, Selection> {
    view.read().unwrap_or_else(PoisonError::into_inner)
}

//! The failpoints of the engine, given to the histories that run side by side in this process.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use sync_core::failpoint::{self, Hook, Point, Then};

use super::{history::Mounts, rules::DIRECTORIES, store::ScriptedStore};

/// The histories that are running, by the directories of their mounts.
static RUNNING: LazyLock<RwLock<HashMap<PathBuf, Arc<ScriptedStore>>>> = LazyLock::new(|| {
    failpoint::install(Box::new(Dispatch));
    RwLock::default()
});

/// Takes the history out of the list when it is over.
pub(crate) struct Registered(Vec<PathBuf>);

/// Lets the failpoints of the session over the mounts below `outside` reach `store`.
pub(crate) fn register(outside: &Path, mounts: Mounts, store: &Arc<ScriptedStore>) -> Registered {
    let count = match mounts {
        Mounts::One => 1,
        Mounts::Two => 2,
    };
    let places: Vec<_> = DIRECTORIES[..count]
        .iter()
        .map(|directory| outside.join(directory))
        .collect();
    let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
    running.extend(places.iter().map(|place| (place.clone(), store.clone())));
    Registered(places)
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut running = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
        for place in &self.0 {
            running.remove(place);
        }
    }
}

struct Dispatch;

impl Hook for Dispatch {
    fn reached(&self, point: Point, place: &Path) -> Then {
        store_of(place).map_or(Then::GoOn, |store| store.reached(point))
    }

    fn has_ended(&self, place: &Path) -> bool {
        store_of(place).is_some_and(|store| store.has_ended())
    }
}

fn store_of(place: &Path) -> Option<Arc<ScriptedStore>> {
    RUNNING
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(place)
        .cloned()
}

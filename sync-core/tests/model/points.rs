//! The failpoints of the engine, given to the histories that run side by side in this process.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, RwLock},
};

use sync_core::failpoint::{self, Hook, Point, Then};

use super::{history::Mounts, rules::DIRECTORIES, store::ScriptedStore};

/// The histories that are running, by the directories of their mounts.
static RUNNING: LazyLock<RwLock<HashMap<PathBuf, Arc<ScriptedStore>>>> = LazyLock::new(|| {
    failpoint::install(Box::new(Dispatch));
    RwLock::default()
});

/// Where sessions of this process ended.
static CRASHES: Mutex<BTreeSet<Point>> = Mutex::new(BTreeSet::new());

/// The failpoints at which no session of this process ended, but for those of uploads in parts, which few histories reach.
pub(crate) fn never_crashed_at() -> Vec<Point> {
    const OF_PARTS: [Point; 4] = [
        Point::MultipartCreated,
        Point::PartSent,
        Point::PartsSent,
        Point::MultipartCompleted,
    ];
    let crashes = CRASHES.lock().unwrap_or_else(PoisonError::into_inner);
    let points = Point::ALL.iter().copied();
    points
        .filter(|point| !crashes.contains(point) && !OF_PARTS.contains(point))
        .collect()
}

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
        let Some(store) = store_of(place) else {
            return Then::GoOn;
        };
        // Where it has ended already no other point was reached.
        let lives = !store.has_ended();
        let then = store.reached(point);
        if lives && then == Then::End {
            let mut crashes = CRASHES.lock().unwrap_or_else(PoisonError::into_inner);
            crashes.insert(point);
        }
        then
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

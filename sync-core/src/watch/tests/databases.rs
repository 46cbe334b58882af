//! Databases: what is written to their logs is a change of theirs, what readers do is none.

use rusqlite::Connection;

use super::*;
use crate::{root::Root, sqlite};

/// The log is excluded, as it is by most layouts.
fn without_logs(root: &Path) -> WatchedMount {
    WatchedMount {
        cares: Arc::new(|path| sqlite::main_of(path).is_none()),
        ..mount_at(root)
    }
}

fn scene(prepare: impl FnOnce(&Path)) -> Scene {
    let root = tempfile::tempdir().unwrap();
    prepare(root.path());
    let (sender, events) = channel(1000);
    let mounts = vec![without_logs(root.path())];
    let settings = WatchSettings::default();
    let connect = Box::new(backend::inotify);
    let (watcher, intake) = Watcher::launch(settings, mounts, sender, connect).unwrap();
    Scene {
        root,
        watcher,
        intake,
        events,
        markers: 0,
    }
}

fn database(at: &Path) -> Connection {
    let connection = Connection::open(at).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS entry (value);")
        .unwrap();
    connection
}

#[test]
fn a_commit_to_the_log_is_a_change_of_the_database() {
    let mut scene = scene(|root| drop(database(&root.join("x.db"))));
    let writer = database(&scene.at("x.db"));
    scene.reported();
    writer
        .execute_batch("INSERT INTO entry VALUES (1)")
        .unwrap();
    assert_eq!(scene.reported(), [path("x.db")]);
}

#[test]
fn capturing_a_database_wakes_nobody() {
    let mut scene = scene(|root| drop(database(&root.join("x.db"))));
    let root = Root::open(scene.root.path()).unwrap();
    let writer = database(&scene.at("x.db"));
    writer
        .execute_batch("INSERT INTO entry VALUES (1)")
        .unwrap();
    scene.reported();
    for _ in 0..3 {
        let captured = sqlite::capture(&root, &rel("x.db")).unwrap();
        assert!(matches!(captured, sqlite::Capture::Whole(_)));
    }
    let mut reported = scene.reported();
    // The staging directory is the engine's own, which no real mount watches.
    reported.retain(|dirty| match &dirty.scope {
        Scope::Path(path) | Scope::Subtree(path) => !path.as_str().starts_with(".hiclaw-sync"),
        Scope::Mount => true,
    });
    assert_eq!(reported, []);
}

//! Real directories and real events. Injected limits and lost events are in `trouble`.
//!
//! Silence is tested with a marker: events come in order, so what was to come before the marker has come.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, fs::symlink},
    path::Path,
    time::Instant,
};

use tempfile::TempDir;
use tokio::sync::mpsc::{Receiver, channel, error::TryRecvError};

use super::*;
use crate::debounce::Scope;

mod databases;
mod governed;
mod histories;
mod trouble;

const MOUNT: MountIndex = MountIndex(3);
const LIMIT: Duration = Duration::from_secs(20);

fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

fn path(text: &str) -> DirtyPath {
    DirtyPath::path(MOUNT, rel(text))
}

fn subtree(text: &str) -> DirtyPath {
    DirtyPath::subtree(MOUNT, rel(text))
}

/// Prunes directories named `excluded` and drops files named `session.lock`.
fn mount_at(root: &Path) -> WatchedMount {
    WatchedMount {
        index: MOUNT,
        path: root.to_owned(),
        enters: Arc::new(|path| path.file_name() != "excluded"),
        cares: Arc::new(|path| path.file_name() != "session.lock"),
        governs: Arc::new(|_| false),
    }
}

struct Scene {
    root: TempDir,
    watcher: Watcher,
    intake: Intake,
    events: Receiver<WatchEvent>,
    markers: usize,
}

impl Scene {
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        Self::with(
            WatchSettings::default(),
            Box::new(backend::inotify),
            prepare,
        )
    }

    fn with(settings: WatchSettings, connect: Connect, prepare: impl FnOnce(&Path)) -> Self {
        let root = tempfile::tempdir().unwrap();
        prepare(root.path());
        let (sender, events) = channel(1000);
        let mounts = vec![mount_at(root.path())];
        let (watcher, intake) = Watcher::launch(settings, mounts, sender, connect).unwrap();
        Self {
            root,
            watcher,
            intake,
            events,
            markers: 0,
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, "content").unwrap();
    }

    fn next(&mut self) -> WatchEvent {
        let limit = Instant::now() + LIMIT;
        loop {
            match self.events.try_recv() {
                Ok(event) => return event,
                Err(TryRecvError::Empty) => {
                    assert!(Instant::now() < limit, "no event came");
                    thread::sleep(Duration::from_millis(2));
                }
                Err(TryRecvError::Disconnected) => panic!("the watcher has died"),
            }
        }
    }

    fn until(&mut self, wanted: &WatchEvent) -> Vec<WatchEvent> {
        let mut seen = Vec::new();
        loop {
            let event = self.next();
            if event == *wanted {
                return seen;
            }
            seen.push(event);
        }
    }

    /// Everything that was reported since the last call, once: how often depends on how events fall into batches.
    fn reported(&mut self) -> Vec<DirtyPath> {
        self.markers += 1;
        let marker = format!("marker-{}", self.markers);
        fs::write(self.at(&marker), "").unwrap();
        let events = self.until(&WatchEvent::Dirty(path(&marker)));
        let mut reported: Vec<DirtyPath> = events
            .into_iter()
            .filter_map(|event| match event {
                WatchEvent::Dirty(dirty) => Some(dirty),
                WatchEvent::Mode(..) | WatchEvent::RootGone(_) => None,
            })
            .filter(|dirty| !matches!(&dirty.scope, Scope::Path(path) if path.as_str().starts_with("marker-")))
            .collect();
        reported.sort();
        reported.dedup();
        reported
    }

    /// What was reported covers each of `wanted`, and says nothing of other places than `wanted` names.
    fn reports_exactly(&mut self, wanted: &[DirtyPath]) {
        let reported = self.reported();
        for dirty in wanted {
            assert!(
                reported.iter().any(|one| one.covers(dirty)),
                "{dirty:?} is not in {reported:?}"
            );
        }
        for dirty in &reported {
            assert!(
                wanted.iter().any(|one| one.covers(dirty)),
                "{dirty:?} was not expected"
            );
        }
    }

    /// Changes in `directory` are noticed by themselves.
    fn is_live(&mut self, directory: &str) {
        self.reported();
        let file = format!("{directory}/probe-{}", self.markers);
        self.write(&file);
        self.reports_exactly(&[path(&file)]);
    }
}

#[test]
fn what_is_there_at_the_start_is_watched_and_not_reported() {
    let mut scene = Scene::new(|root| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/b/c/file"), "").unwrap();
    });
    assert_eq!(scene.next(), WatchEvent::Mode(MOUNT, WatchMode::Events));
    assert_eq!(scene.watcher.mode(MOUNT), Some(WatchMode::Events));
    assert_eq!(scene.reported(), []);
    for directory in ["a", "a/b", "a/b/c"] {
        scene.is_live(directory);
    }
}

#[test]
fn files_created_modified_renamed_and_removed_are_reported() {
    let mut scene = Scene::new(|root| fs::write(root.join("old"), "").unwrap());
    scene.write("new");
    scene.reports_exactly(&[path("new")]);
    fs::write(scene.at("old"), "more").unwrap();
    scene.reports_exactly(&[path("old")]);
    fs::rename(scene.at("old"), scene.at("other")).unwrap();
    scene.reports_exactly(&[path("old"), path("other")]);
    fs::remove_file(scene.at("other")).unwrap();
    scene.reports_exactly(&[path("other")]);
    symlink("new", scene.at("link")).unwrap();
    scene.reports_exactly(&[path("link")]);
}

#[test]
fn a_changed_mode_is_reported() {
    let mut scene = Scene::new(|root| fs::write(root.join("run.sh"), "").unwrap());
    fs::set_permissions(scene.at("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    scene.reports_exactly(&[path("run.sh")]);
}

#[test]
fn reading_and_listing_is_not_reported() {
    let mut scene = Scene::new(|root| {
        fs::create_dir(root.join("a")).unwrap();
        fs::write(root.join("a/file"), "content").unwrap();
    });
    assert_eq!(fs::read_dir(scene.at("a")).unwrap().count(), 1);
    assert_eq!(fs::read(scene.at("a/file")).unwrap(), b"content");
    assert_eq!(scene.reported(), []);
}

#[test]
fn files_of_new_directories_are_reported_however_fast_they_come() {
    let mut scene = Scene::new(|_| {});
    let files: Vec<String> = (0..200)
        .map(|n| format!("a/{}/{}/{}/deep/file", n % 2, n % 7, n))
        .collect();
    for file in &files {
        scene.write(file);
    }
    let reported = scene.reported();
    for file in &files {
        assert!(
            reported.iter().any(|one| one.covers(&path(file))),
            "{file} is not reported"
        );
    }
    scene.is_live("a/1/6/195/deep");
}

#[test]
fn a_directory_moved_in_is_reported_with_its_files_and_watched() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(elsewhere.path().join("new/sub")).unwrap();
    fs::write(elsewhere.path().join("new/sub/file"), "").unwrap();
    let mut scene = Scene::new(|_| {});
    fs::rename(elsewhere.path().join("new"), scene.at("new")).unwrap();
    scene.reports_exactly(&[path("new/sub/file")]);
    scene.is_live("new/sub");
}

#[test]
fn a_big_directory_moved_in_is_reported_as_a_subtree() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("new")).unwrap();
    for n in 0..1001 {
        fs::write(elsewhere.path().join(format!("new/{n}")), "").unwrap();
    }
    let mut scene = Scene::new(|_| {});
    fs::rename(elsewhere.path().join("new"), scene.at("new")).unwrap();
    assert_eq!(scene.reported(), [subtree("new")]);
}

#[test]
fn a_directory_moved_out_is_reported_as_a_subtree_and_no_longer_watched() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(|root| fs::create_dir_all(root.join("old/sub")).unwrap());
    fs::rename(scene.at("old"), elsewhere.path().join("old")).unwrap();
    assert_eq!(scene.reported(), [subtree("old")]);
    fs::write(elsewhere.path().join("old/sub/file"), "").unwrap();
    assert_eq!(scene.reported(), []);
}

#[test]
fn a_directory_moved_within_is_reported_at_both_names_and_watched_at_the_new_one() {
    let mut scene = Scene::new(|root| {
        fs::create_dir_all(root.join("old/sub")).unwrap();
        fs::write(root.join("old/sub/file"), "").unwrap();
    });
    fs::rename(scene.at("old"), scene.at("new")).unwrap();
    scene.reports_exactly(&[subtree("old"), path("new/sub/file")]);
    for directory in ["new", "new/sub"] {
        scene.is_live(directory);
    }
}

#[test]
fn directories_that_change_names_all_the_time_are_watched_in_the_end() {
    let mut scene = Scene::new(|root| fs::create_dir_all(root.join("a/sub")).unwrap());
    for _ in 0..200 {
        fs::rename(scene.at("a"), scene.at("b")).unwrap();
        fs::create_dir_all(scene.at("a/sub")).unwrap();
        fs::write(scene.at("b/sub/file"), "").unwrap();
        fs::remove_dir_all(scene.at("b")).unwrap();
    }
    scene.reported();
    scene.is_live("a");
    scene.is_live("a/sub");
}

#[test]
fn a_removed_tree_is_reported_and_watched_again_when_it_comes_back() {
    let mut scene = Scene::new(|root| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/b/c/file"), "").unwrap();
    });
    fs::remove_dir_all(scene.at("a")).unwrap();
    scene.reports_exactly(&[subtree("a")]);
    scene.write("a/b/c/file");
    scene.reports_exactly(&[path("a/b/c/file")]);
    scene.is_live("a/b/c");
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_reported_as_a_subtree() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut scene = Scene::new(|root| {
        fs::create_dir_all(root.join("a/sub")).unwrap();
        fs::create_dir_all(root.join("b/sub")).unwrap();
    });
    fs::rename(scene.at("a"), elsewhere.path().join("a")).unwrap();
    fs::rename(scene.at("b"), scene.at("a")).unwrap();
    let reported = scene.reported();
    assert!(reported.contains(&subtree("a")), "{reported:?}");
    assert!(reported.contains(&subtree("b")), "{reported:?}");
    scene.is_live("a/sub");
}

#[test]
fn excluded_directories_and_files_are_silent() {
    let mut scene = Scene::new(|root| {
        fs::create_dir_all(root.join("excluded/deep")).unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
    });
    scene.write("excluded/deep/file");
    scene.write("excluded/new/file");
    scene.write("a/excluded/file");
    scene.write("a/session.lock");
    fs::write(scene.at("a/session.lock"), "again").unwrap();
    fs::remove_file(scene.at("a/session.lock")).unwrap();
    fs::remove_dir_all(scene.at("a/excluded")).unwrap();
    assert_eq!(scene.reported(), []);
}

#[test]
fn links_to_directories_are_reported_and_never_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().to_owned();
    let mut scene = Scene::new(move |root| {
        fs::create_dir(root.join("real")).unwrap();
        symlink(&target, root.join("before")).unwrap();
    });
    symlink(elsewhere.path(), scene.at("after")).unwrap();
    scene.reports_exactly(&[path("after")]);
    fs::remove_dir(scene.at("real")).unwrap();
    symlink(elsewhere.path(), scene.at("real")).unwrap();
    scene.reports_exactly(&[subtree("real")]);
    fs::write(elsewhere.path().join("file"), "").unwrap();
    fs::create_dir(elsewhere.path().join("sub")).unwrap();
    assert_eq!(scene.reported(), []);
}

#[test]
fn a_name_that_is_no_path_makes_its_directory_dirty() {
    let mut scene = Scene::new(|root| fs::create_dir(root.join("a")).unwrap());
    let odd = scene.at("a").join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(&odd, "").unwrap();
    assert_eq!(scene.reported(), [subtree("a")]);
    fs::write(&odd, "its content changes nothing").unwrap();
    assert_eq!(scene.reported(), []);
    fs::write(scene.root.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    assert_eq!(scene.reported(), [DirtyPath::mount(MOUNT)]);
}

#[test]
fn a_directory_that_becomes_readable_is_looked_at() {
    let mut scene = Scene::new(|root| fs::create_dir(root.join("a")).unwrap());
    fs::set_permissions(scene.at("a"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(scene.reported(), [subtree("a")]);
}

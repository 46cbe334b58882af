//! What happens when events are lost, watches are refused, roots go and receivers sleep.

use std::sync::atomic::AtomicUsize;

use notify::{Event, EventHandler as _, EventKind, event::Flag};

use super::{
    super::backend::{Backend, Refusal},
    *,
};

/// Real watches, but only so many at a time.
struct Limited {
    real: Box<dyn Backend>,
    left: Arc<AtomicUsize>,
}

impl Backend for Limited {
    fn watch(&mut self, directory: &Path) -> Result<(), Refusal> {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match taken {
            Ok(_) => self.real.watch(directory),
            Err(_) => Err(Refusal::Unwatchable(PollReason::WatchLimit)),
        }
    }

    fn unwatch(&mut self, directory: &Path) {
        self.real.unwatch(directory);
    }
}

#[test]
fn lost_events_make_the_mount_dirty_and_every_directory_is_watched_again() {
    let mut scene = Scene::new(|_| {});
    scene.reported();
    let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
    scene.intake.handle_event(Ok(lost));
    scene.until(&WatchEvent::Dirty(DirtyPath::mount(MOUNT)));
    scene.write("a/b/file");
    scene.reports_exactly(&[path("a/b/file")]);
    scene.is_live("a/b");
}

#[test]
fn a_full_queue_makes_the_mount_dirty() {
    let settings = WatchSettings {
        queue: 4,
        ..WatchSettings::default()
    };
    let mut scene = Scene::with(settings, Box::new(backend::inotify), |_| {});
    for n in 0..5000 {
        fs::write(scene.at(&format!("{n}")), "").unwrap();
    }
    scene.until(&WatchEvent::Dirty(DirtyPath::mount(MOUNT)));
}

#[test]
fn what_is_over_the_watch_limit_is_polled_until_watches_can_be_had() {
    let left = Arc::new(AtomicUsize::new(3));
    let settings = WatchSettings {
        poll_interval: Duration::from_millis(50),
        ..WatchSettings::default()
    };
    let limit = left.clone();
    let connect: Connect = Box::new(move |intake| {
        let real = backend::inotify(intake)?;
        Ok(Box::new(Limited {
            real,
            left: limit.clone(),
        }))
    });
    let mut scene = Scene::with(settings, connect, |root| {
        for directory in ["a/x", "b/x", "c", "d"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
    });
    let WatchEvent::Mode(MOUNT, mode) = scene.next() else {
        panic!("the mode comes first")
    };
    // Two of four directories have a watch, and perhaps directories beneath them wait as well.
    assert!(
        matches!(
            &mode,
            WatchMode::Mixed {
                subtrees: 2..=4,
                ..
            }
        ),
        "{mode:?}"
    );
    assert_eq!(scene.watcher.mode(MOUNT), Some(mode));
    for _ in 0..3 {
        assert!(matches!(
            scene.next(),
            WatchEvent::Dirty(DirtyPath {
                scope: Scope::Subtree(_),
                ..
            })
        ));
    }
    left.store(1000, Ordering::SeqCst);
    scene.until(&WatchEvent::Mode(MOUNT, WatchMode::Events));
    for directory in ["a/x", "b/x", "c", "d"] {
        scene.is_live(directory);
    }
}

#[test]
fn without_events_the_whole_mount_is_polled() {
    let settings = WatchSettings {
        poll_interval: Duration::from_millis(20),
        ..WatchSettings::default()
    };
    let reason = PollReason::Unavailable("no more instances".to_owned());
    let mut refused = 2;
    let answer = reason.clone();
    let connect: Connect = Box::new(move |intake| {
        if refused == 0 {
            return backend::inotify(intake);
        }
        refused -= 1;
        Err(answer.clone())
    });
    let mut scene = Scene::with(settings, connect, |root| {
        fs::create_dir(root.join("a")).unwrap();
    });
    let polling = WatchMode::Polling {
        interval: settings.poll_interval,
        reason,
    };
    assert_eq!(scene.next(), WatchEvent::Mode(MOUNT, polling));
    assert_eq!(scene.next(), WatchEvent::Dirty(DirtyPath::mount(MOUNT)));
    scene.until(&WatchEvent::Mode(MOUNT, WatchMode::Events));
    scene.is_live("a");
}

#[test]
fn a_removed_or_renamed_or_missing_root_is_told_once() {
    for how in ["removed", "renamed"] {
        let mut scene = Scene::new(|root| fs::create_dir_all(root.join("root/a")).unwrap());
        let root = scene.at("root");
        let (sender, events) = channel(1000);
        scene.watcher = Watcher::start(vec![mount_at(&root)], sender).unwrap();
        scene.events = events;
        match how {
            "removed" => fs::remove_dir_all(&root).unwrap(),
            _ => fs::rename(&root, scene.at("elsewhere")).unwrap(),
        }
        scene.until(&WatchEvent::RootGone(MOUNT));
        fs::create_dir_all(scene.at("elsewhere/a")).unwrap();
        fs::write(scene.at("elsewhere/a/file"), "").unwrap();
        drop(scene.watcher);
        assert_eq!(
            scene.events.try_recv(),
            Err(TryRecvError::Disconnected),
            "{how}"
        );
    }
    let (sender, mut events) = channel(10);
    let _watcher = Watcher::start(vec![mount_at(Path::new("/nonexistent/root"))], sender).unwrap();
    assert_eq!(events.blocking_recv(), Some(WatchEvent::RootGone(MOUNT)));
}

#[test]
fn a_mount_inside_another_is_its_own() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("inner/a")).unwrap();
    let (sender, events) = channel(1000);
    let inner = WatchedMount {
        index: MountIndex(4),
        ..mount_at(&root.path().join("inner"))
    };
    let connect: Connect = Box::new(backend::inotify);
    let mounts = vec![mount_at(root.path()), inner];
    let (watcher, intake) =
        Watcher::launch(WatchSettings::default(), mounts, sender, connect).unwrap();
    let mut scene = Scene {
        root,
        watcher,
        intake,
        events,
        markers: 0,
    };
    scene.write("inner/a/file");
    assert_eq!(
        scene.reported(),
        [DirtyPath::path(MountIndex(4), rel("a/file"))]
    );
}

#[test]
fn dropping_does_not_wait_for_a_receiver_that_reads_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (sender, mut events) = channel(1);
    let watcher = Watcher::start(vec![mount_at(root.path())], sender).unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let limit = Instant::now() + LIMIT;
    while events.is_empty() {
        assert!(Instant::now() < limit, "no event came");
        thread::sleep(Duration::from_millis(2));
    }
    // The mode fills the channel, and the file's event waits for room.
    drop(watcher);
    assert!(matches!(events.try_recv(), Ok(WatchEvent::Mode(..))));
    assert_eq!(events.try_recv(), Err(TryRecvError::Disconnected));
}

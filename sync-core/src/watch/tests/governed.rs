//! Files that decide what is watched.

use super::*;

/// Enters no directory that the file `governing` in the root names.
fn governed_at(root: &Path) -> WatchedMount {
    let excluded = Arc::new(Mutex::new(String::new()));
    let (held, file) = (excluded.clone(), root.join("governing"));
    WatchedMount {
        enters: Arc::new(move |path| path.as_str() != *held.lock().unwrap()),
        governs: Arc::new(move |path| {
            let governs = path.as_str() == "governing";
            if governs {
                *excluded.lock().unwrap() = fs::read_to_string(&file).unwrap_or_default();
            }
            governs
        }),
        ..mount_at(root)
    }
}

#[test]
fn a_file_that_governs_moves_the_watches_and_makes_its_directory_news() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["a", "b/deep"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let (sender, events) = channel(1000);
    let connect: Connect = Box::new(backend::inotify);
    let mounts = vec![governed_at(root.path())];
    let (watcher, intake) =
        Watcher::launch(WatchSettings::default(), mounts, sender, connect).unwrap();
    let mut scene = Scene {
        root,
        watcher,
        intake,
        events,
        markers: 0,
    };
    for (excluded, watched) in [("a", "b/deep"), ("b", "a")] {
        fs::write(scene.at("governing"), excluded).unwrap();
        let reported = scene.reported();
        assert!(reported.contains(&DirtyPath::mount(MOUNT)), "{reported:?}");
        let (inside, outside) = (format!("{excluded}/deep/x"), format!("{watched}/x"));
        scene.write(&inside);
        scene.write(&outside);
        assert_eq!(scene.reported(), [path(&outside)]);
    }
}

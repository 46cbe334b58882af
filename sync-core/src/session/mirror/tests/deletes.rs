//! What a mirror deletes, and what it never does.

use super::{
    stores::{Confused, Hiding},
    *,
};
use crate::report::ProblemKind;

#[tokio::test]
async fn an_extra_that_changed_since_an_earlier_run_is_deleted_in_the_version_that_was_seen() {
    for source in [Side::Local, Side::Remote] {
        let fixture = fixture(source).deleting();
        for path in ["goes", "stays"] {
            fixture.write(path, "old");
        }
        fixture.insert("goes", "old");
        fixture.insert("stays", "old");
        fixture.run().await;
        match source {
            Side::Local => {
                std::fs::remove_file(fixture.dir.path().join("goes")).unwrap();
                fixture.insert("goes", "newer");
            }
            Side::Remote => {
                fixture.store.remove("p/goes");
                fixture.write("goes", "newer");
            }
        }
        let report = fixture.run().await;
        assert!(report.problems.is_empty(), "{report:?}");
        assert_eq!((fixture.read("goes"), fixture.object("goes")), (None, None));
        assert!(fixture.read("stays").is_some());
        assert!(!fixture.dir.path().join(".sync-conflicts").exists());
    }
}

#[tokio::test]
async fn what_is_overwritten_at_the_destination_leaves_no_copy() {
    let fixture = fixture(Side::Remote);
    fixture.insert("size", "1");
    fixture.insert("content", "1");
    fixture.run().await;
    fixture.write("size", "edited");
    fixture.write("content", "2");
    let report = fixture.run().await;
    assert_eq!(paths(&report.downloaded), ["content", "size"]);
    assert!(report.conflicts.is_empty() && report.problems.is_empty());
    assert_eq!(fixture.read("size").as_deref(), Some("1"));
    assert_eq!(fixture.read("content").as_deref(), Some("1"));
    assert!(!fixture.dir.path().join(".sync-conflicts").exists());
}

#[tokio::test]
async fn what_was_deleted_and_is_in_the_source_again_is_copied_at_once() {
    let fixture = fixture(Side::Remote).deleting();
    fixture.insert("a", "1");
    fixture.insert("b", "1");
    fixture.run().await;
    fixture.store.remove("p/a");
    assert_eq!(paths(&fixture.run().await.deleted_local), ["a"]);
    fixture.insert("a", "1");
    assert_eq!(paths(&fixture.run().await.downloaded), ["a"]);
}

#[tokio::test]
async fn copies_that_a_mirror_kept_are_never_deleted() {
    let fixture = fixture(Side::Remote).deleting();
    let copy = ".sync-conflicts/a.20261121T040506Z.local";
    fixture.write(copy, "the only one");
    fixture.write("extra", "1");
    fixture.insert("a", "1");
    assert_eq!(paths(&fixture.run().await.deleted_local), ["extra"]);
    assert!(fixture.read(copy).is_some());
}

#[tokio::test]
async fn a_source_that_holds_only_what_is_left_out_is_empty() {
    for source in [Side::Local, Side::Remote] {
        let mut fixture = fixture(source).deleting();
        fixture.exclude = vec!["*.log".to_owned()];
        match source {
            Side::Local => {
                fixture.write("x.log", "1");
                fixture.insert("only", "1");
            }
            Side::Remote => {
                fixture.insert("x.log", "1");
                fixture.write("only", "1");
            }
        }
        let report = fixture.run().await;
        assert_eq!(report.held.len(), 1, "{report:?}");
        assert!(report.deleted_local.is_empty() && report.deleted_remote.is_empty());
    }
}

#[tokio::test]
async fn deletes_in_portions_count_together() {
    let fixture = fixture(Side::Local).deleting();
    for number in 0..100 {
        fixture.write(&format!("{number}"), "1");
    }
    fixture.run().await;
    for number in 0..40 {
        std::fs::remove_file(fixture.dir.path().join(number.to_string())).unwrap();
    }
    assert_eq!(fixture.run().await.deleted_remote.len(), 40);
    for number in 40..80 {
        std::fs::remove_file(fixture.dir.path().join(number.to_string())).unwrap();
    }
    let report = fixture.run().await;
    assert_eq!((report.held.len(), report.deleted_remote.len()), (40, 0));
}

#[tokio::test]
async fn a_renamed_directory_trips_no_brake() {
    let fixture = fixture(Side::Local).deleting();
    for number in 0..60 {
        fixture.write(&format!("old/{number}"), &number.to_string());
    }
    fixture.run().await;
    let full = |path: &str| fixture.dir.path().join(path);
    std::fs::rename(full("old"), full("new")).unwrap();
    let report = fixture.run().await;
    assert_eq!(report.uploaded.len(), 60);
    assert_eq!((report.held.len(), report.deleted_remote.len()), (0, 60));
}

#[tokio::test]
async fn a_source_that_is_taken_away_while_it_is_watched_deletes_nothing() {
    let fixture = fixture(Side::Local).deleting();
    for path in ["a", "b"] {
        fixture.write(path, "1");
    }
    let session = fixture.open().await;
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &silent()).await.unwrap();
    let away = fixture.dir.path().with_extension("away");
    std::fs::rename(fixture.dir.path(), &away).unwrap();
    std::fs::create_dir(fixture.dir.path()).unwrap();
    let report = session.pass(&request, &silent()).await.unwrap();
    assert!(report.deleted_remote.is_empty());
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert!(fixture.object("a").is_some() && fixture.object("b").is_some());
    std::fs::remove_dir_all(&away).unwrap();
}

#[tokio::test]
async fn everything_gone_from_a_watched_source_is_held() {
    let fixture = fixture(Side::Local).deleting();
    for path in ["a", "b"] {
        fixture.write(path, "1");
    }
    let session = fixture.open().await;
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &silent()).await.unwrap();
    let names = ["a", "b"].map(|path| crate::path::RelPath::new(path).unwrap());
    for name in &names {
        std::fs::remove_file(fixture.dir.path().join(name.as_str())).unwrap();
    }
    let mount = session.mounts()[0].clone();
    let dirty = Dirty::Paths(names.to_vec());
    let (report, _) = session.push_dirty(&mount, dirty, &silent()).await.unwrap();
    assert_eq!((report.held.len(), report.deleted_remote.len()), (2, 0));
}

#[tokio::test]
async fn nothing_is_concluded_about_a_bucket_that_nobody_asked() {
    let fixture = fixture(Side::Remote).deleting();
    fixture.insert("a", "1");
    let session = fixture.open().await;
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &silent()).await.unwrap();
    fixture.write("extra", "1");
    let mount = session.mounts()[0].clone();
    let (report, _) = session
        .push_dirty(&mount, Dirty::Everything, &silent())
        .await
        .unwrap();
    assert!(report.is_quiet(), "{report:?}");
    assert!(fixture.read("extra").is_some());
}

#[tokio::test]
async fn a_listing_with_foreign_keys_deletes_nothing() {
    let fixture = fixture(Side::Remote).deleting();
    fixture.write("extra", "1");
    let store = MemoryStore::new();
    store.insert("p/a", "1");
    store.insert("q/b", "1");
    let report = fixture.run_on(Arc::new(Confused(store))).await;
    assert_eq!(paths(&report.downloaded), ["a"]);
    assert!(report.deleted_local.is_empty(), "{report:?}");
    assert_eq!(report.problems[0].kind, ProblemKind::Incomplete);
}

#[tokio::test]
async fn what_an_object_hides_is_not_deleted() {
    let fixture = fixture(Side::Remote).deleting();
    for path in ["dir/hidden", "extra", "kept"] {
        fixture.write(path, "1");
    }
    let store = MemoryStore::new();
    for key in ["p/dir", "p/dir/hidden", "p/kept"] {
        store.insert(key, "1");
    }
    let store = Arc::new(Hiding(store));
    for deleted in [1, 0] {
        let report = fixture.run_on(store.clone()).await;
        assert_eq!(report.deleted_local.len(), deleted, "{report:?}");
        assert!(fixture.read("dir/hidden").is_some());
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(report.problems[0].path, "dir");
    }
}

#[tokio::test]
async fn what_is_left_out_from_now_on_is_kept_on_both_sides() {
    for source in [Side::Local, Side::Remote] {
        let mut fixture = fixture(source).deleting();
        for path in ["a", "x.log"] {
            fixture.write(path, "1");
            fixture.insert(path, "1");
        }
        fixture.run().await;
        fixture.exclude = vec!["*.log".to_owned()];
        match source {
            Side::Local => std::fs::remove_file(fixture.dir.path().join("x.log")).unwrap(),
            Side::Remote => fixture.store.remove("p/x.log"),
        }
        assert!(fixture.run().await.is_quiet());
        let left = (fixture.read("x.log"), fixture.object("x.log"));
        assert!(left.0.is_some() || left.1.is_some());
    }
}

/// The process was killed in the instant of an exchange, and the next run copies the other way.
#[tokio::test]
async fn a_version_that_a_crash_left_displaced_survives_a_copy_the_other_way_round() {
    let fixture = fixture(Side::Remote);
    fixture.insert("a", "1");
    let session = fixture.open().await;
    let name = "0123456789abcdef0123456789abcdef";
    let displacement = crate::baseline::Displacement {
        staged_name: name.to_owned(),
        path: crate::path::RelPath::new("a").unwrap(),
        expected: crate::local::Fingerprint::of_nothing(),
        digest: None,
        staged_inode: 0,
        fate: crate::baseline::Fate::Superseded,
        surprise: crate::baseline::Surprise::Copy,
    };
    let mount = session.mounts()[0].clone();
    mount
        .baseline()
        .plan_displacements(&[displacement])
        .unwrap();
    write(
        fixture.dir.path(),
        &format!(".hiclaw-sync/mirror/{name}"),
        "nobody has seen it",
    );
    drop((mount, session));
    let policy = MirrorPolicy {
        source: Side::Local,
        ..fixture.policy
    };
    let other_way = Fixture { policy, ..fixture };
    other_way.run().await;
    let policy = MirrorPolicy {
        source: Side::Remote,
        ..other_way.policy
    };
    let back = Fixture {
        policy,
        ..other_way
    };
    drop(back.open().await);
    let copies = std::fs::read_dir(back.dir.path().join(".sync-conflicts")).unwrap();
    let copies: Vec<_> = copies.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(
        std::fs::read_to_string(&copies[0]).unwrap(),
        "nobody has seen it"
    );
}

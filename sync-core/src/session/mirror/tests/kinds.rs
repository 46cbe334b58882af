//! Links, files and directories of one name, modes, and what is no file.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::report::ProblemKind;

#[tokio::test]
async fn links_that_stay_inside_are_copied_and_come_back_as_links() {
    let there = fixture(Side::Local);
    there.write("dir/a", "1");
    symlink("dir/a", there.dir.path().join("link")).unwrap();
    assert_eq!(paths(&there.run().await.uploaded), ["dir/a", "link"]);
    assert_eq!(there.object("link").as_deref(), Some("dir/a"));
    let back = Fixture {
        store: there.store.clone(),
        ..fixture(Side::Remote)
    };
    assert_eq!(back.run().await.downloaded.len(), 2);
    let target = std::fs::read_link(back.dir.path().join("link")).unwrap();
    assert_eq!(target, Path::new("dir/a"));
    for mut fixture in [there, back] {
        assert!(fixture.run().await.is_quiet());
        fixture.forget();
        let report = fixture.run().await;
        assert!(report.is_quiet(), "{report:?}");
    }
}

#[tokio::test]
async fn a_file_that_reads_like_the_link_in_the_source_is_replaced() {
    let fixture = fixture(Side::Remote);
    fixture.insert("a", "1");
    let key = crate::path::ObjectKey::new("p/link").unwrap();
    fixture
        .store
        .insert_with_metadata(key.as_str(), "a", &[("mode", "120777")]);
    fixture.write("a", "1");
    fixture.write("link", "a");
    fixture.run().await;
    let target = std::fs::read_link(fixture.dir.path().join("link")).unwrap();
    assert_eq!(target, Path::new("a"));
}

#[tokio::test]
async fn links_that_lead_out_are_reported_and_what_stands_for_them_is_left_alone() {
    let fixture = fixture(Side::Local).deleting();
    fixture.write("a", "1");
    let elsewhere = tempfile::tempdir().unwrap();
    symlink("/etc/hostname", fixture.dir.path().join("link")).unwrap();
    symlink(elsewhere.path(), fixture.dir.path().join("linked")).unwrap();
    fixture.insert("link", "was a file once");
    fixture.insert("linked/below", "was a directory once");
    let report = fixture.run().await;
    let mut told: Vec<_> = report.problems.iter().map(|it| &*it.path).collect();
    told.sort_unstable();
    assert_eq!(told, ["link", "linked"], "{report:?}");
    assert!(report.problems[0].message.contains("--exclude"));
    assert!(fixture.object("link").is_some());
    assert!(fixture.object("linked/below").is_some());
    assert!(report.deleted_remote.is_empty());
}

#[tokio::test]
async fn nothing_is_written_through_a_link_at_the_destination() {
    let fixture = fixture(Side::Remote).deleting();
    let elsewhere = tempfile::tempdir().unwrap();
    write(elsewhere.path(), "mine", "1");
    symlink(elsewhere.path(), fixture.dir.path().join("d")).unwrap();
    fixture.insert("d/a", "1");
    let report = fixture.run().await;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(report.problems[0].path, "d");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_and_a_directory_make_way_for_each_other_where_extras_go() {
    for deletes in [false, true] {
        let mut here = fixture(Side::Remote);
        here.write("file", "was a file here");
        here.write("dir/a", "was a directory here");
        here.write("dir/b/c", "was a directory here");
        here.insert("file/a", "1");
        here.insert("dir", "1");
        if deletes {
            here = here.deleting();
            let report = here.run().await;
            assert!(report.problems.is_empty(), "{report:?}");
            assert_eq!(here.read("file/a").as_deref(), Some("1"));
            assert_eq!(here.read("dir").as_deref(), Some("1"));
            assert!(here.run().await.is_quiet());
        } else {
            let report = here.run().await;
            assert_eq!(report.problems.len(), 2, "{report:?}");
            assert!(here.read("file").is_some() && here.read("dir/a").is_some());
        }
    }
}

#[tokio::test]
async fn a_known_object_below_a_file_wants_its_place_back() {
    let fixture = fixture(Side::Remote).deleting();
    fixture.insert("x/y", "1");
    fixture.insert("z", "1");
    fixture.run().await;
    std::fs::remove_dir_all(fixture.dir.path().join("x")).unwrap();
    fixture.write("x", "in the way");
    let report = fixture.run().await;
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!(fixture.read("x/y").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_bucket_holds_both_until_extras_go() {
    let here = fixture(Side::Local);
    here.write("file", "1");
    here.write("dir/a", "1");
    here.insert("file/a", "old");
    here.insert("dir", "old");
    let report = here.run().await;
    assert_eq!(paths(&report.uploaded), ["dir/a", "file"]);
    assert!(here.object("file/a").is_some() && here.object("dir").is_some());
    let here = here.deleting();
    let report = here.run().await;
    assert_eq!(
        paths(&report.deleted_remote),
        ["dir", "file/a"],
        "{report:?}"
    );
    assert!(here.run().await.is_quiet());
}

#[tokio::test]
async fn what_is_no_file_is_reported_in_the_source_only() {
    let socket = |fixture: &Fixture| {
        std::os::unix::net::UnixListener::bind(fixture.dir.path().join("socket")).unwrap()
    };
    let here = fixture(Side::Local);
    let _listener = socket(&here);
    let report = here.run().await;
    assert_eq!(report.problems[0].kind, ProblemKind::Unsupported);
    let here = fixture(Side::Remote).deleting();
    let _listener = socket(&here);
    here.insert("a", "1");
    let report = here.run().await;
    assert!(report.problems.is_empty(), "{report:?}");
    assert!(here.dir.path().join("socket").exists());
}

#[tokio::test]
async fn ignore_files_are_copied_and_not_obeyed() {
    for source in [Side::Local, Side::Remote] {
        let fixture = fixture(source);
        for (path, content) in [(".hiclawignore", "*.tmp\n"), ("x.tmp", "1")] {
            match source {
                Side::Local => fixture.write(path, content),
                Side::Remote => fixture.insert(path, content),
            }
        }
        let report = fixture.run().await;
        assert_eq!(report.uploaded.len() + report.downloaded.len(), 2);
        assert!(fixture.read("x.tmp").is_some() && fixture.object("x.tmp").is_some());
    }
}

#[tokio::test]
async fn a_changed_mode_is_copied() {
    let there = fixture(Side::Local);
    there.write("run.sh", "echo");
    let full = there.dir.path().join("run.sh");
    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(0o755)).unwrap();
    there.run().await;
    let back = Fixture {
        store: there.store.clone(),
        ..fixture(Side::Remote)
    };
    back.run().await;
    let mode = |fixture: &Fixture| {
        let metadata = std::fs::metadata(fixture.dir.path().join("run.sh")).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(&back), 0o755);
    std::fs::set_permissions(&full, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(there.run().await.uploaded.len(), 1);
    back.run().await;
    assert_eq!(mode(&back), 0o700);
}

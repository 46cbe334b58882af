//! Modes and times: what travels, what doesn't, and what others wrote.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fixture::{Fixture, fixture};
use crate::{
    report::Report,
    session::{Direction, PassRequest},
};

fn modified(fixture: &Fixture, path: &str) -> SystemTime {
    std::fs::metadata(fixture.full(path))
        .unwrap()
        .modified()
        .unwrap()
}

fn set_modified(fixture: &Fixture, path: &str, time: SystemTime) {
    let file = std::fs::File::options()
        .write(true)
        .open(fixture.full(path))
        .unwrap();
    file.set_modified(time).unwrap();
}

/// Two workers that both have `run`, and nothing to do.
async fn two() -> (Fixture, Fixture) {
    let here = fixture().await;
    here.write("run", "#!/bin/sh\n");
    here.settle().await;
    let there = here.replica().await;
    there.settle().await;
    here.out_of_doubt().await;
    there.out_of_doubt().await;
    (here, there)
}

fn contents(report: &Report) -> (usize, usize, u64, u64) {
    let requests = report.requests;
    let moved = (report.downloaded.len(), report.uploaded.len());
    (moved.0, moved.1, requests.get, requests.put)
}

#[tokio::test]
async fn a_chmod_costs_one_put_and_is_applied_without_bringing_the_content_again() {
    let (here, there) = two().await;
    here.chmod("run", 0o755);
    let report = here.settle().await;
    assert_eq!(contents(&report), (0, 1, 0, 1));
    assert_eq!(here.metadata("run", "mode").unwrap(), "100755");
    let inode = there.session.mounts()[0].root.contents_opened();
    let report = there.settle().await;
    assert_eq!(contents(&report), (1, 0, 0, 0));
    assert_eq!((report.requests.head, report.bytes_in), (1, 0));
    assert_eq!(there.mode("run"), 0o755);
    assert_eq!(there.read("run").unwrap(), "#!/bin/sh\n");
    assert!(
        there.contents_opened() <= inode + 1,
        "opened to change its mode"
    );
    assert!(here.settle().await.is_quiet());
}

#[tokio::test]
async fn a_touched_file_is_not_sent() {
    let (here, there) = two().await;
    set_modified(&here, "run", UNIX_EPOCH + Duration::from_secs(7));
    let report = here.settle().await;
    assert!(report.is_quiet());
    assert_eq!(report.requests.put, 0);
    assert!(there.settle().await.is_quiet());
}

#[tokio::test]
async fn mode_and_time_come_back_in_an_empty_directory() {
    let here = fixture().await;
    for (number, mode) in [0o600, 0o640, 0o755, 0o444, 0o400].into_iter().enumerate() {
        let path = format!("f{number}");
        here.write(&path, "x");
        let time = Duration::new(1_500_000_000, 123_456_789) * u32::try_from(number + 1).unwrap();
        set_modified(&here, &path, UNIX_EPOCH + time);
        here.chmod(&path, mode);
    }
    here.write("before", "x");
    set_modified(&here, "before", UNIX_EPOCH - Duration::new(3, 250_000_000));
    here.settle().await;
    let there = here.replica().await;
    there.settle().await;
    for path in ["f0", "f1", "f2", "f3", "f4", "before"] {
        assert_eq!(there.mode(path), here.mode(path), "{path}");
        assert_eq!(modified(&there, path), modified(&here, path), "{path}");
    }
}

#[tokio::test]
async fn set_user_id_is_neither_sent_nor_restored() {
    let here = fixture().await;
    here.write("f", "x");
    here.chmod("f", 0o6755);
    here.insert_with("g", "x", &[("mode", "104755")]);
    here.settle().await;
    assert_eq!(here.metadata("f", "mode").unwrap(), "100755");
    assert_eq!(here.mode("g"), 0o755);
    here.chmod("f", 0o755);
    assert!(here.settle().await.is_quiet());
}

#[tokio::test]
async fn a_chmod_here_and_an_edit_there_both_stand() {
    let (here, there) = two().await;
    there.write("run", "edited there");
    there.settle().await;
    here.chmod("run", 0o750);
    let report = here.pass(Direction::Sync).await;
    assert!(report.conflicts.is_empty());
    assert_eq!(here.read("run").unwrap(), "edited there");
    assert_eq!(here.mode("run"), 0o750);
    here.settle().await;
    there.settle().await;
    assert_eq!(there.mode("run"), 0o750);
    assert!(here.settle().await.is_quiet());
}

#[tokio::test]
async fn an_edit_here_and_a_chmod_there_both_stand() {
    let (here, there) = two().await;
    there.chmod("run", 0o711);
    there.settle().await;
    here.write("run", "edited here");
    let report = here.settle().await;
    assert!(report.conflicts.is_empty());
    assert_eq!((here.mode("run"), report.uploaded.len()), (0o711, 1));
    assert_eq!(here.object("run").unwrap(), "edited here");
    there.settle().await;
    assert_eq!(there.read("run").unwrap(), "edited here");
    assert_eq!(there.mode("run"), 0o711);
}

#[tokio::test]
async fn of_two_chmods_the_one_here_stands() {
    let (here, there) = two().await;
    there.chmod("run", 0o711);
    there.settle().await;
    here.chmod("run", 0o750);
    here.settle().await;
    assert_eq!(here.mode("run"), 0o750);
    there.settle().await;
    assert_eq!(there.mode("run"), 0o750);
}

#[tokio::test]
async fn an_object_that_is_written_again_as_it_was_costs_one_head() {
    let (here, _) = two().await;
    let mode = here.metadata("run", "mode").unwrap();
    here.insert_with("run", "#!/bin/sh\n", &[("mode", &mode)]);
    let report = here.pass(Direction::Sync).await;
    assert!(report.is_quiet());
    assert_eq!((report.requests.head, report.requests.get), (1, 0));
    here.settle().await;
    // Written without any attributes: nothing says that the mode is another one.
    here.insert("run", "#!/bin/sh\n");
    here.pass(Direction::Sync).await;
    assert_eq!(here.mode("run"), 0o644);
    here.settle().await;
}

#[tokio::test]
async fn a_chmod_there_changes_no_other_name_of_the_file() {
    let (here, there) = two().await;
    std::fs::hard_link(here.full("run"), here.full("other")).unwrap();
    here.settle().await;
    there.settle().await;
    there.chmod("run", 0o755);
    there.settle().await;
    here.settle().await;
    assert_eq!((here.mode("run"), here.mode("other")), (0o755, 0o644));
    assert_eq!(here.metadata("other", "mode").unwrap(), "100644");
}

#[tokio::test]
async fn attributes_that_make_no_sense_are_ignored() {
    let here = fixture().await;
    for (path, metadata) in [
        ("a", [("mtime", "292277026596"), ("mode", "0777777")]),
        ("b", [("mtime", "-9e99"), ("mode", "\0")]),
        ("c", [("mtime", ""), ("mode", "040755")]),
        ("d", [("mtime", "NaN"), ("mode", "0000")]),
        (
            "e",
            [
                ("mc-attrs", "mode:x/mtime:#/"),
                ("file-mtime", "99999999999999999999ns"),
            ],
        ),
        ("f", [("mtime", "9223372036.999999999"), ("mode", "-1")]),
    ] {
        here.insert_with(path, "x", &metadata);
    }
    let report = here.settle().await;
    assert_eq!(report.downloaded.len(), 6);
    for path in ["a", "b", "c", "d", "e"] {
        assert_eq!(here.mode(path), 0o644, "{path}");
    }
}

#[tokio::test]
async fn one_direction_applies_modes_only_that_way() {
    let (here, there) = two().await;
    there.chmod("run", 0o755);
    there.settle().await;
    let push = PassRequest::everything(Direction::Push);
    let progress = super::fixture::progress();
    let report = here.session.pass(&push, &progress).await.unwrap();
    assert_eq!((report.requests.head, here.mode("run")), (0, 0o644));
    here.pass(Direction::Pull).await;
    assert_eq!(here.mode("run"), 0o755);
    here.chmod("run", 0o700);
    assert!(here.pass(Direction::Pull).await.is_quiet());
    assert_eq!(here.pass(Direction::Push).await.uploaded.len(), 1);
}

#[tokio::test]
async fn a_rule_for_programs_makes_them_executable_and_sends_no_absence_of_the_bits() {
    let here = fixture().await;
    here.insert_with("tools/run", "x", &[("mode", "100640")]);
    here.settle().await;
    assert_eq!(here.mode("tools/run"), 0o750);
    here.chmod("tools/run", 0o640);
    assert!(here.settle().await.is_quiet());
    here.chmod("tools/run", 0o700);
    assert_eq!(here.settle().await.uploaded.len(), 1);
    assert_eq!(here.metadata("tools/run", "mode").unwrap(), "100700");
    here.insert_with("tools/run", "x", &[("mode", "100600")]);
    here.pass(Direction::Sync).await;
    assert_eq!(here.mode("tools/run"), 0o700);
}

/// Somebody else's change follows our own write before we see a listing.
#[tokio::test]
async fn a_chmod_there_right_after_a_write_of_ours_is_seen() {
    let (here, _) = two().await;
    here.write("run", "mine");
    here.settle_push().await;
    here.insert_with("run", "mine", &[("mode", "100711")]);
    here.pass(Direction::Sync).await;
    assert_eq!(here.mode("run"), 0o711);
    here.settle().await;
}

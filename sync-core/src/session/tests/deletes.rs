//! Tombstones and brakes.

use super::fixture::{Fixture, fixture, progress};
use crate::{
    guard::Approval,
    path::RelPath,
    report::Report,
    session::{Direction, Dirty, PassRequest},
};

fn vanish(fixture: &Fixture, path: &str) {
    fixture.store.remove(&format!("agents/a/{path}"));
}

async fn push(fixture: &Fixture, paths: &[String]) -> Report {
    let dirty = paths.iter().map(|path| RelPath::new(path).unwrap());
    fixture
        .session
        .push_dirty(
            &fixture.session.mounts()[0],
            Dirty::Paths(dirty.collect()),
            &progress(),
        )
        .await
        .unwrap()
        .0
}

fn names(directory: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range
        .map(|number| format!("{directory}/f{number}"))
        .collect()
}

async fn with_files(directory: &str, count: u32) -> Fixture {
    let fixture = fixture().await;
    for (number, name) in names(directory, 0..count).iter().enumerate() {
        fixture.write(name, &format!("content {number}"));
    }
    fixture.settle().await;
    fixture
}

#[tokio::test]
async fn a_version_that_was_deleted_a_moment_ago_does_not_come_back_by_itself() {
    let fixture = fixture().await;
    fixture.write("deleted here", "old");
    fixture.write("deleted there", "old");
    fixture.write("keep", "old");
    fixture.settle().await;
    fixture.remove("deleted here");
    vanish(&fixture, "deleted there");
    fixture.settle().await;
    // A replica that lags shows both once more.
    fixture.store.echo("agents/a/deleted here");
    fixture.store.echo("agents/a/deleted there");
    fixture.settle().await;
    assert_eq!(fixture.read("deleted here"), None);
    assert_eq!(fixture.read("deleted there"), None);
    // Nobody deletes them either: it may have been put back.
    assert_eq!(fixture.object("deleted here").unwrap(), "old");
    assert_eq!(fixture.object("deleted there").unwrap(), "old");
}

#[tokio::test]
async fn the_same_content_that_is_put_back_on_purpose_comes_at_once() {
    let fixture = fixture().await;
    for path in ["deleted here", "deleted there", "keep"] {
        fixture.write(path, "old");
    }
    fixture.settle().await;
    fixture.remove("deleted here");
    vanish(&fixture, "deleted there");
    fixture.settle().await;
    fixture.insert("deleted here", "old");
    fixture.insert("deleted there", "old");
    fixture.settle().await;
    assert_eq!(fixture.read("deleted here").unwrap(), "old");
    assert_eq!(fixture.read("deleted there").unwrap(), "old");
}

#[tokio::test]
async fn who_asks_for_the_path_gets_it_though_it_was_deleted_a_moment_ago() {
    let fixture = fixture().await;
    fixture.write("a", "old");
    fixture.write("keep", "old");
    fixture.settle().await;
    fixture.remove("a");
    fixture.settle().await;
    fixture.insert("a", "old");
    let request = fixture
        .session
        .request(Direction::Pull, &["a".to_owned()])
        .unwrap();
    fixture.session.pass(&request, &progress()).await.unwrap();
    assert_eq!(fixture.read("a").unwrap(), "old");
    fixture.settle().await;
}

#[tokio::test]
async fn another_version_in_place_of_a_deleted_one_comes_at_once() {
    let fixture = fixture().await;
    fixture.write("a", "old");
    fixture.write("keep", "old");
    fixture.settle().await;
    fixture.remove("a");
    fixture.settle().await;
    fixture.insert("a", "new");
    fixture.settle().await;
    assert_eq!(fixture.read("a").unwrap(), "new");
}

#[tokio::test]
async fn a_file_written_again_in_place_of_a_deleted_one_is_sent_and_an_object_that_is_there_is_kept()
 {
    let fixture = fixture().await;
    fixture.write("a", "old");
    fixture.write("b", "old");
    fixture.write("keep", "old");
    fixture.settle().await;
    fixture.remove("a");
    fixture.remove("b");
    fixture.settle().await;
    fixture.write("a", "again");
    fixture.write("b", "again");
    fixture.insert("b", "old");
    let report = fixture.settle().await;
    assert_eq!(fixture.object("a").unwrap(), "again");
    assert_eq!(fixture.object("b").unwrap(), "again");
    assert_eq!(fixture.read(&report.conflicts[0].copy).unwrap(), "old");
}

#[tokio::test]
async fn a_directory_of_200_files_renamed_here_does_not_trip_the_brake() {
    let fixture = with_files("old", 200).await;
    std::fs::rename(
        fixture.dir.path().join("old"),
        fixture.dir.path().join("new"),
    )
    .unwrap();
    let report = fixture.settle().await;
    assert!(report.held.is_empty());
    assert_eq!(report.deleted_remote.len(), 200);
    assert_eq!(fixture.object("new/f7").unwrap(), "content 7");
    // Nor do its halves count later.
    for name in names("new", 0..40) {
        fixture.remove(&name);
    }
    assert!(fixture.settle().await.held.is_empty());
}

#[tokio::test]
async fn a_directory_of_200_files_renamed_in_the_bucket_does_not_trip_the_brake() {
    let fixture = with_files("old", 200).await;
    for (from, to) in names("old", 0..200).iter().zip(names("new", 0..200)) {
        fixture.insert(&to, &fixture.object(from).unwrap());
        vanish(&fixture, from);
    }
    let report = fixture.settle().await;
    assert!(report.held.is_empty());
    assert_eq!(report.deleted_local.len(), 200);
    assert_eq!(fixture.read("new/f7").unwrap(), "content 7");
    assert_eq!(fixture.read("old/f7"), None);
}

#[tokio::test]
async fn a_directory_copied_here_and_removed_does_not_trip_the_brake() {
    let fixture = with_files("old", 60).await;
    for (from, to) in names("old", 0..60).iter().zip(names("new", 0..60)) {
        fixture.write(&to, &fixture.read(from).unwrap());
    }
    std::fs::remove_dir_all(fixture.dir.path().join("old")).unwrap();
    let report = fixture.settle().await;
    assert!(report.held.is_empty());
    assert_eq!(report.deleted_remote.len(), 60);
}

#[tokio::test]
async fn one_copy_makes_up_for_one_deleted_file_only() {
    let fixture = fixture().await;
    for name in names("old", 0..60) {
        fixture.write(&name, "all the same");
    }
    fixture.settle().await;
    for name in names("old", 0..60) {
        vanish(&fixture, &name);
    }
    fixture.insert("new", "all the same");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(report.held.len(), 60);
    assert_eq!(fixture.read("old/f0").unwrap(), "all the same");
}

#[tokio::test]
async fn deletes_in_small_portions_are_held_too_and_an_approval_starts_the_count_anew() {
    let fixture = with_files("d", 120).await;
    for name in names("d", 0..40) {
        fixture.remove(&name);
    }
    assert_eq!(
        push(&fixture, &names("d", 0..40))
            .await
            .deleted_remote
            .len(),
        40
    );
    for name in names("d", 40..80) {
        fixture.remove(&name);
    }
    let report = push(&fixture, &names("d", 40..80)).await;
    assert_eq!(report.held.len(), 40);
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(
        report.held.len(),
        40,
        "a pass over everything knows of them"
    );
    // A new session too.
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.pass(Direction::Sync).await.held.len(), 40);
    let approved = PassRequest {
        approval: Approval::Given,
        ..PassRequest::everything(Direction::Sync)
    };
    let report = fixture.session.pass(&approved, &progress()).await.unwrap();
    assert_eq!(report.deleted_remote.len(), 40);
    fixture.remove("d/f100");
    assert!(fixture.settle().await.held.is_empty());
}

#[tokio::test]
async fn a_brake_releases_itself_when_its_cause_is_gone() {
    let fixture = with_files("d", 60).await;
    let aside = tempfile::tempdir().unwrap();
    let (here, there) = (fixture.dir.path().join("d"), aside.path().join("d"));
    std::fs::rename(&here, &there).unwrap();
    assert_eq!(fixture.pass(Direction::Sync).await.held.len(), 60);
    std::fs::rename(&there, &here).unwrap();
    assert!(fixture.settle().await.is_quiet());
}

#[tokio::test]
async fn a_dry_run_and_a_look_at_what_is_unsent_leave_the_count_alone() {
    let fixture = with_files("d", 120).await;
    for name in names("d", 0..40) {
        fixture.remove(&name);
    }
    let everything = PassRequest::everything(Direction::Sync);
    for _ in 0..3 {
        let report = fixture
            .session
            .plan(&everything, &progress())
            .await
            .unwrap();
        assert!(report.held.is_empty());
        assert_eq!(fixture.session.unsent().len(), 40);
    }
    assert_eq!(fixture.settle().await.deleted_remote.len(), 40);
}

//! Files that become directories and directories that become files, on either side: the cases of the semantics
//! document's section "When the kind changes".

use super::fixture::{Fixture, fixture};
use crate::{report::ProblemKind, session::Direction};

fn make_directory(fixture: &Fixture, path: &str) {
    std::fs::remove_file(fixture.dir.path().join(path)).unwrap();
    std::fs::create_dir(fixture.dir.path().join(path)).unwrap();
}

fn make_file(fixture: &Fixture, path: &str, content: &str) {
    std::fs::remove_dir_all(fixture.dir.path().join(path)).unwrap();
    fixture.write(path, content);
}

fn vanish(fixture: &Fixture, path: &str) {
    fixture.store.remove(&format!("agents/a/{path}"));
}

#[tokio::test]
async fn a_file_that_became_a_directory_here_becomes_one_in_the_bucket() {
    let fixture = fixture().await;
    fixture.write("x", "old");
    fixture.settle().await;
    make_directory(&fixture, "x");
    fixture.write("x/y", "new");
    let report = fixture.settle().await;
    assert!(report.problems.is_empty());
    assert_eq!(fixture.object("x"), None);
    assert_eq!(fixture.object("x/y").unwrap(), "new");
}

#[tokio::test]
async fn a_directory_that_became_a_file_here_becomes_one_in_the_bucket() {
    let fixture = fixture().await;
    fixture.write("x/y", "old");
    fixture.write("x-b", "between in byte order");
    fixture.settle().await;
    make_file(&fixture, "x", "new");
    let report = fixture.settle().await;
    assert!(report.problems.is_empty() && report.conflicts.is_empty());
    assert_eq!(fixture.object("x/y"), None);
    assert_eq!(fixture.object("x").unwrap(), "new");
}

#[tokio::test]
async fn a_file_that_became_a_directory_in_the_bucket_becomes_one_here_in_the_same_pass() {
    let fixture = fixture().await;
    fixture.write("x", "old");
    fixture.write("x-b", "between in byte order");
    fixture.settle().await;
    vanish(&fixture, "x");
    fixture.insert("x/y", "new");
    let report = fixture.settle().await;
    assert_eq!(report.problems, []);
    assert_eq!(fixture.read("x/y").unwrap(), "new");
}

#[tokio::test]
async fn a_directory_that_became_a_file_in_the_bucket_becomes_one_here_in_the_same_pass() {
    let fixture = fixture().await;
    fixture.write("x/y", "old");
    fixture.write("x/deep/z", "old");
    fixture.settle().await;
    vanish(&fixture, "x/y");
    vanish(&fixture, "x/deep/z");
    fixture.insert("x", "new");
    let report = fixture.settle().await;
    assert_eq!(report.problems, []);
    assert_eq!(fixture.read("x").unwrap(), "new");
}

#[tokio::test]
async fn a_directory_of_which_something_stays_keeps_the_buckets_file_away() {
    let fixture = fixture().await;
    fixture.write("x/y", "old");
    fixture.settle().await;
    vanish(&fixture, "x/y");
    fixture.insert("x", "file");
    fixture.write("x/mine", "new here");
    for _ in 0..2 {
        let report = fixture.pass(Direction::Sync).await;
        let problem = &report.problems[0];
        assert_eq!(
            (&*problem.path, problem.kind),
            ("x", ProblemKind::Unsupported)
        );
        assert!(report.downloaded.is_empty() && report.deleted_remote.is_empty());
    }
    assert_eq!(fixture.object("x").unwrap(), "file");
    assert_eq!(fixture.object("x/mine").unwrap(), "new here");
    // One of them moved away, everything comes to rest.
    std::fs::remove_dir_all(fixture.dir.path().join("x")).unwrap();
    fixture.settle().await;
    assert_eq!(fixture.read("x").unwrap(), "file");
}

#[tokio::test]
async fn a_changed_file_where_the_bucket_has_a_directory_goes_by_who_is_preferred() {
    let fixture = fixture().await;
    fixture.write("mine", "old");
    fixture.write("skills/theirs", "old");
    fixture.write("skills/new", "was never there");
    fixture.settle().await;
    for path in ["mine", "skills/theirs"] {
        fixture.write(path, "edited here");
        vanish(&fixture, path);
        fixture.insert(&format!("{path}/y"), "new there");
    }
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(fixture.object("mine").unwrap(), "edited here");
    assert_eq!(fixture.object("mine/y").unwrap(), "new there");
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].path, "mine");
    assert_eq!(fixture.read("skills/theirs/y").unwrap(), "new there");
    assert_eq!(report.conflicts.len(), 1);
    let copy = &report.conflicts[0].copy;
    assert_eq!(fixture.read(copy).unwrap(), "edited here");
    assert_eq!(fixture.object(copy).unwrap(), "edited here");
    let again = fixture.pass(Direction::Sync).await;
    assert_eq!(again.problems, report.problems);
    assert!(again.conflicts.is_empty() && again.uploaded.is_empty());
}

#[tokio::test]
async fn a_directory_against_a_changed_object_moves_neither() {
    let fixture = fixture().await;
    fixture.write("x", "old");
    fixture.settle().await;
    make_directory(&fixture, "x");
    fixture.write("x/y", "new here");
    fixture.insert("x", "new there");
    for _ in 0..2 {
        let report = fixture.pass(Direction::Sync).await;
        assert_eq!(report.problems.len(), 1);
        assert_eq!(fixture.object("x").unwrap(), "new there");
        assert_eq!(fixture.object("x/y").unwrap(), "new here");
    }
}

#[tokio::test]
async fn an_object_beside_a_directory_of_its_name_is_reported_and_nothing_flaps() {
    let fixture = fixture().await;
    fixture.insert("x", "file");
    fixture.insert("x/y", "below");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(fixture.read("x/y").unwrap(), "below");
    for _ in 0..2 {
        let report = fixture.pass(Direction::Sync).await;
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(report.problems[0].kind, ProblemKind::Unsupported);
        assert!(report.downloaded.is_empty() && report.uploaded.is_empty());
    }
    assert_eq!(fixture.object("x").unwrap(), "file");
    assert_eq!(fixture.object("x/y").unwrap(), "below");
}

#[tokio::test]
async fn what_is_only_pulled_makes_way_for_the_buckets_directory() {
    let fixture = fixture().await;
    fixture.write("pulled/x", "made here");
    fixture.insert("pulled/x/y", "there");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(fixture.read("pulled/x/y").unwrap(), "there");
    assert_eq!(
        fixture.read(&report.conflicts[0].copy).unwrap(),
        "made here"
    );
    assert!(fixture.settle().await.is_quiet());
}

#[tokio::test]
async fn a_directory_that_became_a_link_deletes_nothing_and_is_reported() {
    let fixture = fixture().await;
    fixture.write("x/y", "old");
    fixture.settle().await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::remove_dir_all(fixture.dir.path().join("x")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), fixture.dir.path().join("x")).unwrap();
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].path, "x");
    assert_eq!(fixture.object("x/y").unwrap(), "old");
}

#[tokio::test]
async fn a_plan_tells_what_makes_way() {
    let fixture = fixture().await;
    fixture.write("pulled/x", "made here");
    fixture.insert("pulled/x/y", "there");
    let request = crate::session::PassRequest::everything(Direction::Sync);
    let report = fixture
        .session
        .plan(&request, &super::fixture::progress())
        .await
        .unwrap();
    assert_eq!(report.conflicts[0].path, "pulled/x");
    assert_eq!(report.downloaded[0].path, "pulled/x/y");
}

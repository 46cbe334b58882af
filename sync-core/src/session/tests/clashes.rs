//! A file and a directory of one name; keys that are no files.

use super::fixture::{Fixture, fixture};
use crate::{report::ProblemKind, session::Direction};

fn problem_paths(report: &crate::report::Report) -> Vec<&str> {
    report
        .problems
        .iter()
        .inspect(|problem| assert_eq!(problem.kind, ProblemKind::Unsupported))
        .map(|problem| &*problem.path)
        .collect()
}

async fn with_both() -> Fixture {
    let here = fixture().await;
    for path in ["x", "x!", "x/y", "x/z/w", "x0", "y", "y/x"] {
        here.insert(path, path);
    }
    here
}

#[tokio::test]
async fn of_a_file_and_a_directory_in_the_bucket_the_directory_is_brought() {
    let here = with_both().await;
    let report = here.settle_with_problems().await;
    assert_eq!(problem_paths(&report), ["x", "y"]);
    assert_eq!(report.downloaded.len(), 5);
    assert_eq!(here.read("x/z/w").unwrap(), "x/z/w");
    let report = here.pass(Direction::Sync).await;
    assert_eq!(problem_paths(&report), ["x", "y"]);
    let requests = report.requests;
    assert_eq!((requests.get, requests.head, requests.put), (0, 0, 0));
    assert_eq!(here.object("x").unwrap(), "x");
    // The directory goes, and the file takes its place.
    for path in ["x/y", "x/z/w"] {
        here.store.remove(&format!("agents/a/{path}"));
    }
    assert_eq!(problem_paths(&here.pass(Direction::Sync).await), ["y"]);
    assert_eq!(here.read("x").unwrap(), "x");
}

#[tokio::test]
async fn what_is_here_stays_when_the_bucket_gets_the_other() {
    let here = fixture().await;
    here.write("file", "mine");
    here.write("dir/a", "mine");
    here.settle().await;
    here.insert("file/below", "theirs");
    here.insert("file/below2", "theirs");
    here.insert("dir", "theirs");
    let report = here.settle_with_problems().await;
    assert_eq!(problem_paths(&report), ["dir", "file"]);
    assert_eq!((report.requests.get, report.downloaded.len()), (0, 0));
    assert_eq!(here.read("file").unwrap(), "mine");
    assert_eq!(here.read("dir/a").unwrap(), "mine");
    assert_eq!(here.store.keys().len(), 5, "nothing of either is removed");
    here.write("file", "edited");
    here.write("dir/a", "edited");
    let report = here.settle_with_problems().await;
    assert_eq!(report.uploaded.len(), 2);
    assert_eq!(here.object("file").unwrap(), "edited");
    // Made room for.
    here.remove("file");
    here.settle_with_problems().await;
    here.settle_with_problems().await;
    assert_eq!(here.read("file/below2").unwrap(), "theirs");
}

#[tokio::test]
async fn changes_of_type_in_the_bucket_are_followed_in_one_pass() {
    let here = fixture().await;
    here.write("file", "old");
    here.write("dir/a", "old");
    here.write("dir/b/c", "old");
    here.settle().await;
    here.store.remove("agents/a/file");
    here.insert("file/below", "new");
    here.store.remove("agents/a/dir/a");
    here.store.remove("agents/a/dir/b/c");
    here.insert("dir", "new");
    here.settle().await;
    assert_eq!(here.read("file/below").unwrap(), "new");
    assert_eq!(here.read("dir").unwrap(), "new");
    assert!(!here.full(".sync-conflicts").exists());
}

#[tokio::test]
async fn an_edited_file_does_not_make_room_for_a_directory() {
    let here = fixture().await;
    here.write("file", "old");
    here.settle().await;
    here.store.remove("agents/a/file");
    here.insert("file/below", "new");
    here.write("file", "edited");
    let report = here.settle_with_problems().await;
    assert_eq!(problem_paths(&report), ["file"]);
    assert_eq!(here.read("file").unwrap(), "edited");
    assert_eq!(here.object("file").unwrap(), "edited");
    assert_eq!(here.object("file/below").unwrap(), "new");
}

#[tokio::test]
async fn an_empty_directory_in_the_way_is_left_alone() {
    let here = fixture().await;
    std::fs::create_dir(here.full("x")).unwrap();
    here.insert("x", "theirs");
    let report = here.settle_with_problems().await;
    assert_eq!(problem_paths(&report), ["x"]);
    assert!(here.full("x").is_dir());
    std::fs::remove_dir(here.full("x")).unwrap();
    here.settle().await;
    assert_eq!(here.read("x").unwrap(), "theirs");
}

#[tokio::test]
async fn empty_directories_are_left_alone_on_both_sides() {
    let here = fixture().await;
    std::fs::create_dir_all(here.full("empty/deep")).unwrap();
    here.insert("marker/", "");
    here.settle().await;
    assert!(here.full("empty/deep").is_dir());
    assert!(!here.full("marker").exists());
    assert_eq!(here.store.keys(), ["agents/a/marker/"]);
}

#[tokio::test]
async fn a_directory_marker_with_content_is_reported() {
    let here = fixture().await;
    here.insert("marker/", "content");
    here.insert("marker/x", "x");
    let report = here.pass(Direction::Sync).await;
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].kind, ProblemKind::UnsafePath);
    assert_eq!(report.problems[0].path, "marker/");
    assert_eq!(here.read("marker/x").unwrap(), "x");
}

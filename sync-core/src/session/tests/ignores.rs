//! What is ignored, newly ignored, and ignored no more: the cases of the semantics document's section "Ignore files".

use super::fixture::{Fixture, fixture, progress};
use crate::{
    path::RelPath,
    report::{ProblemKind, Report},
    session::{Direction, Dirty},
};

const FILE: &str = ".hiclawignore";

fn vanish(fixture: &Fixture, path: &str) {
    fixture.store.remove(&format!("agents/a/{path}"));
}

async fn push_everything(fixture: &Fixture) -> Report {
    fixture
        .session
        .push_dirty(&fixture.session.mounts()[0], Dirty::Everything, &progress())
        .await
        .unwrap()
        .0
}

#[tokio::test]
async fn what_is_ignored_is_neither_pushed_nor_pulled_and_the_ignore_file_travels() {
    let fixture = fixture().await;
    fixture.write(FILE, "*.log\nbuild/\n");
    fixture.write("a.log", "here");
    fixture.write("build/deep/x", "here");
    fixture.write("kept", "here");
    fixture.insert("b.log", "there");
    fixture.insert("build/y", "there");
    fixture.settle().await;
    assert_eq!(fixture.object("a.log"), None);
    assert_eq!(fixture.object("build/deep/x"), None);
    assert_eq!(fixture.read("b.log"), None);
    assert_eq!(fixture.read("build/y"), None);
    assert_eq!(fixture.object("kept").unwrap(), "here");
    assert_eq!(fixture.object(FILE).unwrap(), "*.log\nbuild/\n");
}

#[tokio::test]
async fn a_path_newly_ignored_stays_on_both_sides_whatever_becomes_of_the_other() {
    let fixture = fixture().await;
    for path in ["data/here", "data/there", "data/both", "kept"] {
        fixture.write(path, "old");
    }
    fixture.settle().await;
    fixture.write(FILE, "data/\n");
    fixture.settle().await;
    fixture.remove("data/here");
    vanish(&fixture, "data/there");
    fixture.insert("data/both", "changed there");
    fixture.settle().await;
    assert_eq!(fixture.object("data/here").unwrap(), "old");
    assert_eq!(fixture.read("data/there").unwrap(), "old");
    assert_eq!(fixture.read("data/both").unwrap(), "old");
}

#[tokio::test]
async fn ignored_deleted_and_no_longer_ignored_deletes_nothing_on_the_other_side() {
    let fixture = fixture().await;
    for path in [
        "data/here",
        "data/there",
        "data/same",
        "data/differ",
        "kept",
    ] {
        fixture.write(path, "old");
    }
    fixture.settle().await;
    fixture.write(FILE, "data/\n");
    fixture.settle().await;
    fixture.remove("data/here");
    vanish(&fixture, "data/there");
    fixture.write("data/differ", "edited here");
    fixture.insert("data/differ", "edited there");
    fixture.settle().await;
    fixture.remove(FILE);
    let report = fixture.settle().await;
    assert!(report.deleted_local.is_empty());
    assert_eq!(report.deleted_remote.len(), 1, "the ignore file itself");
    assert_eq!(fixture.read("data/here").unwrap(), "old");
    assert_eq!(fixture.object("data/there").unwrap(), "old");
    assert_eq!(fixture.object("data/differ").unwrap(), "edited here");
    assert_eq!(
        fixture.read(&report.conflicts[0].copy).unwrap(),
        "edited there"
    );
}

#[tokio::test]
async fn a_push_that_sees_the_ignore_file_forgets_what_it_ignores_before_anything_is_deleted() {
    let fixture = fixture().await;
    fixture.write("data/x", "old");
    fixture.write("kept", "old");
    fixture.settle().await;
    fixture.write(FILE, "data/\n");
    push_everything(&fixture).await;
    fixture.remove("data/x");
    fixture.remove(FILE);
    push_everything(&fixture).await;
    assert_eq!(fixture.object("data/x").unwrap(), "old");
    fixture.settle().await;
    assert_eq!(fixture.read("data/x").unwrap(), "old");
}

#[tokio::test]
async fn an_ignore_file_from_the_bucket_holds_before_anything_else_of_that_pass_moves() {
    let fixture = fixture().await;
    fixture.write("data/known", "old");
    fixture.write("kept", "old");
    fixture.settle().await;
    fixture.insert(FILE, "data/\n*.secret\n");
    fixture.insert("sub/.agentteamsignore", "*\n");
    fixture.insert("data/new", "there");
    fixture.insert("sub/x", "there");
    vanish(&fixture, "data/known");
    fixture.write("mine.secret", "here");
    let report = fixture.settle().await;
    assert_eq!(report.downloaded.len(), 2, "{:?}", report.downloaded);
    assert_eq!(fixture.read("data/new"), None);
    assert_eq!(fixture.read("sub/x"), None);
    assert_eq!(fixture.read("data/known").unwrap(), "old");
    assert_eq!(fixture.object("mine.secret"), None);
}

#[tokio::test]
async fn the_first_pull_into_an_empty_directory_heeds_the_buckets_ignore_file() {
    let fixture = fixture().await;
    fixture.insert(FILE, "big/\n");
    fixture.insert("big/model.bin", "there");
    fixture.insert("SOUL.md", "there");
    fixture.pass(Direction::Pull).await;
    assert_eq!(fixture.read("big/model.bin"), None);
    assert_eq!(fixture.read("SOUL.md").unwrap(), "there");
}

#[tokio::test]
async fn the_local_ignore_file_governs_until_the_buckets_has_come() {
    let fixture = fixture().await;
    fixture.write(FILE, "mine/\n");
    fixture.insert(FILE, "theirs/\n");
    fixture.write("mine/x", "here");
    fixture.write("theirs/x", "here");
    // Unknown paths prefer the local side: its version stands.
    let report = fixture.settle().await;
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!(fixture.object("mine/x"), None);
    assert_eq!(fixture.object("theirs/x").unwrap(), "here");
}

#[tokio::test]
async fn exceptions_below_are_walked_and_ignored_directories_are_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = fixture().await;
    fixture.write(FILE, "logs/*\n!logs/keep/\nclosed/\n");
    fixture.write("logs/x", "here");
    fixture.write("logs/keep/x", "here");
    fixture.write("closed/x", "here");
    let closed = fixture.dir.path().join("closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o0)).unwrap();
    let report = fixture.settle().await;
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(fixture.object("logs/x"), None);
    assert_eq!(fixture.object("logs/keep/x").unwrap(), "here");
}

#[tokio::test]
async fn a_line_that_is_no_pattern_is_a_problem_with_its_number_and_the_others_hold() {
    let fixture = fixture().await;
    fixture.write("d/.hiclawignore", "a\n[oops\n");
    fixture.write("d/a", "here");
    let report = fixture.pass(Direction::Sync).await;
    let problem = &report.problems[0];
    assert_eq!(
        (&*problem.path, problem.kind),
        ("d/.hiclawignore", ProblemKind::Invalid)
    );
    assert!(problem.message.contains("line 2"), "{}", problem.message);
    assert_eq!(fixture.object("d/a"), None);
}

#[tokio::test]
async fn an_ignore_file_that_cannot_be_read_moves_and_forgets_nothing() {
    let fixture = fixture().await;
    fixture.write("d/.hiclawignore", "secret\n");
    fixture.write("d/secret", "here");
    fixture.write("d/x", "old");
    fixture.settle().await;
    fixture.write("d/.hiclawignore", &"secret\n".repeat(200_000));
    fixture.write("d/x", "edited");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(report.problems[0].kind, ProblemKind::Incomplete);
    assert_eq!(fixture.object("d/x").unwrap(), "old");
    assert_eq!(fixture.object("d/secret"), None);
    // Readable again, it goes on as if nothing had been: the delete of a known file travels.
    fixture.write("d/.hiclawignore", "secret\n");
    fixture.remove("d/x");
    fixture.settle().await;
    assert_eq!(fixture.object("d/x"), None);
}

#[tokio::test]
async fn a_named_path_that_is_ignored_is_left_alone() {
    let fixture = fixture().await;
    fixture.write(FILE, "data/\n");
    fixture.insert("data/x", "there");
    let request = fixture
        .session
        .request(Direction::Pull, &["data/x".to_owned()])
        .unwrap();
    let report = fixture.session.pass(&request, &progress()).await.unwrap();
    assert!(report.is_quiet());
    assert_eq!(fixture.read("data/x"), None);
}

#[tokio::test]
async fn a_copy_of_an_ignored_path_stays_where_it_is() {
    let fixture = fixture().await;
    fixture.write("notes", "old");
    fixture.settle().await;
    fixture.write("notes", "here");
    fixture.insert("notes", "there");
    let copy = fixture.settle().await.conflicts[0].copy.clone();
    fixture.write(FILE, "notes\n");
    fixture.settle().await;
    fixture.remove(&copy);
    fixture.settle().await;
    assert_eq!(fixture.object(&copy).unwrap(), "there");
    assert!(RelPath::new(&copy).is_ok());
}

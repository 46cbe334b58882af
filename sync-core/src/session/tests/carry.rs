//! Inner files, which a runtime's agent edits, and the outer file that travels for them. The cases are those of
//! docs/SEMANTICS.md.

use std::time::{Duration, SystemTime};

use super::{
    fixture::{Fixture, fixture, progress},
    *,
};

const INNER: &str = ".inner/AGENTS.md";
const OUTER: &str = "AGENTS.md";

/// Writes a file that was modified so many seconds after the test began, which it took no time to reach.
fn write_at(fixture: &Fixture, path: &str, content: &str, seconds: u64) {
    fixture.write(path, content);
    let file = std::fs::File::options()
        .write(true)
        .open(fixture.dir.path().join(path))
        .unwrap();
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    file.set_modified(begin + Duration::from_secs(seconds))
        .unwrap();
}

/// An outer file that both sides have, and the bridge's copy of it.
async fn bridged() -> Fixture {
    let fixture = fixture().await;
    write_at(&fixture, OUTER, "v1", 10);
    fixture.settle().await;
    write_at(&fixture, INNER, "v1", 20);
    fixture.settle().await;
    fixture
}

fn copies(fixture: &Fixture) -> Vec<String> {
    let conflicts = fixture.session.conflicts();
    let text = |copy: &str| fixture.read(copy).unwrap();
    conflicts.iter().map(|entry| text(&entry.copy)).collect()
}

#[tokio::test]
async fn an_edit_of_the_inner_file_is_carried_and_pushed() {
    let fixture = bridged().await;
    write_at(&fixture, INNER, "edited", 30);
    let report = fixture.settle().await;
    assert_eq!(report.uploaded.len(), 1);
    assert_eq!(fixture.read(OUTER).unwrap(), "edited");
    assert_eq!(fixture.object(OUTER).unwrap(), "edited");
    assert_eq!(fixture.object(INNER), None, "it doesn't travel itself");
    assert_eq!(copies(&fixture), [""; 0], "the version before is known");
}

#[tokio::test]
async fn a_version_from_the_bucket_is_not_undone_by_what_the_bridge_writes() {
    let fixture = bridged().await;
    fixture.insert(OUTER, "v2");
    fixture.settle().await;
    // The bridge had read the old version and writes it late: newer by its time, and no edit.
    write_at(&fixture, INNER, "v1", 4_000_000_000);
    let report = fixture.settle().await;
    assert!(report.is_quiet(), "{report:?}");
    // Then it copies the new one.
    write_at(&fixture, INNER, "v2", 4_000_000_001);
    assert!(fixture.settle().await.is_quiet());
    assert_eq!(fixture.object(OUTER).unwrap(), "v2");
    assert_eq!(fixture.read(OUTER).unwrap(), "v2");
    assert_eq!(copies(&fixture), [""; 0]);
}

#[tokio::test]
async fn an_older_inner_file_is_never_carried() {
    let fixture = fixture().await;
    write_at(&fixture, INNER, "old", 5);
    write_at(&fixture, OUTER, "new", 10);
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "new");
    write_at(&fixture, INNER, "as old", 10);
    assert!(fixture.settle().await.is_quiet());
    assert_eq!(fixture.read(OUTER).unwrap(), "new");
    assert_eq!(copies(&fixture), [""; 0], "nobody knows it for an edit");
}

#[tokio::test]
async fn where_both_were_edited_the_newer_one_stands_and_the_other_is_kept() {
    let fixture = bridged().await;
    write_at(&fixture, OUTER, "outer edit", 30);
    write_at(&fixture, INNER, "inner edit", 40);
    let report = fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "inner edit");
    assert_eq!(copies(&fixture), ["outer edit"]);
    assert_eq!(report.conflicts.len(), 1);
    assert!(
        fixture.object(&report.conflicts[0].copy).is_some(),
        "the copy is pushed in the same pass"
    );

    let fixture = bridged().await;
    write_at(&fixture, INNER, "inner edit", 30);
    write_at(&fixture, OUTER, "outer edit", 40);
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "outer edit");
    assert_eq!(
        copies(&fixture),
        ["inner edit"],
        "the bridge will overwrite it"
    );
    fixture.settle().await;
    assert_eq!(copies(&fixture).len(), 1);
}

#[tokio::test]
async fn an_unsent_outer_version_is_kept_when_nothing_is_remembered() {
    let fixture = fixture().await;
    write_at(&fixture, OUTER, "v1", 10);
    fixture.settle().await;
    write_at(&fixture, OUTER, "unsent", 20);
    write_at(&fixture, INNER, "inner", 30);
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "inner");
    assert_eq!(copies(&fixture), ["unsent"]);
}

#[tokio::test]
async fn a_sent_outer_version_needs_no_copy() {
    let fixture = fixture().await;
    write_at(&fixture, OUTER, "v1", 10);
    fixture.settle().await;
    write_at(&fixture, INNER, "inner", 30);
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "inner");
    assert_eq!(copies(&fixture), [""; 0]);
}

#[tokio::test]
async fn edits_while_the_store_is_away_leave_no_copies_of_each_other() {
    let fixture = bridged().await;
    for (number, content) in ["one", "two", "three"].into_iter().enumerate() {
        write_at(&fixture, INNER, content, 30 + number as u64);
        // A pull carries, and sends nothing.
        fixture.pass(Direction::Pull).await;
        assert_eq!(fixture.read(OUTER).unwrap(), content);
        assert_eq!(fixture.object(OUTER).unwrap(), "v1");
    }
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "three");
    assert_eq!(copies(&fixture), [""; 0]);
}

#[tokio::test]
async fn an_edit_that_meets_a_new_version_from_the_bucket_wins_and_that_one_is_kept() {
    for direction in [Direction::Pull, Direction::Sync] {
        let fixture = bridged().await;
        write_at(&fixture, INNER, "edit", 30);
        fixture.insert(OUTER, "from the controller");
        fixture.pass(direction).await;
        fixture.settle().await;
        assert_eq!(fixture.object(OUTER).unwrap(), "edit", "{direction:?}");
        assert_eq!(copies(&fixture), ["from the controller"], "{direction:?}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_deleted_file_does_not_bring_it_back_and_an_edit_does() {
    let fixture = bridged().await;
    fixture.write("other", "x");
    fixture.settle().await;
    fixture.store.remove("agents/a/AGENTS.md");
    fixture.settle().await;
    assert_eq!(fixture.read(OUTER), None);
    assert!(fixture.read(INNER).is_some());
    write_at(&fixture, INNER, "edited after all", 50);
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "edited after all");
}

#[tokio::test]
async fn before_the_first_pull_an_inner_file_makes_no_outer_one() {
    let fixture = fixture().await;
    write_at(&fixture, INNER, "of another life", 50);
    fixture.insert(OUTER, "from the controller");
    fixture.pass(Direction::Pull).await;
    fixture.write(INNER, "from the controller");
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "from the controller");
    assert_eq!(copies(&fixture), [""; 0]);
}

#[tokio::test]
async fn the_first_inner_file_that_is_there_counts() {
    let fixture = bridged().await;
    write_at(&fixture, ".old/AGENTS.md", "of the old runtime", 90);
    assert!(fixture.settle().await.is_quiet());
    std::fs::remove_file(fixture.dir.path().join(INNER)).unwrap();
    fixture.settle().await;
    assert_eq!(fixture.object(OUTER).unwrap(), "of the old runtime");
}

#[tokio::test]
async fn an_emptied_file_waits_for_what_is_written_into_it() {
    let fixture = bridged().await;
    write_at(&fixture, INNER, "", 30);
    assert!(fixture.settle().await.is_quiet());
    assert_eq!(fixture.read(OUTER).unwrap(), "v1");
}

#[tokio::test]
async fn links_and_directories_are_left_alone() {
    let fixture = bridged().await;
    fixture.remove(INNER);
    fixture.write("elsewhere", "not an inner file");
    let inner = fixture.dir.path().join(INNER);
    std::os::unix::fs::symlink("../elsewhere", &inner).unwrap();
    fixture.settle().await;
    assert_eq!(fixture.read(OUTER).unwrap(), "v1");
    std::fs::remove_file(&inner).unwrap();
    write_at(&fixture, INNER, "edit", 60);
    fixture.remove(OUTER);
    fixture.write("AGENTS.md/in-the-way", "x");
    let report = fixture.pass(Direction::Push).await;
    assert_eq!(
        fixture.read("AGENTS.md/in-the-way").unwrap(),
        "x",
        "{report:?}"
    );
    assert_eq!(fixture.read(INNER).unwrap(), "edit");
}

#[tokio::test]
async fn a_push_of_the_inner_path_sends_the_outer_one_with_one_write() {
    let fixture = bridged().await;
    write_at(&fixture, INNER, "edit", 30);
    let [mount] = fixture.session.mounts() else {
        panic!("one mount")
    };
    let dirty = Dirty::Paths(vec![RelPath::new(INNER).unwrap()]);
    let (report, later) = fixture
        .session
        .push_dirty(mount, dirty, &progress())
        .await
        .unwrap();
    assert!(later.is_empty());
    let requests = report.requests;
    assert_eq!(
        (requests.put, requests.list, requests.head, requests.get),
        (1, 0, 0, 0)
    );
    assert_eq!(fixture.object(OUTER).unwrap(), "edit");
}

#[tokio::test]
async fn a_plan_shows_what_would_be_carried_and_carries_nothing() {
    let fixture = bridged().await;
    write_at(&fixture, INNER, "an edit", 30);
    let request = PassRequest::everything(Direction::Sync);
    let report = fixture.session.plan(&request, &progress()).await.unwrap();
    let [entry] = &report.uploaded[..] else {
        panic!("{report:?}")
    };
    assert_eq!((entry.path.as_str(), entry.bytes), (OUTER, 7));
    assert_eq!(entry.reason.as_deref(), Some("edited as .inner/AGENTS.md"));
    assert_eq!(fixture.read(OUTER).unwrap(), "v1");
}

#[tokio::test]
async fn what_both_held_is_remembered_over_a_restart() {
    let fixture = bridged().await.reopen().await;
    fixture.insert(OUTER, "v2");
    fixture.settle().await;
    let fixture = fixture.reopen().await;
    write_at(&fixture, INNER, "v1", 4_000_000_000);
    assert!(fixture.settle().await.is_quiet());
    assert_eq!(fixture.object(OUTER).unwrap(), "v2");
}

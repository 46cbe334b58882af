//! Passes over a real directory and a store in memory.

mod attributes;
mod carry;
mod changes;
mod clashes;
mod databases;
mod deletes;
mod fixture;
mod ignores;
mod kinds;
mod links;
mod listings;
mod odd_store;
mod parts;
mod places;
mod units;

use std::collections::BTreeMap;

use self::fixture::{fixture, progress, rules};
use super::*;
use crate::{
    layout::{Mount, Rules},
    path::Prefix,
    report::{ProblemKind, Side},
};

#[tokio::test]
async fn new_files_travel_both_ways_and_then_everything_is_quiet() {
    let fixture = fixture().await;
    fixture.write("notes/a.md", "local");
    fixture.insert("skills/web/SKILL.md", "remote");
    let report = fixture.settle().await;
    assert_eq!(fixture.object("notes/a.md").unwrap(), "local");
    assert_eq!(fixture.read("skills/web/SKILL.md").unwrap(), "remote");
    assert_eq!(report.uploaded.len(), 1);
    assert_eq!(report.downloaded[0].group.as_deref(), Some("skills"));
}

#[tokio::test]
async fn edits_and_deletes_travel_both_ways() {
    let fixture = fixture().await;
    for path in ["a", "b", "c", "d", "e"] {
        fixture.write(path, "old");
    }
    fixture.settle().await;
    fixture.write("a", "edited here");
    fixture.insert("b", "edited there");
    fixture.remove("c");
    fixture.store.remove("agents/a/d");
    let report = fixture.settle().await;
    assert_eq!(fixture.object("a").unwrap(), "edited here");
    assert_eq!(fixture.read("b").unwrap(), "edited there");
    assert_eq!(fixture.object("c"), None);
    assert_eq!(fixture.read("d"), None);
    assert_eq!(
        (report.deleted_local.len(), report.deleted_remote.len()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_conflict_keeps_both_versions_and_the_copy_is_in_the_bucket_too() {
    let fixture = fixture().await;
    fixture.write("SOUL.md", "old");
    fixture.write("skills/s", "old");
    fixture.settle().await;
    for path in ["SOUL.md", "skills/s"] {
        fixture.write(path, "here!");
        fixture.insert(path, "there");
    }
    let report = fixture.settle().await;
    assert_eq!(report.conflicts.len(), 2);
    for conflict in &report.conflicts {
        let (winner, loser) = match conflict.winner {
            Side::Local => ("here!", "there"),
            Side::Remote => ("there", "here!"),
        };
        assert_eq!(fixture.read(&conflict.path).unwrap(), winner);
        assert_eq!(fixture.object(&conflict.path).unwrap(), winner);
        assert_eq!(fixture.read(&conflict.copy).unwrap(), loser);
        assert_eq!(fixture.object(&conflict.copy).unwrap(), loser);
    }
}

#[tokio::test]
async fn the_same_content_on_both_sides_is_no_conflict_with_or_without_a_baseline() {
    let mut fixture = fixture().await;
    fixture.write("a", "same");
    fixture.insert("a", "same");
    let report = fixture.settle().await;
    assert!(report.is_quiet());
    assert_eq!(report.requests.get, 0, "the ETag is proof enough");
    fixture.write("a", "both");
    fixture.insert("a", "both");
    assert!(fixture.settle().await.is_quiet());
    fixture = fixture.reopen().await;
    assert!(fixture.settle().await.is_quiet());
}

#[tokio::test]
async fn modify_beats_delete_on_both_sides() {
    let fixture = fixture().await;
    fixture.write("a", "old");
    fixture.write("b", "old");
    fixture.write("c", "old");
    fixture.settle().await;
    fixture.write("a", "edited here");
    fixture.store.remove("agents/a/a");
    fixture.remove("b");
    fixture.insert("b", "edited there");
    fixture.settle().await;
    assert_eq!(fixture.object("a").unwrap(), "edited here");
    assert_eq!(fixture.read("b").unwrap(), "edited there");
}

#[tokio::test]
async fn a_touched_file_whose_object_was_deleted_goes_with_it() {
    let fixture = fixture().await;
    fixture.write("a", "same");
    fixture.write("b", "b");
    fixture.settle().await;
    fixture.write("a", "same");
    fixture.store.remove("agents/a/a");
    fixture.settle().await;
    assert_eq!(fixture.read("a"), None);
}

#[tokio::test]
async fn a_delete_that_may_not_travel_is_remembered() {
    let fixture = fixture().await;
    fixture.insert("tasks/t/spec", "1");
    fixture.insert("tasks/u", "1");
    fixture.settle().await;
    fixture.remove("tasks/t/spec");
    fixture.settle().await;
    assert_eq!(fixture.object("tasks/t/spec").unwrap(), "1");
    assert_eq!(fixture.read("tasks/t/spec"), None);
    fixture.insert("tasks/t/spec", "2");
    fixture.settle().await;
    assert_eq!(fixture.read("tasks/t/spec").unwrap(), "2");
}

#[tokio::test]
async fn what_is_only_pulled_is_restored_when_deleted_and_kept_when_edited() {
    let fixture = fixture().await;
    fixture.insert("pulled/a", "1");
    fixture.insert("pulled/b", "1");
    fixture.settle().await;
    fixture.remove("pulled/a");
    fixture.write("pulled/b", "edited");
    fixture.settle().await;
    assert_eq!(fixture.read("pulled/a").unwrap(), "1");
    assert_eq!(fixture.read("pulled/b").unwrap(), "edited");
    assert_eq!(fixture.object("pulled/b").unwrap(), "1");
    fixture.insert("pulled/b", "2");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(fixture.read("pulled/b").unwrap(), "2");
    assert_eq!(fixture.read(&report.conflicts[0].copy).unwrap(), "edited");
}

#[tokio::test]
async fn excluded_paths_travel_in_neither_direction() {
    let fixture = fixture().await;
    fixture.write("credentials/here", "secret");
    fixture.insert("credentials/there", "secret");
    fixture.insert(".hiclaw/heartbeat", "x");
    assert!(fixture.settle().await.is_quiet());
    assert_eq!(fixture.object("credentials/here"), None);
    assert_eq!(fixture.read("credentials/there"), None);
}

#[tokio::test]
async fn unsafe_keys_are_problems_and_never_written() {
    let fixture = fixture().await;
    for key in [
        "agents/a/../../evil",
        "agents/a/x//y",
        "agents/a//abs",
        "agents/a/n\0ul",
        "agents/a/./dot",
    ] {
        fixture.store.insert(key, "evil");
    }
    fixture.insert("good", "1");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(report.problems.len(), 5);
    assert!(
        report
            .problems
            .iter()
            .all(|problem| problem.kind == ProblemKind::UnsafePath)
    );
    assert_eq!(fixture.read("good").unwrap(), "1");
    assert!(!fixture.dir.path().join("../evil").exists());
}

#[tokio::test]
async fn a_merged_file_takes_the_remote_fields_and_is_never_pushed() {
    let fixture = fixture().await;
    fixture.insert("openclaw.json", r#"{"models":1,"mine":"remote"}"#);
    fixture.write("openclaw.json", r#"{"models":0,"mine":"local"}"#);
    let report = fixture.settle().await;
    assert_eq!(report.merged.len(), 1);
    let merged: serde_json::Value =
        serde_json::from_str(&fixture.read("openclaw.json").unwrap()).unwrap();
    assert_eq!(merged, serde_json::json!({"models": 1, "mine": "local"}));
    assert_eq!(
        fixture.object("openclaw.json").unwrap(),
        r#"{"models":1,"mine":"remote"}"#
    );
}

#[tokio::test]
async fn an_invalid_remote_document_leaves_the_local_one_and_is_reported_until_it_is_mended() {
    let fixture = fixture().await;
    fixture.insert("openclaw.json", r#"{"models":1}"#);
    fixture.settle().await;
    let good = fixture.read("openclaw.json").unwrap();
    fixture.insert("openclaw.json", "{broken");
    for _ in 0..2 {
        let report = fixture.pass(Direction::Pull).await;
        assert_eq!(report.problems[0].kind, ProblemKind::Invalid);
        assert_eq!(fixture.read("openclaw.json").unwrap(), good);
    }
    fixture.insert("openclaw.json", r#"{"models":2}"#);
    assert!(fixture.settle().await.problems.is_empty());
    assert!(fixture.read("openclaw.json").unwrap().contains('2'));
}

#[tokio::test]
async fn an_older_key_is_read_where_the_new_one_is_absent() {
    let fixture = fixture().await;
    fixture.insert("old.json", "legacy");
    fixture.settle().await;
    assert_eq!(fixture.read("config/new.json").unwrap(), "legacy");
    assert_eq!(fixture.read("old.json"), None);
    fixture.insert("config/new.json", "new");
    fixture.settle().await;
    assert_eq!(fixture.read("config/new.json").unwrap(), "new");
}

#[tokio::test]
async fn an_emptied_bucket_or_directory_deletes_nothing_until_it_is_approved() {
    let fixture = fixture().await;
    for index in 0..10 {
        fixture.write(&format!("f{index}"), "x");
    }
    fixture.settle().await;
    for index in 0..10 {
        fixture.store.remove(&format!("agents/a/f{index}"));
    }
    fixture.write("g", "still travels");
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(report.held.len(), 10);
    assert_eq!(fixture.object("g").unwrap(), "still travels");
    assert_eq!(fixture.read("f0").unwrap(), "x");
    let approved = PassRequest {
        approval: Approval::Given,
        ..PassRequest::everything(Direction::Sync)
    };
    let report = fixture.session.pass(&approved, &progress()).await.unwrap();
    assert_eq!(report.deleted_local.len(), 10);
    assert_eq!(fixture.read("f0"), None);
}

#[tokio::test]
async fn a_renamed_directory_does_not_trip_the_brake() {
    let fixture = fixture().await;
    for index in 0..80 {
        fixture.write(&format!("old/f{index}"), "x");
    }
    fixture.write("keep", "x");
    fixture.settle().await;
    std::fs::rename(
        fixture.dir.path().join("old"),
        fixture.dir.path().join("new"),
    )
    .unwrap();
    let report = fixture.settle().await;
    assert!(report.held.is_empty());
    assert_eq!(report.deleted_remote.len(), 80);
    assert_eq!(fixture.object("new/f0").unwrap(), "x");
}

#[tokio::test]
async fn the_two_names_of_a_renamed_directory_may_be_pushed_at_different_times() {
    let fixture = fixture().await;
    for index in 0..80 {
        fixture.write(&format!("old/f{index}"), "x");
    }
    fixture.write("keep", "x");
    fixture.settle().await;
    std::fs::rename(
        fixture.dir.path().join("old"),
        fixture.dir.path().join("new"),
    )
    .unwrap();
    let mount = &fixture.session.mounts()[0];
    for name in ["new", "old"] {
        let dirty = (0..80).map(|index| RelPath::new(format!("{name}/f{index}")).unwrap());
        let (report, _) = fixture
            .session
            .push_dirty(mount, Dirty::Paths(dirty.collect()), &progress())
            .await
            .unwrap();
        assert_eq!(report.held, []);
    }
    assert_eq!(fixture.object("old/f0"), None);
    assert_eq!(fixture.object("new/f79").unwrap(), "x");
}

#[tokio::test]
async fn one_dirty_file_costs_one_put_and_nothing_else() {
    let fixture = fixture().await;
    fixture.write("a", "old");
    fixture.settle().await;
    fixture.write("a", "new");
    let mount = &fixture.session.mounts()[0];
    let (report, unfinished) = fixture
        .session
        .push_dirty(
            mount,
            Dirty::Paths(vec![RelPath::new("a").unwrap()]),
            &progress(),
        )
        .await
        .unwrap();
    assert!(unfinished.is_empty());
    let expected = crate::report::RequestCounts {
        put: 1,
        ..Default::default()
    };
    assert_eq!(report.requests, expected);
    assert_eq!(fixture.object("a").unwrap(), "new");
    assert!(fixture.settle().await.is_quiet());
}

#[tokio::test]
async fn a_dirty_file_that_somebody_else_changed_in_the_bucket_loses_nothing() {
    let fixture = fixture().await;
    fixture.write("a", "old");
    fixture.settle().await;
    fixture.write("a", "here");
    fixture.insert("a", "there");
    let mount = &fixture.session.mounts()[0];
    let (report, _) = fixture
        .session
        .push_dirty(
            mount,
            Dirty::Paths(vec![RelPath::new("a").unwrap()]),
            &progress(),
        )
        .await
        .unwrap();
    assert_eq!(fixture.object("a").unwrap(), "here");
    assert_eq!(fixture.object(&report.conflicts[0].copy).unwrap(), "there");
}

#[tokio::test]
async fn one_direction_leaves_what_would_move_the_other_way() {
    let fixture = fixture().await;
    fixture.write("here", "1");
    fixture.insert("there", "1");
    fixture.pass(Direction::Pull).await;
    assert_eq!(fixture.object("here"), None);
    assert_eq!(fixture.read("there").unwrap(), "1");
    fixture.pass(Direction::Push).await;
    assert_eq!(fixture.object("here").unwrap(), "1");
}

#[tokio::test]
async fn a_second_session_is_refused_while_the_first_is_open() {
    let fixture = fixture().await;
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a").unwrap(),
        local: fixture.dir.path().to_owned(),
        rules: Rules::new(rules()).unwrap(),
    };
    let second = Session::with_mounts(vec![mount], BTreeMap::new(), fixture.store.clone(), 1).await;
    assert!(matches!(
        second,
        Err(SessionError::Mount(MountError::Locked { .. }))
    ));
}

#[tokio::test]
async fn only_the_named_paths_are_looked_at() {
    let fixture = fixture().await;
    fixture.insert("skills/web/SKILL.md", "1");
    fixture.insert("skills/webby", "1");
    fixture.insert("other", "1");
    let texts = ["skills/web".to_owned()];
    let request = fixture.session.request(Direction::Pull, &texts).unwrap();
    let report = fixture.session.pass(&request, &progress()).await.unwrap();
    assert_eq!(report.downloaded.len(), 1);
    assert_eq!(fixture.read("skills/web/SKILL.md").unwrap(), "1");
}

#[tokio::test]
async fn a_mounts_own_directory_means_all_of_it_and_other_places_none() {
    let fixture = fixture().await;
    let workspace = fixture.session.mounts()[0]
        .root
        .path()
        .display()
        .to_string();
    for text in [".", "./", &workspace, &format!("{workspace}/")] {
        let request = fixture
            .session
            .request(Direction::Pull, &[text.to_owned()])
            .unwrap();
        assert_eq!(request.mounts.len(), 1, "{text}");
        assert_eq!(request.paths, [], "{text}");
    }
    for text in ["", "/etc", "../x", "a//b"] {
        let request = fixture.session.request(Direction::Pull, &[text.to_owned()]);
        assert!(request.is_err(), "{text:?}");
    }
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let fixture = fixture().await;
    fixture.insert("a", "1");
    fixture.write("b", "1");
    let report = fixture
        .session
        .plan(&PassRequest::everything(Direction::Sync), &progress())
        .await
        .unwrap();
    assert_eq!((report.downloaded.len(), report.uploaded.len()), (1, 1));
    assert_eq!(
        report.downloaded[0].reason.as_deref(),
        Some("absent here, new in the bucket")
    );
    assert_eq!((fixture.read("a"), fixture.object("b")), (None, None));
}

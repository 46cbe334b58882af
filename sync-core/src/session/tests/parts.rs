//! Plans of several parts.

use std::sync::Arc;

use super::{
    fixture::{open, progress},
    odd_store::{OddStore, bytes},
};
use crate::{
    guard::Approval,
    report::Report,
    session::{Direction, PassRequest, Session},
};

async fn pass(session: &Session, approval: Approval) -> Report {
    let request = PassRequest {
        approval,
        ..PassRequest::everything(Direction::Sync)
    };
    session.pass(&request, &progress()).await.unwrap()
}

#[tokio::test]
async fn a_plan_of_many_parts_does_what_one_of_a_single_part_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 10));
    let session = open(directory.path(), store.clone())
        .await
        .with_part_tasks(1);
    let write = |path: String, content: &str| {
        std::fs::write(directory.path().join(path), content).unwrap();
    };
    for number in 0..30 {
        write(format!("here{number:02}"), "1");
        store
            .inner
            .insert(&format!("agents/a/there{number:02}"), "1");
    }
    let report = pass(&session, Approval::None).await;
    assert_eq!((report.uploaded.len(), report.downloaded.len()), (30, 30));
    assert!(pass(&session, Approval::None).await.is_quiet());
    for number in 0..10 {
        store.inner.remove(&format!("agents/a/here{number:02}"));
        std::fs::remove_file(directory.path().join(format!("there{number:02}"))).unwrap();
        write(format!("here{:02}", number + 10), "22");
        store
            .inner
            .insert(&format!("agents/a/there{:02}", number + 10), "22");
    }
    // A renamed file is sent before the old object goes.
    std::fs::rename(directory.path().join("here29"), directory.path().join("a")).unwrap();
    let report = pass(&session, Approval::None).await;
    assert_eq!((report.uploaded.len(), report.downloaded.len()), (11, 10));
    assert_eq!(
        (report.deleted_local.len(), report.deleted_remote.len()),
        (10, 11)
    );
    assert!(pass(&session, Approval::None).await.is_quiet());
}

#[tokio::test]
async fn what_a_pass_brings_does_not_loosen_its_brakes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 1000));
    let session = open(directory.path(), store.clone())
        .await
        .with_part_tasks(1);
    for number in 0..100 {
        store.inner.insert(&format!("agents/a/z{number:02}"), "1");
    }
    pass(&session, Approval::None).await;
    for number in 0..60 {
        store.inner.remove(&format!("agents/a/z{number:02}"));
    }
    for number in 0..200 {
        store.inner.insert(&format!("agents/a/a{number:03}"), "2");
    }
    let report = pass(&session, Approval::None).await;
    assert_eq!(report.downloaded.len(), 200);
    assert_eq!(report.held.len(), 60, "60 of 100, whatever came meanwhile");
}

#[tokio::test]
async fn thousands_of_held_deletes_are_told_by_number_and_all_go_when_they_are_approved() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 1000));
    let session = open(directory.path(), store.clone()).await;
    for number in 0..2500 {
        store.inner.insert(&format!("agents/a/d/{number}"), "1");
    }
    assert_eq!(pass(&session, Approval::None).await.downloaded.len(), 2500);
    for number in 0..2500 {
        store.inner.remove(&format!("agents/a/d/{number}"));
    }
    let report = pass(&session, Approval::None).await;
    assert!(report.deleted_local.is_empty());
    assert_eq!(report.held.len(), 1001);
    let last = report.held.last().unwrap();
    assert!(last.path.is_empty() && last.reason.starts_with("and 1500 more: "));
    let report = pass(&session, Approval::Given).await;
    assert_eq!(report.deleted_local.len(), 2500);
    assert!(!directory.path().join("d").exists());
    assert!(pass(&session, Approval::None).await.is_quiet());
}

#[tokio::test]
async fn a_dry_run_tells_of_deletes_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 1000));
    let session = open(directory.path(), store.clone())
        .await
        .with_part_tasks(1);
    store.insert(&["a", "b", "c"]);
    pass(&session, Approval::None).await;
    store.inner.remove("agents/a/a");
    std::fs::remove_file(directory.path().join("b")).unwrap();
    store.inner.insert("agents/a/c", "new");
    let request = PassRequest::everything(Direction::Sync);
    for _ in 0..2 {
        let report = session.plan(&request, &progress()).await.unwrap();
        let reason = report.deleted_local[0].reason.as_deref();
        assert_eq!(reason, Some("unchanged here, deleted in the bucket"));
        assert_eq!(report.deleted_remote[0].path, "b");
        assert_eq!(report.downloaded[0].path, "c");
    }
    assert_eq!(session.unsent().len(), 1);
}

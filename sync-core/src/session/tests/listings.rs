//! Listings in whatever order, whole or not.

use std::{path::Path, sync::Arc};

use super::{
    fixture::{open, progress},
    odd_store::{OddStore, bytes, shuffled, tree},
};
use crate::{
    order::ListingOrder,
    report::{ProblemKind, Report},
    session::{Direction, PassRequest, Session},
};

/// Paths that the two known orders put in different places.
const PATHS: [&str; 9] = [
    "a", "d/x", "d-x", "d.x", "d/y/z", "d/y-z", "e e/1", "e/2", "e!/3",
];

async fn pass(session: &Session) -> Report {
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &progress()).await.unwrap()
}

fn local(directory: &Path, path: &str) -> bool {
    directory.join(path).exists()
}

#[tokio::test]
async fn every_order_is_found_out_once_and_remembered() {
    for (arrange, expected) in [
        (bytes as super::odd_store::Arrange, ListingOrder::Bytes),
        (tree, ListingOrder::Tree),
        (shuffled, ListingOrder::SortedHere),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(OddStore::new(arrange, 2));
        store.insert(&PATHS);
        let session = open(directory.path(), store.clone()).await;
        assert_eq!(session.listing_order(), None);
        let report = pass(&session).await;
        assert_eq!(report.downloaded.len(), PATHS.len(), "{expected:?}");
        assert_eq!(session.listing_order(), Some(expected));
        assert_eq!(session.status().listing_order, Some(expected));
        // Nine objects, two on a page: from now on five pages and nothing else.
        expect_five_pages(&session, expected).await;
        drop(session);
        let session = open(directory.path(), store).await;
        expect_five_pages(&session, expected).await;
    }
}

async fn expect_five_pages(session: &Session, order: ListingOrder) {
    let report = pass(session).await;
    assert!(report.is_quiet(), "{order:?}: {report:?}");
    let requests = report.requests;
    assert_eq!((requests.list, requests.head, requests.get), (5, 0, 0));
    assert_eq!(session.listing_order(), Some(order));
}

#[tokio::test]
async fn deletes_travel_in_every_order() {
    for arrange in [bytes as super::odd_store::Arrange, tree, shuffled] {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(OddStore::new(arrange, 2));
        store.insert(&PATHS);
        let session = open(directory.path(), store.clone()).await;
        pass(&session).await;
        store.inner.remove("agents/a/d/x");
        std::fs::remove_file(directory.path().join("d-x")).unwrap();
        let report = pass(&session).await;
        assert_eq!(report.deleted_local.len(), 1);
        assert_eq!(report.deleted_remote.len(), 1);
        assert!(!local(directory.path(), "d/x"));
        assert_eq!(store.inner.content("agents/a/d-x"), None);
        assert!(pass(&session).await.is_quiet());
    }
}

#[tokio::test]
async fn a_store_that_changes_its_order_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(tree, 1000));
    store.insert(&PATHS);
    let session = open(directory.path(), store.clone()).await;
    pass(&session).await;
    for (arrange, expected) in [
        (bytes as super::odd_store::Arrange, ListingOrder::Bytes),
        (tree, ListingOrder::Tree),
        (shuffled, ListingOrder::SortedHere),
        // A few objects in order prove nothing.
        (tree, ListingOrder::SortedHere),
    ] {
        store.arrange(arrange);
        assert!(pass(&session).await.is_quiet());
        assert_eq!(session.listing_order(), Some(expected));
    }
    for number in 0..1000 {
        store.inner.insert(&format!("agents/a/n/{number}"), "n");
    }
    pass(&session).await;
    assert_eq!(session.listing_order(), Some(ListingOrder::Tree));
}

#[tokio::test]
async fn a_key_that_is_listed_twice_is_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 2));
    store.insert(&PATHS);
    let session = open(directory.path(), store.clone()).await;
    pass(&session).await;
    store.arrange(|objects| {
        let twice = |object| [object, object];
        objects.iter().flat_map(twice).cloned().collect()
    });
    assert!(pass(&session).await.is_quiet());
    store.arrange(|objects| [&objects[..], &objects[..]].concat());
    assert!(pass(&session).await.is_quiet());
    assert_eq!(session.listing_order(), Some(ListingOrder::SortedHere));
    assert!(PATHS.iter().all(|path| local(directory.path(), path)));
}

#[tokio::test]
async fn a_listing_with_keys_that_nobody_asked_for_deletes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 1000));
    store.insert(&PATHS);
    let session = open(directory.path(), store.clone()).await;
    pass(&session).await;
    store.insert(&["new"]);
    store.arrange(|mut objects| {
        objects.retain(|object| object.key.ends_with("new"));
        let mut foreign = objects[0].clone();
        foreign.key = "agents/b/SOUL.md".to_owned();
        objects.push(foreign);
        objects
    });
    let report = pass(&session).await;
    assert_eq!(report.downloaded.len(), 1);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].kind, ProblemKind::Incomplete);
    assert!(report.deleted_local.is_empty() && report.held.is_empty());
    assert!(PATHS.iter().all(|path| local(directory.path(), path)));
}

#[tokio::test]
async fn a_listing_that_does_not_go_on_deletes_nothing_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = OddStore::new(bytes, 2);
    store.insert(&PATHS);
    store.stuck_token = Some("2");
    let session = open(directory.path(), Arc::new(store)).await;
    let report = pass(&session).await;
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert!(report.problems[0].message.contains("doesn't go on"));
    assert!(report.downloaded.is_empty());
}

//! Mirrors of a real directory and a store in memory, in both directions.

mod databases;
mod deletes;
mod kinds;
mod stores;

use std::{path::Path, sync::Arc};

use self::stores::{Broken, Parts};
use super::*;
use crate::{
    guard::Approval,
    mirror::{self, Extras},
    progress::{Progress, Silent},
    report::{Report, RequestCounts, Side},
    session::{Direction, Dirty, PassRequest},
    store::memory::MemoryStore,
};

struct Fixture {
    dir: tempfile::TempDir,
    state: tempfile::TempDir,
    store: Arc<MemoryStore>,
    policy: MirrorPolicy,
    exclude: Vec<String>,
}

fn fixture(source: Side) -> Fixture {
    Fixture {
        dir: tempfile::tempdir().unwrap(),
        state: tempfile::tempdir().unwrap(),
        store: Arc::new(MemoryStore::new()),
        policy: MirrorPolicy {
            source,
            extras: Extras::Keep,
            approval: Approval::None,
        },
        exclude: Vec::new(),
    }
}

fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

impl Fixture {
    fn deleting(mut self) -> Self {
        self.policy.extras = Extras::Delete;
        self
    }

    async fn try_open(&self, store: Arc<dyn ObjectStore>) -> Result<Session, SessionError> {
        let spec = MirrorSpec {
            local: self.dir.path().to_owned(),
            prefix: Prefix::new("p").unwrap(),
            policy: self.policy,
            rules: mirror::rules(&self.exclude).unwrap(),
            state: self.state.path().to_owned(),
        };
        Session::mirror(spec, store, 4).await
    }

    async fn open(&self) -> Session {
        self.try_open(self.store.clone()).await.unwrap()
    }

    /// A run of its own, as the command line makes it.
    async fn run(&self) -> Report {
        self.run_on(self.store.clone()).await
    }

    /// The same on another store.
    async fn run_on(&self, store: Arc<dyn ObjectStore>) -> Report {
        let session = self.try_open(store).await.unwrap();
        let request = PassRequest::everything(Direction::Sync);
        session.pass(&request, &silent()).await.unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        write(self.dir.path(), path, content);
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(path)).ok()
    }

    fn insert(&self, path: &str, content: &str) {
        self.store.insert(&format!("p/{path}"), content.to_owned());
    }

    fn object(&self, path: &str) -> Option<String> {
        let content = self.store.content(&format!("p/{path}"))?;
        Some(String::from_utf8(content.to_vec()).unwrap())
    }

    fn forget(&mut self) {
        self.state = tempfile::tempdir().unwrap();
    }
}

fn write(directory: &Path, path: &str, content: &str) {
    let full = directory.join(path);
    std::fs::create_dir_all(full.parent().unwrap()).unwrap();
    std::fs::write(full, content).unwrap();
}

fn paths(entries: &[crate::report::Entry]) -> Vec<&str> {
    let mut paths: Vec<_> = entries.iter().map(|entry| &*entry.path).collect();
    paths.sort_unstable();
    paths
}

#[tokio::test]
async fn a_directory_is_copied_and_what_is_the_same_costs_a_listing_only() {
    let mut fixture = fixture(Side::Local);
    fixture.write("a", "1");
    fixture.write("deep/b", "2");
    fixture.insert("other", "stays");
    let report = fixture.run().await;
    assert_eq!(paths(&report.uploaded), ["a", "deep/b"]);
    assert_eq!(fixture.object("deep/b").as_deref(), Some("2"));
    assert_eq!(fixture.object("other").as_deref(), Some("stays"));
    let quiet = RequestCounts {
        list: 1,
        ..RequestCounts::default()
    };
    let again = fixture.run().await;
    assert!(again.is_quiet(), "{again:?}");
    assert_eq!(again.requests, quiet);
    // Without what was remembered the ETags prove it.
    fixture.forget();
    let again = fixture.run().await;
    assert!(again.is_quiet(), "{again:?}");
    assert_eq!(again.requests, quiet);
    let left = std::fs::read_dir(fixture.dir.path()).unwrap().count();
    assert_eq!(left, 2, "nothing was created in the source");
}

#[tokio::test]
async fn a_prefix_is_copied_to_a_new_directory_that_keeps_no_trace_of_it() {
    let fixture = fixture(Side::Remote);
    fixture.insert("a", "1");
    fixture.insert("deep/b", "2");
    let report = fixture.run().await;
    assert_eq!(paths(&report.downloaded), ["a", "deep/b"]);
    assert_eq!(fixture.read("deep/b").as_deref(), Some("2"));
    assert_eq!(std::fs::read_dir(fixture.dir.path()).unwrap().count(), 2);
    let again = fixture.run().await;
    assert!(again.is_quiet(), "{again:?}");
    assert_eq!((again.requests.get, again.requests.head), (0, 0));
}

#[tokio::test]
async fn newer_content_at_the_destination_is_overwritten_in_either_direction() {
    for source in [Side::Local, Side::Remote] {
        let mut fixture = fixture(source);
        fixture.write("same-size", "here!");
        fixture.insert("same-size", "there");
        fixture.write("other-size", "here");
        fixture.insert("other-size", "over there");
        for round in ["first", "after the cache was lost"] {
            let report = fixture.run().await;
            assert!(report.conflicts.is_empty() && report.problems.is_empty());
            let (first, second) = match source {
                Side::Local => ("here!", "here"),
                Side::Remote => ("there", "over there"),
            };
            for (path, content) in [("same-size", first), ("other-size", second)] {
                assert_eq!(fixture.read(path).as_deref(), Some(content), "{round}");
                assert_eq!(fixture.object(path).as_deref(), Some(content), "{round}");
            }
            fixture.forget();
        }
    }
}

#[tokio::test]
async fn a_version_of_the_same_size_is_found_with_the_cache_too() {
    let fixture = fixture(Side::Local);
    fixture.write("a", "one");
    fixture.run().await;
    fixture.insert("a", "two");
    assert_eq!(paths(&fixture.run().await.uploaded), ["a"]);
    assert_eq!(fixture.object("a").as_deref(), Some("one"));
    fixture.write("a", "six");
    assert_eq!(paths(&fixture.run().await.uploaded), ["a"]);
    assert_eq!(fixture.object("a").as_deref(), Some("six"));
}

#[tokio::test]
async fn extras_are_deleted_only_when_asked_for() {
    for source in [Side::Local, Side::Remote] {
        let fixture = fixture(source);
        fixture.write("both", "1");
        fixture.insert("both", "1");
        fixture.write("dir/here", "2");
        fixture.insert("dir/there", "3");
        fixture.run().await;
        let fixture = fixture.deleting();
        let report = fixture.run().await;
        match source {
            Side::Local => assert_eq!(paths(&report.deleted_remote), ["dir/there"]),
            Side::Remote => assert_eq!(paths(&report.deleted_local), ["dir/here"]),
        }
        assert_eq!(fixture.read("dir/here").is_some(), source == Side::Local);
        assert_eq!(
            fixture.object("dir/there").is_some(),
            source == Side::Remote
        );
        assert!(fixture.run().await.is_quiet());
    }
}

#[tokio::test]
async fn what_is_excluded_is_neither_copied_nor_deleted() {
    let mut fixture = fixture(Side::Local).deleting();
    fixture.exclude = vec!["*.log".to_owned(), "node_modules".to_owned()];
    for path in ["a", "x.log", "web/node_modules/m/i.js"] {
        fixture.write(path, "1");
    }
    fixture.insert("old.log", "2");
    fixture.insert("node_modules/x", "3");
    let report = fixture.run().await;
    assert_eq!(paths(&report.uploaded), ["a"]);
    assert!(report.deleted_remote.is_empty());
}

#[tokio::test]
async fn an_empty_source_deletes_nothing_unless_it_is_approved() {
    for source in [Side::Local, Side::Remote] {
        let mut fixture = fixture(source).deleting();
        match source {
            Side::Local => fixture.insert("only", "1"),
            Side::Remote => fixture.write("only", "1"),
        }
        let report = fixture.run().await;
        assert_eq!(report.held.len(), 1, "{report:?}");
        assert!(report.held[0].reason.contains("--approve"));
        fixture.policy.approval = Approval::Given;
        let report = fixture.run().await;
        assert_eq!(report.deleted_local.len() + report.deleted_remote.len(), 1);
    }
}

#[tokio::test]
async fn a_source_with_little_in_common_deletes_nothing_and_is_copied() {
    let fixture = fixture(Side::Remote).deleting();
    for number in 0..60 {
        fixture.write(&format!("old/{number}"), "1");
    }
    fixture.insert("new", "2");
    let report = fixture.run().await;
    assert_eq!((report.held.len(), report.deleted_local.len()), (60, 0));
    assert_eq!(fixture.read("new").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_failing_listing_changes_nothing() {
    let fixture = fixture(Side::Remote).deleting();
    fixture.write("here", "1");
    let store = Arc::new(Broken(MemoryStore::new()));
    let session = fixture.try_open(store).await.unwrap();
    let request = PassRequest::everything(Direction::Sync);
    assert!(session.pass(&request, &silent()).await.is_err());
    assert!(fixture.read("here").is_some());
}

#[tokio::test]
async fn a_plan_changes_nothing_and_says_why() {
    let fixture = fixture(Side::Remote).deleting();
    fixture.insert("new", "1");
    fixture.insert("same", "2");
    fixture.write("same", "2");
    fixture.write("extra", "3");
    let session = fixture.open().await;
    let request = PassRequest::everything(Direction::Sync);
    let report = session.plan(&request, &silent()).await.unwrap();
    assert_eq!(paths(&report.downloaded), ["new"]);
    assert_eq!(paths(&report.deleted_local), ["extra"]);
    assert_eq!(report.downloaded[0].reason.as_deref(), Some("new"));
    assert!(fixture.read("new").is_none() && fixture.read("extra").is_some());
}

#[tokio::test]
async fn one_mirror_at_a_time_writes_to_a_directory_and_none_to_that_of_an_engine() {
    let fixture = fixture(Side::Remote);
    let first = fixture.open().await;
    assert!(matches!(
        fixture.try_open(fixture.store.clone()).await,
        Err(SessionError::Mount(crate::mount::MountError::Locked { .. }))
    ));
    drop(first);
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a").unwrap(),
        local: fixture.dir.path().to_owned(),
        rules: Rules::new(Vec::new()).unwrap(),
    };
    let engine = Session::with_mounts(
        vec![mount],
        std::collections::BTreeMap::new(),
        fixture.store.clone(),
        4,
    );
    let engine = engine.await.unwrap();
    assert!(matches!(
        fixture.try_open(fixture.store.clone()).await,
        Err(SessionError::Mount(crate::mount::MountError::Locked { .. }))
    ));
    drop(engine);
    drop(fixture.open().await);
    assert!(fixture.dir.path().join(".hiclaw-sync/state.db").exists());
}

#[tokio::test]
async fn a_changed_file_of_a_watched_source_costs_one_put() {
    let fixture = fixture(Side::Local).deleting();
    for path in ["a", "b", "c"] {
        fixture.write(path, "1");
    }
    let session = fixture.open().await;
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &silent()).await.unwrap();
    fixture.write("a", "2");
    std::fs::remove_file(fixture.dir.path().join("b")).unwrap();
    let before = fixture.store.requests();
    let dirty = ["a", "b"].map(|path| crate::path::RelPath::new(path).unwrap());
    let mount = session.mounts()[0].clone();
    let (report, unfinished) = session
        .push_dirty(&mount, Dirty::Paths(dirty.to_vec()), &silent())
        .await
        .unwrap();
    assert_eq!((report.uploaded.len(), report.deleted_remote.len()), (1, 1));
    assert!(unfinished.is_empty());
    let expected = RequestCounts {
        put: 1,
        delete: 1,
        ..RequestCounts::default()
    };
    assert_eq!(fixture.store.requests() - before, expected);
}

#[tokio::test]
async fn a_foreign_version_is_overwritten_only_after_it_was_seen() {
    let fixture = fixture(Side::Local);
    fixture.write("a", "1");
    let session = fixture.open().await;
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &silent()).await.unwrap();
    // Nobody lists in between: the precondition of the write finds it.
    fixture.insert("a", "foreign");
    fixture.write("a", "2");
    let before = fixture.store.requests();
    let mount = session.mounts()[0].clone();
    let dirty = vec![crate::path::RelPath::new("a").unwrap()];
    let (report, _) = session
        .push_dirty(&mount, Dirty::Paths(dirty), &silent())
        .await
        .unwrap();
    assert_eq!(report.uploaded.len(), 1);
    assert_eq!(fixture.object("a").as_deref(), Some("2"));
    let requests = fixture.store.requests() - before;
    assert_eq!((requests.head, requests.put), (1, 2), "{requests:?}");
}

#[tokio::test]
async fn an_object_in_parts_is_proven_by_its_metadata() {
    let fixture = fixture(Side::Remote);
    fixture.write("big", "content");
    let mut hasher = crate::digest::ContentHasher::default();
    hasher.update(b"content");
    let digest = hasher.finish().digest.to_hex();
    let store = Arc::new(Parts(MemoryStore::new(), digest));
    store.0.insert("p/big", "content");
    let session = fixture.try_open(store.clone()).await.unwrap();
    let request = PassRequest::everything(Direction::Sync);
    let report = session.pass(&request, &silent()).await.unwrap();
    assert!(report.is_quiet(), "{report:?}");
    assert_eq!((report.requests.head, report.requests.get), (1, 0));
}

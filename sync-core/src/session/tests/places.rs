//! Directories that are to belong to another prefix or bucket than before.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use futures_util::future::BoxFuture;

use super::fixture::progress;
use crate::{
    digest::ETag,
    layout::{Mount, Rules},
    path::{ObjectKey, Prefix},
    report::{Report, RequestCounts},
    session::{Direction, PassRequest, Session, SessionError},
    store::{
        ListPage, Object, ObjectInfo, ObjectStore, PutBody, PutOptions, StoreError, StoreErrorKind,
        memory::MemoryStore,
    },
};

/// A bucket of some name behind some endpoint.
struct Named {
    store: Arc<MemoryStore>,
    endpoint: &'static str,
    bucket: &'static str,
    exists: bool,
}

impl ObjectStore for Named {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        if self.exists {
            return self.store.list(prefix, token);
        }
        let error = StoreError::new("LIST", prefix, StoreErrorKind::NoBucket, "");
        Box::pin(std::future::ready(Err(error)))
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.store.get(key, if_match)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.store.head(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        self.store.put(key, body, options)
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.delete(key, if_match)
    }

    fn requests(&self) -> RequestCounts {
        self.store.requests()
    }

    fn identity(&self) -> String {
        format!("{}/{}", self.endpoint, self.bucket)
    }

    fn bucket(&self) -> String {
        self.bucket.to_owned()
    }
}

fn named(store: &Arc<MemoryStore>, endpoint: &'static str, bucket: &'static str) -> Named {
    Named {
        store: store.clone(),
        endpoint,
        bucket,
        exists: true,
    }
}

async fn open(dir: &Path, store: Named, prefix: &str) -> Result<Session, SessionError> {
    let mount = Mount {
        name: "shared".to_owned(),
        prefix: Prefix::new(prefix).unwrap(),
        local: dir.to_owned(),
        rules: Rules::new(Vec::new()).unwrap(),
    };
    Session::with_mounts(vec![mount], BTreeMap::new(), Arc::new(store), 4).await
}

async fn pass(session: &Session) -> Report {
    let request = PassRequest::everything(Direction::Sync);
    session.pass(&request, &progress()).await.unwrap()
}

fn asides(session: &Session) -> Vec<String> {
    session.status().mounts[0].aside.clone()
}

#[tokio::test]
async fn the_files_of_the_old_team_are_set_aside_and_not_pushed_to_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    store.insert("teams/new/shared/tasks/n", "of the new team");
    let before = open(dir.path(), named(&store, "e", "b"), "teams/old/shared")
        .await
        .unwrap();
    std::fs::create_dir(dir.path().join("tasks")).unwrap();
    std::fs::write(dir.path().join("tasks/o"), "of the old team").unwrap();
    pass(&before).await;
    std::fs::write(dir.path().join("tasks/unsent"), "not sent").unwrap();
    drop(before);

    let after = open(dir.path(), named(&store, "e", "b"), "teams/new/shared")
        .await
        .unwrap();
    let report = pass(&after).await;
    assert!(report.uploaded.is_empty() && report.deleted_remote.is_empty());
    let keys = store.keys();
    assert!(keys.contains(&"teams/old/shared/tasks/o".to_owned()));
    assert!(!keys.iter().any(|key| key == "teams/new/shared/tasks/o"));
    assert_eq!(
        std::fs::read_to_string(dir.path().join("tasks/n")).unwrap(),
        "of the new team"
    );
    assert!(!dir.path().join("tasks/o").exists());
    let [aside] = &asides(&after)[..] else {
        panic!("{:?}", asides(&after));
    };
    assert!(aside.ends_with("teams-old-shared"), "{aside}");
    let kept = Path::new(aside).join("tasks");
    assert_eq!(
        std::fs::read_to_string(kept.join("unsent")).unwrap(),
        "not sent"
    );
    assert_eq!(
        std::fs::read_to_string(kept.join("o")).unwrap(),
        "of the old team"
    );
    // It happens once.
    drop(after);
    let again = open(dir.path(), named(&store, "e", "b"), "teams/new/shared")
        .await
        .unwrap();
    assert_eq!(asides(&again).len(), 1);
    assert!(pass(&again).await.is_quiet());
}

#[tokio::test]
async fn another_bucket_is_another_place_and_another_endpoint_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let prefix = "agents/a";
    let session = open(dir.path(), named(&store, "http://one", "b"), prefix).await;
    std::fs::write(dir.path().join("f"), "1").unwrap();
    pass(&session.unwrap()).await;
    let session = open(dir.path(), named(&store, "https://two", "b"), prefix)
        .await
        .unwrap();
    assert!(pass(&session).await.is_quiet(), "compared by content");
    assert_eq!(asides(&session), [""; 0]);
    drop(session);
    let other = Arc::new(MemoryStore::new());
    let session = open(dir.path(), named(&other, "https://two", "c"), prefix)
        .await
        .unwrap();
    pass(&session).await;
    assert_eq!(asides(&session).len(), 1);
    assert!(!other.keys().iter().any(|key| key.ends_with("/f")));
}

#[tokio::test]
async fn a_place_that_does_not_exist_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    drop(
        open(dir.path(), named(&store, "e", "b"), "agents/a")
            .await
            .unwrap(),
    );
    std::fs::write(dir.path().join("f"), "1").unwrap();
    let mistyped = Named {
        exists: false,
        ..named(&store, "e", "d")
    };
    let refused = open(dir.path(), mistyped, "agents/a").await;
    assert!(matches!(
        refused,
        Err(SessionError::Store(StoreError {
            kind: StoreErrorKind::NoBucket,
            ..
        }))
    ));
    assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "1");
    let session = open(dir.path(), named(&store, "e", "b"), "agents/a")
        .await
        .unwrap();
    assert_eq!(asides(&session), [""; 0]);
}

#[tokio::test]
async fn a_crash_while_files_are_set_aside_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    drop(
        open(dir.path(), named(&store, "e", "b"), "teams/old")
            .await
            .unwrap(),
    );
    std::fs::write(dir.path().join("moved"), "1").unwrap();
    std::fs::write(dir.path().join("left"), "2").unwrap();
    // As a crash leaves it: one file moved, the place not written.
    let aside = dir
        .path()
        .join(".hiclaw-sync/aside/20261121T000000000Z-teams-old");
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::rename(dir.path().join("moved"), aside.join("moved")).unwrap();
    let session = open(dir.path(), named(&store, "e", "b"), "teams/new")
        .await
        .unwrap();
    assert!(pass(&session).await.is_quiet());
    assert_eq!(asides(&session).len(), 2);
    assert!(!dir.path().join("left").exists());
}

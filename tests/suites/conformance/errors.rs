//! What goes wrong is classified alike, whoever answers.

use std::net::TcpListener;

use anyhow::{Context, Result};
use sync_core::store::{ObjectStore, PutMode, StoreError, StoreErrorKind};
use testkit::proxy::{Fault, Rule};
use testkit::{Bucket, Proxy, Store, StoreKind};

use super::{Kind, Subject, connect, key, put};

/// One request of each kind; the errors of those that failed.
async fn all_errors(store: &dyn ObjectStore) -> Vec<StoreError> {
    let results = [
        store.list("p/", None).await.map(drop),
        store.get(&key("p/x"), None).await.map(drop),
        store.head(&key("p/x")).await.map(drop),
        put(store, "p/x", "content", PutMode::Overwrite)
            .await
            .map(drop),
        store.delete(&key("p/x"), None).await,
    ];
    results.into_iter().filter_map(Result::err).collect()
}

pub(crate) async fn requests_are_counted(subject: &Subject) -> Result<()> {
    let before = subject.store.requests();
    subject.overwrite("p/x", "content").await?;
    subject.list("p/").await?;
    subject.text("p/x").await?;
    subject.store.head(&key("p/x")).await?;
    subject.store.delete(&key("p/x"), None).await?;
    let counts = subject.store.requests() - before;
    assert_eq!(
        (
            counts.put,
            counts.list,
            counts.get,
            counts.head,
            counts.delete
        ),
        (1, 1, 1, 1, 1)
    );
    Ok(())
}

pub(crate) async fn a_missing_bucket_is_told_from_a_missing_object(
    subject: &Subject,
) -> Result<()> {
    let Some(bucket) = &subject.bucket else {
        return Ok(());
    };
    let absent = Bucket::new(
        bucket.endpoint(),
        "no-such-bucket",
        bucket.access_key(),
        bucket.secret_key(),
    );
    let store = connect(&absent).await?;
    let mut results = vec![
        store.list("p/", None).await.map(drop),
        store.get(&key("x"), None).await.map(drop),
    ];
    // SeaweedFS makes the bucket for whoever may make buckets.
    if subject.kind != Kind::Server(StoreKind::Seaweed) {
        let written = put(&store, "x", "content", PutMode::Overwrite).await;
        results.push(written.map(drop));
    }
    for result in results {
        let error = result.err().context("it was done")?;
        assert_eq!(error.kind, StoreErrorKind::NoBucket, "{error}");
        assert!(error.kind.is_fatal());
    }
    Ok(())
}

pub(crate) async fn wrong_keys_are_told_from_a_refusal(subject: &Subject) -> Result<()> {
    let Some(bucket) = &subject.bucket else {
        return Ok(());
    };
    let wrong_secret = bucket.with_keys(bucket.access_key(), &"0".repeat(64));
    let unknown = bucket.with_keys("GK000000000000000000000000", bucket.secret_key());
    for wrong in [wrong_secret, unknown] {
        let store = connect(&wrong).await?;
        let error = store
            .list("p/", None)
            .await
            .err()
            .context("it was listed")?;
        assert_eq!(error.kind, StoreErrorKind::BadCredentials, "{error}");
        let written = put(&store, "p/x", "content", PutMode::Overwrite).await;
        let error = written.err().context("it was written")?;
        assert_eq!(error.kind, StoreErrorKind::BadCredentials, "{error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_unreachable() -> Result<()> {
    // Closed again at once: connections to it are refused.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let store = connect(&Bucket::new(
        &format!("http://{address}"),
        "bucket",
        "key",
        "secret",
    ))
    .await?;
    let errors = all_errors(&store).await;
    assert_eq!(errors.len(), 5);
    for error in errors {
        assert_eq!(error.kind, StoreErrorKind::Unreachable, "{error}");
        assert!(error.kind.is_transient() && error.kind.is_fatal());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_without_a_word_have_their_class() -> Result<()> {
    let Some(server) = Store::shared(StoreKind::Embedded).await? else {
        return Ok(());
    };
    let bucket = server.create_bucket().await?;
    for (status, expected) in [
        (403, StoreErrorKind::Denied),
        (401, StoreErrorKind::Denied),
        (409, StoreErrorKind::Precondition),
        (412, StoreErrorKind::Precondition),
        (501, StoreErrorKind::Other),
        (503, StoreErrorKind::Unavailable { retry_after: None }),
    ] {
        let proxy = Proxy::start(server.endpoint()).await?;
        proxy.add(Rule::new("", "", Fault::Status(status)));
        let store = connect(&bucket.via(&proxy.endpoint())).await?;
        let errors = all_errors(&store).await;
        assert_eq!(errors.len(), 5, "{status}");
        for error in errors {
            assert_eq!(error.kind, expected, "{status}: {error}");
        }
    }
    Ok(())
}

//! The tests' own tools: a proxy that lost a request, or a fake that listed wrongly, would make every suite lie.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::json;
use testkit::fake_store::{FakeStore, Listing};
use testkit::observe::Observer;
use testkit::proxy::{Counts, Fault, Rule};
use testkit::runtime::{Manners, Runtime};
use testkit::{PATIENCE, Proxy, Store, matrix, on_every_store, tree, wait_until};

on_every_store!(
    a_bucket_keeps_what_was_put,
    a_proxy_passes_signed_requests_and_counts_them
);

async fn a_bucket_keeps_what_was_put(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    bucket
        .put_with_metadata("a b/ü+%41", "content", &[("colour", "red")])
        .await?;
    bucket.put("a-b", "").await?;
    let head = bucket.head("a b/ü+%41").await?.context("no head")?;
    assert_eq!(
        (
            head.size_bytes,
            head.metadata.get("colour").map(String::as_str)
        ),
        (7, Some("red"))
    );
    assert_eq!(bucket.keys("").await?, ["a b/ü+%41", "a-b"]);
    assert_eq!(bucket.text("a b/ü+%41").await?, "content");
    bucket.delete("a-b").await?;
    assert_eq!(bucket.get("a-b").await?, None);
    assert_eq!(bucket.head("a-b").await?, None);
    Ok(())
}

async fn a_proxy_passes_signed_requests_and_counts_them(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let through = bucket.via(&proxy.endpoint());
    through.put("dir/one", "1").await?;
    assert_eq!(through.text("dir/one").await?, "1");
    through.head("dir/one").await?;
    through.keys("dir/").await?;
    through.delete("dir/one").await?;
    assert_eq!(
        proxy.counts(),
        Counts {
            list: 1,
            get: 1,
            put: 1,
            head: 1,
            delete: 1,
            other: 0
        }
    );
    let first = proxy
        .requests()
        .into_iter()
        .next()
        .context("nothing seen")?;
    assert_eq!((first.method.as_str(), first.status), ("PUT", Some(200)));
    assert!(first.path.ends_with("/dir/one"), "{first:?}");
    proxy.clear();
    assert_eq!(proxy.counts(), Counts::default());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_proxy_answers_nothing_until_it_is_restored() -> Result<()> {
    let store = FakeStore::start().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let bucket = store.bucket().via(&proxy.endpoint());
    bucket.put("a", "1").await?;
    proxy.cut();
    assert!(bucket.put("b", "2").await.is_err());
    proxy.restore();
    bucket.put("b", "2").await?;
    assert_eq!(store.keys(), ["a", "b"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_a_write_that_happened() -> Result<()> {
    let store = FakeStore::start().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let bucket = store.bucket().via(&proxy.endpoint());
    proxy.add(Rule::new("PUT", "/lost", Fault::LoseRequest));
    proxy.add(Rule::new("PUT", "/done", Fault::LoseAnswer));
    assert!(bucket.put("lost", "x").await.is_err());
    assert!(bucket.put("done", "x").await.is_err());
    assert_eq!(store.keys(), ["done"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_an_error_for_the_reader() -> Result<()> {
    let store = FakeStore::start().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    store.insert("long", &"x".repeat(10_000));
    proxy.add(Rule::new("GET", "/long", Fault::TruncateAnswer(100)).times(1));
    let bucket = store.bucket().via(&proxy.endpoint());
    assert!(bucket.get("long").await.is_err());
    assert_eq!(bucket.text("long").await?.len(), 10_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_goes_on_when_the_proxy_is_healed() -> Result<()> {
    let store = FakeStore::start().await?;
    let proxy = Proxy::start(&store.endpoint()).await?;
    let bucket = store.bucket().via(&proxy.endpoint());
    proxy.add(Rule::new("PUT", "/slow", Fault::Hold));
    let put = tokio::spawn(async move { bucket.put("slow", "x").await });
    wait_until("the PUT at the proxy", PATIENCE, || proxy.counts().put == 1).await?;
    assert!(store.keys().is_empty() && !put.is_finished());
    proxy.heal();
    put.await??;
    assert_eq!(store.keys(), ["slow"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fake_store_lists_any_key_in_pages_and_fails_where_told() -> Result<()> {
    let store = FakeStore::start().await?;
    for key in ["z", "../x", "a//b", "/abs", "é & <"] {
        store.insert(key, key);
    }
    store.set_page_size(2);
    let bucket = store.bucket();
    assert_eq!(
        bucket.keys("").await?,
        ["../x", "/abs", "a//b", "z", "é & <"]
    );
    store.set_listing(Listing::FailsAfter(1));
    assert!(bucket.keys("").await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stand_in_runtime_writes_down_its_signals_and_ends_as_told() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::create(dir.path(), Manners::Good)?;
    let command = runtime.command();
    let (program, arguments) = command.split_first().context("an empty command")?;
    let start = || {
        tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(dir.path())
            .spawn()
    };

    let mut child = start()?;
    runtime.wait_for_start(1, PATIENCE).await?;
    runtime.signal(Signal::HUP)?;
    wait_until("the signal in its log", PATIENCE, || {
        runtime.noted("signal HUP")
    })
    .await?;
    runtime.signal(Signal::TERM)?;
    assert!(child.wait().await?.success());
    assert!(tree::holds(dir.path(), "last-words.md", "last words\n"));

    let mut child = start()?;
    runtime.wait_for_start(2, PATIENCE).await?;
    runtime.exit_with(7)?;
    assert_eq!(child.wait().await?.code(), Some(7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sees_every_version_of_a_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("file");
    let observer = Observer::start(&path);
    for version in ["one", "two"] {
        tree::write(dir.path(), "file.new", version)?;
        std::fs::rename(dir.path().join("file.new"), &path)?;
        let seen = || {
            observer
                .versions()
                .last()
                .is_some_and(|last| last == version)
        };
        wait_until("the version", PATIENCE, seen).await?;
    }
    assert!(
        observer
            .versions()
            .ends_with(&["one".to_owned(), "two".to_owned()])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_in_homeserver_records_the_login() -> Result<()> {
    let homeserver = matrix::homeserver("fresh").await?;
    let url = format!("{}{}", homeserver.url(), matrix::LOGIN);
    let answer =
        testkit::http::request(hyper::Method::POST, &url, Some("me"), "{\"user\": 1}").await?;
    assert_eq!(answer.json()?["access_token"], "fresh");
    let received = homeserver.received(matrix::LOGIN);
    assert_eq!(received.len(), 1);
    let first = received.first().context("nothing received")?;
    assert_eq!(
        (first.authorization.as_str(), first.json()?),
        ("Bearer me", json!({"user": 1}))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_in_vain_fails_in_time() {
    let started = Instant::now();
    let waited = wait_until("never", Duration::from_millis(50), || false).await;
    assert!(waited.is_err_and(|error| error.to_string().contains("never")));
    assert!(started.elapsed() < PATIENCE);
}

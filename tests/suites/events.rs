//! Changes in the bucket reach the worker by the store's own word of them. The worker here pulls by schedule only once
//! an hour: what arrives, arrived by an event, or by the listing that follows a subscription.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::events::Events;
use testkit::proxy::{Counts, Fault, Rule};
use testkit::{
    Bucket, PATIENCE, Proxy, Store, StoreKind, Worker, agent, holds_for, on_store, tree, wait_for,
    wait_until,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

on_store!(
    embedded,
    Embedded,
    a_change_in_the_bucket_is_published_by_its_event,
    many_changes_at_once_cost_one_listing,
    what_the_worker_wrote_itself_costs_no_request,
    what_is_excluded_or_unsafe_costs_no_request,
    a_connection_that_was_cut_is_made_again_and_what_was_missed_is_fetched,
    a_connection_that_only_looks_alive_is_given_up,
    a_refusal_is_said_once_and_the_bucket_is_polled,
    nobody_listens_where_that_is_switched_off,
    both_ends_of_a_conflict_are_kept,
);
on_store!(
    minio,
    Minio,
    a_change_in_the_bucket_is_published_by_its_event,
    many_changes_at_once_cost_one_listing,
    what_the_worker_wrote_itself_costs_no_request,
    a_connection_that_was_cut_is_made_again_and_what_was_missed_is_fetched,
    a_connection_that_only_looks_alive_is_given_up,
);
on_store!(seaweed, Seaweed, a_store_without_the_stream_is_polled);

/// The mounts of the layout, each with a stream of its own.
const STREAMS: usize = 2;

/// A worker behind a proxy, subscribed, after everything that its start had to send.
async fn listening(store: &Store) -> Result<(Bucket, Proxy, Worker)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    subscribed(&proxy, STREAMS).await?;
    proxy.clear();
    Ok((bucket, proxy, worker))
}

/// Waits until streams were granted and everything that follows from that was sent.
async fn subscribed(proxy: &Proxy, streams: usize) -> Result<()> {
    wait_until("the streams", PATIENCE, || proxy.streams() >= streams)
        .await
        .with_context(|| format!("{:?}", proxy.requests()))?;
    quiet(proxy).await
}

/// Waits until no request came for a while.
async fn quiet(proxy: &Proxy) -> Result<()> {
    let mut last = (std::time::Instant::now(), proxy.requests().len());
    wait_until("a quiet proxy", PATIENCE, || {
        if proxy.requests().len() != last.1 {
            last = (std::time::Instant::now(), proxy.requests().len());
        }
        last.0.elapsed() > Duration::from_millis(1500)
    })
    .await
    .map(drop)
}

async fn published(worker: &Worker, path: &str, content: &str) -> Result<Duration> {
    wait_until(&format!("{path} in the workspace"), PATIENCE, || {
        tree::holds(&worker.workspace(), path, content)
    })
    .await
    .with_context(|| worker.log())
}

async fn gone(worker: &Worker, path: &str) -> Result<()> {
    let file = worker.workspace().join(path);
    wait_until(&format!("{path} to go"), PATIENCE, || !file.exists())
        .await
        .map(drop)
        .with_context(|| worker.log())
}

/// The engine's status, by its socket.
async fn status(worker: &Worker) -> Result<Value> {
    let socket = worker.workspace().join(".hiclaw-sync/control.sock");
    let mut stream = UnixStream::connect(&socket).await?;
    let request = json!({"id": 1, "op": "status", "paths": []}).to_string() + "\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer
        .get("result")
        .cloned()
        .with_context(|| answer.to_string())
}

fn states(status: &Value) -> BTreeSet<String> {
    let streams = status.get("events").and_then(Value::as_array);
    let state = |stream: &Value| Some(stream.get("state")?.as_str()?.to_owned());
    streams.into_iter().flatten().filter_map(state).collect()
}

async fn a_change_in_the_bucket_is_published_by_its_event(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = listening(store).await?;
    assert_eq!(
        states(&status(&worker).await?),
        BTreeSet::from(["connected".to_owned()])
    );
    let odd = "notes/x + y%2F é#?&😀.md";
    for (path, content) in [
        ("SOUL.md", "changed\n"),
        ("notes/new.md", "new\n"),
        ("notes/empty.md", ""),
        (odd, "odd\n"),
    ] {
        proxy.clear();
        bucket.put(&agent::key(path), content).await?;
        published(&worker, path, content).await?;
        quiet(&proxy).await?;
        let expected = Counts {
            head: 1,
            get: 1,
            ..Counts::default()
        };
        assert_eq!(proxy.counts(), expected, "{path}: {:?}", proxy.requests());
    }
    // Gone is what a listing doesn't show: one look that finds nothing deletes nothing.
    proxy.clear();
    bucket.delete(&agent::key(odd)).await?;
    gone(&worker, odd).await?;
    quiet(&proxy).await?;
    let expected = Counts {
        list: 1,
        ..Counts::default()
    };
    assert_eq!(proxy.counts(), expected, "{:?}", proxy.requests());
    bucket
        .put("shared/knowledge/facts.md", "Ice floats.\n")
        .await?;
    wait_until("the shared file", PATIENCE, || {
        tree::holds(&worker.root(), "shared/knowledge/facts.md", "Ice floats.\n")
    })
    .await?;
    Ok(())
}

async fn many_changes_at_once_cost_one_listing(store: &'static Store) -> Result<()> {
    // Fewer than what a brake would hold.
    const FILES: usize = 45;
    let (bucket, proxy, worker) = listening(store).await?;
    let paths: Vec<_> = (0..FILES)
        .map(|number| format!("skills/new/d{}/{number}.md", number % 7))
        .collect();
    // All events are there before the first of them is looked at.
    proxy.mute();
    for path in &paths {
        bucket.put(&agent::key(path), path.clone()).await?;
    }
    proxy.restore();
    for path in &paths {
        published(&worker, path, path).await?;
    }
    quiet(&proxy).await?;
    let counts = proxy.counts();
    assert_eq!(
        (counts.get, counts.put),
        (FILES, 0),
        "{:?}",
        proxy.requests()
    );
    assert!(
        counts.head + counts.list <= 20,
        "{counts:?}: {:?}",
        proxy.requests()
    );
    proxy.clear();
    proxy.mute();
    for path in &paths {
        bucket.delete(&agent::key(path)).await?;
    }
    proxy.restore();
    gone(&worker, "skills/new").await?;
    quiet(&proxy).await?;
    let counts = proxy.counts();
    assert!(
        counts.head + counts.list <= 20,
        "{counts:?}: {:?}",
        proxy.requests()
    );
    assert!(
        !worker.workspace().join("skills/new").exists(),
        "its directories are gone too"
    );
    Ok(())
}

async fn what_the_worker_wrote_itself_costs_no_request(store: &'static Store) -> Result<()> {
    const FILES: usize = 25;
    let (bucket, proxy, worker) = listening(store).await?;
    let workspace = worker.workspace();
    let mut heard = Events::listen(&bucket, &agent::key("")).await?;
    let write = |version: &str| -> Result<()> {
        (0..FILES).try_for_each(|number| {
            tree::write(
                &workspace,
                &format!("own/{number}.md"),
                format!("{version} {number}\n"),
            )
        })
    };
    for version in ["one", "two"] {
        write(version)?;
        let mut missing: BTreeSet<_> = (0..FILES)
            .map(|number| agent::key(&format!("own/{number}.md")))
            .collect();
        while !missing.is_empty() {
            missing.remove(&heard.next().await?.key);
        }
    }
    fs::remove_dir_all(workspace.join("own"))?;
    let mut left: BTreeSet<_> = (0..FILES)
        .map(|number| agent::key(&format!("own/{number}.md")))
        .collect();
    while !left.is_empty() {
        let event = heard.next().await?;
        if event.name.starts_with("s3:ObjectRemoved:") {
            left.remove(&event.key);
        }
    }
    quiet(&proxy).await?;
    let counts = proxy.counts();
    assert_eq!(counts.delete, FILES, "{:?}", proxy.requests());
    assert_eq!(
        (counts.list, counts.get, counts.other),
        (0, 0, 0),
        "{:?}",
        proxy.requests()
    );
    // A store that ignores conditions on deletes is asked before each; that is no answer to an echo.
    let heads = if store.kind() == StoreKind::Embedded {
        0
    } else {
        FILES
    };
    assert!(counts.head <= heads, "{:?}", proxy.requests());
    let told = status(&worker).await?;
    let told = told.pointer("/totals/events").and_then(Value::as_u64);
    let told = told.unwrap_or(0);
    assert!(told >= 3 * FILES as u64, "{told} events were heard");
    // What somebody else does to the same file right afterwards is no echo, even with the same content.
    tree::write(&workspace, "own/0.md", "mine\n")?;
    while heard.next().await?.key != agent::key("own/0.md") {}
    bucket.put(&agent::key("own/0.md"), "theirs\n").await?;
    published(&worker, "own/0.md", "theirs\n").await?;
    bucket.put(&agent::key("own/0.md"), "mine\n").await?;
    published(&worker, "own/0.md", "mine\n").await?;
    Ok(())
}

async fn what_is_excluded_or_unsafe_costs_no_request(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = listening(store).await?;
    for key in [
        "credentials/matrix/password",
        ".cache/x",
        "dir/",
        "a//b",
        "work/run.lock",
        ".hiclaw/x",
    ] {
        bucket.put(&agent::key(key), "x").await?;
    }
    bucket.put("agents/bob/SOUL.md", "not ours\n").await?;
    bucket.put(&agent::key("last.md"), "x").await?;
    published(&worker, "last.md", "x").await?;
    quiet(&proxy).await?;
    let expected = Counts {
        head: 1,
        get: 1,
        ..Counts::default()
    };
    assert_eq!(proxy.counts(), expected, "{:?}", proxy.requests());
    let status = status(&worker).await?;
    let problem = |field: &str| status.pointer(&format!("/problems/0/{field}"));
    assert_eq!(problem("kind"), Some(&json!("unsafe-path")), "{status}");
    assert_eq!(problem("path"), Some(&json!("a//b")), "{status}");
    Ok(())
}

async fn a_connection_that_was_cut_is_made_again_and_what_was_missed_is_fetched(
    store: &'static Store,
) -> Result<()> {
    let (bucket, proxy, worker) = listening(store).await?;
    proxy.cut();
    bucket.put(&agent::key("SOUL.md"), "missed\n").await?;
    bucket.delete(&agent::key("HEARTBEAT.md")).await?;
    worker.wait_for_log("stream of events broke").await?;
    proxy.restore();
    published(&worker, "SOUL.md", "missed\n").await?;
    gone(&worker, "HEARTBEAT.md").await?;
    // And from then on it hears again.
    subscribed(&proxy, STREAMS).await?;
    bucket.put(&agent::key("SOUL.md"), "heard\n").await?;
    published(&worker, "SOUL.md", "heard\n").await?;
    Ok(())
}

async fn a_connection_that_only_looks_alive_is_given_up(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = listening(store).await?;
    proxy.mute();
    bucket.put(&agent::key("SOUL.md"), "missed\n").await?;
    worker.wait_for_log("nothing came for").await?;
    wait_for("every stream to be given up", PATIENCE, async || {
        Ok(!states(&status(&worker).await?).contains("connected"))
    })
    .await?;
    proxy.restore();
    published(&worker, "SOUL.md", "missed\n").await?;
    subscribed(&proxy, STREAMS).await?;
    bucket.put(&agent::key("SOUL.md"), "heard\n").await?;
    published(&worker, "SOUL.md", "heard\n").await?;
    Ok(())
}

async fn a_refusal_is_said_once_and_the_bucket_is_polled(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    proxy.add(Rule::new("GET", "events=", Fault::Status(403)));
    let worker = Worker::builder(&bucket.via(&proxy.endpoint()))?
        .pull_interval("2s")
        .start()?;
    worker.wait_for_runtime().await?;
    worker
        .wait_for_log("grant s3:ListenBucketNotification")
        .await?;
    bucket.put(&agent::key("SOUL.md"), "polled\n").await?;
    published(&worker, "SOUL.md", "polled\n").await?;
    let asked = || {
        proxy
            .requests()
            .iter()
            .filter(|seen| seen.is_stream())
            .count()
    };
    wait_until("every stream to be asked for", PATIENCE, || {
        asked() == STREAMS
    })
    .await?;
    holds_for("no further request for it", Duration::from_secs(5), || {
        asked() == STREAMS
    })
    .await?;
    assert_eq!(
        worker
            .log()
            .matches("grant s3:ListenBucketNotification")
            .count(),
        1,
        "{}",
        worker.log()
    );
    let status = status(&worker).await?;
    assert_eq!(states(&status), BTreeSet::from(["denied".to_owned()]));
    assert_eq!(status.get("pull_every_seconds"), Some(&json!(2)));
    Ok(())
}

async fn nobody_listens_where_that_is_switched_off(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let worker = Worker::builder(&bucket.via(&proxy.endpoint()))?
        .env("HICLAW_EVENTS", "never")
        .pull_interval("2s")
        .start()?;
    worker.wait_for_runtime().await?;
    bucket.put(&agent::key("SOUL.md"), "polled\n").await?;
    published(&worker, "SOUL.md", "polled\n").await?;
    assert!(!proxy.requests().iter().any(testkit::proxy::Seen::is_stream));
    assert_eq!(status(&worker).await?.get("events"), Some(&json!([])));
    Ok(())
}

async fn both_ends_of_a_conflict_are_kept(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = listening(store).await?;
    proxy.mute();
    bucket
        .put(&agent::key("SOUL.md"), "the controller's\n")
        .await?;
    tree::write(&worker.workspace(), "SOUL.md", "the agent's\n")?;
    proxy.restore();
    wait_for("the agent's version in the bucket", PATIENCE, async || {
        Ok(bucket.text(&agent::key("SOUL.md")).await? == "the agent's\n")
    })
    .await?;
    wait_for("the controller's version as a copy", PATIENCE, async || {
        let copies = bucket.tree(&agent::key(".sync-conflicts/")).await?;
        Ok(copies
            .values()
            .any(|content| content == "the controller's\n"))
    })
    .await?;
    published(&worker, "SOUL.md", "the agent's\n").await?;
    Ok(())
}

async fn a_store_without_the_stream_is_polled(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let worker = Worker::builder(&bucket.via(&proxy.endpoint()))?
        .pull_interval("3s")
        .start()?;
    worker.wait_for_runtime().await?;
    worker
        .wait_for_log("doesn't tell of changes in the bucket")
        .await?;
    bucket.put(&agent::key("SOUL.md"), "polled\n").await?;
    published(&worker, "SOUL.md", "polled\n").await?;
    assert_eq!(
        worker.log().matches("doesn't tell of changes").count(),
        1,
        "{}",
        worker.log()
    );
    assert_eq!(
        states(&status(&worker).await?),
        BTreeSet::from(["not-offered".to_owned()])
    );
    let asked = proxy
        .requests()
        .iter()
        .filter(|seen| seen.is_stream())
        .count();
    assert_eq!(asked, STREAMS, "asked once");
    Ok(())
}

/// What was written while the server was down, or before it was up again, is there afterwards.
async fn a_restarted_server_is_listened_to_again(kind: StoreKind) -> Result<()> {
    if Store::shared(kind).await?.is_none() {
        return Ok(());
    }
    let mut store = Store::start_restartable(kind).await?;
    let (bucket, proxy, worker) = listening(&store).await?;
    store.restart().await?;
    bucket.put(&agent::key("SOUL.md"), "after\n").await?;
    published(&worker, "SOUL.md", "after\n").await?;
    subscribed(&proxy, STREAMS).await?;
    proxy.clear();
    bucket.put(&agent::key("SOUL.md"), "heard\n").await?;
    published(&worker, "SOUL.md", "heard\n").await?;
    ensure!(proxy.counts().list == 0, "{:?}", proxy.requests());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_serve_is_listened_to_again() -> Result<()> {
    a_restarted_server_is_listened_to_again(StoreKind::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_minio_is_listened_to_again() -> Result<()> {
    a_restarted_server_is_listened_to_again(StoreKind::Minio).await
}

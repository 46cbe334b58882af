//! `hiclaw-sync` beside a running worker: the resident engine answers, and the worker tells of itself over HTTP.

use anyhow::{Context, Result};
use hyper::Method;
use rustix::process::Signal;
use serde_json::Value;
use testkit::cli::Ran;
use testkit::proxy::{Fault, Rule};
use testkit::{
    Bucket, Cli, PATIENCE, Proxy, Store, Worker, agent, http, on_store, tree, wait_for, wait_until,
};

on_store!(
    embedded,
    Embedded,
    a_pull_is_made_by_the_resident_engine_and_says_what_it_brought,
    a_push_sends_only_the_paths_named,
    a_plan_changes_nothing_and_reloads_nothing,
    the_status_is_the_engines,
    a_store_that_is_away_gives_75,
    held_deletes_are_released_by_approve,
    a_path_that_is_in_no_mount_is_a_mistake_of_the_user,
    health_is_told_over_http,
    the_last_flush_outlasts_a_store_that_fails_for_a_moment,
    watch_prints_json_lines_and_stops_cleanly,
);

/// A worker that changes nothing but what it is asked to: it doesn't listen to the store's events.
async fn deaf(bucket: &Bucket) -> Result<Worker> {
    let worker = Worker::builder(bucket)?
        .env("HICLAW_EVENTS", "never")
        .start()?;
    worker.wait_for_runtime().await?;
    Ok(worker)
}

async fn running(store: &Store) -> Result<(Bucket, Worker, Cli)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let worker = deaf(&bucket).await?;
    let cli = Cli::beside(&bucket, &worker.root())?;
    // Behind this one the pass of the start is over.
    cli.ok(&["sync"]).await?;
    Ok((bucket, worker, cli))
}

async fn json(cli: &Cli, arguments: &[&str]) -> Result<Ran> {
    let arguments: Vec<_> = ["--json"].iter().chain(arguments).copied().collect();
    cli.ok(&arguments).await
}

async fn a_pull_is_made_by_the_resident_engine_and_says_what_it_brought(
    store: &'static Store,
) -> Result<()> {
    let (bucket, worker, cli) = running(store).await?;
    bucket.put(&agent::key("notes/new.md"), "new\n").await?;
    let ran = json(&cli, &["pull"]).await?;
    assert_eq!(ran.paths("downloaded")?, ["notes/new.md"]);
    assert_eq!(tree::text(&worker.workspace(), "notes/new.md")?, "new\n");
    assert_eq!(json(&cli, &[]).await?.paths("downloaded")?, [""; 0]);
    Ok(())
}

async fn a_push_sends_only_the_paths_named(store: &'static Store) -> Result<()> {
    let (bucket, worker, cli) = running(store).await?;
    // Too fresh for the watcher's quiet time, so that it is this push that sends it.
    tree::write(&worker.workspace(), "results/report.md", "done\n")?;
    cli.ok(&["push", "results/"]).await?;
    assert_eq!(
        bucket.text(&agent::key("results/report.md")).await?,
        "done\n"
    );
    Ok(())
}

async fn a_plan_changes_nothing_and_reloads_nothing(store: &'static Store) -> Result<()> {
    let (bucket, worker, cli) = running(store).await?;
    bucket
        .put(&agent::key("skills/juggle/SKILL.md"), "juggle\n")
        .await?;
    let ran = json(&cli, &["plan"]).await?;
    assert_eq!(ran.paths("downloaded")?, ["skills/juggle/SKILL.md"]);
    assert!(!worker.workspace().join("skills/juggle").exists());
    cli.ok(&["pull"]).await?;
    worker.wait_for_log("reload").await?;
    assert_eq!(
        worker.log().matches(" reload ").count(),
        1,
        "{}",
        worker.log()
    );
    Ok(())
}

async fn the_status_is_the_engines(store: &'static Store) -> Result<()> {
    let (_bucket, _worker, cli) = running(store).await?;
    cli.ok(&["sync"]).await?;
    let status = json(&cli, &["status"]).await?.json()?;
    assert_eq!(status.get("resident"), Some(&Value::Bool(true)));
    assert!(
        status.get("last_pull").is_some_and(Value::is_string),
        "{status}"
    );
    let shown = cli.ok(&["status"]).await?;
    assert!(
        shown.says("workspace") && shown.says("shared"),
        "{}",
        shown.stdout
    );
    Ok(())
}

async fn a_store_that_is_away_gives_75(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(bucket.endpoint()).await?;
    let worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    let cli = Cli::beside(&bucket.via(&proxy.endpoint()), &worker.root())?;
    proxy.cut();
    let ran = cli.run(&["pull"]).await?;
    assert_eq!(ran.code, 75, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.says("can't be reached"), "{}", ran.stderr);
    proxy.restore();
    cli.ok(&["pull"]).await?;
    Ok(())
}

async fn held_deletes_are_released_by_approve(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    for number in 0..120 {
        let key = agent::key(&format!("memory/{number:03}.md"));
        bucket.put(&key, "remembered\n").await?;
    }
    let worker = deaf(&bucket).await?;
    let cli = Cli::beside(&bucket, &worker.root())?;
    cli.ok(&["sync"]).await?;
    for number in 0..120 {
        bucket
            .delete(&agent::key(&format!("memory/{number:03}.md")))
            .await?;
    }
    let held = cli.run(&["--json", "pull"]).await?;
    assert_eq!((held.code, held.paths("held")?.len()), (4, 120));
    assert!(worker.workspace().join("memory/007.md").exists());
    let approved = json(&cli, &["approve"]).await?;
    assert_eq!(approved.paths("deleted_local")?.len(), 120);
    assert!(!worker.workspace().join("memory").exists());
    Ok(())
}

async fn a_path_that_is_in_no_mount_is_a_mistake_of_the_user(store: &'static Store) -> Result<()> {
    let (_bucket, _worker, cli) = running(store).await?;
    let ran = cli.run(&["push", "/etc/passwd"]).await?;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.says("/etc/passwd is in no mount"), "{}", ran.stderr);
    Ok(())
}

async fn health_is_told_over_http(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let worker = Worker::builder(&bucket)?
        .env("HICLAW_HEALTH_LISTEN", "127.0.0.1:0")
        .start()?;
    worker.wait_for_runtime().await?;
    let log = worker.log();
    let address = log
        .lines()
        .find_map(|line| line.split_once("serving health address="))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .with_context(|| log.clone())?;
    let url = |path: &str| format!("http://{address}{path}");
    assert!(http::is_ok(&url("/livez")).await);
    wait_for("readiness", PATIENCE, async || {
        Ok(http::is_ok(&url("/readyz")).await)
    })
    .await?;
    let get = async |path: &str| http::request(Method::GET, &url(path), None, String::new()).await;
    let status = get("/status").await?.json()?;
    assert_eq!(status.pointer("/sync/resident"), Some(&Value::Bool(true)));
    let metrics = get("/metrics").await?;
    assert!(
        String::from_utf8_lossy(&metrics.body).contains("\nhiclaw_ready 1\n"),
        "{metrics:?}"
    );
    Ok(())
}

async fn the_last_flush_outlasts_a_store_that_fails_for_a_moment(
    store: &'static Store,
) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(bucket.endpoint()).await?;
    let mut worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    proxy.add(Rule::new("PUT", "/memory/", Fault::Status(503)));
    tree::write(&worker.workspace(), "memory/last.md", "words\n")?;
    worker.signal(Signal::TERM)?;
    // More than one try of the SDK's own.
    wait_until("some refused tries", PATIENCE, || {
        let refused = |seen: &testkit::proxy::Seen| seen.status == Some(503);
        proxy.requests().iter().filter(|seen| refused(seen)).count() > 4
    })
    .await?;
    proxy.heal();
    assert_eq!(worker.wait_exit(PATIENCE).await?, 0, "{}", worker.log());
    assert_eq!(bucket.text(&agent::key("memory/last.md")).await?, "words\n");
    Ok(())
}

async fn watch_prints_json_lines_and_stops_cleanly(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let cli = Cli::new(&bucket)?;
    let watch = cli.spawn(&["--json", "watch"])?;
    let pid = watch.id().context("watch has ended")?;
    wait_until("the first pass", PATIENCE, || {
        cli.workspace().join("SOUL.md").exists()
    })
    .await?;
    tree::write(&cli.workspace(), "memory/a.md", "a\n")?;
    wait_for("the edit in the bucket", PATIENCE, async || {
        Ok(bucket.get(&agent::key("memory/a.md")).await?.is_some())
    })
    .await?;
    // A stop ends the pass under way, and what it did is not told any more.
    wait_for("the engine to know of it", PATIENCE, async || {
        let status = cli.run(&["status", "--json"]).await?.json()?;
        let uploaded = status.pointer("/totals/uploaded").and_then(Value::as_u64);
        Ok(uploaded == Some(1))
    })
    .await?;
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a process id of 0")?;
    rustix::process::kill_process(pid, Signal::TERM)?;
    let ran = testkit::cli::finish(watch).await?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let events: Vec<Value> = ran
        .stdout
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| ran.stdout.clone())?;
    let uploads = events
        .iter()
        .filter_map(|event| event.pointer("/report/uploaded/0/path"));
    assert_eq!(
        uploads.collect::<Vec<_>>(),
        ["memory/a.md"],
        "{}",
        ran.stdout
    );
    Ok(())
}

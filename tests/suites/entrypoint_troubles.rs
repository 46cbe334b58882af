//! `worker-entrypoint` when things are missing, broken or late.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that is not there gives null, and is asserted on"
)]

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::proxy::{Fault, Rule};
use testkit::store::SECRET_KEY;
use testkit::{
    Bucket, PATIENCE, Proxy, Store, Worker, agent, holds_for, matrix, on_store, tree, wait_for,
    wait_until,
};

on_store!(
    embedded,
    Embedded,
    files_that_never_appear_end_it_with_a_message,
    files_that_appear_late_are_waited_for,
    an_unreachable_store_is_named_and_ends_it,
    a_store_that_comes_late_is_waited_for,
    a_store_that_goes_away_stops_nothing,
    a_slow_store_does_not_hold_up_the_stop,
    missing_settings_end_it_with_2,
    wrong_keys_end_it,
    a_missing_shared_tree_is_only_a_warning,
    a_broken_openclaw_json_leaves_the_running_one,
    a_refused_matrix_login_is_only_a_warning,
    a_command_that_does_not_exist_is_named,
    check_prints_the_settings_without_secrets,
);

/// What CONTRACT says an operator sees.
const MISSING: &str = "openclaw.json, SOUL.md or AGENTS.md not found after retries. Manager may not have created this Worker's config yet.";

/// Six retries, five seconds apart, and what a loaded machine adds.
const RETRIES: Duration = Duration::from_secs(90);

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

async fn files_that_never_appear_end_it_with_a_message(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    bucket.put(&agent::key("SOUL.md"), "alone\n").await?;
    let mut worker = Worker::builder(&bucket)?.start()?;
    assert_eq!(worker.wait_exit(RETRIES).await?, 1, "{}", worker.log());
    assert!(worker.log().contains(MISSING), "{}", worker.log());
    assert!(worker.age() > Duration::from_secs(20), "it waits for them");
    assert_eq!(worker.runtime()?.starts(), 0);
    Ok(())
}

async fn files_that_appear_late_are_waited_for(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    let worker = Worker::builder(&bucket)?.start()?;
    holds_for("no start without files", Duration::from_secs(2), || {
        worker.runtime().is_ok_and(|runtime| runtime.starts() == 0)
    })
    .await?;
    agent::seed(&bucket).await?;
    worker.wait_for_runtime().await?;
    assert!(worker.workspace().join("SOUL.md").exists());
    Ok(())
}

async fn an_unreachable_store_is_named_and_ends_it(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let endpoint = format!("http://{address}");
    let mut worker = Worker::builder(&bucket.via(&endpoint))?.start()?;
    assert_eq!(
        worker.wait_exit(Duration::from_mins(3)).await?,
        1,
        "{}",
        worker.log()
    );
    assert!(worker.log().contains(&endpoint), "{}", worker.log());
    assert_eq!(worker.runtime()?.starts(), 0);
    Ok(())
}

async fn a_store_that_comes_late_is_waited_for(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    proxy.cut();
    let worker = Worker::builder(&bucket.via(&proxy.endpoint()))?.start()?;
    holds_for("no start without a store", Duration::from_secs(2), || {
        worker.runtime().is_ok_and(|runtime| runtime.starts() == 0)
    })
    .await?;
    proxy.restore();
    worker.wait_for_runtime().await?;
    Ok(())
}

async fn a_store_that_goes_away_stops_nothing(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    proxy.cut();
    for number in 0..20 {
        tree::write(
            &worker.workspace(),
            &format!("offline/{number}.md"),
            format!("{number}"),
        )?;
    }
    tree::write(&worker.workspace(), "SOUL.md", "edited offline\n")?;
    worker.signal(Signal::HUP)?;
    holds_for("the runtime goes on", Duration::from_secs(3), || {
        worker
            .runtime()
            .is_ok_and(|runtime| runtime.starts() == 1 && !runtime.noted("signal TERM"))
    })
    .await?;
    proxy.restore();
    wait_for("the edits in the bucket", PATIENCE, async || {
        let tree = bucket.tree(&agent::key("")).await?;
        let offline = tree
            .keys()
            .filter(|name| name.starts_with("offline/"))
            .count();
        Ok(offline == 20
            && tree
                .get("SOUL.md")
                .is_some_and(|soul| soul == "edited offline\n"))
    })
    .await?;
    Ok(())
}

async fn a_slow_store_does_not_hold_up_the_stop(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let mut worker = Worker::builder(&bucket.via(&proxy.endpoint()))?
        .option("--flush-timeout", "2s")
        .start()?;
    worker.wait_for_runtime().await?;
    proxy.add(Rule::new("PUT", "", Fault::Hold));
    tree::write(&worker.workspace(), "stuck.md", "never arrives\n")?;
    worker.signal(Signal::TERM)?;
    worker.wait_exit(Duration::from_secs(15)).await?;
    assert!(
        worker.log().contains("stuck.md"),
        "what was not sent is named: {}",
        worker.log()
    );
    Ok(())
}

async fn missing_settings_end_it_with_2(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    for name in ["HICLAW_WORKER_NAME", "HICLAW_FS_ENDPOINT"] {
        let mut worker = Worker::builder(&bucket)?.env(name, "").start()?;
        assert_eq!(
            worker.wait_exit(PATIENCE).await?,
            2,
            "{name}: {}",
            worker.log()
        );
        assert!(worker.log().contains(name), "{}", worker.log());
    }
    Ok(())
}

async fn wrong_keys_end_it(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker =
        Worker::builder(&bucket.with_keys(bucket.access_key(), "wrongSecret987654321"))?.start()?;
    assert_eq!(worker.wait_exit(RETRIES).await?, 1, "{}", worker.log());
    assert!(!worker.log().contains("wrongSecret987654321"));
    assert_eq!(worker.runtime()?.starts(), 0);
    Ok(())
}

async fn a_missing_shared_tree_is_only_a_warning(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    // As the policy of a worker without shared/ answers.
    proxy.add(Rule::new("GET", "prefix=shared", Fault::Status(403)));
    let worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    assert!(worker.workspace().join("SOUL.md").exists());
    Ok(())
}

async fn a_broken_openclaw_json_leaves_the_running_one(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    let before = tree::text(&worker.workspace(), "openclaw.json")?;
    bucket
        .put(&agent::key("openclaw.json"), "{\"gateway\": {")
        .await?;
    // Arrives in the same pull, so that its presence tells when that is over.
    bucket.put(&agent::key("marker.md"), "pulled\n").await?;
    worker.signal(Signal::HUP)?;
    wait_until("the pull", PATIENCE, || {
        worker.workspace().join("marker.md").exists()
    })
    .await?;
    worker.wait_for_log("openclaw.json").await?;
    assert_eq!(tree::text(&worker.workspace(), "openclaw.json")?, before);
    assert_eq!(worker.runtime()?.starts(), 1);

    let mut mended = agent::openclaw_json();
    mended["models"]["providers"]["mended"] = json!({});
    bucket
        .put(&agent::key("openclaw.json"), mended.to_string())
        .await?;
    worker.signal(Signal::HUP)?;
    wait_until("the mended configuration", PATIENCE, || {
        let text = tree::text(&worker.workspace(), "openclaw.json").unwrap_or_default();
        serde_json::from_str::<Value>(&text)
            .is_ok_and(|config| config["models"] == mended["models"])
    })
    .await?;
    Ok(())
}

async fn a_refused_matrix_login_is_only_a_warning(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let homeserver = matrix::refusing_homeserver().await?;
    let mut config = agent::openclaw_json();
    config["channels"]["matrix"]["homeserver"] = json!(homeserver.url());
    bucket
        .put(&agent::key("openclaw.json"), config.to_string())
        .await?;
    let worker = Worker::start(&bucket).await?;
    assert_eq!(homeserver.received(matrix::LOGIN).len(), 1);
    assert!(!worker.log().contains(agent::MATRIX_PASSWORD));
    assert!(tree::text(&worker.workspace(), "openclaw.json")?.contains("stale-token"));
    Ok(())
}

async fn a_command_that_does_not_exist_is_named(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    // Without the stand-in, and with no openclaw in the path.
    let mut worker = Worker::builder(&bucket)?
        .layout_runtime()
        .option("--restart", "never")
        .env("PATH", "/nowhere")
        .start()?;
    let code = worker.wait_exit(PATIENCE).await?;
    assert_eq!(code, 127, "{}", worker.log());
    let log = worker.log();
    assert!(
        log.contains("can't be started") && log.contains("openclaw:"),
        "{log}"
    );
    Ok(())
}

async fn check_prints_the_settings_without_secrets(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?
        .layout_runtime()
        .argument("check")
        .start()?;
    assert_eq!(worker.wait_exit(PATIENCE).await?, 0, "{}", worker.log());
    let printed = worker.log();
    for expected in [agent::NAME, store.endpoint(), bucket.name(), "openclaw"] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    assert!(!printed.contains(SECRET_KEY));
    assert!(
        !worker.workspace().join("SOUL.md").exists(),
        "it starts nothing"
    );
    Ok(())
}

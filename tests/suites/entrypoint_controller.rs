//! `worker-entrypoint` running what the layout names, and telling a controller about it.

use anyhow::{Context, Result};
use serde_json::json;
use testkit::stub::Reply;
use testkit::{
    Bucket, PATIENCE, Store, Worker, agent, matrix, on_store, tree, wait_for, wait_until,
};

on_store!(
    embedded,
    Embedded,
    the_layouts_command_is_run,
    readiness_is_reported_with_the_token_of_the_moment,
    a_controller_that_is_busy_is_asked_again,
    a_controller_that_is_away_stops_nothing,
    keys_of_the_controller_open_the_store_and_are_shown_nowhere,
    a_controller_that_issues_no_keys_is_named,
);

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

async fn the_layouts_command_is_run(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?.as_openclaw().start()?;
    worker.wait_for_runtime().await?;
    let calls = worker.runtime()?.calls();
    assert_eq!(
        calls.first().map(String::as_str),
        Some("gateway run --verbose --force"),
        "{calls:?}"
    );
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    assert_eq!(
        bucket.text(&agent::key("last-words.md")).await?,
        "last words\n"
    );
    Ok(())
}

async fn readiness_is_reported_with_the_token_of_the_moment(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let controller = matrix::controller("alice-cr").await?;
    let dir = tempfile::tempdir()?;
    tree::write(dir.path(), "token", "tokenFromTheFile123\n")?;
    let file = dir.path().join("token").display().to_string();
    let worker = Worker::builder(&bucket)?
        .as_openclaw()
        .env("HICLAW_CONTROLLER_URL", &controller.url())
        .env("HICLAW_AUTH_TOKEN_FILE", &file)
        .env("HICLAW_WORKER_CR_NAME", "alice-cr")
        .start()?;
    let path = matrix::ready_path("alice-cr");
    wait_until("the report", PATIENCE, || {
        !controller.received(&path).is_empty()
    })
    .await
    .with_context(|| worker.log())?;
    let received = controller.received(&path);
    let first = received.first().context("nothing received")?;
    assert_eq!(
        (first.method.as_str(), first.authorization.as_str()),
        ("POST", "Bearer tokenFromTheFile123")
    );
    assert_eq!(
        worker.runtime()?.starts(),
        1,
        "ready means that the runtime runs"
    );
    assert!(!worker.log().contains("tokenFromTheFile123"));
    Ok(())
}

async fn a_controller_that_is_busy_is_asked_again(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let controller = matrix::controller(agent::NAME).await?;
    let path = matrix::ready_path(agent::NAME);
    controller.on("POST", &path, Reply::json(503, &json!({"error": "busy"})));
    let worker = Worker::builder(&bucket)?
        .as_openclaw()
        .env("HICLAW_CONTROLLER_URL", &controller.url())
        .env("HICLAW_AUTH_TOKEN", "tokenFromTheEnvironment1")
        .start()?;
    wait_until("a first report", PATIENCE, || {
        !controller.received(&path).is_empty()
    })
    .await
    .with_context(|| worker.log())?;
    controller.on("POST", &path, Reply::empty(204));
    wait_until("another report", PATIENCE, || {
        controller.received(&path).len() > 1
    })
    .await
    .with_context(|| worker.log())?;
    Ok(())
}

async fn a_controller_that_is_away_stops_nothing(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?
        .as_openclaw()
        .env("HICLAW_CONTROLLER_URL", "http://127.0.0.1:1")
        .env("HICLAW_AUTH_TOKEN", "tokenFromTheEnvironment1")
        .start()?;
    worker.wait_for_runtime().await?;
    worker.wait_for_log("the controller did not answer").await?;
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    Ok(())
}

const STS: &str = "/api/v1/credentials/sts";

/// A worker that has no keys of its own.
fn without_keys(bucket: &Bucket, controller: &str) -> Result<testkit::worker::Builder> {
    Ok(Worker::builder(bucket)?
        .as_openclaw()
        .env("HICLAW_FS_ACCESS_KEY", "")
        .env("HICLAW_FS_SECRET_KEY", "")
        .env("HICLAW_STORAGE_PROVIDER", "oss")
        .env("HICLAW_CONTROLLER_URL", controller)
        .env("HICLAW_AUTH_TOKEN", "tokenFromTheEnvironment1"))
}

async fn keys_of_the_controller_open_the_store_and_are_shown_nowhere(
    store: &'static Store,
) -> Result<()> {
    let bucket = seeded(store).await?;
    let controller = matrix::controller(agent::NAME).await?;
    let issued = json!({
        "access_key_id": bucket.access_key(), "access_key_secret": bucket.secret_key(),
        "security_token": "", "expires_in_sec": 3600, "oss_endpoint": "nowhere.invalid", "oss_bucket": bucket.name(),
    });
    controller.on("POST", STS, Reply::json(200, &issued));
    let mut worker = without_keys(&bucket, &controller.url())?
        .env("HICLAW_SYNC_LOG", "trace")
        .start()?;
    worker.wait_for_runtime().await?;
    tree::write(&worker.workspace(), "notes/a.md", "a\n")?;
    wait_for("the edit in the bucket", PATIENCE, async || {
        Ok(bucket.get(&agent::key("notes/a.md")).await?.is_some())
    })
    .await
    .with_context(|| worker.log())?;
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    let received = controller.received(STS);
    assert!(
        (1..=3).contains(&received.len()),
        "once for the settings, once for the store: {}",
        received.len()
    );
    assert!(received.iter().all(|request| {
        request.authorization == "Bearer tokenFromTheEnvironment1" && request.body.is_empty()
    }));
    assert!(!worker.log().contains(bucket.secret_key()));
    Ok(())
}

async fn a_controller_that_issues_no_keys_is_named(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let controller = matrix::controller(agent::NAME).await?;
    controller.on("POST", STS, Reply::empty(404));
    let mut worker = without_keys(&bucket, &controller.url())?.start()?;
    assert_eq!(worker.wait_exit(PATIENCE).await?, 1, "{}", worker.log());
    assert!(
        worker
            .log()
            .contains("can't get the store's keys from the controller"),
        "{}",
        worker.log()
    );
    Ok(())
}

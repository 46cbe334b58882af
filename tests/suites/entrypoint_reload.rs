//! `worker-entrypoint` bringing changes of the bucket to a running runtime, and its Matrix login.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that is not there gives null, and is asserted on"
)]

use std::fs;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::observe::{ABSENT, Observer};
use testkit::{Bucket, PATIENCE, Store, Worker, agent, matrix, on_store, tree, wait_until};

on_store!(
    embedded,
    Embedded,
    a_hangup_signal_pulls_now,
    a_changed_configuration_is_merged_without_a_restart,
    changed_skills_appear_and_disappear,
    a_fresh_matrix_token_replaces_the_stale_one,
);
on_store!(minio, Minio, a_hangup_signal_pulls_now);

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

async fn a_hangup_signal_pulls_now(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    bucket
        .put(&agent::key("SOUL.md"), "from the controller\n")
        .await?;
    bucket.put("shared/knowledge/new.md", "news\n").await?;
    bucket.delete(&agent::key("HEARTBEAT.md")).await?;
    worker.signal(Signal::HUP)?;
    wait_until("the pull", PATIENCE, || {
        tree::holds(&worker.workspace(), "SOUL.md", "from the controller\n")
            && tree::holds(&worker.root(), "shared/knowledge/new.md", "news\n")
            && !worker.workspace().join("HEARTBEAT.md").exists()
    })
    .await?;
    assert!(
        !worker.runtime()?.noted("signal HUP"),
        "it would kill the gateway"
    );
    Ok(())
}

async fn a_changed_configuration_is_merged_without_a_restart(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    let path = worker.workspace().join("openclaw.json");
    let mut local: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    local["channels"]["matrix"]["accessToken"] = json!("fresh-token");
    tree::write(&worker.workspace(), "openclaw.json.mine", local.to_string())?;
    fs::rename(worker.workspace().join("openclaw.json.mine"), &path)?;

    let observer = Observer::start(&path);
    for version in 1..=5 {
        let mut remote = agent::openclaw_json();
        remote["models"]["providers"]["version"] = json!(version);
        bucket
            .put(&agent::key("openclaw.json"), remote.to_string())
            .await?;
        worker.signal(Signal::HUP)?;
        wait_until("the merge", PATIENCE, || {
            let found = fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            found.is_some_and(|found| found["models"] == remote["models"])
        })
        .await?;
    }
    for seen in observer.versions() {
        assert_ne!(seen, ABSENT);
        let seen: Value =
            serde_json::from_str(&seen).with_context(|| format!("half-written: {seen:?}"))?;
        assert_eq!(
            seen["channels"]["matrix"]["accessToken"], "fresh-token",
            "the stale token was live for a moment"
        );
    }
    assert_eq!(worker.runtime()?.starts(), 1);
    let kept: Value = serde_json::from_str(&bucket.text(&agent::key("openclaw.json")).await?)?;
    assert_eq!(
        kept["channels"]["matrix"]["accessToken"], "stale-token",
        "it is never pushed"
    );
    Ok(())
}

async fn changed_skills_appear_and_disappear(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    bucket
        .put(
            &agent::key("skills/new/SKILL.md"),
            "---\nname: new\ndescription: New.\n---\n",
        )
        .await?;
    bucket.delete(&agent::key("skills/greet/SKILL.md")).await?;
    bucket.delete(&agent::key("skills/greet/run.sh")).await?;
    worker.signal(Signal::HUP)?;
    wait_until("the skills", PATIENCE, || {
        worker.workspace().join("skills/new/SKILL.md").exists()
            && !worker.workspace().join("skills/greet").exists()
    })
    .await?;
    assert_eq!(worker.runtime()?.starts(), 1);
    Ok(())
}

async fn a_fresh_matrix_token_replaces_the_stale_one(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let homeserver = matrix::homeserver("fresh-from-login").await?;
    let mut config = agent::openclaw_json();
    config["channels"]["matrix"]["homeserver"] = json!(homeserver.url());
    bucket
        .put(&agent::key("openclaw.json"), config.to_string())
        .await?;
    let mut worker = Worker::start(&bucket).await?;

    let logins = homeserver.received(matrix::LOGIN);
    assert_eq!(logins.len(), 1, "{}", worker.log());
    let body = logins.first().context("no login")?.json()?;
    assert_eq!(body["type"], "m.login.password");
    assert_eq!(
        body["identifier"],
        json!({"type": "m.id.user", "user": agent::NAME})
    );
    assert_eq!(body["password"], agent::MATRIX_PASSWORD);
    let token = || -> Result<Value> {
        let config: Value =
            serde_json::from_str(&tree::text(&worker.workspace(), "openclaw.json")?)?;
        Ok(config["channels"]["matrix"]["accessToken"].clone())
    };
    assert_eq!(token()?, "fresh-from-login", "before the runtime starts");

    config["models"]["providers"]["new"] = json!({});
    bucket
        .put(&agent::key("openclaw.json"), config.to_string())
        .await?;
    worker.signal(Signal::HUP)?;
    wait_until("the merge", PATIENCE, || {
        tree::text(&worker.workspace(), "openclaw.json").is_ok_and(|text| text.contains("\"new\""))
    })
    .await?;
    assert_eq!(token()?, "fresh-from-login", "a pull keeps it");
    worker.stop().await?;
    assert!(
        !worker.log().contains("fresh-from-login")
            && !worker.log().contains(agent::MATRIX_PASSWORD)
    );
    assert!(
        !bucket
            .text(&agent::key("openclaw.json"))
            .await?
            .contains("fresh-from-login")
    );
    Ok(())
}

//! The whole job with the real OpenClaw gateway and the real MinIO.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that is not there gives null, and is asserted on"
)]

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::openclaw::Openclaw;
use testkit::{Bucket, Store, Worker, agent, model, on_store, wait_for};

on_store!(
    minio,
    Minio,
    a_gateway_lives_through_start_reload_work_and_stop
);

/// The gateway needs 7 to 20 s to start on two busy cores, and each question to its command line some more.
const LIMIT: Duration = Duration::from_mins(3);

/// A value of the bucket's openclaw.json that the running gateway can be asked for.
async fn model_name(openclaw: &Openclaw) -> Result<Value> {
    let listed = openclaw.rpc("models.list").await?;
    Ok(listed["models"][0]["name"].clone())
}

async fn put_config(bucket: &Bucket, config: &Value) -> Result<()> {
    bucket
        .put(
            &agent::key("openclaw.json"),
            serde_json::to_vec_pretty(config)?,
        )
        .await
        .map(drop)
}

/// Waits for an answer of the gateway; one that it refuses, as it does for a moment while it reloads, is asked for again.
async fn until(
    what: &str,
    worker: &Worker,
    mut condition: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    let looks = async || Ok(condition().await.unwrap_or(false));
    wait_for(what, LIMIT, looks)
        .await
        .with_context(|| worker.log())?;
    Ok(())
}

async fn skill_is_listed(openclaw: &Openclaw, worker: &Worker, name: &str) -> Result<bool> {
    let status = openclaw
        .call(&worker.workspace(), "skills.status", &json!({}))
        .await?;
    let skills = status["skills"].as_array().context("no skills")?;
    Ok(skills.iter().any(|skill| skill["name"] == name))
}

async fn a_gateway_lives_through_start_reload_work_and_stop(store: &'static Store) -> Result<()> {
    let Some(openclaw) = Openclaw::find()? else {
        return Ok(());
    };
    let model = model::writing("notes/from-agent.md", "hello from the agent\n").await?;
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let builder = Worker::builder(&bucket)?
        .layout_runtime()
        // A busy machine may need more than the layout's 20 s for a clean stop right after a turn.
        .option("--stop-grace", "45s")
        .env("PATH", openclaw.path()?);
    let config = |name: &str| openclaw.config(&builder.workspace(), &model.url(), name);
    let (first, second) = (config("First name"), config("Second name"));
    put_config(&bucket, &first).await?;

    // Startup.
    let mut worker = builder.start()?;
    until("the gateway", &worker, async || {
        Ok(openclaw.is_ready().await)
    })
    .await?;
    until("the first value", &worker, async || {
        Ok(model_name(&openclaw).await? == "First name")
    })
    .await?;
    until("the first skill", &worker, async || {
        skill_is_listed(&openclaw, &worker, "greet").await
    })
    .await?;

    // A changed value in the bucket's openclaw.json is live in the gateway, which was not restarted for it.
    put_config(&bucket, &second).await?;
    worker.signal(Signal::HUP)?;
    until("the changed value", &worker, async || {
        Ok(model_name(&openclaw).await? == "Second name")
    })
    .await?;
    until("the applied configuration", &worker, async || {
        let applied = openclaw.rpc("config.get").await?;
        Ok(applied["configRevisionHash"] == applied["appliedConfigHash"])
    })
    .await?;
    let starts = worker.log().matches("the runtime was started").count();
    assert_eq!(starts, 1, "{}", worker.log());

    // A new skill is listed, a removed one no more.
    bucket
        .put(
            &agent::key("skills/juggle/SKILL.md"),
            "---\nname: juggle\ndescription: Juggles.\n---\nJuggle.\n",
        )
        .await?;
    bucket.delete(&agent::key("skills/greet/SKILL.md")).await?;
    bucket.delete(&agent::key("skills/greet/run.sh")).await?;
    worker.signal(Signal::HUP)?;
    until("the new skill alone", &worker, async || {
        Ok(skill_is_listed(&openclaw, &worker, "juggle").await?
            && !skill_is_listed(&openclaw, &worker, "greet").await?)
    })
    .await?;

    // A turn of the agent writes a file, and the file comes to the bucket.
    let turn = json!({"message": "write the note", "sessionKey": "agent:main:main", "idempotencyKey": "one"});
    openclaw
        .call(&worker.workspace(), "agent", &turn)
        .await
        .with_context(|| worker.log())?;
    until("the agent's file in the bucket", &worker, async || {
        Ok(bucket
            .get(&agent::key("notes/from-agent.md"))
            .await?
            .is_some_and(|note| note == "hello from the agent\n"))
    })
    .await?;
    let prompts = model.received(model::CHAT);
    assert!(
        prompts
            .iter()
            .any(|prompt| String::from_utf8_lossy(&prompt.body).contains("juggle")),
        "the agent knows the skill"
    );

    // A clean stop, and the bucket holds what the next container needs and none of what it must not hold.
    worker.signal(Signal::TERM)?;
    let code = worker.wait_exit(LIMIT).await?;
    // The gateway may hang at its stop for ever, and is killed then.
    let killed = code == 137 && worker.log().contains("did not end in time");
    assert!(code == 0 || killed, "{code}: {}", worker.log());
    the_bucket_holds_what_the_next_container_needs(&bucket, &second).await
}

async fn the_bucket_holds_what_the_next_container_needs(
    bucket: &Bucket,
    config: &Value,
) -> Result<()> {
    let kept = bucket.tree(&agent::key("")).await?;
    assert!(
        kept.keys().any(|name| name.starts_with(".openclaw/")),
        "the gateway's own state is kept"
    );
    for name in kept.keys() {
        let excluded = [
            ".cache/",
            ".npm/",
            ".agents/",
            ".openclaw/matrix/",
            ".openclaw/canvas/",
            ".hiclaw-sync/",
        ];
        assert!(
            !excluded.iter().any(|start| name.starts_with(start)),
            "{name} in the bucket"
        );
        let passing = ["-wal", "-shm", ".lock"];
        assert!(
            !passing.iter().any(|end| name.ends_with(end)),
            "{name} in the bucket"
        );
    }
    let kept_config: Value =
        serde_json::from_slice(kept.get("openclaw.json").context("no openclaw.json")?)?;
    assert_eq!(&kept_config, config, "openclaw.json is never pushed");
    Ok(())
}

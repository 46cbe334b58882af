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
        .env("PATH", openclaw.path()?);
    let config = |name: &str| openclaw.config(&builder.workspace(), &model.url(), name);
    let (first, second) = (config("First name"), config("Second name"));
    put_config(&bucket, &first).await?;

    // Startup.
    let mut worker = builder.start()?;
    let ready = wait_for("the gateway", LIMIT, async || Ok(openclaw.is_ready().await)).await;
    ready.with_context(|| worker.log())?;
    assert_eq!(model_name(&openclaw).await?, "First name");
    assert!(skill_is_listed(&openclaw, &worker, "greet").await?);

    // A changed value in the bucket's openclaw.json is live in the gateway, which was not restarted for it.
    let gateway = worker.children()?;
    put_config(&bucket, &second).await?;
    worker.signal(Signal::HUP)?;
    let live = wait_for("the changed value", LIMIT, async || {
        // While the gateway reloads it refuses requests for a moment.
        Ok(model_name(&openclaw)
            .await
            .is_ok_and(|name| name == "Second name"))
    })
    .await;
    live.with_context(|| worker.log())?;
    let applied = openclaw.rpc("config.get").await?;
    assert_eq!(applied["configRevisionHash"], applied["appliedConfigHash"]);
    assert_eq!(worker.children()?, gateway);

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
    wait_for("the new skill", LIMIT, async || {
        Ok(skill_is_listed(&openclaw, &worker, "juggle")
            .await
            .unwrap_or(false))
    })
    .await?;
    assert!(!skill_is_listed(&openclaw, &worker, "greet").await?);

    // A turn of the agent writes a file, and the file comes to the bucket.
    let turn = json!({"message": "write the note", "sessionKey": "agent:main:main", "idempotencyKey": "one"});
    openclaw
        .call(&worker.workspace(), "agent", &turn)
        .await
        .with_context(|| worker.log())?;
    wait_for("the agent's file in the bucket", LIMIT, async || {
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
    let code = worker.stop().await?;
    assert_eq!(code, 0, "{}", worker.log());
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
    assert_eq!(kept_config, second, "openclaw.json is never pushed");
    Ok(())
}

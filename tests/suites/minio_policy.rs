//! The policy of container/worker-policy.json on a real MinIO: enough for a worker, and no more.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::tools::Tool;
use testkit::{
    Bucket, PATIENCE, Proxy, Store, Worker, agent, on_store, tree, wait_for, wait_until,
};
use tokio::process::Command;

on_store!(
    minio,
    Minio,
    a_worker_lives_within_the_policy,
    without_the_permission_to_listen_it_says_so_once_and_polls,
);

/// The statement about events in the policy.
const LISTEN: &str = "ListenToOwnPrefixes";

async fn mc(program: &Path, config: &Path, admin: &Bucket, arguments: &[&str]) -> Result<()> {
    let host = admin.endpoint().trim_start_matches("http://");
    let output = Command::new(program)
        .args(arguments)
        .env("MC_CONFIG_DIR", config)
        .env(
            "MC_HOST_test",
            format!(
                "http://{}:{}@{host}",
                admin.access_key(),
                admin.secret_key()
            ),
        )
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(
        output.status.success(),
        "mc {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A user with the worker's policy, changed by `change`.
async fn user_with(
    program: &Path,
    admin: &Bucket,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> Result<Bucket> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../container/worker-policy.json");
    let policy = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let dir = tempfile::tempdir()?;
    let policy = policy
        .replace("NAME", agent::NAME)
        .replace("TEAM", "blue")
        .replace("hiclaw-storage", admin.name());
    let mut policy = serde_json::from_str(&policy)?;
    change(&mut policy);
    tree::write(dir.path(), "policy.json", policy.to_string())?;
    let policy = dir.path().join("policy.json").display().to_string();
    let (key, secret) = (format!("{name}-key"), "alicePolicySecret123");
    for arguments in [
        &["admin", "policy", "create", "test", name, &policy][..],
        &["admin", "user", "add", "test", &key, secret],
        &["admin", "policy", "attach", "test", name, "--user", &key],
    ] {
        mc(program, dir.path(), admin, arguments).await?;
    }
    Ok(admin.with_keys(&key, secret))
}

async fn a_worker_lives_within_the_policy(store: &'static Store) -> Result<()> {
    let Some(program) = Tool::Mc.path_or_skip()? else {
        return Ok(());
    };
    let admin = store.create_bucket().await?;
    agent::seed(&admin).await?;
    admin.put("agents/bob/SOUL.md", "Bob's\n").await?;
    let user = user_with(&program, &admin, "worker-alice", |_| {}).await?;
    assert!(
        user.get("agents/bob/SOUL.md").await.is_err(),
        "another agent's file"
    );
    assert!(user.put("agents/bob/SOUL.md", "mine").await.is_err());
    assert!(user.keys("agents/bob/").await.is_err());
    assert!(user.keys("").await.is_err(), "the bucket's root");
    assert!(user.put("hiclaw-config/x", "mine").await.is_err());

    let proxy = Proxy::start(store.endpoint()).await?;
    let mut worker = Worker::start(&user.via(&proxy.endpoint())).await?;
    assert_eq!(
        tree::names(&worker.root().join("shared"))?,
        ["knowledge/facts.md", "tasks/t1/spec.md"]
    );
    wait_until("the streams of events", PATIENCE, || proxy.streams() == 2).await?;
    tree::write(&worker.workspace(), "notes.md", "mine\n")?;
    tree::write(&worker.root(), "shared/tasks/t1/result.md", "done\n")?;
    wait_for("the files in the bucket", PATIENCE, async || {
        let notes = admin.get(&agent::key("notes.md")).await?;
        Ok(notes.is_some() && admin.get("shared/tasks/t1/result.md").await?.is_some())
    })
    .await?;
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    let refused: Vec<_> = proxy
        .requests()
        .into_iter()
        .filter(|seen| seen.status == Some(403))
        .collect();
    assert_eq!(refused, []);
    Ok(())
}

async fn without_the_permission_to_listen_it_says_so_once_and_polls(
    store: &'static Store,
) -> Result<()> {
    let Some(program) = Tool::Mc.path_or_skip()? else {
        return Ok(());
    };
    let admin = store.create_bucket().await?;
    agent::seed(&admin).await?;
    let user = user_with(&program, &admin, "deaf-worker", |policy| {
        if let Some(statements) = policy.get_mut("Statement").and_then(Value::as_array_mut) {
            statements.retain(|statement| statement.get("Sid") != Some(&json!(LISTEN)));
        }
    })
    .await?;
    let worker = Worker::builder(&user)?.pull_interval("2s").start()?;
    worker.wait_for_runtime().await?;
    let advice = "grant s3:ListenBucketNotification";
    worker.wait_for_log(advice).await?;
    admin.put(&agent::key("SOUL.md"), "polled\n").await?;
    wait_until("the change", PATIENCE, || {
        tree::holds(&worker.workspace(), "SOUL.md", "polled\n")
    })
    .await?;
    assert_eq!(worker.log().matches(advice).count(), 1, "{}", worker.log());
    Ok(())
}

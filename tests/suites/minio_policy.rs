//! The policy of container/worker-policy.json on a real MinIO: enough for a worker, and no more.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::proxy::Kind;
use testkit::tools::Tool;
use testkit::{Bucket, PATIENCE, Proxy, Store, Worker, agent, on_store, tree, wait_for};
use tokio::process::Command;

on_store!(minio, Minio, a_worker_lives_within_the_policy);

const USER: (&str, &str) = ("alice-policy-key", "alicePolicySecret123");

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

async fn a_worker_lives_within_the_policy(store: &'static Store) -> Result<()> {
    let Some(program) = Tool::Mc.path_or_skip()? else {
        return Ok(());
    };
    let admin = store.create_bucket().await?;
    agent::seed(&admin).await?;
    admin.put("agents/bob/SOUL.md", "Bob's\n").await?;

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../container/worker-policy.json");
    let policy = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let dir = tempfile::tempdir()?;
    let policy = policy
        .replace("NAME", agent::NAME)
        .replace("TEAM", "blue")
        .replace("hiclaw-storage", admin.name());
    tree::write(dir.path(), "policy.json", policy)?;
    let policy = dir.path().join("policy.json").display().to_string();
    for arguments in [
        &["admin", "policy", "create", "test", "worker-alice", &policy][..],
        &["admin", "user", "add", "test", USER.0, USER.1],
        &[
            "admin",
            "policy",
            "attach",
            "test",
            "worker-alice",
            "--user",
            USER.0,
        ],
    ] {
        mc(&program, dir.path(), &admin, arguments).await?;
    }

    let user = admin.with_keys(USER.0, USER.1);
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
    assert!(
        refused.iter().all(|seen| seen.kind() == Kind::Other),
        "{refused:?}"
    );
    Ok(())
}

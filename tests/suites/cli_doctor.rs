//! `doctor`: what is wrong is named, with what to do about it, and nothing is left behind.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::cli::Ran;
use testkit::matrix;
use testkit::proxy::{Fault, Rule};
use testkit::store::SECRET_KEY;
use testkit::stub::{Reply, Stub};
use testkit::tools::Tool;
use testkit::{Bucket, Cli, Proxy, Store, StoreKind, agent, on_every_store, on_store, tree};

on_every_store!(
    a_sound_worker_is_told_so_and_nothing_is_left,
    wrong_keys_are_named_and_not_shown,
    a_missing_bucket_is_named,
);
on_store!(
    alone,
    Embedded,
    missing_files_of_the_agent_are_named,
    a_broken_configuration_is_named,
    a_prefix_that_may_not_be_written_is_named,
    a_heavy_directory_is_named,
    a_resident_engine_is_found,
    a_service_that_was_named_must_answer,
    keys_of_the_controller_are_used,
);

/// The checks of that name, as `(state, message and advice)`.
fn checks(ran: &Ran, name: &str) -> Result<Vec<(String, String)>> {
    let document = ran.json()?;
    let checks = document
        .get("checks")
        .and_then(Value::as_array)
        .context("no checks")?;
    let text = |check: &Value, field: &str| {
        let value = check.get(field).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    Ok(checks
        .iter()
        .filter(|check| text(check, "check") == name)
        .map(|check| {
            let said = format!("{} -> {}", text(check, "message"), text(check, "advice"));
            (text(check, "state"), said)
        })
        .collect())
}

/// The only check of that name.
fn check(ran: &Ran, name: &str) -> Result<(String, String)> {
    let mut found = checks(ran, name)?;
    ensure!(found.len() == 1, "{name}: {found:?}");
    found.pop().context("no check")
}

fn assert_state(ran: &Ran, name: &str, expected: &str) -> Result<String> {
    let (state, said) = check(ran, name)?;
    assert_eq!(state, expected, "{name}: {said}");
    Ok(said)
}

/// A seeded bucket and services that answer.
async fn sound(store: &Store) -> Result<(Bucket, Cli, Stub)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let homeserver = matrix::homeserver("the-new-token").await?;
    let cli = Cli::new(&bucket)?
        .env("HICLAW_MATRIX_URL", &homeserver.url())
        .env("HICLAW_AI_GATEWAY_URL", &homeserver.url());
    Ok((bucket, cli, homeserver))
}

async fn a_sound_worker_is_told_so_and_nothing_is_left(store: &'static Store) -> Result<()> {
    let (bucket, cli, _homeserver) = sound(store).await?;
    cli.ok(&["pull"]).await?;
    let before = (bucket.keys("").await?, tree::names(&cli.root())?);
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for name in [
        "settings",
        "store",
        "credentials",
        "bucket",
        "clock",
        "engine",
        "matrix",
    ] {
        assert_state(&ran, name, "ok")?;
    }
    let access = checks(&ran, "access")?;
    assert_eq!(access.len(), 2, "{access:?}");
    assert!(access.iter().all(|(state, _)| state == "ok"), "{access:?}");
    let conditions = assert_state(&ran, "conditional-writes", "ok")?;
    let deletes_too = conditions.contains("writes and deletes");
    assert_eq!(
        deletes_too,
        store.kind() != StoreKind::Minio,
        "{conditions}"
    );
    let files = checks(&ran, "files")?;
    assert_eq!(files.len(), 3, "{files:?}");
    assert_eq!((bucket.keys("").await?, tree::names(&cli.root())?), before);
    let probes = fs::read_dir(cli.workspace().join(".hiclaw-sync"))?;
    for entry in probes {
        let name = entry?.file_name().to_string_lossy().into_owned();
        assert!(!name.contains("doctor"), "{name}");
    }
    let shown = cli.ok(&["doctor"]).await?;
    assert!(shown.stdout.contains("0 failed"), "{}", shown.stdout);
    assert!(!ran.says(SECRET_KEY) && !shown.says(SECRET_KEY));
    Ok(())
}

async fn wrong_keys_are_named_and_not_shown(store: &'static Store) -> Result<()> {
    let (bucket, _, _homeserver) = sound(store).await?;
    let wrong = bucket.with_keys(bucket.access_key(), "wrongSecret987654321");
    let ran = Cli::new(&wrong)?.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let said = assert_state(&ran, "credentials", "failed")?;
    assert!(said.contains("HICLAW_FS_SECRET_KEY"), "{said}");
    assert!(!ran.says("wrongSecret987654321"));
    Ok(())
}

async fn a_missing_bucket_is_named(store: &'static Store) -> Result<()> {
    let cli = Cli::new(&store.bucket_named("never-made"))?;
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let said = assert_state(&ran, "bucket", "failed")?;
    assert!(said.contains("HICLAW_FS_BUCKET"), "{said}");
    Ok(())
}

async fn missing_files_of_the_agent_are_named(store: &'static Store) -> Result<()> {
    let (bucket, cli, _homeserver) = sound(store).await?;
    bucket.delete(&agent::key("SOUL.md")).await?;
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let files = checks(&ran, "files")?;
    let failed: Vec<_> = files
        .iter()
        .filter(|(state, _)| state == "failed")
        .collect();
    assert_eq!(failed.len(), 1, "{files:?}");
    assert!(failed.iter().all(|(_, said)| said.contains("SOUL.md")));
    // The others are there and were not pulled yet.
    assert_eq!(
        files.iter().filter(|(state, _)| state == "warning").count(),
        2
    );
    Ok(())
}

async fn a_broken_configuration_is_named(store: &'static Store) -> Result<()> {
    let (bucket, cli, _homeserver) = sound(store).await?;
    bucket
        .put(&agent::key("openclaw.json"), "{\"gateway\": ")
        .await?;
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let files = checks(&ran, "files")?;
    let named = |said: &str| said.contains("openclaw.json in the bucket is no valid JSON5");
    assert!(files.iter().any(|(_, said)| named(said)), "{files:?}");
    Ok(())
}

async fn a_prefix_that_may_not_be_written_is_named(store: &'static Store) -> Result<()> {
    let (bucket, cli, _homeserver) = sound(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    proxy.add(Rule::new("PUT", "/shared/", Fault::Status(403)));
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let access = checks(&ran, "access")?;
    let failed: Vec<_> = access
        .iter()
        .filter(|(state, _)| state == "failed")
        .collect();
    assert_eq!(failed.len(), 1, "{access:?}");
    let said = &failed.first().context("none failed")?.1;
    assert!(
        said.contains("shared/*: put") && said.contains("s3:PutObject"),
        "{said}"
    );
    assert_eq!(bucket.keys("shared/.hiclaw").await?, [""; 0]);
    Ok(())
}

async fn a_heavy_directory_is_named(store: &'static Store) -> Result<()> {
    let (_bucket, cli, _homeserver) = sound(store).await?;
    cli.ok(&["pull"]).await?;
    for number in 0..250 {
        tree::write(
            &cli.workspace(),
            &format!("web/node_modules/m/{number}.js"),
            "x",
        )?;
    }
    tree::write(&cli.workspace(), ".cache/blob", "left out")?;
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 0, "a warning is no failure: {}", ran.stdout);
    let weight = checks(&ran, "weight")?;
    let heavy = weight.iter().find(|(state, _)| state == "warning");
    let (_, said) = heavy.with_context(|| format!("{weight:?}"))?;
    assert!(
        said.contains("web/node_modules") && said.contains("250 files"),
        "{said}"
    );
    assert!(
        weight
            .iter()
            .any(|(_, said)| said.contains("1 files with 8 B are left out")),
        "{weight:?}"
    );
    Ok(())
}

async fn a_resident_engine_is_found(store: &'static Store) -> Result<()> {
    let (_bucket, cli, _homeserver) = sound(store).await?;
    let engine = cli.spawn(&["watch"])?;
    testkit::wait_for("the engine", testkit::PATIENCE, async || {
        let ran = cli.run(&["doctor", "--json"]).await?;
        let (state, said) = check(&ran, "engine")?;
        Ok(state == "ok" && said.contains("resident and answers"))
    })
    .await?;
    drop(engine);
    Ok(())
}

async fn a_service_that_was_named_must_answer(store: &'static Store) -> Result<()> {
    let (_bucket, cli, _homeserver) = sound(store).await?;
    cli.ok(&["pull"]).await?;
    // Closed again at once: connections to it are refused.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let cli = cli.env("HICLAW_MATRIX_URL", &format!("http://{address}"));
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let said = assert_state(&ran, "matrix", "failed")?;
    assert!(said.contains("HICLAW_MATRIX_URL"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_code_75_and_the_rest_is_looked_at() -> Result<()> {
    // Closed again at once: connections to it are refused.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let endpoint = format!("http://{address}");
    let cli = Cli::new(&Bucket::new(&endpoint, "bucket", "key", SECRET_KEY))?;
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 75, "{}", ran.stdout);
    let said = assert_state(&ran, "store", "failed")?;
    assert!(said.contains(&endpoint), "{said}");
    assert!(!checks(&ran, "state")?.is_empty());
    assert!(!ran.says(SECRET_KEY));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_settings_are_all_named() -> Result<()> {
    let cli = Cli::new(&Bucket::new(
        "http://127.0.0.1:1",
        "bucket",
        "key",
        SECRET_KEY,
    ))?
    .without_env("HICLAW_WORKER_NAME")
    .without_env("HICLAW_FS_SECRET_KEY");
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let said: Vec<_> = checks(&ran, "settings")?;
    for name in ["HICLAW_WORKER_NAME", "HICLAW_FS_SECRET_KEY"] {
        assert!(said.iter().any(|(_, said)| said.contains(name)), "{said:?}");
    }
    Ok(())
}

/// A clock that is off can't be had from a server; a proxy's delay shows that the time is the store's.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_its_time_is_waited_for() -> Result<()> {
    let Some(store) = Store::shared(StoreKind::Embedded).await? else {
        return Ok(());
    };
    let (_bucket, cli, _homeserver) = sound(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    proxy.add(Rule::new(
        "",
        "list-type",
        Fault::Delay(Duration::from_millis(300)),
    ));
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_state(&ran, "clock", "ok")?;
    Ok(())
}

/// With the policy that workers have nothing is refused; without it everything is named.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_workers_is_enough() -> Result<()> {
    let (Some(store), Some(mc)) = (
        Store::shared(StoreKind::Minio).await?,
        Tool::Mc.path_or_skip()?,
    ) else {
        return Ok(());
    };
    let (bucket, _, homeserver) = sound(store).await?;
    let dir = tempfile::tempdir()?;
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../container/worker-policy.json");
    let policy = fs::read_to_string(policy)?
        .replace("NAME", agent::NAME)
        .replace("TEAM", "blue")
        .replace("hiclaw-storage", bucket.name());
    tree::write(dir.path(), "policy.json", policy)?;
    let policy = dir.path().join("policy.json").display().to_string();
    let user = ("alice-doctor-key", "aliceDoctorSecret123");
    let admin = |arguments: &[&str]| {
        let host = store.endpoint().trim_start_matches("http://");
        let host = format!(
            "http://{}:{}@{host}",
            bucket.access_key(),
            bucket.secret_key()
        );
        let output = std::process::Command::new(&mc)
            .arg("admin")
            .args(arguments)
            .env("MC_CONFIG_DIR", dir.path())
            .env("MC_HOST_test", host)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    admin(&["user", "add", "test", user.0, user.1])?;
    let cli = Cli::new(&bucket.with_keys(user.0, user.1))?
        .env("HICLAW_MATRIX_URL", &homeserver.url())
        .env("HICLAW_AI_GATEWAY_URL", &homeserver.url());
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    let access = checks(&ran, "access")?;
    assert!(
        access.iter().all(|(state, _)| state == "failed"),
        "{access:?}"
    );

    admin(&["policy", "create", "test", "doctor-alice", &policy])?;
    admin(&["policy", "attach", "test", "doctor-alice", "--user", user.0])?;
    let ran = cli.run(&["doctor", "--json"]).await?;
    let access = checks(&ran, "access")?;
    assert!(access.iter().all(|(state, _)| state == "ok"), "{access:?}");
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    Ok(())
}

/// Keys that expire are the only ones such a worker has; what is asked by hand needs them too.
async fn keys_of_the_controller_are_used(store: &'static Store) -> Result<()> {
    const STS: &str = "/api/v1/credentials/sts";
    let (bucket, cli, _homeserver) = sound(store).await?;
    let controller = matrix::controller(agent::NAME).await?;
    let issued = serde_json::json!({
        "access_key_id": bucket.access_key(), "access_key_secret": bucket.secret_key(),
        "security_token": "", "expires_in_sec": 3600, "oss_endpoint": "nowhere.invalid", "oss_bucket": bucket.name(),
    });
    controller.on("POST", STS, Reply::json(200, &issued));
    let cli = cli
        .without_env("HICLAW_FS_ACCESS_KEY")
        .without_env("HICLAW_FS_SECRET_KEY")
        .env("HICLAW_STORAGE_PROVIDER", "oss")
        .env("HICLAW_CONTROLLER_URL", &controller.url())
        .env("HICLAW_AUTH_TOKEN", "tokenFromTheEnvironment1");
    let ran = cli.run(&["doctor", "--json"]).await?;
    assert_state(&ran, "credentials", "ok")?;
    let read = cli.ok(&["cat", &agent::key("SOUL.md")]).await?;
    assert!(!read.stdout.is_empty());
    let copied = cli.scratch().join("copy").display().to_string();
    let source = format!("s3://{}/agents/{}/", bucket.name(), agent::NAME);
    cli.ok(&["mirror", &source, &copied]).await?;
    assert!(cli.scratch().join("copy/SOUL.md").exists());
    controller.on("POST", STS, Reply::empty(403));
    let ran = cli.run(&["doctor", "--json"]).await?;
    let said = assert_state(&ran, "credentials", "failed")?;
    assert!(said.contains("HICLAW_CONTROLLER_URL"), "{said}");
    Ok(())
}

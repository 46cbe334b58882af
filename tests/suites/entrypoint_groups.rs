//! Reload groups under a running worker: an invalid version never gets in, and a skill is never half of two versions.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that is not there gives null, and is asserted on"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use hyper::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use testkit::{Bucket, PATIENCE, Store, Worker, agent, http, on_store, tree, wait_for, wait_until};

on_store!(
    embedded,
    Embedded,
    an_invalid_configuration_keeps_the_old_one_and_recovers_by_itself,
    what_the_layouts_command_refuses_is_not_published,
    a_reader_of_a_skill_never_sees_half_of_an_update,
);
on_store!(
    minio,
    Minio,
    a_reader_of_a_skill_never_sees_half_of_an_update
);

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

struct Health(String);

impl Health {
    fn of(worker: &Worker) -> Result<Self> {
        let log = worker.log();
        let address = log
            .lines()
            .find_map(|line| line.split_once("serving health address="))
            .and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(Self(format!(
            "http://{}",
            address.with_context(|| log.clone())?
        )))
    }

    async fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("{}{path}", self.0);
        let answer = http::request(Method::GET, &url, None, String::new()).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok((answer.status, body))
    }

    /// Waits until it is ready, or isn't for a reason that holds `text`.
    async fn wait(&self, status: u16, text: &str) -> Result<()> {
        let what = format!("/readyz to say {status} {text}");
        wait_for(&what, PATIENCE, async || {
            let (found, body) = self.get("/readyz").await?;
            Ok(found == status && body.contains(text))
        })
        .await
        .map(drop)
    }

    async fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/status").await?.1)?)
    }
}

async fn put(bucket: &Bucket, path: &str, content: &str) -> Result<()> {
    let written = bucket.put(&agent::key(path), content.to_owned()).await;
    written.map(drop)
}

fn configuration(version: u32) -> String {
    let mut config = agent::openclaw_json();
    config["models"]["providers"]["version"] = json!(version);
    config.to_string()
}

async fn an_invalid_configuration_keeps_the_old_one_and_recovers_by_itself(
    store: &'static Store,
) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::builder(&bucket)?
        // Several objects are written one by one: one pull is to see them all.
        .option("--events", "never")
        .option("--health-listen", "127.0.0.1:0")
        .start()?;
    worker.wait_for_runtime().await?;
    let health = Health::of(&worker)?;
    health.wait(200, "").await?;
    let workspace = worker.workspace();
    let before = tree::text(&workspace, "openclaw.json")?;
    let tools = tree::text(&workspace, "config/mcporter.json")?;

    for (path, broken) in [
        ("openclaw.json", "{\"models\": "),
        ("config/mcporter.json", "[]"),
        ("config/mcporter.json", "{\"mcpServers\": {}} trailing"),
    ] {
        put(&bucket, "openclaw.json", &configuration(1)).await?;
        put(&bucket, path, broken).await?;
        worker.signal(Signal::HUP)?;
        let reason = format!("degraded: config: {path}: ");
        health.wait(503, &reason).await?;
        assert_eq!(tree::text(&workspace, "openclaw.json")?, before);
        assert_eq!(tree::text(&workspace, "config/mcporter.json")?, tools);
        let status = health.status().await?;
        let problem = &status["sync"]["problems"][0];
        assert_eq!(problem["path"], *path, "{status}");
        assert_eq!(problem["kind"], "invalid", "{status}");
        // An edit of the agent's own doesn't make it look well.
        let mut local: Value = serde_json::from_str(&before)?;
        local["channels"]["matrix"]["enabled"] = json!(false);
        tree::write(&workspace, "notes.md", path)?;
        wait_for("the edit in the bucket", PATIENCE, async || {
            Ok(bucket.text(&agent::key("notes.md")).await.ok().as_deref() == Some(path))
        })
        .await?;
        health.wait(503, &reason).await?;
        let mended = if path == "openclaw.json" {
            continue;
        } else {
            "{\"mcpServers\": {}}\n"
        };
        put(&bucket, path, mended).await?;
        put(&bucket, "openclaw.json", &before).await?;
        worker.signal(Signal::HUP)?;
        health.wait(200, "").await?;
    }
    put(&bucket, "openclaw.json", &configuration(2)).await?;
    worker.signal(Signal::HUP)?;
    wait_until("the mended version", PATIENCE, || {
        let text = tree::text(&workspace, "openclaw.json").unwrap_or_default();
        serde_json::from_str::<Value>(&text)
            .is_ok_and(|found| found["models"]["providers"]["version"] == 2)
    })
    .await?;
    health.wait(200, "").await?;
    assert_eq!(worker.runtime()?.starts(), 1);
    Ok(())
}

/// A child of the OpenClaw layout that refuses a word, and says a secret when it does.
const PICKY: &str = r#"
name = "picky"
extends = "openclaw"

[reload.config]
action = "watched"
validate = ["sh", "-c", "echo $HICLAW_CANDIDATE_PATH >> asked; ! grep forbidden \"$1\" >&2", "validate", "{candidate}"]
"#;

async fn what_the_layouts_command_refuses_is_not_published(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let directory = tempfile::tempdir()?;
    let layout = directory.path().join("picky.toml");
    fs::write(&layout, PICKY)?;
    let worker = Worker::builder(&bucket)?
        // Several objects are written one by one: one pull is to see them all.
        .option("--events", "never")
        .option("--layout", &layout.to_string_lossy())
        .option("--health-listen", "127.0.0.1:0")
        .start()?;
    worker.wait_for_runtime().await?;
    let health = Health::of(&worker)?;
    health.wait(200, "").await?;
    let workspace = worker.workspace();
    let before = tree::text(&workspace, "config/mcporter.json")?;
    let asked = tree::text(&workspace, "asked")?;
    assert!(asked.contains("config/mcporter.json") && asked.contains("openclaw.json"));

    put(&bucket, "openclaw.json", &configuration(1)).await?;
    let forbidden = r#"{"note": "forbidden", "apiKey": "k-secret-1234"}"#;
    put(&bucket, "config/mcporter.json", forbidden).await?;
    worker.signal(Signal::HUP)?;
    health
        .wait(
            503,
            "degraded: config: config/mcporter.json: `sh` ended with exit code 1: ",
        )
        .await?;
    let (_, reason) = health.get("/readyz").await?;
    assert!(
        reason.contains("forbidden") && reason.contains("[redacted]"),
        "{reason}"
    );
    assert!(!worker.log().contains("k-secret-1234"), "{}", worker.log());
    assert_eq!(tree::text(&workspace, "config/mcporter.json")?, before);
    assert!(!tree::text(&workspace, "openclaw.json")?.contains("version"));

    put(&bucket, "config/mcporter.json", r#"{"note": "allowed"}"#).await?;
    worker.signal(Signal::HUP)?;
    health.wait(200, "").await?;
    assert!(tree::text(&workspace, "openclaw.json")?.contains("version"));
    assert!(tree::holds(
        &workspace,
        "config/mcporter.json",
        r#"{"note": "allowed"}"#
    ));
    assert_eq!(tree::staged(&workspace), [""; 0]);
    Ok(())
}

const FILES: usize = 20;
const VERSIONS: usize = 15;

fn skill(version: usize) -> BTreeMap<String, String> {
    let content = format!("version {version}\n").repeat(200);
    let names = (0..FILES).map(|number| format!("part-{number:02}.md"));
    // Every version has a file that the one before did not have, and lacks one that it had.
    let own = [format!("only-{version:03}.md"), "SKILL.md".to_owned()];
    names
        .chain(own)
        .map(|name| (name, content.clone()))
        .collect()
}

fn version_of(text: &str) -> Result<usize> {
    let first = text.lines().next().context("an empty file")?;
    if text != format!("{first}\n").repeat(200) {
        bail!("a torn file: {} bytes", text.len());
    }
    Ok(first.trim_start_matches("version ").parse()?)
}

/// Looks once, as an agent does: at the document first, then at all that is there. What is there has at least the version that
/// the document has. Gives the version of the document.
fn look(directory: &Path) -> Result<Option<usize>> {
    let Ok(document) = fs::read_to_string(directory.join("SKILL.md")) else {
        // Not there yet: then there is no directory either.
        if fs::exists(directory)? && !directory.join("SKILL.md").exists() {
            bail!("a skill without its document");
        }
        return Ok(None);
    };
    let version = version_of(&document)?;
    for number in 0..FILES {
        let name = format!("part-{number:02}.md");
        let text = fs::read_to_string(directory.join(&name)).context(name.clone())?;
        let found = version_of(&text)?;
        if found < version {
            bail!("{name} has version {found}, the document {version}");
        }
    }
    let own = directory.join(format!("only-{version:03}.md"));
    // It is gone when the next version has come meanwhile.
    if !own.exists() && version_of(&fs::read_to_string(directory.join("SKILL.md"))?)? == version {
        bail!("{} is missing", own.display());
    }
    Ok(Some(version))
}

async fn a_reader_of_a_skill_never_sees_half_of_an_update(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    // The pass after the start would bring what is in the bucket while this test still writes it.
    worker.wait_for_log("trigger=Request").await?;
    let directory: PathBuf = worker.workspace().join("skills/web");
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (directory, stop) = (directory.clone(), Arc::clone(&stop));
        tokio::task::spawn_blocking(move || -> Result<usize> {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                looks += usize::from(look(&directory)?.is_some());
            }
            Ok(looks)
        })
    };
    for version in 1..=VERSIONS {
        // What the controller writes object by object is brought by one pull.
        for name in skill(version - 1).keys().filter(|_| version > 1) {
            if !skill(version).contains_key(name) {
                bucket
                    .delete(&agent::key(&format!("skills/web/{name}")))
                    .await?;
            }
        }
        for (name, content) in skill(version) {
            put(&bucket, &format!("skills/web/{name}"), &content).await?;
        }
        worker.signal(Signal::HUP)?;
        wait_until(
            "the new version, and nothing of the old one",
            PATIENCE,
            || {
                reader.is_finished()
                    || tree::read(&directory).is_ok_and(|found| {
                        let expected = skill(version).into_iter();
                        found
                            == expected
                                .map(|(name, content)| (name, content.into()))
                                .collect()
                    })
            },
        )
        .await
        .with_context(|| worker.log())?;
    }
    stop.store(true, Ordering::Relaxed);
    let looks = reader.await??;
    assert!(looks > VERSIONS, "the reader looked {looks} times only");
    Ok(())
}

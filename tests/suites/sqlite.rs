//! SQLite databases of a running agent: every version in the bucket is whole, and none is changed under the agent.
//!
//! Writers and the looks into versions are `python3` with its own SQLite, so that the engine's is not its own judge.
//! `HICLAW_SQLITE_SECONDS` says for how long the writers commit (5 by default).
#![expect(
    clippy::print_stdout,
    reason = "how many versions there were is worth seeing"
)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::{Bucket, Cli, PATIENCE, Store, Worker, agent, on_every_store, wait_for};

on_every_store!(
    every_version_of_a_busy_database_is_whole,
    a_new_version_waits_for_the_next_start,
    what_a_killed_agent_had_committed_comes_back,
);

/// Commits pairs of rows that sum up to nothing, for a time or until it is killed; a large one now and then, so that pages
/// are written before the commit and the log begins anew.
const WRITER: &str = r#"
import os, sqlite3, sys, time
path, mode, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
os.makedirs(os.path.dirname(path), exist_ok=True)
connection = sqlite3.connect(path, timeout=20, isolation_level=None)
connection.execute("PRAGMA journal_mode = " + mode)
connection.execute("PRAGMA cache_size = 8")
connection.execute("CREATE TABLE IF NOT EXISTS entry (number INTEGER, value INTEGER, ballast BLOB)")
end, number = time.monotonic() + seconds, 0
while time.monotonic() < end:
    number += 1
    size = 100000 if number % 40 == 0 else 50
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO entry VALUES (?, ?, randomblob(?))", (number, number, size))
    connection.execute("DELETE FROM entry WHERE number <= ? AND number % 40 != 1", (number - 200,)) if number % 50 == 0 else None
    connection.execute("INSERT INTO entry VALUES (?, ?, NULL)", (number, -number))
    connection.execute("COMMIT")
    print(number, flush=True)
    time.sleep(0.005)
connection.close()
"#;

/// Says the highest number if the database is sound and every transaction in it is whole.
const CHECK: &str = r#"
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
answer = connection.execute("PRAGMA integrity_check").fetchall()
assert answer == [("ok",)], answer
torn = connection.execute("SELECT number FROM entry GROUP BY number HAVING sum(value) != 0 OR count(*) != 2").fetchall()
assert torn == [], torn
print(connection.execute("SELECT coalesce(max(number), 0) FROM entry").fetchone()[0])
"#;

fn seconds() -> f64 {
    let set = std::env::var("HICLAW_SQLITE_SECONDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(5.0)
}

/// A process that commits; killed when dropped.
struct Writer(Child);

impl Writer {
    fn start(path: &Path, mode: &str, seconds: f64) -> Result<Self> {
        let child = Command::new("python3")
            .args(["-c", WRITER])
            .arg(path)
            .args([mode, &seconds.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .context("start a writer")?;
        Ok(Self(child))
    }

    fn has_ended(&mut self) -> Result<bool> {
        let Some(status) = self.0.try_wait()? else {
            return Ok(false);
        };
        ensure!(
            status.success(),
            "a writer failed: it was kept from writing"
        );
        Ok(true)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The highest number in a database whose transactions are all whole.
fn checked(path: &Path) -> Result<u64> {
    let output = Command::new("python3")
        .args(["-c", CHECK])
        .arg(path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {error}", path.display());
    said.parse().context(said)
}

/// The highest number in the object's version of this moment; `None` when there is none, or it is the version `seen`.
async fn new_version(
    bucket: &Bucket,
    path: &str,
    seen: &mut Option<String>,
) -> Result<Option<u64>> {
    let key = agent::key(path);
    let Some(head) = bucket.head(&key).await? else {
        return Ok(None);
    };
    if seen.as_ref() == Some(&head.etag) {
        return Ok(None);
    }
    let content = bucket.get(&key).await?.context("it is gone")?;
    *seen = Some(head.etag);
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("copy");
    std::fs::write(&copy, content)?;
    checked(&copy).with_context(|| path.to_owned()).map(Some)
}

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

async fn every_version_of_a_busy_database_is_whole(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::start(&bucket).await?;
    let modes = [
        (".openclaw/state/agent.sqlite", "wal"),
        // Neither a rule of the layout nor the name tells that it is a database.
        ("memory/main", "wal"),
        ("memory/old.db", "delete"),
    ];
    let mut writers = Vec::new();
    for (path, mode) in modes {
        writers.push(Writer::start(
            &worker.workspace().join(path),
            mode,
            seconds(),
        )?);
    }
    let mut seen = vec![None; modes.len()];
    let mut versions = vec![Vec::new(); modes.len()];
    loop {
        let mut writing = false;
        for writer in &mut writers {
            writing |= !writer.has_ended()?;
        }
        for ((path, _), (seen, versions)) in modes.iter().zip(seen.iter_mut().zip(&mut versions)) {
            versions.extend(new_version(&bucket, path, seen).await?);
        }
        if !writing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (((path, mode), seen), versions) in modes.iter().zip(&mut seen).zip(&mut versions) {
        let last = checked(&worker.workspace().join(path))?;
        wait_for(
            &format!("the last commit to {path}"),
            PATIENCE,
            async || {
                versions.extend(new_version(&bucket, path, seen).await?);
                Ok(versions.last() == Some(&last))
            },
        )
        .await
        .with_context(|| worker.log())?;
        println!("{path} ({mode}): {last} commits, versions {versions:?}");
        assert!(
            versions.len() > 1,
            "{path} came only when its writer had ended"
        );
        assert!(versions.is_sorted(), "{path} went back: {versions:?}");
    }
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    let parts = ["-wal", "-shm", "-journal"];
    for key in bucket.keys(&agent::key("")).await? {
        assert!(!parts.iter().any(|part| key.ends_with(part)), "{key}");
        assert!(!key.contains(".sync-conflicts"), "{key}");
    }
    Ok(())
}

/// A database that holds `number` as its highest, in a file that nobody has open.
fn database(path: &Path, number: u64) -> Result<()> {
    const SCRIPT: &str = r#"
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = wal")
connection.execute("CREATE TABLE IF NOT EXISTS entry (number INTEGER, value INTEGER, ballast BLOB)")
connection.execute("INSERT INTO entry VALUES (?1, 1, NULL), (?1, -1, NULL)", (int(sys.argv[2]),))
connection.commit()
connection.close()
"#;
    let status = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(path)
        .arg(number.to_string())
        .status()?;
    ensure!(status.success(), "can't make {}", path.display());
    Ok(())
}

async fn a_new_version_waits_for_the_next_start(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::start(&bucket).await?;
    let cli = Cli::beside(&bucket, &worker.root())?;
    database(&worker.workspace().join("memory.db"), 1)?;
    let mut seen = None;
    wait_for("the database in the bucket", PATIENCE, async || {
        Ok(new_version(&bucket, "memory.db", &mut seen).await? == Some(1))
    })
    .await?;
    cli.ok(&["sync"]).await?;

    let other = cli.scratch().join("other.db");
    database(&other, 7)?;
    bucket
        .put(&agent::key("memory.db"), std::fs::read(&other)?)
        .await?;
    bucket.put(&agent::key("SOUL.md"), "new\n").await?;
    let ran = cli.run(&["--json", "pull"]).await?;
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.paths("held")?, ["memory.db"]);
    assert_eq!(ran.paths("downloaded")?, ["SOUL.md"]);
    assert_eq!(checked(&worker.workspace().join("memory.db"))?, 1);
    let status = cli.ok(&["--json", "status"]).await?.json()?;
    let held = status.pointer("/held/0/reason").and_then(Value::as_str);
    assert!(
        held.is_some_and(|reason| reason.contains("next start")),
        "{status}"
    );
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    assert_eq!(new_version(&bucket, "memory.db", &mut seen).await?, Some(7));

    let worker = worker.again(&bucket)?.start()?;
    worker.wait_for_runtime().await?;
    assert_eq!(checked(&worker.workspace().join("memory.db"))?, 7);
    assert!(!worker.workspace().join(".sync-conflicts").exists());
    Ok(())
}

async fn what_a_killed_agent_had_committed_comes_back(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::start(&bucket).await?;
    let path = worker.workspace().join("memory.db");
    let mut writer = Writer::start(&path, "wal", 600.0)?;
    let mut seen = None;
    wait_for("a version while it is written to", PATIENCE, async || {
        Ok(new_version(&bucket, "memory.db", &mut seen)
            .await?
            .is_some())
    })
    .await?;
    assert!(!writer.has_ended()?);
    drop(writer);
    // The log of the killed writer is still there, and nobody takes it home.
    assert!(worker.workspace().join("memory.db-wal").exists());
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    let in_bucket = new_version(&bucket, "memory.db", &mut None).await?;
    assert!(worker.workspace().join("memory.db-wal").exists());
    assert_eq!(in_bucket, Some(checked(&path)?));

    let recreated = Worker::start(&bucket).await?;
    let there = recreated.workspace().join("memory.db");
    assert_eq!(Some(checked(&there)?), in_bucket);
    Ok(())
}

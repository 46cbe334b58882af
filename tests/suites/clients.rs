//! Other people's S3 clients on the embedded store, boto3, rclone and s5cmd, by the scripts of `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Result, ensure};
use testkit::store::{ACCESS_KEY, SECRET_KEY};
use testkit::tools::{self, Tool};
use testkit::{Store, on_store};
use tokio::process::Command;

on_store!(
    embedded,
    Embedded,
    boto3_finds_what_it_finds_elsewhere,
    rclone_and_s5cmd_mirror_a_tree,
    a_killed_server_loses_nothing_it_acknowledged,
);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name)
}

/// Runs a script, which must end well and say so in its own words.
async fn run(command: &mut Command, expected: &[&str]) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    for words in expected {
        ensure!(
            text.lines().any(|line| line.starts_with(words)),
            "no {words:?} in\n{text}"
        );
    }
    Ok(())
}

async fn boto3_finds_what_it_finds_elsewhere(store: &'static Store) -> Result<()> {
    let Some(python) = Tool::Boto3.path_or_skip()? else {
        return Ok(());
    };
    let mut command = Command::new(python);
    command
        .arg(script("serve_boto3.py"))
        .args([store.endpoint(), ACCESS_KEY, SECRET_KEY]);
    run(&mut command, &["ok "]).await
}

async fn rclone_and_s5cmd_mirror_a_tree(store: &'static Store) -> Result<()> {
    let Some(rclone) = Tool::Rclone.path_or_skip()? else {
        return Ok(());
    };
    let Some(s5cmd) = Tool::S5cmd.path_or_skip()? else {
        return Ok(());
    };
    let mut command = Command::new("bash");
    command
        .arg(script("serve_peers.sh"))
        .args([store.endpoint(), ACCESS_KEY, SECRET_KEY]);
    run(
        command.env("RCLONE", rclone).env("S5CMD", s5cmd),
        &["ok rclone", "ok s5cmd"],
    )
    .await
}

async fn a_killed_server_loses_nothing_it_acknowledged(_: &'static Store) -> Result<()> {
    let Some(python) = Tool::Boto3.path_or_skip()? else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(python);
    command
        .arg(script("serve_kill9.py"))
        .args([ACCESS_KEY, SECRET_KEY, "5"])
        .arg(tools::hiclaw_sync()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--bucket", "bucket-one"])
        .args([
            "--access-key",
            ACCESS_KEY,
            "--secret-key",
            SECRET_KEY,
            "--data",
        ])
        .arg(dir.path().join("objects"));
    run(&mut command, &["ok "]).await
}

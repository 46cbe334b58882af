//! The README's first command: the demo runs through by itself, and tells all of its story.

use std::process::Stdio;

use anyhow::{Context, Result};
use testkit::tools;
use tokio::process::Command;

/// The demo waits 90 s for each of its observations.
const LIMIT: std::time::Duration = std::time::Duration::from_mins(5);

#[tokio::test]
async fn the_demo_tells_its_whole_story_and_ends_with_0() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let demo = Command::new(tools::worker_entrypoint()?)
        .args(["demo", "--once", "--keep"])
        .arg(directory.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, demo)
        .await
        .context("the demo hangs")??;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {told}", output.status);
    for step in 1..=6 {
        let start = format!("{step}. ");
        assert!(
            told.lines().any(|line| line.starts_with(&start)),
            "step {step} is missing: {told}"
        );
    }
    assert!(
        directory.path().join("root/agents/alice/SOUL.md").exists(),
        "--keep keeps the files"
    );
    Ok(())
}

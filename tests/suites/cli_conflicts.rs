//! Files that both sides changed: conflict copies, and the field-wise merge of openclaw.json.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that is not there gives null, and is asserted on"
)]

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::{Bucket, Cli, Store, agent, on_every_store, tree};

on_every_store!(
    a_conflict_keeps_both_versions_and_the_agents_edit_wins,
    the_controllers_version_of_a_skill_wins_a_conflict,
    openclaw_json_is_merged_and_never_pushed,
);

async fn pulled(store: &Store) -> Result<(Bucket, Cli)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let cli = Cli::new(&bucket)?;
    cli.ok(&["pull"]).await?;
    Ok((bucket, cli))
}

/// Names of the conflict copies of `path` below `root`.
fn conflict_copies(root: &Path, path: &str) -> Result<Vec<String>> {
    let start = format!(".sync-conflicts/{path}.");
    Ok(tree::names(root)?
        .into_iter()
        .filter(|name| name.starts_with(&start))
        .collect())
}

async fn a_conflict_keeps_both_versions_and_the_agents_edit_wins(
    store: &'static Store,
) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    tree::write(&cli.workspace(), "SOUL.md", "by the agent\n")?;
    bucket
        .put(&agent::key("SOUL.md"), "by the controller\n")
        .await?;

    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(ran.paths("conflicts")?, ["SOUL.md"]);
    assert_eq!(tree::text(&cli.workspace(), "SOUL.md")?, "by the agent\n");
    assert_eq!(bucket.text(&agent::key("SOUL.md")).await?, "by the agent\n");
    let copies = conflict_copies(&cli.workspace(), "SOUL.md")?;
    assert_eq!(copies.len(), 1, "{copies:?}");
    let copy = copies.first().context("no copy")?;
    assert_eq!(tree::text(&cli.workspace(), copy)?, "by the controller\n");

    // The copy is a file like any other: after another pass at the latest it is safe in the bucket too.
    cli.ok(&["sync"]).await?;
    assert_eq!(bucket.text(&agent::key(copy)).await?, "by the controller\n");
    Ok(())
}

async fn the_controllers_version_of_a_skill_wins_a_conflict(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    tree::write(&cli.workspace(), "skills/greet/SKILL.md", "by the agent\n")?;
    bucket
        .put(&agent::key("skills/greet/SKILL.md"), "by the controller\n")
        .await?;

    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(ran.paths("conflicts")?, ["skills/greet/SKILL.md"]);
    assert_eq!(
        tree::text(&cli.workspace(), "skills/greet/SKILL.md")?,
        "by the controller\n"
    );
    assert_eq!(
        bucket.text(&agent::key("skills/greet/SKILL.md")).await?,
        "by the controller\n"
    );
    let copies = conflict_copies(&cli.workspace(), "skills/greet/SKILL.md")?;
    let copy = copies.first().context("no conflict copy")?;
    assert_eq!(tree::text(&cli.workspace(), copy)?, "by the agent\n");
    Ok(())
}

async fn openclaw_json_is_merged_and_never_pushed(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    let mut local = agent::openclaw_json();
    local["channels"]["matrix"]["accessToken"] = json!("fresh-token");
    local["plugins"]["entries"]["mine"] = json!({"enabled": true});
    local["ui"] = json!({"theme": "dark"});
    tree::write(&cli.workspace(), "openclaw.json", local.to_string())?;
    let mut remote = agent::openclaw_json();
    remote["models"]["providers"]["gateway"] = json!({"baseUrl": "http://127.0.0.1:1"});
    remote["channels"]["matrix"]["enabled"] = json!(true);
    remote["ui"] = json!({"theme": "light"});
    // The gateway reads JSON5, and so may the controller write it.
    let remote_text = format!("// from the controller\n{remote}\n");
    bucket
        .put(&agent::key("openclaw.json"), remote_text.clone())
        .await?;

    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(ran.paths("merged")?, ["openclaw.json"]);
    let merged: Value = serde_json::from_str(&tree::text(&cli.workspace(), "openclaw.json")?)?;
    assert_eq!(merged["models"], remote["models"]);
    assert_eq!(
        merged["channels"],
        json!({"matrix": {"enabled": true, "accessToken": "fresh-token"}})
    );
    assert_eq!(merged["plugins"]["entries"], local["plugins"]["entries"]);
    assert_eq!(merged["ui"], local["ui"]);
    assert_eq!(
        bucket.text(&agent::key("openclaw.json")).await?,
        remote_text
    );

    let ran = cli.ok(&["sync", "--json"]).await?;
    for list in ["downloaded", "uploaded", "merged", "conflicts", "problems"] {
        assert_eq!(ran.paths(list)?, [""; 0], "{list} of {}", ran.stdout);
    }
    Ok(())
}

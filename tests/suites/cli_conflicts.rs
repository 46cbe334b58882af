//! Files that both sides changed: conflict copies, and the field-wise merge of openclaw.json.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value that is not there gives null, and is asserted on"
)]

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::{Bucket, Cli, PATIENCE, Store, agent, on_every_store, tree, wait_until};

on_every_store!(
    a_conflict_keeps_both_versions_and_the_agents_edit_wins,
    the_controllers_version_of_a_skill_wins_a_conflict,
    openclaw_json_is_merged_and_never_pushed,
    a_conflict_is_listed_and_shown_with_its_difference,
    taking_the_buckets_version_puts_it_in_place_on_both_sides_and_removes_the_copy,
    taking_the_version_that_stands_removes_the_copy_only,
    of_several_copies_the_newest_is_meant_unless_one_is_named,
    a_path_that_is_gone_can_be_resolved_from_its_copy,
    what_cannot_be_resolved_changes_nothing_and_says_why,
    the_resident_engine_shows_and_resolves,
    what_may_hold_secrets_is_never_shown,
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

/// An agent whose SOUL.md lost its version of the bucket to one of the agent; gives the copy.
async fn in_conflict(store: &Store) -> Result<(Bucket, Cli, String)> {
    let (bucket, cli) = pulled(store).await?;
    let copy = conflict(&bucket, &cli, "by the controller\n").await?;
    Ok((bucket, cli, copy))
}

/// Makes SOUL.md a conflict that the agent wins; gives the new copy.
async fn conflict(bucket: &Bucket, cli: &Cli, theirs: &str) -> Result<String> {
    let before = conflict_copies(&cli.workspace(), "SOUL.md")?;
    tree::write(
        &cli.workspace(),
        "SOUL.md",
        format!("by the agent, not {theirs}"),
    )?;
    bucket
        .put(&agent::key("SOUL.md"), theirs.to_owned())
        .await?;
    cli.ok(&["sync"]).await?;
    let copies = conflict_copies(&cli.workspace(), "SOUL.md")?;
    copies
        .into_iter()
        .find(|copy| !before.contains(copy))
        .context("no new copy")
}

async fn a_conflict_is_listed_and_shown_with_its_difference(store: &'static Store) -> Result<()> {
    let (_bucket, cli, copy) = in_conflict(store).await?;
    let listed = cli.ok(&["conflicts", "--json"]).await?.json()?;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&listed[0]["mount"], &listed[0]["path"]),
        (&json!("workspace"), &json!("SOUL.md"))
    );
    assert_eq!(
        (&listed[0]["copy"], &listed[0]["side"]),
        (&json!(copy), &json!("remote"))
    );
    let time = listed[0]["time"].as_str().context("no time")?.to_owned();
    assert!(cli.ok(&["conflicts", "list"]).await?.says(&copy));

    for named in ["SOUL.md", copy.as_str()] {
        let shown = cli
            .ok(&["conflicts", "show", named, "--json"])
            .await?
            .json()?;
        let versions = &shown["versions"];
        assert_eq!(versions[0]["path"], json!("SOUL.md"));
        assert_eq!(versions[0]["side"], json!("local"));
        assert_eq!(versions[0]["in_bucket"], json!("yes"));
        assert_eq!(versions[1]["path"], json!(copy));
        assert_eq!(versions[1]["side"], json!("remote"));
        assert_eq!(versions[1]["found"], json!(time));
        assert_eq!(versions[1]["bytes"], json!("by the controller\n".len()));
        assert_eq!(versions[1]["sha256"].as_str().map(str::len), Some(64));
        let diff = shown["diff"].as_str().context("no difference")?;
        assert!(diff.contains("\n+by the controller\n"), "{diff}");
    }
    let shown = cli.ok(&["conflicts", "show", "SOUL.md"]).await?;
    assert!(shown.says("-by the agent") && shown.says("+by the controller"));
    Ok(())
}

async fn taking_the_buckets_version_puts_it_in_place_on_both_sides_and_removes_the_copy(
    store: &'static Store,
) -> Result<()> {
    let (bucket, cli, copy) = in_conflict(store).await?;
    let ran = cli
        .ok(&[
            "conflicts",
            "resolve",
            "SOUL.md",
            "--take",
            "remote",
            "--json",
        ])
        .await?;
    let resolved = ran.json()?;
    assert_eq!(
        (&resolved["path"], &resolved["copy"], &resolved["taken"]),
        (&json!("SOUL.md"), &json!(copy), &json!("remote"))
    );
    assert_eq!(resolved["remaining"], json!([]));
    assert_eq!(
        tree::text(&cli.workspace(), "SOUL.md")?,
        "by the controller\n"
    );
    assert_eq!(
        bucket.text(&agent::key("SOUL.md")).await?,
        "by the controller\n"
    );
    assert_eq!(conflict_copies(&cli.workspace(), "SOUL.md")?, [""; 0]);
    assert_eq!(bucket.get(&agent::key(&copy)).await?, None);
    // It stays so.
    let ran = cli.ok(&["sync", "--json"]).await?;
    for list in ["downloaded", "uploaded", "conflicts", "problems"] {
        assert_eq!(ran.paths(list)?, [""; 0], "{list} of {}", ran.stdout);
    }
    Ok(())
}

async fn taking_the_version_that_stands_removes_the_copy_only(store: &'static Store) -> Result<()> {
    let (bucket, cli, copy) = in_conflict(store).await?;
    let stands = tree::text(&cli.workspace(), "SOUL.md")?;
    cli.ok(&["conflicts", "resolve", &copy, "--take", "local"])
        .await?;
    assert_eq!(tree::text(&cli.workspace(), "SOUL.md")?, stands);
    assert_eq!(bucket.text(&agent::key("SOUL.md")).await?, stands);
    assert_eq!(conflict_copies(&cli.workspace(), "SOUL.md")?, [""; 0]);
    assert_eq!(bucket.get(&agent::key(&copy)).await?, None);
    Ok(())
}

async fn of_several_copies_the_newest_is_meant_unless_one_is_named(
    store: &'static Store,
) -> Result<()> {
    let (bucket, cli, first) = in_conflict(store).await?;
    let second = conflict(&bucket, &cli, "by the controller, later\n").await?;
    let third = conflict(&bucket, &cli, "by the controller, at last\n").await?;
    let shown = cli
        .ok(&["conflicts", "show", "SOUL.md", "--json"])
        .await?
        .json()?;
    let paths: Vec<_> = (0..4)
        .map(|at| shown["versions"][at]["path"].clone())
        .collect();
    assert_eq!(
        paths,
        [json!("SOUL.md"), json!(third), json!(second), json!(first)]
    );

    let ran = cli
        .ok(&["conflicts", "resolve", &first, "--take", "remote", "--json"])
        .await?;
    assert_eq!(ran.json()?["remaining"], json!([third, second]));
    assert_eq!(
        tree::text(&cli.workspace(), "SOUL.md")?,
        "by the controller\n"
    );
    cli.ok(&["conflicts", "resolve", "SOUL.md", "--take", "remote"])
        .await?;
    assert_eq!(
        tree::text(&cli.workspace(), "SOUL.md")?,
        "by the controller, at last\n"
    );
    assert_eq!(conflict_copies(&cli.workspace(), "SOUL.md")?, [second]);
    Ok(())
}

async fn a_path_that_is_gone_can_be_resolved_from_its_copy(store: &'static Store) -> Result<()> {
    let (bucket, cli, copy) = in_conflict(store).await?;
    std::fs::remove_file(cli.workspace().join("SOUL.md"))?;
    cli.ok(&["sync"]).await?;
    let shown = cli.ok(&["conflicts", "show", "SOUL.md"]).await?;
    assert!(shown.says("nothing stands"), "{}", shown.stdout);
    cli.ok(&["conflicts", "resolve", "SOUL.md", "--take", "remote"])
        .await?;
    assert_eq!(
        bucket.text(&agent::key("SOUL.md")).await?,
        "by the controller\n"
    );
    assert_eq!(bucket.get(&agent::key(&copy)).await?, None);
    Ok(())
}

async fn what_cannot_be_resolved_changes_nothing_and_says_why(store: &'static Store) -> Result<()> {
    let (_bucket, cli, copy) = in_conflict(store).await?;
    let resolve = async |path: &str| {
        cli.run(&["conflicts", "resolve", path, "--take", "remote"])
            .await
    };
    let ran = resolve("AGENTS.md").await?;
    assert!(ran.code == 1 && ran.says("no conflict copies"), "{ran:?}");
    let ran = resolve(".sync-conflicts/SOUL.md.20200101T000000Z.remote").await?;
    assert!(ran.code == 1 && ran.says("no conflict copies"), "{ran:?}");
    assert_eq!(resolve("/etc/passwd").await?.code, 2);
    assert_eq!(resolve("../SOUL.md").await?.code, 2);
    let ran = cli.run(&["conflicts", "resolve", "SOUL.md"]).await?;
    assert_eq!(ran.code, 2, "{ran:?}");
    std::fs::remove_file(cli.workspace().join("SOUL.md"))?;
    std::fs::create_dir(cli.workspace().join("SOUL.md"))?;
    let ran = resolve("SOUL.md").await?;
    assert!(
        ran.code == 1 && ran.says("neither a file nor a link"),
        "{ran:?}"
    );
    assert!(tree::holds(&cli.workspace(), &copy, "by the controller\n"));
    std::fs::remove_dir(cli.workspace().join("SOUL.md"))?;

    // Without the bucket it is done here, and the next pass tells the bucket.
    let away = cli.env("HICLAW_FS_ENDPOINT", "http://127.0.0.1:1");
    let ran = away
        .run(&["conflicts", "resolve", "SOUL.md", "--take", "remote"])
        .await?;
    assert_eq!(ran.code, 75, "{ran:?}");
    assert_eq!(
        tree::text(&away.workspace(), "SOUL.md")?,
        "by the controller\n"
    );
    Ok(())
}

async fn the_resident_engine_shows_and_resolves(store: &'static Store) -> Result<()> {
    let (bucket, cli, copy) = in_conflict(store).await?;
    let mut watch = cli.spawn(&["watch"])?;
    let socket = cli.workspace().join(".hiclaw-sync/control.sock");
    wait_until("the engine listens", PATIENCE, || socket.exists()).await?;
    let shown = cli.ok(&["conflicts", "show", "SOUL.md"]).await?;
    assert!(shown.says("+by the controller"), "{}", shown.stdout);
    let ran = cli
        .ok(&[
            "conflicts",
            "resolve",
            "SOUL.md",
            "--take",
            "remote",
            "--json",
        ])
        .await?;
    assert_eq!(ran.json()?["copy"], json!(copy));
    assert_eq!(
        bucket.text(&agent::key("SOUL.md")).await?,
        "by the controller\n"
    );
    assert_eq!(bucket.get(&agent::key(&copy)).await?, None);
    let ran = cli
        .run(&["conflicts", "resolve", "SOUL.md", "--take", "remote"])
        .await?;
    assert!(ran.code == 1 && ran.says("no conflict copies"), "{ran:?}");
    watch.kill().await?;
    Ok(())
}

async fn what_may_hold_secrets_is_never_shown(store: &'static Store) -> Result<()> {
    let (_bucket, cli) = pulled(store).await?;
    let copy = ".sync-conflicts/openclaw.json.20261121T040506Z.local";
    tree::write(&cli.workspace(), copy, "{\"token\":\"secret-of-the-copy\"}")?;
    for form in ["--quiet", "--json"] {
        let shown = cli
            .ok(&["conflicts", "show", "openclaw.json", form])
            .await?;
        assert!(!shown.says("secret-of-the-copy"), "{}", shown.stdout);
        assert!(shown.says("secrets"), "{}", shown.stdout);
    }
    Ok(())
}

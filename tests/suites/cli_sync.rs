//! `pull`, `push` and `sync` of an agent's tree, on every store: what travels, what does not, and what is reported.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::cli::Ran;
use testkit::{Bucket, Cli, Store, agent, on_every_store, tree};

on_every_store!(
    a_pull_brings_the_agent_and_the_shared_tree,
    a_second_pass_finds_nothing_to_do,
    a_push_sends_what_changed_and_nothing_else,
    excluded_paths_travel_in_neither_direction,
    a_remote_delete_is_pulled_with_the_directory_it_empties,
    a_local_delete_is_pushed,
    a_local_delete_in_shared_tasks_stays_local,
    without_a_baseline_nothing_is_deleted,
    equal_trees_enter_the_baseline_silently,
    a_plan_and_a_dry_run_change_nothing,
    only_the_paths_named_are_pulled,
    a_mounts_name_means_the_whole_mount,
    odd_names_survive_a_round_trip,
    a_large_file_survives_a_round_trip,
);

async fn seeded(store: &Store) -> Result<(Bucket, Cli)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let cli = Cli::new(&bucket)?;
    Ok((bucket, cli))
}

async fn pulled(store: &Store) -> Result<(Bucket, Cli)> {
    let (bucket, cli) = seeded(store).await?;
    cli.ok(&["pull"]).await?;
    Ok((bucket, cli))
}

fn assert_lists_are_empty(ran: &Ran, lists: &[&str]) -> Result<()> {
    for list in lists {
        assert_eq!(ran.paths(list)?, [""; 0], "{list} of {}", ran.stdout);
    }
    Ok(())
}

fn requests(ran: &Ran, kind: &str) -> Result<u64> {
    let document = ran.json()?;
    document
        .pointer(&format!("/requests/{kind}"))
        .and_then(Value::as_u64)
        .context("no request counts")
}

const CHANGES: [&str; 6] = [
    "downloaded",
    "uploaded",
    "merged",
    "deleted_local",
    "deleted_remote",
    "conflicts",
];

async fn a_pull_brings_the_agent_and_the_shared_tree(store: &'static Store) -> Result<()> {
    let (bucket, cli) = seeded(store).await?;
    let ran = cli.ok(&["pull", "--json"]).await?;

    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);
    for path in agent::PULLED
        .into_iter()
        .filter(|path| *path != "openclaw.json")
    {
        assert_eq!(
            tree::text(&cli.workspace(), path)?,
            bucket.text(&agent::key(path)).await?,
            "{path}"
        );
    }
    let config: Value = serde_json::from_str(&tree::text(&cli.workspace(), "openclaw.json")?)?;
    assert_eq!(config, agent::openclaw_json());
    assert_eq!(
        tree::names(&cli.root().join("shared"))?,
        ["knowledge/facts.md", "tasks/t1/spec.md"]
    );
    let mode = fs::metadata(cli.workspace().join("skills/greet/run.sh"))?
        .permissions()
        .mode();
    assert_ne!(mode & 0o111, 0, "a skill's script can be run");

    let mut arrived = ran.paths("downloaded")?;
    arrived.extend(ran.paths("merged")?);
    arrived.sort();
    let mut expected: Vec<_> = agent::PULLED.to_vec();
    expected.extend(["knowledge/facts.md", "tasks/t1/spec.md"]);
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    assert_lists_are_empty(
        &ran,
        &[
            "uploaded",
            "deleted_local",
            "deleted_remote",
            "conflicts",
            "problems",
            "held",
        ],
    )?;
    for field in ["bytes_in", "bytes_out", "duration_ms"] {
        assert!(
            ran.json()?.get(field).is_some_and(Value::is_u64),
            "{field} of {}",
            ran.stdout
        );
    }
    assert!(!ran.says(agent::MATRIX_PASSWORD));
    Ok(())
}

async fn a_second_pass_finds_nothing_to_do(store: &'static Store) -> Result<()> {
    let (_, cli) = seeded(store).await?;
    cli.ok(&["sync"]).await?;
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_lists_are_empty(&ran, &CHANGES)?;
    for kind in ["get", "put", "head", "delete"] {
        assert_eq!(requests(&ran, kind)?, 0, "{kind} of {}", ran.stdout);
    }
    Ok(())
}

async fn a_push_sends_what_changed_and_nothing_else(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    tree::write(&cli.workspace(), "SOUL.md", "# Alice, grown\n")?;
    tree::write(&cli.workspace(), "notes/deep/er/today.md", "Sunny.\n")?;
    tree::write(&cli.workspace(), "notes/empty", "")?;
    tree::write(&cli.root(), "shared/tasks/t1/result.md", "Done.\n")?;
    // Owned by others: the worker may change its copy, the bucket keeps its own.
    tree::write(&cli.root(), "shared/tasks/t1/spec.md", "Do less.\n")?;
    tree::write(&cli.root(), "shared/knowledge/facts.md", "Water is dry.\n")?;

    let ran = cli.ok(&["push", "--json"]).await?;
    assert_eq!(
        ran.paths("uploaded")?,
        [
            "SOUL.md",
            "notes/deep/er/today.md",
            "notes/empty",
            "tasks/t1/result.md"
        ]
    );
    assert_eq!(
        bucket.text(&agent::key("SOUL.md")).await?,
        "# Alice, grown\n"
    );
    assert_eq!(
        bucket.text(&agent::key("notes/deep/er/today.md")).await?,
        "Sunny.\n"
    );
    assert_eq!(bucket.text(&agent::key("notes/empty")).await?, "");
    assert_eq!(bucket.text("shared/tasks/t1/result.md").await?, "Done.\n");
    assert_eq!(
        bucket.text("shared/tasks/t1/spec.md").await?,
        "Write the report.\n"
    );
    assert_eq!(
        bucket.text("shared/knowledge/facts.md").await?,
        "Water is wet.\n"
    );
    Ok(())
}

async fn excluded_paths_travel_in_neither_direction(store: &'static Store) -> Result<()> {
    let excluded = [
        ".openclaw/matrix/session.json",
        ".openclaw/canvas/page.html",
        "credentials/token",
        ".agents/skills-index",
        ".cache/blob",
        ".npm/index",
        ".local/bin/tool",
        ".mc/config.json",
        "run.lock",
        "deep/er/run.lock",
        ".last-pull",
        "deep/.keep",
        "deep/.gitkeep",
        "openclaw.json.bak",
        "openclaw.json.last-good",
        "state.sqlite-wal",
        "deep/state.db-shm",
    ];
    let (bucket, cli) = seeded(store).await?;
    for path in excluded {
        bucket.put(&agent::key(path), "remote").await?;
    }
    cli.ok(&["pull"]).await?;
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);

    for path in excluded {
        tree::write(&cli.workspace(), path, "local")?;
    }
    tree::write(
        &cli.workspace(),
        ".openclaw/agents/main/sessions.json",
        "travels",
    )?;
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(
        ran.paths("uploaded")?,
        [".openclaw/agents/main/sessions.json"]
    );
    for path in excluded {
        assert_eq!(
            bucket.text(&agent::key(path)).await?,
            "remote",
            "{path} in the bucket"
        );
        assert_eq!(
            tree::text(&cli.workspace(), path)?,
            "local",
            "{path} in the workspace"
        );
    }
    assert_eq!(
        bucket
            .text(&agent::key("credentials/matrix/password"))
            .await?,
        agent::MATRIX_PASSWORD
    );
    Ok(())
}

async fn a_remote_delete_is_pulled_with_the_directory_it_empties(
    store: &'static Store,
) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    fs::create_dir(cli.workspace().join("empty-before"))?;
    for path in ["skills/greet/SKILL.md", "skills/greet/run.sh"] {
        bucket.delete(&agent::key(path)).await?;
    }
    let ran = cli.ok(&["pull", "--json"]).await?;
    assert_eq!(
        ran.paths("deleted_local")?,
        ["skills/greet/SKILL.md", "skills/greet/run.sh"]
    );
    assert!(
        !cli.workspace().join("skills/greet").exists(),
        "the skill's directory goes with its last file"
    );
    assert!(
        cli.workspace().join("empty-before").exists(),
        "a directory that was empty before stays"
    );
    Ok(())
}

async fn a_local_delete_is_pushed(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    fs::remove_file(cli.workspace().join("HEARTBEAT.md"))?;
    let ran = cli.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("deleted_remote")?, ["HEARTBEAT.md"]);
    assert_eq!(bucket.get(&agent::key("HEARTBEAT.md")).await?, None);
    cli.ok(&["pull"]).await?;
    assert!(
        !cli.workspace().join("HEARTBEAT.md").exists(),
        "a deleted file does not come back"
    );
    Ok(())
}

async fn a_local_delete_in_shared_tasks_stays_local(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    tree::write(&cli.root(), "shared/tasks/t1/result.md", "Done.\n")?;
    cli.ok(&["push"]).await?;
    fs::remove_file(cli.root().join("shared/tasks/t1/result.md"))?;
    let ran = cli.ok(&["push", "--json"]).await?;
    assert_lists_are_empty(&ran, &["deleted_remote"])?;
    assert_eq!(bucket.text("shared/tasks/t1/result.md").await?, "Done.\n");
    Ok(())
}

async fn without_a_baseline_nothing_is_deleted(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    tree::write(&cli.workspace(), "notes.md", "kept\n")?;
    fs::remove_file(cli.workspace().join("SOUL.md"))?;
    fs::remove_dir_all(cli.workspace().join(".hiclaw-sync"))?;
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_lists_are_empty(&ran, &["deleted_local", "deleted_remote"])?;
    assert_eq!(
        tree::text(&cli.workspace(), "SOUL.md")?,
        bucket.text(&agent::key("SOUL.md")).await?
    );
    assert_eq!(bucket.text(&agent::key("notes.md")).await?, "kept\n");
    Ok(())
}

async fn equal_trees_enter_the_baseline_silently(store: &'static Store) -> Result<()> {
    let (_, cli) = pulled(store).await?;
    fs::remove_dir_all(cli.workspace().join(".hiclaw-sync"))?;
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_lists_are_empty(
        &ran,
        &[
            "downloaded",
            "uploaded",
            "deleted_local",
            "deleted_remote",
            "conflicts",
        ],
    )?;
    Ok(())
}

async fn a_plan_and_a_dry_run_change_nothing(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    tree::write(&cli.workspace(), "new.md", "local\n")?;
    fs::remove_file(cli.workspace().join("HEARTBEAT.md"))?;
    bucket.put(&agent::key("incoming.md"), "remote\n").await?;
    bucket.delete(&agent::key("AGENTS.md")).await?;
    let (local, remote) = (tree::read(&cli.root())?, bucket.tree("").await?);

    for arguments in [&["plan", "sync"][..], &["sync", "--dry-run"]] {
        let ran = cli.ok(arguments).await?;
        for path in ["new.md", "HEARTBEAT.md", "incoming.md", "AGENTS.md"] {
            assert!(
                ran.stdout.contains(path),
                "{path} in {arguments:?}:\n{}",
                ran.stdout
            );
        }
        assert_eq!(tree::read(&cli.root())?, local);
        assert_eq!(bucket.tree("").await?, remote);
    }
    Ok(())
}

async fn only_the_paths_named_are_pulled(store: &'static Store) -> Result<()> {
    let (_, cli) = seeded(store).await?;
    cli.ok(&["pull", "SOUL.md", "skills"]).await?;
    assert_eq!(
        tree::names(&cli.workspace())?,
        ["SOUL.md", "skills/greet/SKILL.md", "skills/greet/run.sh"]
    );
    Ok(())
}

async fn odd_names_survive_a_round_trip(store: &'static Store) -> Result<()> {
    let names = [
        "a b/c  d",
        "plus+and%41",
        "q?x#y&z=1",
        "ü/é/日本",
        "<&amp;>\"'",
        "~tilde",
        "-dash",
        "a.b",
        "a-b",
        "a/b",
    ];
    let (bucket, cli) = pulled(store).await?;
    for name in names {
        tree::write(
            &cli.workspace(),
            &format!("odd/{name}"),
            format!("content of {name}"),
        )?;
    }
    let ran = cli.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("uploaded")?.len(), names.len());
    for name in names {
        assert_eq!(
            bucket.text(&agent::key(&format!("odd/{name}"))).await?,
            format!("content of {name}")
        );
    }
    let other = Cli::new(&bucket)?;
    other.ok(&["pull"]).await?;
    assert_eq!(
        tree::read(&other.workspace())?,
        tree::read(&cli.workspace())?
    );
    Ok(())
}

async fn a_large_file_survives_a_round_trip(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    let large: Vec<u8> = (0..33_000_001_u32)
        .map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    tree::write(&cli.workspace(), "large.bin", &large)?;
    cli.ok(&["push"]).await?;
    assert!(
        bucket
            .get(&agent::key("large.bin"))
            .await?
            .context("not there")?
            == large
    );
    let other = Cli::new(&bucket)?;
    other.ok(&["pull"]).await?;
    assert!(fs::read(other.workspace().join("large.bin"))? == large);
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_lists_are_empty(&ran, &CHANGES)?;
    Ok(())
}

async fn a_mounts_name_means_the_whole_mount(store: &'static Store) -> Result<()> {
    let (bucket, cli) = pulled(store).await?;
    bucket.put("shared/knowledge/new.md", "new\n").await?;
    bucket.put(&agent::key("notes/new.md"), "new\n").await?;
    let ran = cli.ok(&["--json", "pull", "shared/"]).await?;
    assert_eq!(ran.paths("downloaded")?, ["knowledge/new.md"]);
    Ok(())
}

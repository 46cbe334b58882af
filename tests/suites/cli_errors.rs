//! What goes wrong, and what the command line makes of it: a clear word, the right exit code, and nothing lost.

use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::cli::Ran;
use testkit::fake_store::FakeStore;
use testkit::store::SECRET_KEY;
use testkit::{Cli, PATIENCE, Store, agent, on_every_store, tree};

on_every_store!(
    wrong_keys_fail_and_are_not_printed,
    a_missing_bucket_is_named
);

async fn fake() -> Result<(FakeStore, Cli)> {
    let store = FakeStore::start().await?;
    agent::seed(&store.bucket()).await?;
    let cli = Cli::new(&store.bucket())?;
    Ok((store, cli))
}

/// The kind of the problem that is reported for `path`.
fn problem(ran: &Ran, path: &str) -> Result<String> {
    let document = ran.json()?;
    let problems = document
        .get("problems")
        .and_then(Value::as_array)
        .context("no problems")?;
    let problem = problems.iter().find(|problem| problem["path"] == path);
    let problem = problem.with_context(|| format!("no problem for {path:?} in {}", ran.stdout))?;
    assert!(
        problem["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{problem}"
    );
    Ok(problem["kind"].as_str().context("no kind")?.to_owned())
}

async fn wrong_keys_fail_and_are_not_printed(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let wrong_secret = Cli::new(&bucket.with_keys(bucket.access_key(), "wrongSecret987654321"))?;
    let unknown = Cli::new(&bucket.with_keys("nobodysKey", SECRET_KEY))?;
    for cli in [wrong_secret, unknown] {
        let ran = cli.run(&["pull"]).await?;
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(
            ran.stderr.contains(store.endpoint()),
            "the endpoint in {}",
            ran.stderr
        );
        assert!(
            !ran.says("wrongSecret987654321") && !ran.says(SECRET_KEY),
            "a secret in {}",
            ran.stderr
        );
        assert!(!cli.workspace().join("SOUL.md").exists());
    }
    Ok(())
}

async fn a_missing_bucket_is_named(store: &'static Store) -> Result<()> {
    let cli = Cli::new(&store.bucket_named("no-such-bucket"))?;
    let ran = cli.run(&["pull"]).await?;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("no-such-bucket"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_code_75_and_named() -> Result<()> {
    // Closed again at once: connections to it are refused.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let endpoint = format!("http://{address}");
    let (_store, cli) = fake().await?;
    let cli = cli.env("HICLAW_FS_ENDPOINT", &endpoint);
    tree::write(&cli.workspace(), "notes.md", "kept\n")?;
    for command in ["pull", "push", "sync"] {
        let started = Instant::now();
        let ran = cli.run(&[command, "--json"]).await?;
        assert_eq!(ran.code, 75, "{command}: {}", ran.stderr);
        assert!(ran.stderr.contains(&endpoint), "{}", ran.stderr);
        assert!(!ran.says(SECRET_KEY));
        assert!(
            started.elapsed() < PATIENCE,
            "{command} took {:?}",
            started.elapsed()
        );
    }
    assert!(tree::holds(&cli.workspace(), "notes.md", "kept\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_settings_and_unknown_words_are_usage_errors() -> Result<()> {
    let (_store, cli) = fake().await?;
    let ran = cli.run(&["frobnicate"]).await?;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let ran = cli.run(&["pull", "--no-such-option"]).await?;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let cli = cli.without_env("HICLAW_WORKER_NAME");
    let ran = cli.run(&["pull"]).await?;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("HICLAW_WORKER_NAME"), "{}", ran.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_the_environment_and_the_old_prefix_over_the_new() -> Result<()> {
    let (store, cli) = fake().await?;
    let cli = cli
        .env("AGENTTEAMS_WORKER_NAME", "bob")
        .env("AGENTTEAMS_FS_ENDPOINT", "http://127.0.0.1:1");
    cli.ok(&["pull"]).await?;
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);

    let cli = Cli::new(&store.bucket())?.env("HICLAW_FS_ENDPOINT", "http://127.0.0.1:1");
    cli.ok(&["--endpoint", &store.endpoint(), "pull"]).await?;
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);

    let renamed = Cli::new(&store.bucket())?
        .without_env("HICLAW_WORKER_NAME")
        .env("AGENTTEAMS_WORKER_NAME", agent::NAME);
    renamed.ok(&["pull"]).await?;
    assert_eq!(tree::names(&renamed.workspace())?, agent::PULLED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_layout_is_refused_with_its_line() -> Result<()> {
    let (_store, cli) = fake().await?;
    tree::write(
        cli.scratch(),
        "bad.toml",
        "name = \"bad\"\n\n[[mount]]\nname = \"workspace\"\nprefx = \"agents/{worker}/\"\n",
    )?;
    let file = cli.scratch().join("bad.toml").display().to_string();
    for arguments in [
        &["--layout", &file, "pull"][..],
        &["layouts", "check", &file],
    ] {
        let ran = cli.run(arguments).await?;
        assert!(
            [1, 2].contains(&ran.code),
            "{arguments:?} exited with {}: {}",
            ran.code,
            ran.stderr
        );
        assert!(
            ran.says("prefx"),
            "the mistake in {}{}",
            ran.stdout,
            ran.stderr
        );
        assert!(
            ran.says("line 5") || ran.says(":5"),
            "the line in {}{}",
            ran.stdout,
            ran.stderr
        );
    }
    assert!(!cli.workspace().exists() || tree::names(&cli.workspace())?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_safe_paths_are_reported_and_never_written() -> Result<()> {
    let (store, cli) = fake().await?;
    let unsafe_keys = [
        "../outside",
        "a//b",
        "/abs",
        "./dot",
        "a/../../../../escape",
        "up/..",
        "trail/./x",
        "..",
    ];
    for key in unsafe_keys {
        store.insert(&agent::key(key), "evil");
    }
    let ran = cli.run(&["pull", "--json"]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let reported = ran.paths("problems")?;
    for key in unsafe_keys {
        let path = [key.to_owned(), agent::key(key)]
            .into_iter()
            .find(|path| reported.contains(path));
        let path = path.with_context(|| format!("{key} is not reported in {reported:?}"))?;
        assert_eq!(problem(&ran, &path)?, "unsafe-path");
    }
    assert_eq!(
        tree::names(&cli.workspace())?,
        agent::PULLED,
        "the rest is pulled"
    );
    for (name, content) in tree::read(cli.scratch())? {
        assert_ne!(content, "evil", "{name}");
    }
    // Nothing of it is taken for a local delete later on.
    cli.run(&["sync"]).await?;
    assert!(
        unsafe_keys
            .iter()
            .all(|key| store.keys().contains(&agent::key(key)))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_markers_are_passed_over() -> Result<()> {
    let (store, cli) = fake().await?;
    for key in ["", "notes/", "skills/greet/"] {
        store.insert(&agent::key(key), "");
    }
    let ran = cli.run(&["pull", "--json"]).await?;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(tree::names(&cli.workspace())?, agent::PULLED);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_delete_is_held_back() -> Result<()> {
    let (store, cli) = fake().await?;
    let bucket = store.bucket();
    for number in 0..80 {
        store.insert(&agent::key(&format!("notes/{number:02}.md")), "text");
    }
    cli.ok(&["pull"]).await?;
    for number in 0..80 {
        bucket
            .delete(&agent::key(&format!("notes/{number:02}.md")))
            .await?;
    }
    bucket.put(&agent::key("SOUL.md"), "changed\n").await?;
    let ran = cli.run(&["pull", "--json"]).await?;
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert_eq!(ran.paths("held")?.len(), 80);
    assert_eq!(ran.paths("deleted_local")?, [""; 0]);
    assert!(tree::holds(&cli.workspace(), "notes/79.md", "text"));
    assert!(
        tree::holds(&cli.workspace(), "SOUL.md", "changed\n"),
        "downloads go on"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_that_vanished_empties_no_bucket() -> Result<()> {
    let (store, cli) = fake().await?;
    cli.ok(&["pull"]).await?;
    let before = store.keys();
    for entry in std::fs::read_dir(cli.workspace())? {
        let entry = entry?;
        if entry.file_name() == ".hiclaw-sync" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    let ran = cli.run(&["push", "--json"]).await?;
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let after = store.keys();
    assert!(
        before.iter().all(|key| after.contains(key)),
        "{before:?}\n{after:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_remote_openclaw_json_leaves_the_local_one() -> Result<()> {
    let (store, cli) = fake().await?;
    cli.ok(&["pull"]).await?;
    let before = tree::text(&cli.workspace(), "openclaw.json")?;
    for broken in [
        "{\"gateway\": ",
        "[]",
        "\"text\"",
        "",
        "{\"plugins\": false, \"gateway\": 1",
    ] {
        store
            .bucket()
            .put(&agent::key("openclaw.json"), broken)
            .await?;
        store
            .bucket()
            .put(&agent::key("SOUL.md"), format!("beside {broken}"))
            .await?;
        let ran = cli.run(&["pull", "--json"]).await?;
        assert_eq!(ran.code, 3, "{broken:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(problem(&ran, "openclaw.json")?, "invalid");
        assert_eq!(
            tree::text(&cli.workspace(), "openclaw.json")?,
            before,
            "{broken:?}"
        );
        assert_eq!(
            tree::text(&cli.workspace(), "SOUL.md")?,
            format!("beside {broken}")
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_remote_openclaw_json_never_takes_the_gateways_mode() -> Result<()> {
    let (store, cli) = fake().await?;
    cli.ok(&["pull"]).await?;
    for emptied in ["{}", "{\"gateway\": {}}", "{\"gateway\": {\"port\": 1}}"] {
        store
            .bucket()
            .put(&agent::key("openclaw.json"), emptied)
            .await?;
        cli.run(&["pull"]).await?;
        let local: Value = serde_json::from_str(&tree::text(&cli.workspace(), "openclaw.json")?)?;
        assert_eq!(local["gateway"]["mode"], json!("local"), "{emptied}");
    }
    Ok(())
}

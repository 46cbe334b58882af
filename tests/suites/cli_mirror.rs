//! `mirror`: one-way copies between a directory and a bucket, without a worker.

#[path = "cli_mirror/fixture.rs"]
mod fixture;
#[path = "cli_mirror/running.rs"]
mod running;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use serde_json::Value;
use testkit::cli::Ran;
use testkit::proxy::{Fault, Rule};
use testkit::store::SECRET_KEY;
use testkit::{Bucket, Cli, PATIENCE, Proxy, Store, on_every_store, on_store, tree, wait_until};

use fixture::at;
use running::{
    a_killed_download_is_made_good_by_the_next,
    a_version_that_came_meanwhile_is_looked_at_before_it_is_overwritten,
    a_watched_bucket_is_copied, a_watched_directory_costs_one_put_for_a_change,
    an_interrupted_download_leaves_nothing_half_done,
};

on_every_store!(
    a_tree_goes_up_and_comes_down_as_it_was,
    what_is_the_same_costs_a_listing_with_and_without_a_cache,
    extras_go_only_when_asked_for,
    an_object_named_like_a_directory_deletes_nothing_in_it,
    a_thousand_files_go_up_and_down,
);
on_store!(
    alone,
    Embedded,
    a_dry_run_changes_nothing,
    an_empty_source_is_held_until_it_is_approved,
    what_is_excluded_is_left_out,
    links_inside_are_copied_and_what_cannot_be_is_reported,
    a_cache_that_cannot_be_is_not_needed,
    a_worker_has_its_workspace_for_itself,
    a_version_that_came_meanwhile_is_looked_at_before_it_is_overwritten,
    one_refused_file_does_not_stop_the_others,
    an_interrupted_download_leaves_nothing_half_done,
    a_killed_download_is_made_good_by_the_next,
    a_watched_directory_costs_one_put_for_a_change,
    a_watched_bucket_is_copied,
);

/// `[list, get, put, head, delete]`.
fn requests(ran: &Ran) -> Result<Vec<u64>> {
    let document = ran.json()?;
    ["list", "get", "put", "head", "delete"]
        .iter()
        .map(|kind| {
            let count = document.pointer(&format!("/requests/{kind}"));
            count.and_then(Value::as_u64).context("no counts")
        })
        .collect()
}

async fn a_tree_goes_up_and_comes_down_as_it_was(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    let names = [
        "a",
        "a b/c+d",
        "deep/er/é.md",
        "100%",
        "per%2Fcent",
        "#?",
        "empty",
        "😀/x",
        "-",
        "...",
    ];
    for name in names {
        fixture.write(name, if name == "empty" { "" } else { name })?;
    }
    fixture.write("large", &"0123456789abcdef".repeat(200_000))?;
    let ran = fixture.up(&[]).await?;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let bucket = fixture.bucket.tree("p/").await?;
    assert_eq!(bucket, tree::read(&fixture.source())?);
    let ran = fixture.down(&[]).await?;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(tree::read(&fixture.copy())?, bucket);
    assert!(!fixture.copy().join(".hiclaw-sync").exists());
    assert!(!fixture.source().join(".hiclaw-sync").exists());
    // Nothing else is left in the bucket either, the probe's keys for one.
    assert_eq!(fixture.bucket.keys("").await?.len(), names.len() + 1);
    Ok(())
}

async fn what_is_the_same_costs_a_listing_with_and_without_a_cache(
    store: &'static Store,
) -> Result<()> {
    let fixture = at(store).await?;
    for number in 0..20 {
        fixture.write(&format!("dir/{number}"), "same")?;
        // By somebody else, with no word about its content but the ETag.
        fixture
            .bucket
            .put(&format!("p/dir/{number}"), "same")
            .await?;
    }
    for options in [&[][..], &[], &["--no-cache"]] {
        for ran in [fixture.up(options).await?, fixture.down(options).await?] {
            assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        }
    }
    for options in [&[][..], &["--no-cache"]] {
        for ran in [fixture.up(options).await?, fixture.down(options).await?] {
            assert_eq!(requests(&ran)?, [1, 0, 0, 0, 0], "{}", ran.stdout);
        }
    }
    // The same size, another content: found by the stat here, and by the ETag there.
    fixture.write("dir/3", "else")?;
    fixture.bucket.put("p/dir/4", "here").await?;
    let ran = fixture.up(&[]).await?;
    assert_eq!(ran.paths("uploaded")?, ["dir/3", "dir/4"]);
    assert_eq!(fixture.bucket.text("p/dir/4").await?, "same");
    let ran = fixture.down(&[]).await?;
    assert_eq!(ran.paths("downloaded")?, ["dir/3"], "4 is as it was");
    Ok(())
}

async fn extras_go_only_when_asked_for(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    fixture.write("keep", "1")?;
    fixture.bucket.put("p/extra/x", "2").await?;
    fixture.bucket.put("pp/other", "3").await?;
    assert_eq!(fixture.up(&[]).await?.code, 0);
    assert_eq!(fixture.bucket.keys("p/").await?, ["p/extra/x", "p/keep"]);
    let ran = fixture.up(&["--delete"]).await?;
    assert_eq!(ran.paths("deleted_remote")?, ["extra/x"], "{}", ran.stderr);
    assert_eq!(fixture.bucket.keys("").await?, ["p/keep", "pp/other"]);
    tree::write(&fixture.copy(), "old/deep/y", "4")?;
    assert_eq!(fixture.down(&[]).await?.code, 0);
    let ran = fixture.down(&["--delete"]).await?;
    assert_eq!(
        ran.paths("deleted_local")?,
        ["old/deep/y"],
        "{}",
        ran.stderr
    );
    assert_eq!(
        fixture.left_in_copy()?,
        ["keep"],
        "the directories went too"
    );
    Ok(())
}

/// `MinIO` lists such an object and nothing below it.
async fn an_object_named_like_a_directory_deletes_nothing_in_it(
    store: &'static Store,
) -> Result<()> {
    let fixture = at(store).await?;
    for name in ["p/dir/a", "p/dir/b", "p/other"] {
        fixture.bucket.put(name, name.to_owned()).await?;
    }
    assert_eq!(fixture.down(&["--delete"]).await?.code, 0);
    fixture.bucket.put("p/dir", "a file").await?;
    let ran = fixture.down(&["--delete"]).await?;
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(tree::names(&fixture.copy())?, ["dir/a", "dir/b", "other"]);
    fixture.bucket.delete("p/dir").await?;
    assert_eq!(fixture.down(&["--delete"]).await?.code, 0);
    Ok(())
}

async fn a_thousand_files_go_up_and_down(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    for number in 0..1200 {
        fixture.write(
            &format!("{}/{number}", number % 7),
            &format!("content {number}"),
        )?;
    }
    for ran in [fixture.up(&[]).await?, fixture.down(&[]).await?] {
        assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    }
    assert_eq!(tree::read(&fixture.copy())?, tree::read(&fixture.source())?);
    let ran = fixture.down(&[]).await?;
    assert_eq!(requests(&ran)?, [2, 0, 0, 0, 0]);
    Ok(())
}

async fn a_dry_run_changes_nothing(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    fixture.write("new", "1")?;
    fixture.bucket.put("p/extra", "2").await?;
    let ran = fixture.up(&["--dry-run", "--delete"]).await?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.paths("uploaded")?, ["new"]);
    assert_eq!(ran.paths("deleted_remote")?, ["extra"]);
    assert_eq!(fixture.bucket.keys("").await?, ["p/extra"]);
    let ran = fixture.down(&["--dry-run"]).await?;
    assert_eq!(ran.paths("downloaded")?, ["extra"]);
    assert_eq!(fixture.left_in_copy()?, [""; 0]);
    Ok(())
}

async fn an_empty_source_is_held_until_it_is_approved(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    fixture.bucket.put("p/only", "1").await?;
    let ran = fixture.up(&["--delete"]).await?;
    assert_eq!(ran.code, 4, "{}", ran.stdout);
    assert_eq!(fixture.bucket.text("p/only").await?, "1");
    let ran = fixture.up(&["--delete", "--approve"]).await?;
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    // A mistyped prefix.
    tree::write(&fixture.copy(), "mine", "2")?;
    let ran = fixture.down(&["--delete"]).await?;
    assert_eq!(ran.code, 4, "{}", ran.stdout);
    assert!(tree::holds(&fixture.copy(), "mine", "2"));
    Ok(())
}

async fn what_is_excluded_is_left_out(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    for path in ["a", "x.log", "web/node_modules/m.js", "tmp/y", "deep/tmp/z"] {
        fixture.write(path, path)?;
    }
    fixture.bucket.put("p/old.log", "kept").await?;
    let exclude = [
        "--exclude",
        "*.log",
        "--exclude",
        "node_modules",
        "--exclude",
        "/tmp",
    ];
    let ran = fixture.up(&[&exclude[..], &["--delete"]].concat()).await?;
    assert_eq!(ran.paths("uploaded")?, ["a", "deep/tmp/z"]);
    assert_eq!(fixture.bucket.text("p/old.log").await?, "kept");
    Ok(())
}

async fn links_inside_are_copied_and_what_cannot_be_is_reported(
    store: &'static Store,
) -> Result<()> {
    let fixture = at(store).await?;
    fixture.write("a", "1")?;
    symlink("a", fixture.source().join("link"))?;
    symlink("/etc/hostname", fixture.source().join("out"))?;
    let pipe = fixture.source().join("pipe").display().to_string();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status()?;
    assert!(made.success());
    let ran = fixture.up(&[]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(ran.paths("problems")?, ["out", "pipe"]);
    assert_eq!(fixture.bucket.keys("").await?, ["p/a", "p/link"]);
    // Nothing is ever written through a link of the destination.
    fs::create_dir(fixture.copy())?;
    symlink(fixture.source(), fixture.copy().join("deep"))?;
    fixture.bucket.put("p/deep/evil", "2").await?;
    let ran = fixture.down(&[]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(!fixture.source().join("evil").exists());
    assert_eq!(
        fs::read_link(fixture.copy().join("link"))?.to_str(),
        Some("a")
    );
    Ok(())
}

async fn a_cache_that_cannot_be_is_not_needed(store: &'static Store) -> Result<()> {
    let mut fixture = at(store).await?;
    fixture.write("a", "1")?;
    fixture.cli = fixture.cli.env("XDG_CACHE_HOME", "/dev/null/nowhere");
    assert_eq!(fixture.up(&[]).await?.code, 0);
    let again = fixture.up(&[]).await?;
    assert_eq!(requests(&again)?, [1, 0, 0, 0, 0]);
    assert_eq!(fixture.down(&[]).await?.code, 0);
    Ok(())
}

async fn a_worker_has_its_workspace_for_itself(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    fixture.bucket.put("p/a", "1").await?;
    let worker = Cli::new(&fixture.bucket)?;
    let watch = worker.spawn(&["watch"])?;
    let socket = worker.workspace().join(".hiclaw-sync/control.sock");
    let socket_name = worker.workspace().join(".hiclaw-sync");
    wait_until("the engine", PATIENCE, || {
        socket.exists() || fs::read_dir(&socket_name).is_ok_and(|entries| entries.count() > 3)
    })
    .await?;
    let workspace = worker.workspace().display().to_string();
    let ran = fixture
        .cli
        .run(&["mirror", &fixture.url(), &workspace])
        .await?;
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("another process"), "{}", ran.stderr);
    // Reading it is nobody's harm.
    let backup = format!("s3://{}/backup/", fixture.bucket.name());
    tree::write(&worker.workspace(), "notes.md", "mine")?;
    fixture.cli.ok(&["mirror", &workspace, &backup]).await?;
    assert_eq!(fixture.bucket.keys("backup/").await?, ["backup/notes.md"]);
    drop(watch);
    Ok(())
}

async fn one_refused_file_does_not_stop_the_others(store: &'static Store) -> Result<()> {
    let mut fixture = at(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    fixture.cli = fixture.cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    for name in ["a", "refused", "z"] {
        fixture.write(name, name)?;
    }
    proxy.add(Rule::new("PUT", "/p/refused", Fault::Status(403)));
    let ran = fixture.up(&[]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(ran.paths("problems")?, ["refused"]);
    assert_eq!(fixture.bucket.keys("").await?, ["p/a", "p/z"]);
    assert!(!ran.says(SECRET_KEY));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_code_75_and_changes_nothing() -> Result<()> {
    // Closed again at once: connections to it are refused.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let endpoint = format!("http://{address}");
    let cli = Cli::new(&Bucket::new(&endpoint, "bucket", "key", SECRET_KEY))?;
    tree::write(cli.scratch(), "src/a", "kept")?;
    for arguments in [
        &["mirror", "src", "s3://bucket/p/"][..],
        &["mirror", "--delete", "s3://bucket/p/", "src"],
        &["mirror", "--watch", "s3://bucket/p/", "src"],
    ] {
        let ran = cli.run(arguments).await?;
        assert_eq!(ran.code, 75, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(&endpoint), "{}", ran.stderr);
        assert!(!ran.says(SECRET_KEY));
    }
    assert_eq!(tree::names(&cli.scratch().join("src"))?, ["a"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_the_command_line_are_told() -> Result<()> {
    let cli = Cli::new(&Bucket::new(
        "http://127.0.0.1:1",
        "bucket",
        "key",
        SECRET_KEY,
    ))?;
    tree::write(cli.scratch(), "src/a", "1")?;
    for (code, arguments) in [
        (2, &["mirror", "src"][..]),
        (2, &["mirror", "s3://a/x", "s3://b/y"]),
        (2, &["mirror", "src", "dst"]),
        (2, &["mirror", "src/a", "s3://bucket/p/"]),
        (2, &["mirror", "s3://bucket/p/", "src/a"]),
        (2, &["mirror", "src", "s3://bucket/a//b/"]),
        (2, &["mirror", "src", "s3://bucket/../b/"]),
        (2, &["mirror", "--exclude", "[", "src", "s3://bucket/p/"]),
        (2, &["mirror", "--approve", "src", "s3://bucket/p/"]),
        (1, &["mirror", "missing", "s3://bucket/p/"]),
    ] {
        let ran = cli.run(arguments).await?;
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert_ne!(ran.stderr, "", "{arguments:?}");
    }
    assert!(!cli.scratch().join("missing").exists());
    Ok(())
}

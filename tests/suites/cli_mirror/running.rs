//! Mirrors that are watched, met by other writers, interrupted and killed.

use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::cli::finish;
use testkit::proxy::{Fault, Kind, Rule};
use testkit::{PATIENCE, Proxy, Store, tree, wait_for, wait_until};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::fixture::{Fixture, at};

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = i32::try_from(child.id().context("it has ended")?)?;
    kill_process(Pid::from_raw(pid).context("no pid")?, signal)?;
    Ok(())
}

pub(crate) async fn a_version_that_came_meanwhile_is_looked_at_before_it_is_overwritten(
    store: &'static Store,
) -> Result<()> {
    let mut fixture = at(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    fixture.cli = fixture.cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    fixture.write("a", "first")?;
    assert_eq!(fixture.up(&[]).await?.code, 0);
    fixture.write("a", "second version")?;
    proxy.add(Rule::new("PUT", "/p/a", Fault::Hold).times(1));
    proxy.clear();
    let url = fixture.url();
    let child = fixture.cli.spawn(&["mirror", "src", &url])?;
    wait_until("the write", PATIENCE, || {
        proxy.requests().iter().any(|seen| seen.kind() == Kind::Put)
    })
    .await?;
    fixture.bucket.put("p/a", "foreign").await?;
    proxy.heal();
    let ran = finish(child).await?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fixture.bucket.text("p/a").await?, "second version");
    let seen: Vec<_> = proxy
        .requests()
        .iter()
        .filter(|seen| seen.path.ends_with("/p/a"))
        .map(|seen| (seen.kind(), seen.status))
        .collect();
    let expected = [
        (Kind::Put, Some(412)),
        (Kind::Head, Some(200)),
        (Kind::Put, Some(200)),
    ];
    assert_eq!(seen, expected);
    Ok(())
}

/// A download that waits in the middle, with one file whole and one under way.
async fn held_download(store: &Store) -> Result<(Fixture, Proxy, Child)> {
    let mut fixture = at(store).await?;
    fixture.bucket.put("p/a", "1").await?;
    fixture.bucket.put("p/held", "x".repeat(3 << 20)).await?;
    tree::write(&fixture.copy(), "held", "old version")?;
    let proxy = Proxy::start(store.endpoint()).await?;
    fixture.cli = fixture.cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    proxy.add(Rule::new("GET", "/p/held", Fault::Hold));
    let url = fixture.url();
    let child = fixture.cli.spawn(&["mirror", &url, "dst"])?;
    wait_until("the read", PATIENCE, || {
        let seen = proxy.requests();
        seen.iter().filter(|seen| seen.kind() == Kind::Get).count() == 2
    })
    .await?;
    Ok((fixture, proxy, child))
}

pub(crate) async fn an_interrupted_download_leaves_nothing_half_done(
    store: &'static Store,
) -> Result<()> {
    let (fixture, proxy, child) = held_download(store).await?;
    signal(&child, Signal::INT)?;
    let ran = finish(child).await?;
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    assert!(tree::holds(&fixture.copy(), "held", "old version"));
    assert!(!fixture.copy().join(".hiclaw-sync").exists());
    proxy.heal();
    assert_eq!(fixture.down(&[]).await?.code, 0);
    assert_eq!(tree::text(&fixture.copy(), "held")?.len(), 3 << 20);
    Ok(())
}

pub(crate) async fn a_killed_download_is_made_good_by_the_next(
    store: &'static Store,
) -> Result<()> {
    let (fixture, proxy, child) = held_download(store).await?;
    signal(&child, Signal::KILL)?;
    finish(child).await?;
    assert!(tree::holds(&fixture.copy(), "held", "old version"));
    proxy.heal();
    let ran = fixture.down(&[]).await?;
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fixture.left_in_copy()?, ["a", "held"], "staging was swept");
    assert_eq!(tree::text(&fixture.copy(), "held")?.len(), 3 << 20);
    Ok(())
}

/// Lines of a command's output, as documents.
struct Events(tokio::io::Lines<BufReader<tokio::process::ChildStdout>>);

impl Events {
    fn of(child: &mut Child) -> Result<Self> {
        let stdout = child.stdout.take().context("no standard output")?;
        Ok(Self(BufReader::new(stdout).lines()))
    }

    /// The next report that names `path` in `list`.
    async fn until(&mut self, list: &str, path: &str) -> Result<Value> {
        let found = async {
            while let Some(line) = self.0.next_line().await? {
                let event: Value = serde_json::from_str(&line).context(line)?;
                let entries = event
                    .pointer(&format!("/report/{list}"))
                    .and_then(Value::as_array);
                if entries.is_some_and(|entries| {
                    entries
                        .iter()
                        .any(|entry| entry.get("path").is_some_and(|found| found == path))
                }) {
                    return Ok(event);
                }
            }
            anyhow::bail!("it ended")
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .with_context(|| format!("no {list} of {path}"))?
    }
}

pub(crate) async fn a_watched_directory_costs_one_put_for_a_change(
    store: &'static Store,
) -> Result<()> {
    let mut fixture = at(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    fixture.cli = fixture.cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    fixture.write("a", "1")?;
    fixture.write("b", "1")?;
    let url = fixture.url();
    let mut child = fixture
        .cli
        .spawn(&["mirror", "--watch", "--delete", "--json", "src", &url])?;
    let mut events = Events::of(&mut child)?;
    events.until("uploaded", "a").await?;
    proxy.clear();
    fixture.write("a", "2")?;
    events.until("uploaded", "a").await?;
    assert_eq!(fixture.bucket.text("p/a").await?, "2");
    let counts = proxy.counts();
    assert_eq!(
        (counts.put, counts.list, counts.head, counts.get),
        (1, 0, 0, 0)
    );
    fs::remove_file(fixture.source().join("b"))?;
    events.until("deleted_remote", "b").await?;
    fixture.write("new/deep/c", "3")?;
    events.until("uploaded", "new/deep/c").await?;
    // What was changed right before the end is still copied.
    fixture.write("last", "words")?;
    signal(&child, Signal::INT)?;
    let ran = finish(child).await?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fixture.bucket.text("p/last").await?, "words");
    Ok(())
}

pub(crate) async fn a_watched_bucket_is_copied(store: &'static Store) -> Result<()> {
    let fixture = at(store).await?;
    fixture.bucket.put("p/a", "1").await?;
    let url = fixture.url();
    let mut child = fixture.cli.spawn(&[
        "mirror",
        "--watch",
        "--delete",
        "--interval",
        "200ms",
        "--json",
        &url,
        "dst",
    ])?;
    let mut events = Events::of(&mut child)?;
    events.until("downloaded", "a").await?;
    fixture.bucket.put("p/b", "2").await?;
    fixture.bucket.delete("p/a").await?;
    wait_for("both changes", PATIENCE, async || {
        Ok(tree::holds(&fixture.copy(), "b", "2") && !fixture.copy().join("a").exists())
    })
    .await?;
    signal(&child, Signal::INT)?;
    let ran = finish(child).await?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fixture.left_in_copy()?, ["b"]);
    Ok(())
}

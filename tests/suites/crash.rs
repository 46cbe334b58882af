//! `kill -9` at any moment: no partial file in the tree, no torn object in the bucket, the next run converges. The proxy lets
//! so many requests through and holds the others, so that a run is killed at a moment that is known.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use bytes::Bytes;
use testkit::proxy::{Fault, Rule};
use testkit::{
    Bucket, Cli, PATIENCE, Proxy, Store, Worker, agent, on_store, tree, wait_for, wait_until,
};

on_store!(
    embedded,
    Embedded,
    a_killed_pull,
    a_killed_push,
    a_killed_sync_of_deletes,
    a_killed_worker_keeps_its_unsent_edits
);
on_store!(
    minio,
    Minio,
    a_killed_pull,
    a_killed_push,
    a_killed_worker_keeps_its_unsent_edits
);

const FILES: usize = 40;
/// In every request for one of them.
const FILES_PATH: &str = "/work/";

fn files(version: &str) -> BTreeMap<String, Bytes> {
    let content = |number: usize| Bytes::from(format!("{version} {number}\n").repeat(2000));
    (0..FILES)
        .map(|number| (format!("work/{number:02}.txt"), content(number)))
        .collect()
}

/// Kills a run when so many of its requests for files were answered and another one waits.
async fn kill_after(cli: &Cli, command: &str, proxy: &Proxy, answered: usize) -> Result<()> {
    proxy.clear();
    proxy.add(Rule::new("", FILES_PATH, Fault::Hold).after(answered));
    let mut child = cli.spawn(&[command])?;
    wait_for("a request that is held", PATIENCE, async || {
        if let Some(status) = child.try_wait()? {
            bail!("the run is over before {answered} requests: {status}");
        }
        let requests = proxy.requests().into_iter();
        let of_files: Vec<_> = requests
            .filter(|seen| seen.path.contains(FILES_PATH))
            .collect();
        let done = of_files.iter().filter(|seen| seen.status.is_some());
        Ok(done.count() == answered && of_files.len() > answered)
    })
    .await?;
    child.kill().await?;
    proxy.heal();
    Ok(())
}

async fn prepared(store: &Store, proxy: &Proxy) -> Result<(Bucket, Cli)> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let cli = Cli::new(&bucket.via(&proxy.endpoint()))?;
    Ok((bucket, cli))
}

async fn put_files(bucket: &Bucket, version: &str) -> Result<()> {
    for (path, content) in files(version) {
        bucket.put(&agent::key(&path), content).await?;
    }
    Ok(())
}

fn write_files(cli: &Cli, version: &str) -> Result<()> {
    files(version)
        .iter()
        .try_for_each(|(path, content)| tree::write(&cli.workspace(), path, content))
}

/// Every file of `found` is one of the two whole versions.
fn assert_whole(found: &BTreeMap<String, Bytes>) {
    let (old, new) = (files("old"), files("new"));
    for (path, content) in found.iter().filter(|(path, _)| path.starts_with("work/")) {
        assert!(
            [old.get(path), new.get(path)].contains(&Some(content)),
            "{path} is torn: {} bytes",
            content.len()
        );
    }
}

async fn a_killed_pull(store: &'static Store) -> Result<()> {
    for requests in [0, 3, 11, 24, 39] {
        let proxy = Proxy::start(store.endpoint()).await?;
        let (bucket, cli) = prepared(store, &proxy).await?;
        write_files(&cli, "old")?;
        put_files(&bucket, "old").await?;
        cli.ok(&["sync"]).await?;
        put_files(&bucket, "new").await?;
        kill_after(&cli, "pull", &proxy, requests).await?;
        assert_whole(&tree::read(&cli.workspace())?);

        let ran = cli.ok(&["sync", "--json"]).await?;
        assert_eq!(ran.paths("conflicts")?, [""; 0], "killed after {requests}");
        let local = tree::read(&cli.workspace())?;
        assert!(
            files("new")
                .iter()
                .all(|(path, content)| local.get(path) == Some(content))
        );
        assert_eq!(
            tree::staged(&cli.workspace()),
            [""; 0],
            "what the killed run staged is cleared away"
        );
    }
    Ok(())
}

async fn a_killed_push(store: &'static Store) -> Result<()> {
    for requests in [0, 3, 11, 24, 39] {
        let proxy = Proxy::start(store.endpoint()).await?;
        let (bucket, cli) = prepared(store, &proxy).await?;
        put_files(&bucket, "old").await?;
        cli.ok(&["pull"]).await?;
        write_files(&cli, "new")?;
        kill_after(&cli, "push", &proxy, requests).await?;
        assert_whole(&bucket.tree(&agent::key("")).await?);

        let ran = cli.ok(&["sync", "--json"]).await?;
        assert_eq!(ran.paths("conflicts")?, [""; 0], "killed after {requests}");
        let remote = bucket.tree(&agent::key("")).await?;
        assert!(
            files("new")
                .iter()
                .all(|(path, content)| remote.get(path) == Some(content))
        );
    }
    Ok(())
}

async fn a_killed_sync_of_deletes(store: &'static Store) -> Result<()> {
    for requests in [0, 2, 7] {
        let proxy = Proxy::start(store.endpoint()).await?;
        let (bucket, cli) = prepared(store, &proxy).await?;
        put_files(&bucket, "old").await?;
        cli.ok(&["pull"]).await?;
        for number in 0..FILES / 4 {
            std::fs::remove_file(cli.workspace().join(format!("work/{number:02}.txt")))?;
            bucket
                .delete(&agent::key(&format!("work/{:02}.txt", number + FILES / 2)))
                .await?;
        }
        kill_after(&cli, "sync", &proxy, requests).await?;
        cli.ok(&["sync"]).await?;
        let expected: Vec<_> = files("old")
            .into_iter()
            .enumerate()
            .filter(|(number, _)| number % (FILES / 2) >= FILES / 4)
            .map(|(_, (path, _))| path)
            .collect();
        let only_work = |names: Vec<String>| -> Vec<_> {
            names
                .into_iter()
                .filter(|name| name.starts_with("work/"))
                .collect()
        };
        assert_eq!(
            only_work(tree::names(&cli.workspace())?),
            expected,
            "killed after {requests}"
        );
        assert_eq!(
            only_work(bucket.tree(&agent::key("")).await?.into_keys().collect()),
            expected
        );
    }
    Ok(())
}

async fn a_killed_worker_keeps_its_unsent_edits(store: &'static Store) -> Result<()> {
    let proxy = Proxy::start(store.endpoint()).await?;
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let through = bucket.via(&proxy.endpoint());
    let mut worker = Worker::start(&through).await?;

    proxy.cut();
    tree::write(&worker.workspace(), "SOUL.md", "edited while cut off\n")?;
    tree::write(
        &worker.workspace(),
        "notes/new.md",
        "created while cut off\n",
    )?;
    std::fs::remove_file(worker.workspace().join("HEARTBEAT.md"))?;
    worker.kill()?;
    proxy.restore();

    let worker = worker.again(&through)?.start()?;
    worker.wait_for_runtime().await?;
    assert!(
        tree::holds(&worker.workspace(), "SOUL.md", "edited while cut off\n"),
        "the pull at the start clobbers no edit"
    );
    wait_for("the edits in the bucket", PATIENCE, async || {
        let tree = bucket.tree(&agent::key("")).await?;
        let holds =
            |path: &str, content: &str| tree.get(path).is_some_and(|found| found == content);
        Ok(holds("SOUL.md", "edited while cut off\n")
            && holds("notes/new.md", "created while cut off\n")
            && !tree.contains_key("HEARTBEAT.md"))
    })
    .await?;
    wait_until("the deleted file to stay away", PATIENCE, || {
        !worker.workspace().join("HEARTBEAT.md").exists()
    })
    .await?;
    Ok(())
}

//! How soon a change arrives, in both directions, on a worker that runs as in a container: `tests/run --release
//! bench_events`. Prints medians and 99th percentiles with the load of the machine, and judges nothing. The promises:
//! bucket to file 150 ms in the middle; file to bucket 400 ms in the middle and a second for 99 of 100.
//!
//! - bucket to file: one object is written, and the time from the answer of its PUT to the published file is taken
//! - file to bucket: files are written at a hundred a second, and the time from the write to the store's word that the
//!   object is there is taken; at the end all of them are listed

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::events::Events;
use testkit::measure::{self, Times};
use testkit::{Bucket, PATIENCE, Store, StoreKind, Worker, agent, tree, wait_for};

const CHANGES: usize = 200;
const FILES: usize = 2000;
const BETWEEN_FILES: Duration = Duration::from_millis(10);

fn main() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            for kind in [StoreKind::Embedded, StoreKind::Minio] {
                if let Some(store) = Store::shared(kind).await? {
                    measure(store).await?;
                }
            }
            Ok(())
        })
}

async fn measure(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let worker = Worker::start(&bucket).await?;
    worker
        .wait_for_log("the store tells of changes in the bucket")
        .await?;
    // The listings that follow the subscriptions.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let times = to_file(&bucket, &worker).await?;
    say(store, "bucket to file", times)?;
    let times = to_bucket(&bucket, &worker).await?;
    say(store, "file to bucket, 100 files/s", times)
}

async fn to_file(bucket: &Bucket, worker: &Worker) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(CHANGES);
    let file = worker.workspace().join("SOUL.md");
    for number in 0..CHANGES {
        let content = format!("version {number}\n");
        bucket.put(&agent::key("SOUL.md"), content.clone()).await?;
        let answered = Instant::now();
        while fs::read_to_string(&file).ok().as_ref() != Some(&content) {
            ensure!(answered.elapsed() < PATIENCE, "never published");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(answered.elapsed());
        // Not in step with anything.
        let pause = 50 + (number as u64 * 37) % 200;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Ok(times)
}

async fn to_bucket(bucket: &Bucket, worker: &Worker) -> Result<Vec<Duration>> {
    let mut heard = Events::listen(bucket, &agent::key("w/")).await?;
    let workspace = worker.workspace();
    let writer = tokio::spawn(async move { write_all(&workspace).await });
    let mut arrived = BTreeMap::new();
    while arrived.len() < FILES {
        let event = heard.next().await?;
        arrived.entry(event.key).or_insert_with(Instant::now);
    }
    let written = writer.await??;
    wait_for("every object in the listing", PATIENCE, async || {
        Ok(bucket.keys(&agent::key("w/")).await?.len() == FILES)
    })
    .await?;
    let times = written.into_iter().map(|(path, at)| {
        let arrived = arrived.get(&agent::key(&path)).context("it never came")?;
        Ok(arrived.saturating_duration_since(at))
    });
    times.collect()
}

async fn write_all(workspace: &Path) -> Result<Vec<(String, Instant)>> {
    let mut written = Vec::with_capacity(FILES);
    let mut ticks = tokio::time::interval(BETWEEN_FILES);
    for number in 0..FILES {
        ticks.tick().await;
        let path = format!("w/{:02}/{number}.md", number % 50);
        tree::write(
            workspace,
            &path,
            format!("content of {number}\n").repeat(50),
        )?;
        written.push((path, Instant::now()));
    }
    Ok(written)
}

fn say(store: &Store, what: &str, times: Vec<Duration>) -> Result<()> {
    let (kind, times, load) = (
        format!("{:?}", store.kind()),
        Times::of(times),
        measure::load()?,
    );
    writeln!(std::io::stdout(), "{kind:<9} {what:<28} {times}  {load}")?;
    Ok(())
}

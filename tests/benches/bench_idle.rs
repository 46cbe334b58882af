//! What a worker costs while nothing happens: `tests/run --release bench_idle`, a minute on each store; `tests/run
//! --release bench_idle -- 600` for the ten minutes of the promise. Prints requests, processor time and memory with the
//! load of the machine, and judges nothing. The promise: with 10,000 watched files no request but the stream of events
//! and the scheduled pulls, less than 0.2 % of a core, at most 30 MB.
//!
//! The worker runs as in a container, with the standard interval between scheduled pulls, and has brought the files
//! itself. Requests are counted by a proxy between it and the store.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use testkit::proxy::Seen;
use testkit::{Bucket, Proxy, Store, StoreKind, Worker, agent, measure};

const FILES: usize = 10_000;
const STANDARD: Duration = Duration::from_mins(1);
/// What the options say when nobody says otherwise.
const PULL_INTERVAL: &str = "300s";

fn main() -> Result<()> {
    let span = measure::seconds_or(STANDARD)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            for kind in [StoreKind::Embedded, StoreKind::Minio] {
                if let Some(store) = Store::shared(kind).await? {
                    measure_on(store, span).await?;
                }
            }
            Ok(())
        })
}

async fn measure_on(store: &'static Store, span: Duration) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    fill(&bucket).await?;
    let proxy = Proxy::start(bucket.endpoint()).await?;
    let through = bucket.via(&proxy.endpoint());
    let worker = Worker::builder(&through)?
        .pull_interval(PULL_INTERVAL)
        .start()?;
    worker.wait_for_runtime().await?;
    worker
        .wait_for_log("the store tells of changes in the bucket")
        .await?;
    proxy.until_quiet(measure::START_IS_OVER).await?;
    proxy.clear();
    let (before, started) = (worker.own_processor_time()?, Instant::now());
    let mut most_bytes = worker.own_memory_bytes()?;
    while started.elapsed() < span {
        tokio::time::sleep(Duration::from_secs(1)).await;
        most_bytes = most_bytes.max(worker.own_memory_bytes()?);
    }
    let used = worker.own_processor_time()?.saturating_sub(before);
    say(store, &proxy, used, started.elapsed(), most_bytes)
}

/// The files of the agent, in directories of a hundred.
async fn fill(bucket: &Bucket) -> Result<()> {
    stream::iter(0..FILES)
        .map(|number| async move {
            let key = agent::key(&format!("notes/{:03}/{number:05}.md", number / 100));
            bucket
                .put(&key, format!("note {number}\n").repeat(20))
                .await
        })
        .buffer_unordered(8)
        .try_for_each(|_| async { Ok(()) })
        .await
}

fn say(
    store: &Store,
    proxy: &Proxy,
    used: Duration,
    span: Duration,
    most_bytes: u64,
) -> Result<()> {
    let requests = proxy.requests();
    let streams = requests.iter().filter(|seen| Seen::is_stream(seen)).count();
    let counts = proxy.counts();
    let rest = requests.len() - streams - counts.list;
    let percent = 100.0 * used.as_secs_f64() / span.as_secs_f64();
    let tenths = most_bytes / 100_000;
    writeln!(
        std::io::stdout(),
        "{:<9} idle for {:.0} s, {FILES} files: {} pages of listings, {streams} streams, {rest} other requests; \
         {used:?} of processor time ({percent:.3} % of a core); {}.{} MB resident; {}",
        format!("{:?}", store.kind()),
        span.as_secs_f64(),
        counts.list,
        tenths / 10,
        tenths % 10,
        measure::load()?,
    )?;
    Ok(())
}

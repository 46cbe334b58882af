//! How long a worker whose prefix holds 600 objects (10 MiB) takes from its exec to the exec of its runtime. The promise,
//! a second at most, is made for the release build: `tests/run --release startup_speed` prints the figure.

use std::{io::Write as _, time::Duration};

use anyhow::Result;
use testkit::{Store, Worker, agent, on_store};

on_store!(embedded, Embedded, six_hundred_objects_within_the_limit);

/// Only a start that does something quadratic takes this long, whatever the build and the machine.
const SANE: Duration = Duration::from_secs(10);

async fn six_hundred_objects_within_the_limit(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let content = "0123456789abcde\n".repeat(10 * 1024 * 1024 / 600 / 16);
    for number in 0..600 {
        bucket
            .put(
                &agent::key(&format!("notes/{:02}/{number:03}.md", number % 20)),
                content.clone(),
            )
            .await?;
    }
    let worker = Worker::builder(&bucket)?.start()?;
    worker.wait_for_runtime().await?;
    let took = worker.age();
    writeln!(
        std::io::stdout(),
        "600 objects, 10 MiB: the runtime was started {took:?} after the exec of worker-entrypoint"
    )?;
    assert!(
        took < SANE,
        "the runtime was started after {took:?}:\n{}",
        worker.log()
    );
    Ok(())
}

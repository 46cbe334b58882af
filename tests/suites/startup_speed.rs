//! A worker whose prefix holds 600 objects (10 MiB) is ready for work within a second of its start.

use std::time::Duration;

use anyhow::Result;
use testkit::{Store, Worker, agent, on_store};

on_store!(embedded, Embedded, six_hundred_objects_within_the_limit);

/// The promise is made for the release build; an unoptimised one on a busy machine only shows that nothing is quadratic.
const LIMIT: Duration = if cfg!(debug_assertions) {
    Duration::from_secs(10)
} else {
    Duration::from_secs(1)
};

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
    assert!(
        took < LIMIT,
        "the runtime was started after {took:?}:\n{}",
        worker.log()
    );
    Ok(())
}

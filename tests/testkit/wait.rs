//! Waiting for conditions, with limits. Never sleeps to be right: a sleep here only spaces out the looks.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a condition that must come true may take: far more than it needs, so that a loaded machine fails no test.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks at `condition` until it is true and tells how long that took; fails with `what` after `limit`, or as soon as
/// the condition itself fails.
pub async fn wait_for(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Result<bool>,
) -> Result<Duration> {
    let started = Instant::now();
    loop {
        let left = limit.saturating_sub(started.elapsed());
        // The look itself is bounded too: a server that accepts and never answers must not hang the test.
        match tokio::time::timeout(left.max(INTERVAL), condition()).await {
            Ok(Ok(true)) => return Ok(started.elapsed()),
            Ok(Ok(false)) if started.elapsed() <= limit => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(false)) | Err(_) => bail!("waited {limit:?} in vain for {what}"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// [`wait_for`] with a plain condition that cannot fail.
pub async fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<Duration> {
    wait_for(what, limit, async || Ok(condition())).await
}

/// Fails with `what` when `condition` is false at any look during `span`.
pub async fn holds_for(
    what: &str,
    span: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < span {
        if !condition() {
            bail!("no longer true after {:?}: {what}", started.elapsed());
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

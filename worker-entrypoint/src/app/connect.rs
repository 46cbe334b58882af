//! From settings to an engine, and to another one when the agent turns out to be in a team.

use std::{sync::Arc, time::Duration};

use hiclaw_sync::{exit::Exit, settings::Settings, worker::Worker};
use sync_core::{backoff::Backoff, layout::ResolvedLayout, resident::ResidentSettings};
use tokio::time::Instant;

use crate::{adapter::SyncEngine, command::Place, engine::chain};

/// Waits after failures to reach the store, and when to give up.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects, waiting for a store that can't be reached yet.
pub(super) async fn worker(settings: &Settings) -> anyhow::Result<Worker> {
    let started = Instant::now();
    let mut backoff = Backoff::new(FIRST_WAIT, LAST_WAIT);
    loop {
        let error = match Worker::connect(settings.clone()).await {
            Err(error) if Exit::of_error(&error) == Exit::Unreachable => error,
            other => return other,
        };
        let wait = backoff.next(fastrand::f64());
        if started.elapsed() + wait > PATIENCE {
            return Err(error);
        }
        tracing::warn!(retry_in = ?wait, "{}", chain(error.as_ref()));
        tokio::time::sleep(wait).await;
    }
}

/// The engine of a worker.
pub(super) async fn engine(
    worker: &Worker,
    settings: ResidentSettings,
    place: &Place,
) -> anyhow::Result<Arc<SyncEngine>> {
    Ok(Arc::new(SyncEngine::open(worker, settings, place).await?))
}

/// True when both layouts mirror the same directories.
pub(super) fn same_mounts(left: &ResolvedLayout, right: &ResolvedLayout) -> bool {
    let mounts = |layout: &ResolvedLayout| -> Vec<_> {
        layout
            .mounts
            .iter()
            .map(|mount| {
                (
                    mount.name.clone(),
                    mount.prefix.clone(),
                    mount.local.clone(),
                )
            })
            .collect()
    };
    mounts(left) == mounts(right)
}

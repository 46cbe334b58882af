//! The last flush: what changed is sent before the worker ends.
//!
//! Owns its time limit and what is said of changes that did not make it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::engine::{Engine, chain};

/// How many paths a message names.
const NAMED: usize = 20;

/// Sends the last changes, within the limit.
pub(super) async fn drain(engine: Option<&Arc<dyn Engine>>, limit: Duration) {
    let Some(engine) = engine else { return };
    let started = Instant::now();
    let why = match tokio::time::timeout(limit, engine.drain()).await {
        Ok(Ok(None)) => {
            tracing::info!("changes were not mirrored yet; there is nothing to send");
            return;
        }
        Ok(Ok(Some(report))) => {
            for problem in &report.problems {
                let (mount, path) = (&problem.mount, &problem.path);
                tracing::error!(mount, path, "not sent: {}", problem.message);
            }
            let (uploaded, duration) = (report.uploaded.len(), started.elapsed());
            tracing::info!(uploaded, ?duration, "the last changes are sent");
            return;
        }
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("the time is over ({limit:?})"),
    };
    let engine = engine.clone();
    let unsent = tokio::task::spawn_blocking(move || engine.unsent()).await;
    tracing::error!(
        unsent = list(&unsent.unwrap_or_default()),
        "the last changes are not all sent: {why}"
    );
}

/// The first paths, and how many more there are.
fn list(paths: &[String]) -> String {
    let named = paths.get(..NAMED).unwrap_or(paths).join(", ");
    match paths.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_readable() {
        let paths = |count: usize| {
            (0..count)
                .map(|number| format!("f{number}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(list(&paths(0)), "");
        assert_eq!(list(&paths(2)), "f0, f1");
        assert!(list(&paths(20)).ends_with("f19"));
        assert!(list(&paths(25)).ends_with("f19 and 5 more"));
    }
}

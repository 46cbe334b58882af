//! `pull`: the agent's files come from the bucket.
//!
//! Owns how long it is tried. A store that can't be reached and files that aren't there yet are different things: the first
//! is waited for with backoff, the second as the layout says.

use std::time::Duration;

use sync_core::{
    backoff::Backoff,
    layout::{Need, PullStep},
    path::RelPath,
    report::Report,
};
use tokio::time::Instant;

use super::{Outcome, StepContext};
use crate::engine::{EngineError, chain};

/// Waits after failures to reach the store.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(8);
/// How long a store that can't be reached is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// The agent's files could not be brought.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The store failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A required file never appeared; the text is the layout's.
    #[error("{message}")]
    Missing {
        /// What to tell.
        message: String,
    },
}

/// Pulls; the outer error ends the startup.
pub(super) async fn run(
    step: &PullStep,
    context: &StepContext,
) -> Result<Result<Outcome, PullError>, PullError> {
    match (step.need, pull(step, context).await) {
        (_, Ok(())) => Ok(Ok(Outcome::Done)),
        (Need::Required, Err(error)) => Err(error),
        (Need::Optional, Err(error)) => Ok(Err(error)),
    }
}

async fn pull(step: &PullStep, context: &StepContext) -> Result<(), PullError> {
    let mut retries = 0..step.retries;
    loop {
        let report = reach(step, context).await?;
        tell(&report);
        let missing = missing(step, context).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = missing.iter().map(RelPath::as_str).collect();
        let names = names.join(", ");
        if retries.next().is_none() {
            tracing::error!(
                missing = names,
                bucket = context.engine.place(),
                "required files are not in the bucket"
            );
            let message = step
                .missing
                .clone()
                .unwrap_or_else(|| format!("{names} not found in the bucket"));
            return Err(PullError::Missing { message });
        }
        tracing::warn!(missing = names, retry_in = ?step.retry_delay, "required files are not in the bucket yet");
        tokio::time::sleep(step.retry_delay).await;
    }
}

/// One pull, tried again while the store can't be reached and the step is worth it.
async fn reach(step: &PullStep, context: &StepContext) -> Result<Report, EngineError> {
    let started = Instant::now();
    let mut backoff = Backoff::new(FIRST_WAIT, LAST_WAIT);
    loop {
        let error = match context.engine.pull(&step.mounts).await {
            Err(error @ EngineError::Unreachable { .. }) if step.need == Need::Required => error,
            other => return other,
        };
        let wait = backoff.next(fastrand::f64());
        if started.elapsed() + wait > PATIENCE {
            return Err(error);
        }
        tracing::warn!(retry_in = ?wait, "{}", chain(&error));
        tokio::time::sleep(wait).await;
    }
}

/// What is required and not there. A path that can't be looked at is not there either.
async fn missing(step: &PullStep, context: &StepContext) -> Result<Vec<RelPath>, EngineError> {
    let (workspace, require) = (context.workspace.clone(), step.require.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let is_absent = |path: &RelPath| !matches!(workspace.look(path), Ok(Some(_)));
        require.into_iter().filter(is_absent).collect()
    });
    looked.await.map_err(|error| EngineError::Failed {
        operation: "look for required files in",
        place: context.workspace.path().display().to_string(),
        source: Box::new(error),
    })
}

fn tell(report: &Report) {
    for problem in &report.problems {
        tracing::warn!(mount = problem.mount, path = problem.path, kind = ?problem.kind, "{}", problem.message);
    }
    tracing::info!(
        downloaded = report.downloaded.len(),
        merged = report.merged.len(),
        deleted = report.deleted_local.len(),
        conflicts = report.conflicts.len(),
        problems = report.problems.len(),
        bytes = report.bytes_in,
        "pulled"
    );
}

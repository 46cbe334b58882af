//! The steps that prepare a worker, in the layout's order.
//!
//! Owns what each step does and what its failure means: a failed step is a warning, but for the pull of the agent's own files and
//! the start of the mirror, without which there is no worker. Every step is logged with its time. All changes to files go
//! through [`Workspace`].

mod conflict;
mod delete;
mod executable;
mod link;
mod matrix_login;
mod pull;
mod run;
mod skills;
mod timezone;

use std::{path::PathBuf, sync::Arc, time::Instant};

use sync_core::layout::Step;

pub use self::{matrix_login::LoginError, pull::PullError};
use crate::{
    command::{CommandError, Place},
    engine::{Engine, EngineError, chain},
    workspace::{Workspace, WorkspaceError},
};
use hiclaw_sync::http::HttpClient;

/// What steps work with.
pub struct StepContext {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// The agent's directory.
    pub workspace: Arc<Workspace>,
    /// The agent's name.
    pub worker: String,
    /// The time zone.
    pub time_zone: Option<String>,
    /// Where the system's files are; `/` but for tests.
    pub system_root: PathBuf,
    /// Where commands run.
    pub place: Place,
    /// For the Matrix login.
    pub client: HttpClient,
}

/// A step that the worker can't do without has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The agent's files could not be brought.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// Changes can't be mirrored.
    #[error(transparent)]
    Mirror(EngineError),
}

/// Why a step that the worker can do without has failed.
#[derive(Debug, thiserror::Error)]
enum Hitch {
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("can't {operation} {path}")]
    System {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Refused(String),
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It changed something, or what it is for is done.
    Done,
    /// There was nothing to do.
    Nothing,
}

/// Does all steps. Cancelling between or within them leaves no half-written file.
pub async fn run_all(steps: &[Step], context: &StepContext) -> Result<(), StepError> {
    for step in steps {
        let started = Instant::now();
        let outcome = run(step, context).await?;
        let duration = started.elapsed();
        let step = step.name();
        match outcome {
            Ok(Outcome::Done) => tracing::info!(step, ?duration, "step done"),
            Ok(Outcome::Nothing) => tracing::info!(step, ?duration, "step done, nothing to do"),
            Err(hitch) => {
                tracing::warn!(step, ?duration, "step failed, going on: {}", chain(&hitch));
            }
        }
    }
    Ok(())
}

/// Does one step; the outer error ends the startup.
async fn run(step: &Step, context: &StepContext) -> Result<Result<Outcome, Hitch>, StepError> {
    match step {
        Step::Pull(step) => Ok(pull::run(step, context).await?.map_err(Hitch::from)),
        Step::Mirror => {
            context
                .engine
                .start_mirror()
                .await
                .map_err(StepError::Mirror)?;
            Ok(Ok(Outcome::Done))
        }
        Step::MatrixLogin {
            password_key,
            config,
        } => Ok(matrix_login::run(password_key, config, context)
            .await
            .map_err(Hitch::from)),
        Step::Run(step) => Ok(run::run(step, context).await),
        Step::Timezone
        | Step::CopySkills { .. }
        | Step::Link { .. }
        | Step::RemoveCircularLink { .. }
        | Step::Executable { .. }
        | Step::MoveAndLink { .. }
        | Step::Delete { .. } => Ok(files(step, context).await),
    }
}

/// The steps that only touch files, off the threads that serve everything else.
async fn files(step: &Step, context: &StepContext) -> Result<Outcome, Hitch> {
    let step = step.clone();
    let workspace = context.workspace.clone();
    let (time_zone, system_root) = (context.time_zone.clone(), context.system_root.clone());
    let task = tokio::task::spawn_blocking(move || match &step {
        Step::Timezone => timezone::run(time_zone.as_deref(), &system_root),
        Step::CopySkills { from, to } => skills::copy(from, to, &workspace),
        Step::Link { at, to } => link::make(at, to, &workspace),
        Step::RemoveCircularLink { path } => link::remove_circular(path, &workspace),
        Step::Executable { paths } => executable::run(paths, &workspace),
        Step::MoveAndLink { from, to } => link::move_and_link(from, to, &workspace),
        Step::Delete { paths } => delete::run(paths, &workspace),
        Step::Pull(_) | Step::Mirror | Step::MatrixLogin { .. } | Step::Run(_) => {
            Ok(Outcome::Nothing)
        }
    });
    task.await.unwrap_or_else(|error| {
        Err(Hitch::Refused(format!(
            "the step ended unexpectedly: {error}"
        )))
    })
}

#[cfg(test)]
mod tests;

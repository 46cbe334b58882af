//! Is the runtime ready?
//!
//! Owns the three kinds of looks (command, HTTP status, text in a file) and their rhythm. A runtime that is not ready in time
//! is told once and looked at further: it may be slow, and what waits for it keeps waiting.

use std::{sync::Arc, time::Duration};

use sync_core::layout::{ReadyCheck, ReadyProbe};
use tokio::time::Instant;

use crate::{
    command::{self, Output, Place},
    engine::{BoxFuture, chain},
    workspace::Workspace,
};
use hiclaw_sync::http::{HttpClient, Request};

/// One look must not outlast its use, but a command may take seconds on a busy machine.
const LOOK_LIMIT: Duration = Duration::from_secs(30);
const HTTP_LIMIT: Duration = Duration::from_secs(5);
/// Looks that cost next to nothing are made more often than the layout asks for.
const CHEAP_INTERVAL: Duration = Duration::from_millis(500);
/// How long the probe alone counts. The fallback costs seconds of processor time, which a runtime that starts needs itself.
const FALLBACK_AFTER: Duration = Duration::from_secs(15);

/// What looks are made with.
#[derive(Clone)]
pub struct Prober {
    /// What is looked at, if there is anything: without a probe a runtime is ready as soon as it runs.
    pub probe: Option<ReadyProbe>,
    /// What else is looked at once the probe has said no for a while. For a cheap look that may never succeed although the
    /// runtime is well, such as a request to a port that it was told not to open.
    pub fallback: Option<ReadyCheck>,
    /// The agent's directory.
    pub workspace: Arc<Workspace>,
    /// Where the command runs.
    pub place: Place,
    /// For HTTP.
    pub client: HttpClient,
}

impl Prober {
    /// Makes the futures that the runtime's task waits for.
    #[must_use]
    pub fn into_probe(self) -> crate::runtime::Probe {
        Box::new(move || -> BoxFuture<'static, ()> {
            let prober = self.clone();
            Box::pin(async move { prober.ready().await })
        })
    }

    /// Looks until the runtime is ready. Cancel safe: a command under way is killed.
    pub async fn ready(&self) {
        let Some(probe) = &self.probe else { return };
        let started = Instant::now();
        let interval = match probe.check {
            ReadyCheck::Command { .. } => probe.interval,
            ReadyCheck::Http { .. } | ReadyCheck::File { .. } => probe.interval.min(CHEAP_INTERVAL),
        };
        let mut fallback_at = started + FALLBACK_AFTER.max(probe.interval);
        let mut late = false;
        loop {
            let why = match self.look(&probe.check).await {
                Ok(()) => return,
                Err(why) => why,
            };
            if let Some(fallback) = &self.fallback
                && Instant::now() >= fallback_at
            {
                if self.look(fallback).await.is_ok() {
                    tracing::debug!(why, "the runtime is ready by another look than the first");
                    return;
                }
                fallback_at = Instant::now() + probe.interval;
            }
            if !late && started.elapsed() >= probe.timeout {
                late = true;
                tracing::warn!(timeout = ?probe.timeout, why, "the runtime is not ready in time");
            } else {
                tracing::debug!(why, "the runtime is not ready yet");
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// One look; the error says what is not as it should be.
    async fn look(&self, check: &ReadyCheck) -> Result<(), String> {
        match check {
            ReadyCheck::Command { command } => {
                command::run(command, &self.place, LOOK_LIMIT, Output::Discard)
                    .await
                    .map_err(|error| chain(&error))
            }
            ReadyCheck::Http { url, status } => {
                match self.client.send(Request::get(url), HTTP_LIMIT).await {
                    Ok(answer) if answer.status == *status => Ok(()),
                    Ok(answer) => Err(format!(
                        "it answers with status {} instead of {status}",
                        answer.status
                    )),
                    Err(error) => Err(chain(&error)),
                }
            }
            ReadyCheck::File { path, text } => {
                let (workspace, path, text) = (self.workspace.clone(), path.clone(), text.clone());
                let looked = tokio::task::spawn_blocking(move || match workspace.read(&path) {
                    Ok(Some(content)) if text.is_in(&content) => Ok(()),
                    Ok(Some(_)) => Err(format!("{path} does not hold {text}")),
                    Ok(None) => Err(format!("{path} is not there")),
                    Err(error) => Err(chain(&error)),
                });
                looked.await.unwrap_or_else(|error| Err(error.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Telling the controller that the worker is ready and alive.
//!
//! Owns the report, its retries and the heartbeat. A controller that can't be reached is a warning: the worker works without.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use hiclaw_sync::settings::{Controller, TokenSource};
use serde_json::json;
use sync_core::secret::Secret;
use tokio::sync::watch;

use crate::{
    client::{ClientError, HttpClient, Request},
    engine::chain,
    runtime::RuntimeStatus,
    supervisor::State,
};

const TRIES: u32 = 5;
/// The n-th wait between tries is n times as long.
const WAIT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_mins(1);

/// A report did not reach the controller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// There was no answer.
    #[error("the controller did not answer")]
    Client(#[from] ClientError),
    /// It said no.
    #[error("the controller answered {method} {url} with status {status}")]
    Refused {
        /// The method.
        method: &'static str,
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
    /// The token's file can't be read.
    #[error("can't read the controller's token {path}")]
    Token {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Reports to one controller.
#[derive(Clone)]
pub struct Reporter {
    controller: Controller,
    client: HttpClient,
    activity: Activity,
}

/// Tells when a file of the worker last changed, RFC 3339; `None` until one did. May block shortly.
pub type Activity = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl Reporter {
    /// For this controller.
    #[must_use]
    pub fn new(controller: Controller, client: HttpClient, activity: Activity) -> Self {
        Self {
            controller,
            client,
            activity,
        }
    }

    /// Reports once the runtime is ready, then every minute while it is. Ends when the runtime has.
    pub async fn run(self, mut runtime: watch::Receiver<RuntimeStatus>) {
        let mut known = false;
        while runtime
            .wait_for(|status| status.state == State::Ready)
            .await
            .is_ok()
        {
            let result = if known {
                self.heartbeat().await
            } else {
                self.report_with_retries().await
            };
            match result {
                Ok(()) if known => {
                    tracing::debug!("the controller was told that the worker is alive");
                }
                Ok(()) => tracing::info!("the controller was told that the worker is ready"),
                Err(error) => tracing::warn!("{}", chain(&error)),
            }
            // The heartbeat repeats the report, so it also makes up for one that failed.
            known = true;
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    async fn report_with_retries(&self) -> Result<(), ReportError> {
        let mut tried = 1;
        loop {
            match self.report(None).await {
                Err(error) if tried < TRIES => {
                    let wait = WAIT * tried;
                    tracing::warn!(retry_in = ?wait, "{}", chain(&error));
                    tokio::time::sleep(wait).await;
                    tried += 1;
                }
                other => return other,
            }
        }
    }

    /// The report again, with the time of the last change.
    async fn heartbeat(&self) -> Result<(), ReportError> {
        let activity = self.activity.clone();
        let last = tokio::task::spawn_blocking(move || activity()).await;
        self.report(last.ok().flatten().as_deref()).await
    }

    /// One report.
    pub async fn report(&self, last_active_at: Option<&str>) -> Result<(), ReportError> {
        let url = format!(
            "{}/api/v1/workers/{}/ready",
            self.controller.url, self.controller.worker
        );
        let mut request = Request::post(&url);
        if let Some(time) = last_active_at {
            request = request.json(&json!({ "lastActiveAt": time }));
        }
        if let Some(token) = self.token().await? {
            request = request.bearer(token);
        }
        let answer = self.client.send(request, LIMIT).await?;
        if (200..300).contains(&answer.status) {
            Ok(())
        } else {
            Err(ReportError::Refused {
                method: "POST",
                url,
                status: answer.status,
            })
        }
    }

    /// The first token that there is. Files are read at every use: they are replaced before the token in them expires.
    async fn token(&self) -> Result<Option<Secret>, ReportError> {
        for source in &self.controller.tokens {
            match source {
                TokenSource::Value(token) => return Ok(Some(token.clone())),
                TokenSource::File(path) => match tokio::fs::read_to_string(path).await {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => return Ok(Some(Secret::new(text.trim()))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => {
                        return Err(ReportError::Token {
                            path: path.clone(),
                            source,
                        });
                    }
                },
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;

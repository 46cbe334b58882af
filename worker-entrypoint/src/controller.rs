//! Telling the controller that the worker is ready and alive.
//!
//! Owns the report, its retries and the heartbeat. A controller that can't be reached is a warning: the worker works without.

use std::{sync::Arc, time::Duration};

use hiclaw_sync::controller::{ControllerClient, ControllerError};
use tokio::sync::watch;

use crate::{engine::chain, runtime::RuntimeStatus, supervisor::State};

const TRIES: u32 = 5;
/// The n-th wait between tries is n times as long.
const WAIT: Duration = Duration::from_secs(2);
const HEARTBEAT: Duration = Duration::from_mins(1);

/// Reports to one controller.
#[derive(Clone)]
pub struct Reporter {
    client: ControllerClient,
    activity: Activity,
}

/// Tells when a file of the worker last changed, RFC 3339; `None` until one did. May block shortly.
pub type Activity = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl Reporter {
    /// For this controller.
    #[must_use]
    pub fn new(client: ControllerClient, activity: Activity) -> Self {
        Self { client, activity }
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

    async fn report_with_retries(&self) -> Result<(), ControllerError> {
        let mut tried = 1;
        loop {
            match self.client.report_ready(None).await {
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
    async fn heartbeat(&self) -> Result<(), ControllerError> {
        let activity = self.activity.clone();
        let last = tokio::task::spawn_blocking(move || activity()).await;
        self.client
            .report_ready(last.ok().flatten().as_deref())
            .await
    }
}

#[cfg(test)]
mod tests;

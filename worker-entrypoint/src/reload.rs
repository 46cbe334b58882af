//! Telling the runtime that its files changed.
//!
//! Owns the layout's reload actions: all files of a pass are published before any action is taken, and each action is taken
//! once for all groups that ask for it. Passes that come while an action is under way are answered together afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sync_core::layout::{Reload, ReloadAction, ReloadSignal};
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use crate::{
    command::{self, Output, Place},
    engine::{Published, chain},
    runtime::RuntimeHandle,
};
use hiclaw_sync::http::{HttpClient, Request};

const COMMAND_LIMIT: Duration = Duration::from_mins(1);
const HTTP_LIMIT: Duration = Duration::from_secs(30);

/// How often what was done.
#[derive(Debug, Default)]
pub struct ReloadCounts {
    done: AtomicU64,
    failed: AtomicU64,
}

impl ReloadCounts {
    /// Passes that the runtime was told of.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Actions that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Tells one runtime.
pub struct Reloader {
    /// The layout's actions by group.
    pub actions: BTreeMap<String, Reload>,
    /// Who is told.
    pub runtime: RuntimeHandle,
    /// Where commands run.
    pub place: Place,
    /// For HTTP.
    pub client: HttpClient,
    /// What was done.
    pub counts: Arc<ReloadCounts>,
}

impl Reloader {
    /// Answers every pass, until the engine ends. Subscribe before the runtime is started, or it may miss a change.
    pub async fn run(self, mut events: broadcast::Receiver<Published>) {
        loop {
            let mut groups = match events.recv().await {
                Ok(published) => (*published.groups).clone(),
                Err(RecvError::Lagged(_)) => self.all_groups(),
                Err(RecvError::Closed) => return,
            };
            loop {
                match events.try_recv() {
                    Ok(published) => groups.extend(published.groups.iter().cloned()),
                    Err(TryRecvError::Lagged(_)) => groups.extend(self.all_groups()),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            self.reload(&groups).await;
        }
    }

    fn all_groups(&self) -> BTreeSet<String> {
        self.actions.keys().cloned().collect()
    }

    async fn reload(&self, groups: &BTreeSet<String>) {
        // One that waits after a crash may be cured.
        self.runtime.files_changed();
        let names: Vec<_> = groups.iter().map(String::as_str).collect();
        for action in distinct(groups, &self.actions) {
            let result = self.act(action).await;
            match result {
                Ok(()) => tracing::info!(groups = names.join(","), action = name(action), "reload"),
                Err(why) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        groups = names.join(","),
                        action = name(action),
                        "reload failed: {why}"
                    );
                }
            }
        }
        self.counts.done.fetch_add(1, Ordering::Relaxed);
    }

    async fn act(&self, action: &ReloadAction) -> Result<(), String> {
        match action {
            ReloadAction::Watched => Ok(()),
            ReloadAction::Signal(signal) => {
                self.runtime.signal(number(*signal));
                Ok(())
            }
            ReloadAction::Http { method, url } => {
                let answer = self
                    .client
                    .send(Request::new(method, url), HTTP_LIMIT)
                    .await
                    .map_err(|error| chain(&error))?;
                if (200..300).contains(&answer.status) {
                    Ok(())
                } else {
                    Err(format!("status {}", answer.status))
                }
            }
            ReloadAction::Exec { command } => {
                command::run(command, &self.place, COMMAND_LIMIT, Output::Log)
                    .await
                    .map_err(|error| chain(&error))
            }
            ReloadAction::Restart => {
                self.runtime.restart();
                Ok(())
            }
        }
    }
}

/// The actions that these groups ask for, each once; a restart makes all others needless.
fn distinct<'a>(
    groups: &BTreeSet<String>,
    actions: &'a BTreeMap<String, Reload>,
) -> Vec<&'a ReloadAction> {
    let mut wanted: Vec<&ReloadAction> = Vec::new();
    for action in groups
        .iter()
        .filter_map(|group| actions.get(group))
        .map(|reload| &reload.action)
    {
        if *action == ReloadAction::Restart {
            return vec![action];
        }
        if !wanted.contains(&action) {
            wanted.push(action);
        }
    }
    wanted
}

fn name(action: &ReloadAction) -> &'static str {
    match action {
        ReloadAction::Watched => "watched",
        ReloadAction::Signal(signal) => signal.name(),
        ReloadAction::Http { .. } => "http",
        ReloadAction::Exec { .. } => "exec",
        ReloadAction::Restart => "restart",
    }
}

fn number(signal: ReloadSignal) -> i32 {
    let signal = match signal {
        ReloadSignal::Hup => rustix::process::Signal::HUP,
        ReloadSignal::Usr1 => rustix::process::Signal::USR1,
        ReloadSignal::Usr2 => rustix::process::Signal::USR2,
    };
    signal.as_raw()
}

#[cfg(test)]
mod tests;

//! What the entrypoint wants from the engine.
//!
//! Owns the narrow interface that steps, main loop and drain go through, so that they can be tested without a store. The
//! real engine implements it in `adapter`; nothing here synchronises anything.

use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use sync_core::{path::ObjectKey, report::Report, session::Session, status::Status};
use tokio::sync::broadcast;

/// A future that can be kept behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The engine.
pub trait Engine: Send + Sync {
    /// One pass from the bucket over these mounts; over all when there are none. Conflicts and problems of single paths are
    /// in the report.
    fn pull<'a>(&'a self, mounts: &'a [String]) -> BoxFuture<'a, Result<Report, EngineError>>;

    /// Asks for a pull over all mounts without waiting for it; one that waits already does. The engine logs what comes of it.
    fn pull_soon(&self) -> BoxFuture<'_, Result<(), EngineError>>;

    /// From here on changes travel in both directions and the control socket is open. Called once.
    fn start_mirror(&self) -> BoxFuture<'_, Result<(), EngineError>>;

    /// From here on the runtime may have any database open: what comes for one is held until the worker's next start. Waits
    /// for what is being put in its place.
    fn hold_databases(&self) -> BoxFuture<'_, Result<(), EngineError>>;

    /// A small object, past all rules; `None` where there is none.
    fn read_object<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, EngineError>>;

    /// Sends everything that changed and ends the engine. Nothing writes any more. `None`, and nothing done, before
    /// [`start_mirror`](Self::start_mirror).
    fn drain(&self) -> BoxFuture<'_, Result<Option<Report>, EngineError>>;

    /// The changed files that the bucket does not hold yet, for messages. Blocks on the file system.
    fn unsent(&self) -> Vec<String>;

    /// What is published from now on. Passes before [`start_mirror`](Self::start_mirror) tell nothing.
    fn subscribe(&self) -> broadcast::Receiver<Published>;

    /// The state, for people and scrapers. Blocks shortly on the file system.
    fn status(&self) -> Status;

    /// The store in words, for messages: endpoint and bucket.
    fn place(&self) -> String;
}

/// One pass changed local files that belong to reload groups. All of them were published before this was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The groups.
    pub groups: Arc<BTreeSet<String>>,
}

impl Published {
    /// Every group that a rule of this session names.
    #[must_use]
    pub fn every_group(session: &Session) -> Self {
        let rules = session
            .mounts()
            .iter()
            .flat_map(|mount| mount.rules.rules());
        let groups: BTreeSet<_> = rules.filter_map(|rule| rule.group.clone()).collect();
        Self {
            groups: Arc::new(groups),
        }
    }

    /// The groups that a report's local changes belong to; `None` when there are none.
    #[must_use]
    pub fn of(report: &Report) -> Option<Self> {
        let changed = report
            .downloaded
            .iter()
            .chain(&report.merged)
            .chain(&report.deleted_local);
        let groups: BTreeSet<_> = changed.filter_map(|entry| entry.group.clone()).collect();
        if groups.is_empty() {
            None
        } else {
            Some(Self {
                groups: Arc::new(groups),
            })
        }
    }
}

/// The engine could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store can't be reached or is not able to answer; trying again may help.
    #[error("can't reach {place}")]
    Unreachable {
        /// Endpoint and bucket.
        place: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else: trying again won't help.
    #[error("can't {operation} {place}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// Endpoint and bucket, or the path or key in question.
        place: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store refuses it.
    #[error("can't {operation} {place}")]
    Denied {
        /// What was tried.
        operation: &'static str,
        /// Endpoint and bucket.
        place: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took longer than it may.
    #[error("can't {operation} within {limit:?}")]
    TimedOut {
        /// What was tried.
        operation: &'static str,
        /// How long it may take.
        limit: Duration,
    },
}

/// An error and everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent layers say the same again.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use sync_core::report::Entry;

    use super::*;

    fn entry(group: Option<&str>) -> Entry {
        serde_json::from_value(
            serde_json::json!({ "mount": "workspace", "path": "x", "group": group }),
        )
        .unwrap()
    }

    #[test]
    fn only_local_changes_with_a_group_are_published() {
        let mut report = Report {
            uploaded: vec![entry(Some("skills"))],
            downloaded: vec![entry(None)],
            ..Report::default()
        };
        assert_eq!(Published::of(&report), None);
        report.merged = vec![entry(Some("config"))];
        report.deleted_local = vec![entry(Some("skills")), entry(Some("skills"))];
        let groups = Published::of(&report).unwrap().groups;
        assert_eq!(
            *groups,
            BTreeSet::from(["config".to_owned(), "skills".to_owned()])
        );
    }
}

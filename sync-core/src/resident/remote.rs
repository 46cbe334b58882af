//! The engine's ear for the bucket: the listeners, what they said, and how often the bucket is asked when they can't hear.
//!
//! Owns the hints that wait for a look, the state of the streams, and the interval between scheduled passes. Never looks
//! at the store itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{ResidentSettings, Shared};
use crate::{
    debounce::MountIndex,
    events::{
        Company, Found, Gather, Listeners, Noted, PERMISSION, Polls, StreamNews, StreamState,
        Subscription,
    },
    path::RelPath,
    report::Report,
    session::Session,
};

/// News of the streams that may wait for the engine.
const NEWS_QUEUED: usize = 1024;
/// Words that are no events are told of this often at most.
const SAID_AGAIN: Duration = Duration::from_mins(10);

/// What the engine knows of the bucket's changes.
pub(super) struct Remote {
    gather: Gather,
    polls: Polls,
    interval: Duration,
    /// By prefix; empty where nobody listens.
    streams: BTreeMap<String, StreamState>,
    /// What was last said of the streams in the log.
    said: Option<&'static str>,
    garbled: Option<Instant>,
    news: mpsc::Receiver<StreamNews>,
    listeners: Option<Listeners>,
}

impl Remote {
    /// Starts to listen.
    pub(super) fn start(session: &Session, settings: &ResidentSettings) -> Self {
        let (sender, news) = mpsc::channel(NEWS_QUEUED);
        let subscriptions = Subscription::of(session.mounts());
        let listeners = Listeners::start(session.store(), subscriptions, settings.events, &sender);
        Self {
            gather: Gather::new(&settings.events),
            polls: Polls::new(settings.pull_interval),
            interval: settings.pull_interval,
            streams: BTreeMap::new(),
            said: None,
            garbled: None,
            news,
            listeners: Some(listeners),
        }
    }

    /// Ends listening: nothing is pulled any more.
    pub(super) fn end(&mut self) {
        self.listeners = None;
        self.gather.clear();
    }

    /// The next word of a listener; never, when there is none.
    pub(super) async fn next_news(&mut self) -> StreamNews {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Takes what a listener said. Gives the time by which everything should be looked at, where something was said
    /// that nobody understood.
    pub(super) fn take(&mut self, news: StreamNews, shared: &Shared) -> Option<Instant> {
        let now = Instant::now();
        match news {
            StreamNews::State { prefix, state } => {
                self.say(&state);
                shared.state().set_stream(&prefix, state.clone());
                self.streams.insert(prefix, state);
            }
            StreamNews::Subscribed(mounts) => {
                for mount in mounts {
                    self.gather.note_everything(mount, now);
                }
            }
            StreamNews::Changed { mount, path, hint } => {
                shared.state().count_event();
                let company = company(shared, mount, &path);
                self.gather.note(mount, path, hint, company, now);
            }
            StreamNews::Unclear(mount) => {
                shared.state().count_event();
                self.gather.note_everything(mount, now);
            }
            StreamNews::Unsafe(problem) => {
                if shared.state().add_problem(&problem) {
                    tracing::warn!(mount = problem.mount, path = problem.path, kind = ?problem.kind, "{}", problem.message);
                }
            }
            StreamNews::Malformed { prefix, count } => {
                shared.state().count_malformed(&prefix, count);
                if self.garbled.is_none_or(|said| now >= said + SAID_AGAIN) {
                    self.garbled = Some(now);
                    tracing::warn!(
                        prefix,
                        "the store's stream of events holds what is no event"
                    );
                }
                // One of them may have been an event: the next pass comes a little sooner.
                return Some(now + self.polls.shortest());
            }
        }
        None
    }

    /// Says how the streams are, once for all of them and only when that is news.
    fn say(&mut self, state: &StreamState) {
        let word = state.word();
        if self.said == Some(word) {
            return;
        }
        match state {
            // Not worth a word of its own: what it comes to is.
            StreamState::Connecting => return,
            StreamState::Connected => tracing::info!("the store tells of changes in the bucket"),
            StreamState::Broken { message } => {
                tracing::warn!(
                    "the store's stream of events broke; it is connected again: {message}"
                );
            }
            StreamState::Denied => tracing::warn!(
                "the store doesn't let this worker hear of changes in the bucket: grant {PERMISSION} in its policy; the bucket is polled until then"
            ),
            StreamState::NotOffered { message } => tracing::info!(
                "the store doesn't tell of changes in the bucket ({message}); it is polled"
            ),
            StreamState::Silent => tracing::warn!(
                "the store takes requests for its stream of events and sends nothing, as builds of MinIO after its last release do; it is polled"
            ),
        }
        self.said = Some(word);
    }

    /// True when every mount that pulls is listened to.
    fn hears_everything(&self) -> bool {
        !self.streams.is_empty()
            && self
                .streams
                .values()
                .all(|state| *state == StreamState::Connected)
    }

    /// Time until the next scheduled pass.
    pub(super) fn pass_interval(&self) -> Duration {
        if self.hears_everything() {
            self.interval
        } else {
            self.polls.interval()
        }
    }

    /// Takes what a pass over everything found.
    pub(super) fn note_pass(&mut self, report: &Report) {
        let is_quiet = report.downloaded.is_empty()
            && report.merged.is_empty()
            && report.deleted_local.is_empty()
            && report.conflicts.is_empty();
        self.polls.note(if is_quiet {
            Found::Nothing
        } else {
            Found::Changes
        });
    }

    /// When hints are due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.gather.deadline()
    }

    /// Removes and gives the hints that are due.
    pub(super) fn due(&mut self, now: Instant) -> BTreeMap<MountIndex, Noted> {
        self.gather.take(now)
    }

    /// Everything that was said is looked at by a pass that begins now.
    pub(super) fn forget_hints(&mut self) {
        self.gather.clear();
    }

    /// Takes back hints that could not be settled.
    pub(super) fn put_back(&mut self, hints: BTreeMap<MountIndex, Noted>, at: Instant) {
        for (mount, noted) in hints {
            self.gather.put_back(mount, noted, at);
        }
    }
}

/// Whether a path belongs to a directory that is published as a whole.
fn company(shared: &Shared, mount: MountIndex, path: &RelPath) -> Company {
    let mounts = shared.session.mounts();
    let mount = mounts.get(usize::from(mount.0));
    let unit = mount.and_then(|mount| mount.rules.rule_for(path).unit_of(path));
    match unit.and_then(|unit| unit.directory) {
        Some(_) => Company::Together,
        None => Company::Alone,
    }
}

//! What a bucket says of its changes: the stream of events that MinIO and the embedded store offer.
//!
//! Owns the reading of that stream: its lines, its keep-alive, connecting again, and which paths of which mounts an event
//! is about. An event is a hint and never a fact: it says where to look, and what is there is what a look finds. Never
//! looks, decides or changes anything itself.
//!
//! # Theory of operation
//!
//! One task for each prefix subscribes and reads ([`Listeners`]). A stream has no memory: what happened while nobody
//! listened is not told. So every subscription is followed by a listing of its mounts, and a listing comes from time to
//! time anyway. The answer's head is the proof of being subscribed; MinIO sends it with its first words, which may be as
//! late as the first ping. A ping is asked for every few seconds; when nothing at all comes for three of them the
//! connection is taken for dead, whatever TCP thinks of it.
//!
//! A store without the stream is found by asking. It is asked again rarely, and polled meanwhile. A store
//! that takes the request and then says nothing counts as one without: builds of MinIO after its last release hold events
//! back until 4 KiB of them have come together.

mod gather;
mod lines;
mod listener;
mod polls;
mod record;
#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, time::Duration};

pub(crate) use self::{
    gather::{Company, Gather, Noted},
    polls::{Found, Polls},
};
pub use self::{
    listener::{Listeners, Subscription},
    record::Hint,
};
use crate::{debounce::MountIndex, path::RelPath, report::Problem};

/// What a worker's policy must allow for the stream.
pub const PERMISSION: &str = "s3:ListenBucketNotification";

/// Whether the store is asked for events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listen {
    /// It is; where it has none, it is polled.
    #[default]
    Auto,
    /// It isn't: changes in the bucket are found by the scheduled passes only.
    Never,
}

impl Listen {
    /// The word in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }

    /// What a word in settings means.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Never];
        all.into_iter().find(|listen| listen.name() == name)
    }
}

/// How the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSettings {
    /// Whether it is read at all.
    pub listen: Listen,
    /// How often the store shall say something; whole seconds, one at least.
    pub ping: Duration,
    /// How long a store that has no stream, or doesn't grant it, is not asked again.
    pub ask_again: Duration,
    /// A changed key is looked at once nothing changed for this long.
    pub quiet: Duration,
    /// Changed keys are looked at this long after the first of them, however many follow.
    pub max_delay: Duration,
}

impl Default for EventSettings {
    fn default() -> Self {
        Self::STANDARD
    }
}

impl EventSettings {
    /// The defaults.
    pub const STANDARD: Self = Self {
        listen: Listen::Auto,
        ping: Duration::from_secs(5),
        ask_again: Duration::from_hours(1),
        quiet: Duration::from_millis(50),
        max_delay: Duration::from_millis(150),
    };

    /// How long a stream may say nothing.
    fn deadline(&self) -> Duration {
        // Three pings, and a little for a server that is busy.
        self.ping * 3 + Duration::from_secs(2)
    }
}

/// How a stream of events is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// The store was asked and has not answered yet.
    Connecting,
    /// Subscribed.
    Connected,
    /// The connection broke off, or could not be made; it is tried again.
    Broken {
        /// Why, for people.
        message: String,
    },
    /// The store has no such stream.
    NotOffered {
        /// What it answered, for people.
        message: String,
    },
    /// The store takes the request and says nothing.
    Silent,
    /// The credentials don't allow it.
    Denied,
}

impl StreamState {
    /// A stable word for scripts.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Broken { .. } => "broken",
            Self::NotOffered { .. } => "not-offered",
            Self::Silent => "silent",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Connected => f.write_str("connected"),
            Self::Broken { message } => write!(f, "broken: {message}"),
            Self::NotOffered { message } => write!(f, "not offered by the store ({message})"),
            Self::Silent => f.write_str("the store takes the request and sends nothing"),
            Self::Denied => write!(f, "denied: grant {PERMISSION}"),
        }
    }
}

/// What a listener tells the engine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StreamNews {
    /// How the stream of a prefix is doing.
    State {
        /// The prefix.
        prefix: String,
        /// How it is.
        state: StreamState,
    },
    /// From now on changes of these mounts are told; what changed before has to be looked for.
    Subscribed(Vec<MountIndex>),
    /// An object may have changed.
    Changed {
        /// The mount it is in.
        mount: MountIndex,
        /// Its path there.
        path: RelPath,
        /// What was said of it.
        hint: Hint,
    },
    /// Something changed that single looks can't settle.
    Unclear(MountIndex),
    /// An object whose key is no safe path.
    Unsafe(Problem),
    /// Something that is no event; it may have been one.
    Malformed {
        /// The prefix of the stream.
        prefix: String,
        /// How many such lines or records.
        count: u64,
    },
}

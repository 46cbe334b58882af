//! The task that keeps a stream of events open.
//!
//! Owns when the store is asked, what is taken for a dead connection, and how long to wait before it is asked again.
//! Dropping [`Listeners`] ends every task and closes its connection.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    EventSettings, Hint, Listen, StreamNews, StreamState,
    lines::{Line, Lines},
    record,
};
use crate::{
    backoff::Backoff,
    debounce::MountIndex,
    layout::Rules,
    mount::OpenMount,
    path::{Prefix, RelPath},
    plan::Direction,
    report::{Problem, ProblemKind},
    store::{EventBytes, ObjectStore, StoreError, StoreErrorKind},
};

/// First and longest wait after a connection broke.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);
/// First and longest wait after a store that took the request and said nothing.
const FIRST_AFTER_SILENCE: Duration = Duration::from_secs(15);
const LAST_AFTER_SILENCE: Duration = Duration::from_mins(10);

/// The mounts whose objects are below one prefix, as far as events matter to them.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub(super) prefix: Prefix,
    pub(super) targets: Vec<Target>,
}

#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) index: MountIndex,
    pub(super) name: String,
    pub(super) rules: Arc<Rules>,
}

impl Subscription {
    /// One for each prefix that something may be pulled from.
    #[must_use]
    pub fn of(mounts: &[Arc<OpenMount>]) -> Vec<Self> {
        let mut found: BTreeMap<String, Self> = BTreeMap::new();
        for (index, mount) in mounts.iter().enumerate() {
            let Ok(index) = u16::try_from(index) else {
                break;
            };
            if !pulls(&mount.rules) || mount.direction(Direction::Pull) == Direction::Push {
                continue;
            }
            let entry = found
                .entry(mount.prefix.to_string())
                .or_insert_with(|| Self {
                    prefix: mount.prefix.clone(),
                    targets: Vec::new(),
                });
            entry.targets.push(Target {
                index: MountIndex(index),
                name: mount.name.clone(),
                rules: mount.rules.clone(),
            });
        }
        found.into_values().collect()
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    fn mounts(&self) -> Vec<MountIndex> {
        self.targets.iter().map(|target| target.index).collect()
    }

    /// What an event about `key` means for each mount.
    pub(super) fn news<'a>(
        &'a self,
        key: &'a str,
        hint: &'a Hint,
    ) -> impl Iterator<Item = StreamNews> + 'a {
        let rest = key.strip_prefix(self.prefix.as_str());
        // A key that ends in `/` is a directory marker.
        let rest = rest.filter(|rest| !rest.is_empty() && !rest.ends_with('/'));
        self.targets
            .iter()
            .filter_map(move |target| target.news(rest?, hint))
    }
}

impl Target {
    fn news(&self, rest: &str, hint: &Hint) -> Option<StreamNews> {
        let path = match RelPath::new(rest) {
            Ok(path) => path,
            Err(_) if *hint == Hint::Removed => return None,
            Err(error) => {
                return Some(StreamNews::Unsafe(Problem {
                    mount: self.name.clone(),
                    path: rest.to_owned(),
                    kind: ProblemKind::UnsafePath,
                    message: format!(
                        "the key is no safe path ({}); rename or delete the object",
                        error.reason()
                    ),
                }));
            }
        };
        let mount = self.index;
        // The older key of a file is no path of its own.
        let newer = self.rules.rules().iter().find_map(|rule| {
            let is_older = rule.legacy_key.as_ref() == Some(&path);
            let newer = rule.paths.first().filter(|_| is_older)?;
            RelPath::new(newer.as_str()).ok()
        });
        let rule = self.rules.rule_for(newer.as_ref().unwrap_or(&path));
        if !rule.sync.pulls() {
            return None;
        }
        // Which of the two keys is left only a listing shows.
        if rule.legacy_key.is_some() && *hint == Hint::Removed {
            return Some(StreamNews::Unclear(mount));
        }
        let (path, hint) = match newer {
            Some(newer) => (newer, Hint::Unknown),
            None => (path, hint.clone()),
        };
        Some(StreamNews::Changed { mount, path, hint })
    }
}

/// True when anything may come from the bucket. What stands behind a rule for everything applies to nothing.
fn pulls(rules: &Rules) -> bool {
    for rule in rules.rules() {
        if rule.sync.pulls() {
            return true;
        }
        if rule.paths.iter().any(|glob| glob.as_str() == "**") {
            return false;
        }
    }
    false
}

/// The tasks that listen. Dropping it ends them.
#[derive(Debug)]
pub struct Listeners {
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Listeners {
    /// Starts to listen, and tells `news` until its receiver is gone. Starts nothing where nothing is pulled, or where
    /// [`Listen::Never`] is set.
    #[must_use]
    pub fn start(
        store: &Arc<dyn ObjectStore>,
        subscriptions: Vec<Subscription>,
        settings: EventSettings,
        news: &mpsc::Sender<StreamNews>,
    ) -> Self {
        let wanted = match settings.listen {
            Listen::Auto => subscriptions,
            Listen::Never => Vec::new(),
        };
        let tasks = wanted.into_iter().map(|subscription| {
            let listener = Listener {
                store: store.clone(),
                subscription,
                settings,
                news: news.clone(),
                broken: Backoff::new(FIRST_RETRY, LAST_RETRY),
                silent: Backoff::new(FIRST_AFTER_SILENCE, LAST_AFTER_SILENCE),
            };
            AbortOnDropHandle::new(tokio::spawn(async move {
                let Err(Unheard) = listener.run().await;
                tracing::debug!("nobody wants to hear of the bucket's changes any more");
            }))
        });
        Self {
            _tasks: tasks.collect(),
        }
    }
}

struct Listener {
    store: Arc<dyn ObjectStore>,
    subscription: Subscription,
    settings: EventSettings,
    news: mpsc::Sender<StreamNews>,
    broken: Backoff,
    silent: Backoff,
}

/// How a subscription ended.
#[derive(Debug)]
enum End {
    Broken(String),
    NotOffered(String),
    Denied,
    /// Nothing came at all: no answer, or an answer and no word after it.
    Silent(String),
}

/// Whoever was told is gone.
struct Unheard;

impl Listener {
    async fn run(mut self) -> Result<std::convert::Infallible, Unheard> {
        self.state(StreamState::Connecting).await?;
        loop {
            let end = self.subscribe().await?;
            let (state, wait) = self.after(end);
            self.state(state).await?;
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks, and reads for as long as something comes.
    async fn subscribe(&mut self) -> Result<End, Unheard> {
        let (deadline, ping) = (self.settings.deadline(), self.settings.ping);
        let asked = self.store.listen(self.subscription.prefix.as_str(), ping);
        let stream = match timeout(deadline, asked).await {
            Err(_) => return Ok(End::Silent("no answer in time".to_owned())),
            Ok(Err(error)) => return Ok(End::of(&error)),
            Ok(Ok(stream)) => stream,
        };
        self.state(StreamState::Connected).await?;
        let mounts = self.subscription.mounts();
        self.tell(StreamNews::Subscribed(mounts)).await?;
        self.read(stream, deadline).await
    }

    async fn read(&mut self, mut stream: EventBytes, deadline: Duration) -> Result<End, Unheard> {
        let mut lines = Lines::default();
        let mut is_alive = false;
        loop {
            let bytes = match timeout(deadline, stream.next()).await {
                Err(_) => {
                    let message = format!("nothing came for {deadline:?}");
                    return Ok(if is_alive {
                        End::Broken(message)
                    } else {
                        End::Silent(message)
                    });
                }
                Ok(None) => return Ok(End::Broken("the store ended the stream".to_owned())),
                Ok(Some(Err(error))) => return Ok(End::Broken(error.to_string())),
                Ok(Some(Ok(bytes))) => bytes,
            };
            let mut pinged = bytes.trim_ascii().is_empty();
            let mut malformed = 0;
            for line in lines.push(&bytes) {
                let records = match line {
                    Line::TooLong => {
                        malformed += 1;
                        continue;
                    }
                    Line::Whole(line) => record::parse(&line),
                };
                pinged |= records.is_ping();
                malformed += records.malformed;
                for (key, hint) in &records.events {
                    for news in self.subscription.news(key, hint) {
                        self.tell(news).await?;
                    }
                }
            }
            if malformed > 0 {
                let prefix = self.subscription.prefix.to_string();
                let news = StreamNews::Malformed {
                    prefix,
                    count: malformed,
                };
                self.tell(news).await?;
            }
            if pinged && !is_alive {
                // Only a stream that was alive for a while is worth trying at once when it breaks.
                is_alive = true;
                self.broken.reset();
                self.silent.reset();
            }
        }
    }

    /// What to say of an end, and how long to wait.
    fn after(&mut self, end: End) -> (StreamState, Duration) {
        let rarely = self.settings.ask_again.mul_f64(0.9 + fastrand::f64() * 0.2);
        match end {
            End::NotOffered(message) => (StreamState::NotOffered { message }, rarely),
            End::Denied => (StreamState::Denied, rarely),
            End::Broken(message) => {
                let wait = self.broken.next(fastrand::f64());
                tracing::debug!(prefix = %self.subscription.prefix, message, retry_in = ?wait, "the stream of events broke");
                (StreamState::Broken { message }, wait)
            }
            // Once, the connection may be to blame.
            End::Silent(message) if !self.silent.is_failing() => {
                self.silent.next(0.0);
                let wait = self.broken.next(fastrand::f64());
                (StreamState::Broken { message }, wait)
            }
            End::Silent(_) => (StreamState::Silent, self.silent.next(fastrand::f64())),
        }
    }

    async fn state(&self, state: StreamState) -> Result<(), Unheard> {
        let prefix = self.subscription.prefix.to_string();
        self.tell(StreamNews::State { prefix, state }).await
    }

    async fn tell(&self, news: StreamNews) -> Result<(), Unheard> {
        self.news.send(news).await.map_err(|_| Unheard)
    }
}

impl End {
    fn of(error: &StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Denied => Self::Denied,
            StoreErrorKind::Unreachable
            | StoreErrorKind::Unavailable { .. }
            | StoreErrorKind::BadCredentials
            | StoreErrorKind::NoBucket => Self::Broken(error.to_string()),
            StoreErrorKind::NotFound
            | StoreErrorKind::Precondition
            | StoreErrorKind::Rejected
            | StoreErrorKind::Other => Self::NotOffered(error.message.clone()),
        }
    }
}

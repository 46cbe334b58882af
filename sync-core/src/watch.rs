//! Watching the files of the mounts, so that a change is noticed at once and idle time costs nothing.
//!
//! Owns which directories are watched, what file system events mean, and what to do when events are lost or cannot be
//! had. Never reads or writes a file, never follows a symlink below a mount's root, never decides what is done about a
//! change: an event says only that something is worth a look.
//!
//! Theory of operation. `notify` is used with one watch per directory, placed here, because its own recursive mode
//! knows no exclusions and follows links. Its callback translates and filters events at once and puts them into a
//! bounded queue; a thread of this module takes them from there, places watches for new directories and sends
//! [`WatchEvent`]s. What may be a directory is decided by looking at the path, not by what the event says, since the
//! path may have changed again: an old event then leads to a superfluous look, never to a missed one. A directory gets
//! its watch first and is listed after that, so that no file falls between. The thread waits without a timeout
//! unless something has to be polled.

mod backend;
mod intake;
mod selected;
#[cfg(test)]
mod tests;
mod tree;
mod worker;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    thread,
    time::Duration,
};

use tokio::sync::mpsc::Sender;

use self::{
    backend::Connect,
    intake::{Intake, Message},
    worker::Worker,
};
use crate::{
    debounce::{DirtyPath, MountIndex},
    path::RelPath,
};

/// Says yes or no to a path of a mount.
pub type PathFilter = Arc<dyn Fn(&RelPath) -> bool + Send + Sync>;

/// A mount to watch.
#[derive(Clone)]
pub struct WatchedMount {
    /// What events call it.
    pub index: MountIndex,
    /// Its directory.
    pub path: PathBuf,
    /// False for directories that are never entered: they get no watch, and nothing in them is ever noticed. The
    /// engine's own directory has to be among them.
    pub enters: PathFilter,
    /// False for files whose changes matter to nobody: no event of theirs is passed on.
    pub cares: PathFilter,
    /// Told of every change that is passed on. True for a file that decides what the other two say, as ignore files do:
    /// they answer anew from then on, its directory gets its watches anew and is reported.
    pub governs: PathFilter,
}

impl fmt::Debug for WatchedMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedMount")
            .field("index", &self.index)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// How a watcher works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// How often that is looked at which cannot be watched.
    pub poll_interval: Duration,
    /// How many events may wait; when there are more, they are dropped and everything is looked at instead.
    pub queue: usize,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(30),
            queue: 65_536,
        }
    }
}

/// What a watcher has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// Something may have changed. A whole mount when events were lost.
    Dirty(DirtyPath),
    /// How changes of a mount are noticed from now on. The first one comes at the start.
    Mode(MountIndex, WatchMode),
    /// The mount's directory was removed or renamed, or was never there. The mount is not watched any more.
    RootGone(MountIndex),
}

/// How changes of a mount are noticed. Its Display is fit for a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchMode {
    /// The kernel tells.
    Events,
    /// The kernel tells about some directories only.
    Mixed {
        /// How often the others are reported as dirty.
        interval: Duration,
        /// How many subtrees that are.
        subtrees: usize,
        /// Why.
        reason: PollReason,
    },
    /// The whole mount is reported as dirty at an interval.
    Polling {
        /// That interval.
        interval: Duration,
        /// Why.
        reason: PollReason,
    },
}

/// Why something is polled and not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollReason {
    /// The kernel allows no more watches.
    WatchLimit,
    /// Watching failed otherwise; the text says how.
    Unavailable(String),
}

impl fmt::Display for WatchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events => f.write_str("events"),
            Self::Mixed {
                interval,
                subtrees,
                reason,
            } => write!(
                f,
                "events, but {subtrees} subtrees are polled every {interval:?}: {reason}"
            ),
            Self::Polling { interval, reason } => {
                write!(f, "polling every {interval:?}: {reason}")
            }
        }
    }
}

impl fmt::Display for PollReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WatchLimit => f.write_str(
                "the limit of watched directories is reached (raise fs.inotify.max_user_watches)",
            ),
            Self::Unavailable(message) => f.write_str(message),
        }
    }
}

/// Why watching could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The system gave no thread.
    #[error("can't start the watcher's thread")]
    Thread(#[source] std::io::Error),
}

/// A running watcher. Dropping it stops it; after that no event is sent.
///
/// When the channel closes while the watcher lives, its thread has died and nothing is noticed any more.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What the thread and its handle both see.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Set when events were dropped, by the kernel or for want of room in the queue.
    lost: AtomicBool,
    modes: Mutex<Vec<(MountIndex, WatchMode)>>,
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn set_mode(&self, mount: MountIndex, mode: &WatchMode) {
        let mut modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        match modes.iter_mut().find(|(index, _)| *index == mount) {
            Some((_, held)) => held.clone_from(mode),
            None => modes.push((mount, mode.clone())),
        }
    }
}

impl Watcher {
    /// Watches `mounts` and sends what it notices to `events`.
    ///
    /// Blocks until every directory that is there has its watch, so that whoever scans after this returned misses
    /// nothing: about 50 ms per thousand directories. What is there already is not reported. Where watching is
    /// impossible or limits are reached, it polls and says so with [`WatchEvent::Mode`]; that is no error.
    pub fn start(
        mounts: Vec<WatchedMount>,
        events: Sender<WatchEvent>,
    ) -> Result<Self, WatchError> {
        Self::start_with(WatchSettings::default(), mounts, events)
    }

    /// [`start`](Self::start) with settings.
    pub fn start_with(
        settings: WatchSettings,
        mounts: Vec<WatchedMount>,
        events: Sender<WatchEvent>,
    ) -> Result<Self, WatchError> {
        Self::launch(settings, mounts, events, Box::new(backend::inotify))
            .map(|(watcher, _)| watcher)
    }

    fn launch(
        settings: WatchSettings,
        mounts: Vec<WatchedMount>,
        events: Sender<WatchEvent>,
        connect: Connect,
    ) -> Result<(Self, Intake), WatchError> {
        let shared = Arc::new(Shared::default());
        let mounts = tree::open(mounts);
        let (intake, queue, messages) = Intake::new(&mounts, settings.queue, shared.clone());
        let mut worker = Worker::new(settings, mounts, events, shared.clone(), messages);
        worker.begin(connect, intake.clone());
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || worker.run())
            .map_err(WatchError::Thread)?;
        let watcher = Self {
            shared,
            queue,
            thread: Some(thread),
        };
        Ok((watcher, intake))
    }

    /// How changes of `mount` are noticed now; `None` when it is not watched.
    #[must_use]
    pub fn mode(&self, mount: MountIndex) -> Option<WatchMode> {
        let modes = self
            .shared
            .modes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let held = modes.iter().find(|(index, _)| *index == mount);
        held.map(|(_, mode)| mode.clone())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // A full queue wakes the thread as well.
        self.queue.try_send(Message::Wake).ok();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the watcher's thread had died");
            }
        }
    }
}

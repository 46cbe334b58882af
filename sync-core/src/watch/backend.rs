//! Where file system events come from: `notify`'s inotify watcher, one watch per directory.
//!
//! Owns the translation of its errors. The trait exists so that limits can be reached in tests.

use std::path::Path;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{PollReason, intake::Intake};

/// Why a directory got no watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not there any more, or no directory.
    Vanished,
    /// It may not be read, so that it can't be scanned either.
    Denied,
    /// Others would fail as well, and this one has to be polled.
    Unwatchable(PollReason),
}

/// Places watches on single directories. Events go where it was connected to.
pub(super) trait Backend: Send {
    /// Watches the entries of `directory`. Watching it again replaces the watch.
    fn watch(&mut self, directory: &Path) -> Result<(), Refusal>;
    /// Ends that, if it was watched.
    fn unwatch(&mut self, directory: &Path);
}

/// Opens a backend that reports to the given intake.
pub(super) type Connect = Box<dyn FnMut(Intake) -> Result<Box<dyn Backend>, PollReason> + Send>;

/// The real one.
pub(super) fn inotify(intake: Intake) -> Result<Box<dyn Backend>, PollReason> {
    match RecommendedWatcher::new(intake, notify::Config::default()) {
        Ok(watcher) => Ok(Box::new(Inotify(watcher))),
        Err(error) => Err(PollReason::Unavailable(format!(
            "file system events can't be had ({error}); when too many programs watch files, raise \
             fs.inotify.max_user_instances"
        ))),
    }
}

struct Inotify(RecommendedWatcher);

impl Backend for Inotify {
    fn watch(&mut self, directory: &Path) -> Result<(), Refusal> {
        self.0
            .watch(directory, RecursiveMode::NonRecursive)
            .map_err(|error| refusal(&error))
    }

    fn unwatch(&mut self, directory: &Path) {
        if let Err(error) = self.0.unwatch(directory) {
            tracing::trace!(directory = %directory.display(), %error, "no watch to remove");
        }
    }
}

fn refusal(error: &notify::Error) -> Refusal {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => Refusal::Unwatchable(PollReason::WatchLimit),
        notify::ErrorKind::PathNotFound => Refusal::Vanished,
        notify::ErrorKind::Io(source) if matches!(source.kind(), NotFound | NotADirectory) => {
            Refusal::Vanished
        }
        notify::ErrorKind::Io(source) if source.kind() == PermissionDenied => Refusal::Denied,
        notify::ErrorKind::Io(_)
        | notify::ErrorKind::Generic(_)
        | notify::ErrorKind::WatchNotFound
        | notify::ErrorKind::InvalidConfig(_) => {
            Refusal::Unwatchable(PollReason::Unavailable(error.to_string()))
        }
    }
}

//! From raw events to messages: runs on `notify`'s thread, drops what nobody wants, never blocks.
//!
//! Owns the meaning of event kinds and the mapping of absolute paths to mounts. Never looks at the file system, but for
//! what the mounts' filters read to answer.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};

use super::{Shared, WatchedMount, tree::Tree};
use crate::{path::RelPath, sqlite};

/// Something for the watcher's thread to do. `mount` is a position in its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Something happened at a path.
    Seen {
        mount: usize,
        path: RelPath,
        what: Happening,
    },
    /// A name that is no path of ours came or went in this directory; `None` is the root.
    Unnameable {
        mount: usize,
        directory: Option<RelPath>,
    },
    /// The root's own attributes changed.
    RootTouched { mount: usize },
    /// The root was removed or renamed.
    RootGone { mount: usize },
    /// Look at the flags.
    Wake,
}

/// What happened at a path, as far as the event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// A file's content was written.
    Written,
    /// Something that is no directory was created.
    FileCreated,
    /// Something that is no directory was removed.
    FileRemoved,
    /// Attributes of a file or directory changed.
    Attributes,
    /// A directory was created.
    DirectoryCreated,
    /// A directory was removed.
    DirectoryRemoved,
    /// A file or directory was renamed to this name.
    Arrived,
    /// A file or directory was renamed from this name.
    Left,
    /// A watched directory was renamed, as it says itself. Its parent says so too, except for a root.
    MovedItself,
}

impl Happening {
    /// `None` for events that change nothing. Our own reads of a file would wake us otherwise.
    fn of(event: &Event) -> Option<Self> {
        match event.kind {
            // Writes through a memory map are seen only here.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Self::Written),
            EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any | ModifyKind::Other) => {
                Some(Self::Written)
            }
            EventKind::Modify(ModifyKind::Metadata(_)) => Some(Self::Attributes),
            EventKind::Modify(ModifyKind::Name(mode)) => Self::of_rename(mode, event.tracker()),
            EventKind::Create(CreateKind::Folder) => Some(Self::DirectoryCreated),
            EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => {
                Some(Self::FileCreated)
            }
            EventKind::Remove(RemoveKind::File) => Some(Self::FileRemoved),
            EventKind::Remove(RemoveKind::Folder | RemoveKind::Any | RemoveKind::Other) => {
                Some(Self::DirectoryRemoved)
            }
            EventKind::Access(_) | EventKind::Any | EventKind::Other => None,
        }
    }

    fn of_rename(mode: RenameMode, tracker: Option<usize>) -> Option<Self> {
        match mode {
            // `IN_MOVE_SELF` has no cookie, `IN_MOVED_FROM` has.
            RenameMode::From if tracker.is_none() => Some(Self::MovedItself),
            RenameMode::From => Some(Self::Left),
            RenameMode::To | RenameMode::Any | RenameMode::Other => Some(Self::Arrived),
            // Follows `From` and `To` and says nothing new.
            RenameMode::Both => None,
        }
    }

    /// True when names came or went, not only contents.
    fn changes_names(self) -> bool {
        match self {
            Self::Written | Self::Attributes | Self::MovedItself => false,
            Self::FileCreated
            | Self::FileRemoved
            | Self::DirectoryCreated
            | Self::DirectoryRemoved
            | Self::Arrived
            | Self::Left => true,
        }
    }

    fn matters(self, path: &RelPath, mount: &WatchedMount) -> bool {
        match self {
            Self::Written | Self::FileCreated | Self::FileRemoved => (mount.cares)(path),
            Self::DirectoryCreated | Self::DirectoryRemoved => (mount.enters)(path),
            Self::Attributes | Self::Arrived | Self::Left => {
                (mount.cares)(path) || (mount.enters)(path)
            }
            Self::MovedItself => false,
        }
    }
}

/// Takes raw events. Clones report to the same queue.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    mounts: Arc<[WatchedMount]>,
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

impl Intake {
    pub(super) fn new(
        trees: &[Tree],
        room: usize,
        shared: Arc<Shared>,
    ) -> (Self, SyncSender<Message>, Receiver<Message>) {
        let (queue, messages) = sync_channel(room.max(1));
        let mounts = trees.iter().map(|tree| tree.mount.clone()).collect();
        let intake = Self {
            mounts,
            queue: queue.clone(),
            shared,
        };
        (intake, queue, messages)
    }

    fn take(&self, path: &Path, what: Happening) {
        let Some((mount, relative)) = self.locate(path) else {
            return;
        };
        if relative.as_os_str().is_empty() {
            match what {
                Happening::DirectoryRemoved | Happening::FileRemoved | Happening::MovedItself => {
                    self.put(Message::RootGone { mount });
                }
                Happening::Attributes => self.put(Message::RootTouched { mount }),
                Happening::Written
                | Happening::FileCreated
                | Happening::DirectoryCreated
                | Happening::Arrived
                | Happening::Left => {}
            }
            return;
        }
        match nameable(relative) {
            Some(path) => {
                let matters = |mount| what.matters(&path, mount);
                if self.mounts.get(mount).is_some_and(matters) {
                    self.put(Message::Seen { mount, path, what });
                }
            }
            // What can't be synchronised can only be reported, and its content changes nothing in that.
            None if what.changes_names() => {
                let directory = relative.ancestors().skip(1).find_map(nameable);
                self.put(Message::Unnameable { mount, directory });
            }
            None => {}
        }
    }

    /// The innermost mount that `path` is in, and the path in there.
    fn locate<'path>(&self, path: &'path Path) -> Option<(usize, &'path Path)> {
        let mounts = self.mounts.iter().enumerate();
        mounts
            .filter_map(|(position, mount)| {
                let relative = path.strip_prefix(&mount.path).ok()?;
                Some((position, relative))
            })
            .min_by_key(|(_, relative)| relative.as_os_str().len())
    }

    /// What is written to a database's log or journal is a change of the database, whoever excludes the log itself. What
    /// readers do is not: they write to `X-shm`, open the log to write and close it, and as root give it to its owner.
    fn take_for_database(&self, path: &Path, event: &Event) {
        let by_readers = matches!(
            event.kind,
            EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_))
        );
        let Some((mount, relative)) = self.locate(path) else {
            return;
        };
        let Some(path) = nameable(relative) else {
            return;
        };
        if by_readers || path.as_str().ends_with("-shm") {
            return;
        }
        let cares = |main: &RelPath| self.mounts.get(mount).is_some_and(|it| (it.cares)(main));
        if let Some(path) = sqlite::main_of(&path).filter(cares) {
            let what = Happening::Written;
            self.put(Message::Seen { mount, path, what });
        }
    }

    fn put(&self, message: Message) {
        // Disconnected: the thread has ended, and so will the watcher.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(message) {
            self.lose();
        }
    }

    /// Events are lost. The flag comes first: if the queue is full even now, the thread has yet to look at the flag.
    fn lose(&self) {
        self.shared.lost.store(true, Ordering::Release);
        self.queue.try_send(Message::Wake).ok();
    }
}

impl notify::EventHandler for Intake {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) if !event.need_rescan() => {
                if let Some(what) = Happening::of(&event) {
                    for path in &event.paths {
                        self.take_for_database(path, &event);
                        self.take(path, what);
                    }
                }
            }
            Ok(_) | Err(_) => self.lose(),
        }
    }
}

/// `relative` as a path of ours; `None` when it is not valid UTF-8, too long, or empty.
pub(super) fn nameable(relative: &Path) -> Option<RelPath> {
    relative.to_str().and_then(|text| RelPath::new(text).ok())
}

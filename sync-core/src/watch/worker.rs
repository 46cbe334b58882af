//! The watcher's thread: takes messages, keeps the watches in step with the directories, sends events.

mod upkeep;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{Sender, error::TrySendError};

use super::{
    Shared, WatchEvent, WatchMode, WatchSettings,
    backend::{Backend, Connect},
    intake::{Happening, Intake, Message},
    tree::{Found, Presence, Tree, is_directory},
};
use crate::{
    debounce::{DirtyPath, MountIndex},
    path::RelPath,
};

/// Messages taken at once; repeated news in them are sent once.
const BATCH: usize = 512;
/// How often a full channel is tried again. Only a receiver that is behind makes the thread tick.
const CHANNEL_RETRY: Duration = Duration::from_millis(5);

/// How a directory that came is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announce {
    /// The files in it: there was nothing at this path before.
    Files,
    /// The subtree: something else was at this path before.
    Subtree,
}

/// Whether the thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

pub(super) struct Worker {
    settings: WatchSettings,
    trees: Vec<Tree>,
    events: Sender<WatchEvent>,
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    source: Option<(Connect, Intake)>,
    backend: Option<Box<dyn Backend>>,
    /// What could not be sent before the thread ran.
    first: Vec<WatchEvent>,
    /// What this batch has reported already.
    reported: HashSet<DirtyPath>,
    /// What is gone, for as long as the next message may tell under which name it arrived: that is reported first.
    departed: Vec<DirtyPath>,
    /// Directories whose watches this batch has placed anew.
    renewed: HashSet<(usize, Option<RelPath>)>,
    modes: Vec<Option<WatchMode>>,
    next_poll: Instant,
}

impl Worker {
    pub(super) fn new(
        settings: WatchSettings,
        mut trees: Vec<Tree>,
        events: Sender<WatchEvent>,
        shared: Arc<Shared>,
        messages: Receiver<Message>,
    ) -> Self {
        for tree in &mut trees {
            tree.heed(shared.clone());
        }
        Self {
            settings,
            modes: vec![None; trees.len()],
            trees,
            events,
            shared,
            messages,
            source: None,
            backend: None,
            first: Vec::new(),
            reported: HashSet::new(),
            departed: Vec::new(),
            renewed: HashSet::new(),
            next_poll: Instant::now(),
        }
    }

    /// Places the first watches, on the caller's thread.
    pub(super) fn begin(&mut self, connect: Connect, intake: Intake) {
        self.source = Some((connect, intake));
        self.watch_everything();
        for position in 0..self.trees.len() {
            let event = self.new_mode(position);
            self.first.extend(event);
            let gone = self
                .trees
                .get(position)
                .filter(|tree| tree.presence == Presence::Gone);
            self.first
                .extend(gone.map(|tree| WatchEvent::RootGone(tree.mount.index)));
        }
    }

    pub(super) fn run(mut self) {
        for event in std::mem::take(&mut self.first) {
            self.send(event);
        }
        while !self.shared.stopping() {
            if self.take_batch() == Next::End {
                return;
            }
            if self.shared.lost.swap(false, Ordering::Acquire) {
                self.start_over();
            }
            if self.polls() && Instant::now() >= self.next_poll {
                self.poll();
            }
            self.announce_modes();
        }
    }

    /// Waits for messages, until the next poll at most, and handles what is there.
    fn take_batch(&mut self) -> Next {
        let first = if self.polls() {
            let wait = self.next_poll.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(wait) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => return Next::GoOn,
                Err(RecvTimeoutError::Disconnected) => return Next::End,
            }
        } else {
            match self.messages.recv() {
                Ok(message) => message,
                Err(_) => return Next::End,
            }
        };
        // All are taken before the first is handled: news of one path in them can then be sent once, because whatever
        // they tell of happened before anybody looked.
        let mut batch = vec![first];
        batch.extend(self.messages.try_iter().take(BATCH));
        self.reported.clear();
        self.renewed.clear();
        for message in batch {
            if self.shared.stopping() {
                return Next::End;
            }
            // A renaming is told as leaving and arriving, next to each other.
            let arrives =
                matches!(&message, Message::Seen { what, .. } if *what == Happening::Arrived);
            if !arrives {
                self.report_departed();
            }
            self.handle(message);
            if arrives {
                self.report_departed();
            }
        }
        self.report_departed();
        Next::GoOn
    }

    fn report_departed(&mut self) {
        for gone in std::mem::take(&mut self.departed) {
            if self.reported.insert(gone.clone()) {
                self.send(WatchEvent::Dirty(gone));
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Wake => {}
            Message::Seen { mount, path, what } => {
                if self.is_here(mount) {
                    self.seen(mount, path, what);
                }
            }
            Message::Unnameable { mount, directory } => match directory {
                Some(directory) => self.report(mount, |index| DirtyPath::subtree(index, directory)),
                None => self.report(mount, DirtyPath::mount),
            },
            Message::RootTouched { mount } => {
                if self
                    .trees
                    .get(mount)
                    .is_some_and(|tree| !is_directory(&tree.mount.path))
                {
                    self.root_gone(mount);
                } else {
                    self.report(mount, DirtyPath::mount);
                }
            }
            Message::RootGone { mount } => self.root_gone(mount),
        }
    }

    fn seen(&mut self, mount: usize, path: RelPath, what: Happening) {
        if self
            .trees
            .get(mount)
            .is_some_and(|tree| (tree.mount.governs)(&path))
        {
            self.renew(mount, path.parent());
        }
        let Some(tree) = self.trees.get_mut(mount) else {
            return;
        };
        match what {
            Happening::Written | Happening::FileCreated | Happening::FileRemoved => {
                self.report(mount, |index| DirtyPath::path(index, path));
            }
            Happening::Attributes if tree.is_watched(&path) => {
                self.report(mount, |index| DirtyPath::subtree(index, path));
            }
            // It came with its parent: its watch is older than the listing that found it.
            Happening::DirectoryCreated if tree.is_watched(&path) => {}
            Happening::Attributes | Happening::DirectoryCreated => {
                self.look(mount, path, Announce::Files);
            }
            // A watch that a listing placed under the new name, before the backend had read of the renaming, is gone.
            Happening::Arrived => {
                tree.forget(&path);
                self.look(mount, path, Announce::Files);
            }
            Happening::Left | Happening::DirectoryRemoved => self.left(mount, path, what),
            Happening::MovedItself => {}
        }
    }

    /// Something is not at `path` any more. Something else may be.
    fn left(&mut self, mount: usize, path: RelPath, what: Happening) {
        let Some(tree) = self.trees.get_mut(mount) else {
            return;
        };
        let was_directory = tree.forget(&path) || what == Happening::DirectoryRemoved;
        if is_directory(&tree.absolute(Some(&path))) {
            self.look(mount, path, Announce::Subtree);
        } else if was_directory {
            self.departed
                .push(DirtyPath::subtree(tree.mount.index, path));
        } else if (tree.mount.cares)(&path) {
            self.departed.push(DirtyPath::path(tree.mount.index, path));
        }
    }

    /// Looks what is at `path` now and reports it; a directory gets its watches first.
    fn look(&mut self, mount: usize, path: RelPath, announce: Announce) {
        let Some(tree) = self.trees.get_mut(mount) else {
            return;
        };
        let index = tree.mount.index;
        if !is_directory(&tree.absolute(Some(&path))) {
            if (tree.mount.cares)(&path) {
                self.report(mount, |index| DirtyPath::path(index, path));
            }
            return;
        }
        if !tree.is_ours(&path) {
            return;
        }
        let found = match &mut self.backend {
            Some(backend) => tree.adopt(Some(path.clone()), backend.as_mut()),
            None => Found::Unknown,
        };
        // What a listing found is newer than what the batch has reported.
        match found {
            Found::Files(files) if announce == Announce::Files => {
                for file in files {
                    self.send(WatchEvent::Dirty(DirtyPath::path(index, file)));
                }
            }
            Found::Files(_) | Found::Unknown => {
                self.send(WatchEvent::Dirty(DirtyPath::subtree(index, path)));
            }
        }
    }

    /// Other directories than before may be entered in `place`: it gets its watches anew, and everything in it is news.
    fn renew(&mut self, mount: usize, place: Option<RelPath>) {
        let Some(tree) = self.trees.get_mut(mount) else {
            return;
        };
        if !self.renewed.insert((mount, place.clone())) {
            return;
        }
        if let Some(backend) = &mut self.backend {
            tree.renew(place.as_ref(), backend.as_mut());
        }
        self.report(mount, |index| match place {
            Some(directory) => DirtyPath::subtree(index, directory),
            None => DirtyPath::mount(index),
        });
    }

    fn root_gone(&mut self, mount: usize) {
        let Some(tree) = self.trees.get_mut(mount) else {
            return;
        };
        if tree.presence == Presence::Gone {
            return;
        }
        tree.presence = Presence::Gone;
        match &mut self.backend {
            Some(backend) => tree.release(backend.as_mut()),
            None => tree.forget_all(),
        }
        let event = WatchEvent::RootGone(tree.mount.index);
        self.send(event);
    }

    fn is_here(&self, mount: usize) -> bool {
        self.trees
            .get(mount)
            .is_some_and(|tree| tree.presence == Presence::Here)
    }

    /// Reports something of a mount, once per batch.
    fn report(&mut self, mount: usize, dirty: impl FnOnce(MountIndex) -> DirtyPath) {
        let Some(tree) = self.trees.get(mount) else {
            return;
        };
        let dirty = dirty(tree.mount.index);
        if self.reported.insert(dirty.clone()) {
            self.send(WatchEvent::Dirty(dirty));
        }
    }

    /// Waits for room in the channel, unless the watcher is stopped.
    fn send(&mut self, mut event: WatchEvent) {
        while !self.shared.stopping() {
            match self.events.try_send(event) {
                // Whoever let the receiver go wants no events.
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(unsent)) => event = unsent,
            }
            thread::park_timeout(CHANNEL_RETRY);
        }
    }
}

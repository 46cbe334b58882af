//! Upkeep of the watches as a whole: connecting, starting over after events were lost, polling, telling the mode.

use std::time::{Duration, Instant};

use super::{
    super::{PollReason, WatchEvent, WatchMode},
    Worker,
};
use crate::{
    debounce::DirtyPath,
    watch::tree::{Polled, Presence},
};

impl Worker {
    /// Events were lost: nothing is known about directories any more, and anything may have changed.
    pub(super) fn start_over(&mut self) {
        tracing::warn!("file system events came too fast; everything is looked at");
        self.backend = None;
        while self.messages.try_recv().is_ok() {}
        for tree in &mut self.trees {
            tree.forget_all();
        }
        self.watch_everything();
        for position in 0..self.trees.len() {
            if self.is_here(position) {
                self.reported.clear();
                self.report(position, DirtyPath::mount);
            }
        }
    }

    pub(super) fn watch_everything(&mut self) {
        self.next_poll = later(self.settings.poll_interval);
        if let Err(reason) = self.connect() {
            for tree in self
                .trees
                .iter_mut()
                .filter(|tree| tree.presence == Presence::Here)
            {
                tree.poll(None, &reason);
            }
            return;
        }
        let Some(backend) = &mut self.backend else {
            return;
        };
        for tree in self
            .trees
            .iter_mut()
            .filter(|tree| tree.presence == Presence::Here)
        {
            tree.adopt(None, backend.as_mut());
        }
    }

    pub(super) fn connect(&mut self) -> Result<(), PollReason> {
        if self.backend.is_none()
            && let Some((connect, intake)) = &mut self.source
        {
            self.backend = Some(connect(intake.clone())?);
        }
        Ok(())
    }

    pub(super) fn polls(&self) -> bool {
        self.trees.iter().any(|tree| tree.polled != Polled::Nothing)
    }

    /// Reports what can't be watched as dirty, after trying once more to watch it: limits get raised, and other
    /// programs end.
    pub(super) fn poll(&mut self) {
        self.next_poll = later(self.settings.poll_interval);
        let connected = self.connect();
        let mut dirty = Vec::new();
        for tree in &mut self.trees {
            let index = tree.mount.index;
            let (places, reason) = match std::mem::replace(&mut tree.polled, Polled::Nothing) {
                Polled::Nothing => continue,
                Polled::Whole(reason) => (vec![None], reason),
                Polled::Subtrees(subtrees, reason) => {
                    (subtrees.into_iter().map(Some).collect(), reason)
                }
            };
            for place in places {
                dirty.push(match &place {
                    Some(path) => DirtyPath::subtree(index, path.clone()),
                    None => DirtyPath::mount(index),
                });
                match &mut self.backend {
                    Some(backend) if tree.polled == Polled::Nothing => {
                        tree.adopt(place, backend.as_mut());
                    }
                    // One refusal is enough to know.
                    Some(_) => tree.poll(place, &reason),
                    None => tree.poll(place, connected.as_ref().err().unwrap_or(&reason)),
                }
            }
        }
        for dirty in dirty {
            self.send(WatchEvent::Dirty(dirty));
        }
    }

    pub(super) fn announce_modes(&mut self) {
        for position in 0..self.trees.len() {
            if let Some(event) = self.new_mode(position) {
                self.send(event);
            }
        }
    }

    /// The mode of a mount, when it is another one than was told last.
    pub(super) fn new_mode(&mut self, position: usize) -> Option<WatchEvent> {
        let tree = self
            .trees
            .get(position)
            .filter(|tree| tree.presence == Presence::Here)?;
        let index = tree.mount.index;
        let mode = tree.mode(self.settings.poll_interval);
        let told = self.modes.get_mut(position)?;
        if told.as_ref() == Some(&mode) {
            return None;
        }
        match &mode {
            WatchMode::Events if told.is_none() => {}
            WatchMode::Events => tracing::info!(?index, "every directory is watched again"),
            WatchMode::Mixed { .. } | WatchMode::Polling { .. } => {
                tracing::warn!(?index, "not every directory can be watched: {mode}");
            }
        }
        *told = Some(mode.clone());
        self.shared.set_mode(index, &mode);
        Some(WatchEvent::Mode(index, mode))
    }
}

fn later(interval: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(interval).unwrap_or(now)
}

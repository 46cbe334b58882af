//! Files that keep changing: what the engine's task asks [`Pace`](crate::pace::Pace) and tells it.

use std::time::Instant;

use super::task::Engine;
use crate::{
    debounce::{DirtyPath, MountIndex, Scope},
    pace::{FREE_BYTES, Shape, Verdict},
    path::RelPath,
    report::Report,
};

impl Engine {
    /// Puts off the files that keep changing and were sent just now.
    pub(super) fn without_the_hot(&mut self, due: Vec<DirtyPath>, now: Instant) -> Vec<DirtyPath> {
        let mut dirty = Vec::with_capacity(due.len());
        for path in due {
            match self.verdict(&path, now) {
                Verdict::Send => dirty.push(path),
                Verdict::Wait(until) => self.debouncer.defer(path, now, until),
            }
        }
        dirty
    }

    fn verdict(&mut self, dirty: &DirtyPath, now: Instant) -> Verdict {
        let Scope::Path(path) = &dirty.scope else {
            return Verdict::Send;
        };
        if !self.pace.knows(dirty.mount, path) {
            return Verdict::Send;
        }
        match self.shape(dirty.mount, path) {
            Some(shape) => self.pace.ask(dirty.mount, path, shape, now),
            None => Verdict::Send,
        }
    }

    fn shape(&self, mount: MountIndex, path: &RelPath) -> Option<Shape> {
        let mount = self.shared.session.mounts().get(usize::from(mount.0))?;
        let found = mount.look(path).ok()??.fingerprint;
        Some(Shape {
            inode: found.inode,
            size_bytes: found.size_bytes,
        })
    }

    /// Remembers what was sent, so that what goes on changing is not sent all the time.
    pub(super) fn pace_what_was_sent(&mut self, report: &Report, now: Instant) {
        self.pace.sweep(now);
        for entry in &report.uploaded {
            if entry.bytes <= FREE_BYTES {
                continue;
            }
            let mounts = self.shared.session.mounts();
            let index = mounts.iter().position(|mount| mount.name == entry.mount);
            if let Some(index) = index.and_then(|index| u16::try_from(index).ok())
                && let Ok(path) = RelPath::new(&*entry.path)
                && let Some(shape) = self.shape(MountIndex(index), &path)
            {
                let size_bytes = entry.bytes;
                let sent = Shape {
                    size_bytes,
                    ..shape
                };
                self.pace.sent(MountIndex(index), &path, sent, now);
            }
        }
    }
}

//! Files whose last row is gone, kept until nobody can be reading them any more.
//!
//! Owns when they are removed. Never decides that a file is no longer needed.
//!
//! A reader takes a [`Visit`] before it looks at the catalogue. Visits are grouped into epochs; burying files ends the
//! current epoch, and an epoch's files are removed when it and all epochs before it have no visit left: each epoch keeps
//! the next one alive.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Proof that its holder may still open files it has seen in the catalogue.
#[derive(Clone)]
pub(crate) struct Visit {
    _epoch: Arc<Epoch>,
}

pub(super) struct Graveyard {
    current: Mutex<Arc<Epoch>>,
}

#[derive(Default)]
struct Epoch {
    end: Mutex<End>,
}

#[derive(Default)]
struct End {
    buried: Vec<PathBuf>,
    next: Option<Arc<Epoch>>,
}

impl Graveyard {
    pub(super) fn new() -> Self {
        Self {
            current: Mutex::new(Arc::new(Epoch::default())),
        }
    }

    pub(super) fn visit(&self) -> Visit {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Visit {
            _epoch: Arc::clone(&current),
        }
    }

    /// Takes files that no row names any more. The transaction that removed the rows must be committed.
    pub(super) fn bury(&self, files: Vec<PathBuf>) {
        if files.is_empty() {
            return;
        }
        let next = Arc::new(Epoch::default());
        let ended = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::clone(&next))
        };
        let mut end = ended.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.buried = files;
        end.next = Some(next);
        drop(end);
        drop(ended);
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        let end = self.end.get_mut().unwrap_or_else(PoisonError::into_inner);
        remove(&mut end.buried);
        // Not by recursion: behind one slow reader there may be thousands of epochs.
        let mut next = end.next.take();
        while let Some(mut epoch) = next.and_then(Arc::into_inner) {
            let end = epoch.end.get_mut().unwrap_or_else(PoisonError::into_inner);
            remove(&mut end.buried);
            next = end.next.take();
        }
    }
}

fn remove(files: &mut Vec<PathBuf>) {
    for path in files.drain(..) {
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a file that is no longer needed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_outlives_every_reader_that_came_before_its_burial() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "x").unwrap();
            path
        };
        let (first, second) = (file("first"), file("second"));
        let graveyard = Graveyard::new();
        let early = graveyard.visit();
        graveyard.bury(vec![first.clone()]);
        let late = graveyard.visit();
        graveyard.bury(vec![second.clone()]);
        drop(late);
        assert!(
            first.exists() && second.exists(),
            "the early reader may have seen both"
        );
        drop(early);
        assert!(!first.exists() && !second.exists());
    }

    #[test]
    fn without_readers_a_file_goes_at_once_and_a_long_chain_does_not_overflow_the_stack() {
        let directory = tempfile::tempdir().unwrap();
        let graveyard = Graveyard::new();
        let slow = graveyard.visit();
        for number in 0..100_000 {
            graveyard.bury(vec![directory.path().join(format!("never-there-{number}"))]);
        }
        drop(slow);
        let path = directory.path().join("file");
        std::fs::write(&path, "x").unwrap();
        graveyard.bury(vec![path.clone()]);
        assert!(!path.exists());
    }
}

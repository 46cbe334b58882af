//! An eye on one file that sees every version of it, however short-lived.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Reads a file over and over until dropped, and keeps every version it saw.
pub struct Observer {
    stop: Arc<AtomicBool>,
    versions: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts to look at `path`, which need not exist yet.
    #[must_use]
    pub fn start(path: &Path) -> Self {
        let (stop, versions) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Vec::new())),
        );
        let thread = {
            let (path, stop, versions) =
                (path.to_owned(), Arc::clone(&stop), Arc::clone(&versions));
            thread::spawn(move || {
                let mut last = None;
                while !stop.load(Ordering::Relaxed) {
                    let found = fs::read(&path)
                        .ok()
                        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                    if found != last {
                        let version = found.clone().unwrap_or_else(|| ABSENT.to_owned());
                        versions
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(version);
                        last = found;
                    }
                    thread::yield_now();
                }
            })
        };
        Self {
            stop,
            versions,
            thread: Some(thread),
        }
    }

    /// The versions seen so far, each once for every time it appeared; [`ABSENT`] where the file went away.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        self.versions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Stands in [`Observer::versions`] for a file that was gone.
pub const ABSENT: &str = "(absent)";

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only reads; a panic there has been printed.
            drop(thread.join());
        }
    }
}

//! The locks of databases that this process reads.
//!
//! POSIX drops all locks that a process has on a file as soon as the process closes any descriptor of it, also one that has
//! nothing to do with the locks. A backup whose locks are dropped lets the agent's last connection believe that it is
//! alone, and remove the log under our eyes. So whoever reads files of the tree does it through a [`ContentFile`], whose
//! closing waits while SQLite works on the same file. (SQLite does the same among its own connections.) Descriptors
//! opened with `O_PATH` drop nothing.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

/// Device and inode.
pub(super) type FileId = (u64, u64);

/// Files that SQLite works on, with the descriptors that wait to be closed.
static AT_WORK: LazyLock<Mutex<HashMap<FileId, AtWork>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct AtWork {
    connections: usize,
    waiting: Vec<File>,
}

/// A file of the tree, open to be read.
#[derive(Debug)]
pub struct ContentFile {
    /// Until it is closed or given away.
    file: Option<File>,
}

impl ContentFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Some(file) }
    }

    /// The plain file, for what is known to be no database.
    pub(crate) fn into_file(mut self) -> io::Result<File> {
        self.file.take().ok_or_else(closed)
    }

    /// The open file.
    pub(crate) fn file(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(closed)
    }

    /// The stat.
    pub fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file()?.metadata()
    }
}

/// Nobody has a file that was given away.
fn closed() -> io::Error {
    io::Error::other("the file is closed")
}

impl Read for ContentFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file()?.read(buffer)
    }
}

impl Drop for ContentFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // Held while it is closed, so that nobody begins to work on it in between.
        let mut at_work = at_work();
        if at_work.is_empty() {
            return drop(file);
        }
        let id = file.metadata().map(|found| (found.dev(), found.ino()));
        match id.ok().and_then(|id| at_work.get_mut(&id)) {
            Some(work) => work.waiting.push(file),
            None => drop(file),
        }
    }
}

/// As long as it lives no [`ContentFile`] of the file is closed. Must outlive the connections.
#[derive(Debug)]
pub(super) struct Working(FileId);

impl Working {
    pub(super) fn on(id: FileId) -> Self {
        at_work().entry(id).or_default().connections += 1;
        Self(id)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut at_work = at_work();
        let Some(work) = at_work.get_mut(&self.0) else {
            return;
        };
        work.connections = work.connections.saturating_sub(1);
        if work.connections == 0 {
            // With the files that wait.
            at_work.remove(&self.0);
        }
    }
}

fn at_work() -> MutexGuard<'static, HashMap<FileId, AtWork>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

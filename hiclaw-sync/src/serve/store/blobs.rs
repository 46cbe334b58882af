//! Files that hold blobs, and the numbers that blobs and contents are known by.
//!
//! Owns the directory of blobs: names, creation, the sweep of orphans. A file is written once, under its final name, and
//! becomes part of the store when a row names it. Never knows what is in a file.

use std::{
    collections::HashSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use rusqlite::Connection;

use super::{OpenError, StoreError};

/// The directory of blobs.
pub(crate) struct BlobFiles {
    directory: PathBuf,
    handle: File,
    next: AtomicI64,
}

/// Content that no row names yet.
pub(crate) enum NewContent {
    Empty,
    /// Small enough for the catalogue.
    Inline(Bytes),
    /// In a file of its own, synced.
    File {
        blob: NewBlob,
        length_bytes: u64,
    },
}

impl BlobFiles {
    /// Opens the directory and removes every file that no row names.
    pub(super) fn open(
        directory: PathBuf,
        connection: &Connection,
        catalogue: &Path,
    ) -> Result<Arc<Self>, OpenError> {
        let io_error = |operation| {
            let path = directory.clone();
            move |source| OpenError::Io {
                operation,
                path,
                source,
            }
        };
        let (known, highest) = known(connection).map_err(|source| OpenError::Catalogue {
            operation: "read",
            path: catalogue.to_owned(),
            source,
        })?;
        let mut next = highest;
        for entry in std::fs::read_dir(&directory).map_err(io_error("list"))? {
            let entry = entry.map_err(io_error("list"))?;
            let number = entry
                .file_name()
                .to_str()
                .filter(|name| is_blob(name))
                .and_then(|name| i64::from_str_radix(name, 16).ok());
            match number {
                Some(number) => next = next.max(number),
                // Not ours; left alone.
                None => continue,
            }
            if number.is_some_and(|number| !known.contains(&number)) {
                std::fs::remove_file(entry.path()).map_err(io_error("sweep an orphan from"))?;
            }
        }
        let handle = File::open(&directory).map_err(io_error("open"))?;
        Ok(Arc::new(Self {
            directory,
            handle,
            next: AtomicI64::new(next + 1),
        }))
    }

    /// A number that no blob and no content has had.
    pub(crate) fn number(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn path(&self, blob: i64) -> PathBuf {
        self.directory.join(format!("{blob:016x}"))
    }

    /// Creates the file of a new blob. The caller writes and syncs it; the directory is synced by the writer.
    pub(crate) fn create(self: &Arc<Self>) -> Result<(NewBlob, File), StoreError> {
        let id = self.number();
        let path = self.path(id);
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(|source| StoreError::Blob {
            operation: "create",
            path: path.clone(),
            source,
        })?;
        Ok((
            NewBlob {
                id,
                path,
                fate: Fate::Discarded,
            },
            file,
        ))
    }

    /// Makes the names of all files created so far durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

/// The blobs that are files, and the highest number in use.
fn known(connection: &Connection) -> rusqlite::Result<(HashSet<i64>, i64)> {
    let highest = connection.query_row(
        "SELECT max((SELECT coalesce(max(id), 0) FROM blob), (SELECT coalesce(max(content), 0) FROM object),
                    (SELECT coalesce(max(content), 0) FROM part), (SELECT coalesce(max(content), 0) FROM segment))",
        [],
        |row| row.get(0),
    )?;
    let mut statement = connection.prepare("SELECT id FROM blob WHERE data IS NULL")?;
    let known = statement
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok((known, highest))
}

/// A file that is removed on drop, unless a row names it by then.
pub(crate) struct NewBlob {
    id: i64,
    path: PathBuf,
    fate: Fate,
}

#[derive(PartialEq, Eq)]
enum Fate {
    Discarded,
    Kept,
}

impl NewBlob {
    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is: a row names it, or it isn't known whether one does.
    pub(super) fn keep(mut self) {
        self.fate = Fate::Kept;
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if self.fate == Fate::Discarded
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            // The sweep at the next start gets it.
            tracing::debug!(path = %self.path.display(), %error, "cannot remove an unfinished file");
        }
    }
}

/// Whether a file's name is one that we give.
fn is_blob(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

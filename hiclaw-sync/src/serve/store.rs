//! Where objects are kept: a catalogue in SQLite, and one file for every blob too big to be kept in it.
//!
//! Owns the data directory, its lock, and what is durable when. Knows nothing of HTTP.
//!
//! # Theory of operation
//!
//! An object is a row that names a *content*; a content is a list of *segments*, each a stretch of a *blob*. So a copy and
//! the completion of a multipart upload touch rows only, never bytes. A blob is a file of its own, written and synced
//! before the row that makes it visible, or, when it is small, a row itself. Nothing is ever changed in place.
//!
//! - One thread makes all changes ([`writer`]), many in one transaction, so that conditions are judged and applied
//!   atomically and one sync of the disk serves many requests. An answer is sent after the sync.
//! - Readers have connections of their own and never wait for the writer ([`readers`]).
//! - A file whose last row is gone is removed when nobody reads it any more ([`graveyard`]).
//! - After a kill there may be files without a row; they are swept when the store is opened.

mod blobs;
mod edit;
mod effects;
mod feed;
mod graveyard;
mod listing;
mod query;
mod readers;
mod schema;
#[cfg(test)]
mod tests;
mod uploads;
mod writer;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use self::{
    blobs::{BlobFiles, NewBlob, NewContent},
    edit::{CopyObject, Edit, PutObject},
    effects::{Change, Writing},
    feed::{Announced, Feed},
    graveyard::Visit,
    listing::{Entry, ListRequest, Page, list},
    query::{ObjectRow, Segment, SegmentSource, bucket_id, buckets, object, segments},
    uploads::{
        CompleteUpload, CreateUpload, NamedPart, PartRow, PutPart, UploadRow, parts, upload,
        uploads,
    },
};
use self::{graveyard::Graveyard, readers::Readers, writer::Writer};
use super::error::StoreError;

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by another server", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It was written by a later version of this program.
    #[error("the data directory {} has format {found}, this program knows formats up to {known}", path.display())]
    TooNew {
        /// The directory.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The newest format known.
        known: i64,
    },
    /// The file system failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The catalogue failed.
    #[error("cannot {operation} the catalogue {}", path.display())]
    Catalogue {
        /// What was tried.
        operation: &'static str,
        /// The catalogue's file.
        path: PathBuf,
        /// Why it failed.
        source: rusqlite::Error,
    },
}

/// An open data directory. Dropping it waits until the changes submitted so far are durable.
pub(crate) struct Store {
    /// Closed before the writer's connection, which then can tidy the catalogue up.
    readers: Readers,
    writer: Writer,
    graveyard: Arc<Graveyard>,
    blobs: Arc<BlobFiles>,
    feed: Arc<Feed>,
    /// Held as long as the store is open, and released last.
    _lock: File,
}

impl Store {
    /// Opens the data directory, creating it if need be, and sweeps what a kill left behind.
    pub(crate) fn open(data: &Path) -> Result<Self, OpenError> {
        let directory = data.join("blobs");
        std::fs::create_dir_all(&directory).map_err(|source| OpenError::Io {
            operation: "create",
            path: directory.clone(),
            source,
        })?;
        let lock = lock(data)?;
        let catalogue = data.join("catalogue.db");
        let connection = schema::open(data, &catalogue)?;
        // The names of the catalogue and of the directory of blobs have to be durable too.
        File::open(data)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| OpenError::Io {
                operation: "sync",
                path: data.to_owned(),
                source,
            })?;
        let blobs = BlobFiles::open(directory, &connection, &catalogue)?;
        let graveyard = Arc::new(Graveyard::new());
        let feed = Arc::<Feed>::default();
        let writer = Writer::start(
            connection,
            Arc::clone(&blobs),
            Arc::clone(&graveyard),
            Arc::clone(&feed),
        )
        .map_err(|source| OpenError::Io {
            operation: "start a thread for",
            path: data.to_owned(),
            source,
        })?;
        Ok(Self {
            writer,
            readers: Readers::new(catalogue),
            graveyard,
            blobs,
            feed,
            _lock: lock,
        })
    }

    /// Makes one change, in a transaction shared with others; done means durable. The change itself is all or nothing: an error takes back what `work` did.
    ///
    /// Dropping the future does not take back the change.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Edit<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.submit(work).await
    }

    /// Looks at one consistent state of the catalogue.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(work).await
    }

    /// Keeps files that a later [`Store::read`] names from being removed, until it is dropped.
    pub(crate) fn visit(&self) -> Visit {
        self.graveyard.visit()
    }

    /// Those who want to know of changes.
    pub(crate) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The files of blobs.
    pub(crate) fn blobs(&self) -> &Arc<BlobFiles> {
        &self.blobs
    }
}

fn lock(data: &Path) -> Result<File, OpenError> {
    let path = data.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|source| OpenError::Io {
        operation: "open",
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: data.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io {
            operation: "lock",
            path,
            source,
        }),
    }
}

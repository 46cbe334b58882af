//! The one thread that changes the catalogue.
//!
//! Owns transactions and durability: changes that wait are made in one transaction, each in a savepoint of its own, and
//! are answered after it is on disk. Never knows what a change is about.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{BlobFiles, Edit, Feed, StoreError, effects::Effects, graveyard::Graveyard};

/// Most changes that share a transaction, so that nobody waits long for the others.
const BATCH: usize = 256;

/// Makes a change and returns what to do when its fate is known.
type Job = Box<dyn FnOnce(&Connection, &Arc<BlobFiles>, &mut Effects) -> Reply + Send>;
type Reply = Box<dyn FnOnce(Fate) + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Durable,
    Lost,
}

pub(super) struct Writer {
    /// `None` only while being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        blobs: Arc<BlobFiles>,
        graveyard: Arc<Graveyard>,
        feed: Arc<Feed>,
    ) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let worker = Worker {
            connection,
            blobs,
            graveyard,
            feed,
        };
        let thread = std::thread::Builder::new()
            .name("catalogue".to_owned())
            .spawn(move || worker.run(&queue))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Edit<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection, blobs, effects| {
            let result = in_savepoint(connection, blobs, effects, work);
            Box::new(move |fate| {
                let answer = match fate {
                    Fate::Durable => result,
                    // Even a refusal: it may rest on a change that was lost.
                    Fate::Lost => Err(StoreError::NotDurable),
                };
                if sender.send(answer).is_err() {
                    tracing::debug!("a client left before its change was durable");
                }
            })
        });
        self.jobs
            .as_ref()
            .ok_or(StoreError::Closed)?
            .send(job)
            .map_err(|_| StoreError::Closed)?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the catalogue panicked");
        }
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    blobs: &Arc<BlobFiles>,
    effects: &mut Effects,
    work: impl FnOnce(&mut Edit<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if connection.is_autocommit() {
        // A failure such as a full disk ended the transaction, and a savepoint would begin another.
        return Err(StoreError::NotDurable);
    }
    execute(connection, "SAVEPOINT change")?;
    let mut edit = Edit::new(connection, blobs);
    match work(&mut edit) {
        Ok(value) => {
            let own = edit.into_effects();
            execute(connection, "RELEASE change")?;
            effects.absorb(own);
            Ok(value)
        }
        Err(error) => {
            execute(connection, "ROLLBACK TO change")?;
            execute(connection, "RELEASE change")?;
            Err(error)
        }
    }
}

fn execute(connection: &Connection, statement: &'static str) -> Result<(), StoreError> {
    let mut prepared = connection
        .prepare_cached(statement)
        .map_err(StoreError::catalogue(statement))?;
    prepared
        .execute([])
        .map(|_| ())
        .map_err(StoreError::catalogue(statement))
}

struct Worker {
    connection: Connection,
    blobs: Arc<BlobFiles>,
    graveyard: Arc<Graveyard>,
    feed: Arc<Feed>,
}

impl Worker {
    fn run(self, queue: &mpsc::Receiver<Job>) {
        while let Ok(first) = queue.recv() {
            let mut batch = vec![first];
            batch.extend(queue.try_iter().take(BATCH - 1));
            self.make(batch);
        }
    }

    fn make(&self, batch: Vec<Job>) {
        let mut effects = Effects::default();
        let mut replies = Vec::with_capacity(batch.len());
        let result = execute(&self.connection, "BEGIN IMMEDIATE").and_then(|()| {
            for job in batch {
                replies.push(job(&self.connection, &self.blobs, &mut effects));
            }
            self.commit(&effects)
        });
        let fate = match result {
            Ok(()) => Fate::Durable,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a transaction was lost"
                );
                self.roll_back();
                Fate::Lost
            }
        };
        self.settle(effects, fate);
        for reply in replies {
            reply(fate);
        }
    }

    /// The names of new files reach the disk before the rows that need them.
    fn commit(&self, effects: &Effects) -> Result<(), StoreError> {
        if effects.has_files() {
            let path = || {
                self.blobs
                    .path(0)
                    .parent()
                    .map(ToOwned::to_owned)
                    .unwrap_or_default()
            };
            self.blobs.sync().map_err(|source| StoreError::Blob {
                operation: "sync",
                path: path(),
                source,
            })?;
        }
        execute(&self.connection, "COMMIT")
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = execute(&self.connection, "ROLLBACK")
        {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot roll back");
        }
    }

    /// A lost transaction may have reached the disk all the same (the sync failed, not the write), so its files stay
    /// until the next start tells.
    fn settle(&self, effects: Effects, fate: Fate) {
        effects.new_blobs.into_iter().for_each(super::NewBlob::keep);
        if fate == Fate::Durable {
            self.graveyard.bury(
                effects
                    .dropped_blobs
                    .into_iter()
                    .map(|blob| self.blobs.path(blob))
                    .collect(),
            );
            self.feed.announce(effects.changes);
        }
    }
}

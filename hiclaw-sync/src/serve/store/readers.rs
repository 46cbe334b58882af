//! Connections for reading the catalogue.
//!
//! Owns the pool. Every look happens in one transaction on a thread that may block; writers are never waited for.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, Transaction};

use super::{StoreError, schema};

/// Connections kept when idle; more are opened when needed.
const KEPT: usize = 16;

pub(super) struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path: Arc::new(path),
            idle: Arc::new(Mutex::new(Vec::new())),
        }
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, idle) = (Arc::clone(&self.path), Arc::clone(&self.idle));
        let task = tokio::task::spawn_blocking(move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match taken {
                Some(connection) => connection,
                None => {
                    schema::open_reader(&path).map_err(StoreError::catalogue("open a reader"))?
                }
            };
            let transaction = connection
                .transaction()
                .map_err(StoreError::catalogue("begin to read"))?;
            let result = work(&transaction);
            transaction
                .finish()
                .map_err(StoreError::catalogue("end reading"))?;
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT {
                idle.push(connection);
            }
            result
        });
        // It fails only when the runtime is going down.
        task.await.map_err(|_| StoreError::Closed)?
    }
}

//! The embedded S3-compatible store: `hiclaw-sync serve`, the demo, tests and benchmarks.
//!
//! Owns a data directory and a listening socket. The protocol is the `s3s` crate's, the storage is our own: keys in byte
//! order, conditional writes that are atomic, nothing acknowledged before it is on disk. Never a store for many hosts:
//! one process, one directory, one pair of keys.
//!
//! ```text
//! http ─► s3s: signatures, XML ─► operations ─► read, write, listings, multipart, buckets ─► store
//!                                 └─ events: the stream of changes ◄───────────────────────────┘
//!                                                └─ receive: socket → disk   send: disk → socket
//! ```

mod buckets;
mod checksum;
mod clock;
mod condition;
mod details;
mod error;
mod events;
mod fields;
mod http;
mod integrity;
mod listings;
mod multipart;
mod operations;
mod read;
mod receive;
mod send;
mod store;
#[cfg(test)]
mod tests;
mod write;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use s3s::service::S3ServiceBuilder;
use sync_core::secret::Secret;
use tokio::net::TcpListener;

pub use self::store::OpenError;
use self::{
    error::StoreError,
    events::EventRoute,
    operations::{Keys, Operations},
    store::Store,
};

/// What a store serves, and to whom.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Directory that holds everything; created if absent.
    pub data: PathBuf,
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The access key clients must use.
    pub access_key: String,
    /// The secret key clients must sign with.
    pub secret_key: Secret,
    /// Buckets that are created unless they are there.
    pub buckets: Vec<String>,
}

/// Why a store can't be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The data directory can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A bucket has a name that the protocol does not allow.
    #[error(
        "{name:?} is no valid name of a bucket: use 3 to 63 lower-case letters, digits, `-` and `.`"
    )]
    BucketName {
        /// The name.
        name: String,
    },
    /// A bucket could not be created.
    #[error("cannot create bucket {name:?}")]
    Bucket {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no access key or no secret key.
    #[error("the store needs an access key and a secret key")]
    NoKeys,
}

/// A store that listens: connections are accepted by the system from now on, and answered once it runs.
pub struct Server {
    store: Arc<Store>,
    listener: TcpListener,
    address: SocketAddr,
    keys: Keys,
}

impl Server {
    /// Opens the data directory, creates missing buckets and listens.
    pub async fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        if options.access_key.is_empty() || options.secret_key.is_empty() {
            return Err(ServeError::NoKeys);
        }
        if let Some(name) = options
            .buckets
            .iter()
            .find(|name| !s3s::path::check_bucket_name(name))
        {
            return Err(ServeError::BucketName { name: name.clone() });
        }
        let data = options.data;
        let opened = tokio::task::spawn_blocking(move || Store::open(&data)).await;
        // It fails only when the runtime is going down.
        let store = opened.map_err(|source| ServeError::Listen {
            address: options.listen,
            source: source.into(),
        })??;
        for name in options.buckets {
            create_bucket(&store, name).await?;
        }
        let failed = |source| ServeError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let keys = Keys {
            access_key: options.access_key,
            secret_key: options.secret_key,
        };
        Ok(Self {
            store: Arc::new(store),
            listener,
            address,
            keys,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` is done; those under way then have five seconds to end.
    ///
    /// When it returns, everything acknowledged is on disk and the data directory is free. Dropping the future stops
    /// accepting at once and loses nothing acknowledged either.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let store = self.store;
        let mut builder = S3ServiceBuilder::new(Operations {
            store: store.clone(),
        });
        builder.set_auth(self.keys);
        builder.set_route(EventRoute {
            store: store.clone(),
        });
        // Streams of events never end by themselves, and must not hold the stop up; nor must they hold the store.
        let listened = Arc::downgrade(&store);
        drop(store);
        let shutdown = async move {
            shutdown.await;
            if let Some(store) = listened.upgrade() {
                store.feed().close();
            }
        };
        http::serve(self.listener, builder.build(), shutdown).await;
        Ok(())
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn create_bucket(store: &Store, name: String) -> Result<(), ServeError> {
    let wanted = name.clone();
    match store
        .write(move |edit| edit.create_bucket(&wanted, clock::now()))
        .await
    {
        Ok(()) | Err(StoreError::BucketExists { .. }) => Ok(()),
        Err(source) => Err(ServeError::Bucket {
            name,
            source: Box::new(source),
        }),
    }
}

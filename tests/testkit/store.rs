//! The stores that tests run against, each a real server process on loopback.

mod embedded;
mod garage;
mod minio;
mod seaweed;

use std::net::TcpListener;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::bucket::Bucket;
use crate::leash::Leash;
use crate::tools::{self, Tool};
use crate::wait::{PATIENCE, wait_for};

/// The access key of every store here, but for Garage, which has a form for them.
pub const ACCESS_KEY: &str = "testaccesskey";
/// The secret key of every store here. It looks like no other text, so that a test can search for it.
pub const SECRET_KEY: &str = "testSecret0123456789SECRET";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// `hiclaw-sync serve`.
    Embedded,
    /// MinIO.
    Minio,
    /// SeaweedFS.
    Seaweed,
    /// Garage, where it is installed: it can only be built from source, for ten minutes.
    Garage,
}

/// A running store.
pub struct Store {
    kind: StoreKind,
    endpoint: String,
    leash: Leash,
}

static EMBEDDED: OnceCell<Option<Store>> = OnceCell::const_new();
static MINIO: OnceCell<Option<Store>> = OnceCell::const_new();
static SEAWEED: OnceCell<Option<Store>> = OnceCell::const_new();
static GARAGE: OnceCell<Option<Store>> = OnceCell::const_new();
static BUCKETS: AtomicUsize = AtomicUsize::new(0);

impl Store {
    /// The store of this kind that all tests of this process share; each takes a bucket of its own. `None` where its
    /// tool is missing; the running test is recorded as skipped then, or as left out where the store is an extra.
    pub async fn shared(kind: StoreKind) -> Result<Option<&'static Self>> {
        let cell = match kind {
            StoreKind::Embedded => &EMBEDDED,
            StoreKind::Minio => &MINIO,
            StoreKind::Seaweed => &SEAWEED,
            StoreKind::Garage => &GARAGE,
        };
        if let Some(reason) = missing(kind) {
            match kind {
                StoreKind::Garage => tools::leave_out(&reason)?,
                StoreKind::Embedded | StoreKind::Minio | StoreKind::Seaweed => {
                    tools::skip(&reason)?;
                }
            }
            return Ok(None);
        }
        let store = cell
            .get_or_try_init(|| async { Self::start(kind).await.map(Some) })
            .await?;
        Ok(store.as_ref())
    }

    /// Starts a store of its own, ended by dropping it.
    pub async fn start(kind: StoreKind) -> Result<Self> {
        let store = match kind {
            StoreKind::Embedded => embedded::start(0).await?,
            StoreKind::Minio => minio::start()?,
            StoreKind::Seaweed => seaweed::start()?,
            StoreKind::Garage => garage::start()?,
        };
        store
            .wait_until_writable()
            .await
            .with_context(|| format!("{kind:?} printed:\n{}", store.log()))?;
        Ok(store)
    }

    /// Starts a store of its own that can be [restarted](Self::restart): its port stays the same.
    pub async fn start_restartable(kind: StoreKind) -> Result<Self> {
        match kind {
            StoreKind::Embedded => {
                let [port] = free_ports()?;
                embedded::start(port).await
            }
            StoreKind::Minio | StoreKind::Seaweed | StoreKind::Garage => Self::start(kind).await,
        }
    }

    /// Kills the server and starts it again on the same data; returns when it takes writes.
    pub async fn restart(&mut self) -> Result<()> {
        self.leash.restart()?;
        self.wait_until_writable().await
    }

    /// Ready means that a write is taken: SeaweedFS answers long before that.
    async fn wait_until_writable(&self) -> Result<()> {
        let probe = self.bucket_named("ready-probe");
        wait_for("the store to take a write", PATIENCE, async || {
            Ok(probe.create().await.is_ok() && probe.put("probe", "x").await.is_ok())
        })
        .await?;
        Ok(())
    }

    /// Which server it is.
    #[must_use]
    pub fn kind(&self) -> StoreKind {
        self.kind
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the server printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.leash.log()
    }

    /// A new, empty bucket with a name that no other test has.
    pub async fn create_bucket(&self) -> Result<Bucket> {
        let number = BUCKETS.fetch_add(1, Ordering::Relaxed);
        let bucket = self.bucket_named(&format!("test-{}-{number}", process::id()));
        bucket.create().await?;
        Ok(bucket)
    }

    /// A bucket of this name, which need not exist.
    #[must_use]
    pub fn bucket_named(&self, name: &str) -> Bucket {
        let (access_key, secret_key) = match self.kind {
            StoreKind::Embedded | StoreKind::Minio | StoreKind::Seaweed => (ACCESS_KEY, SECRET_KEY),
            StoreKind::Garage => (garage::ACCESS_KEY, garage::SECRET_KEY),
        };
        Bucket::new(&self.endpoint, name, access_key, secret_key)
    }
}

fn missing(kind: StoreKind) -> Option<String> {
    match kind {
        StoreKind::Embedded => None,
        StoreKind::Minio => Tool::Minio.path().err(),
        StoreKind::Seaweed => Tool::Seaweedfs.path().err(),
        StoreKind::Garage => Tool::Garage.path().err(),
    }
}

/// Ports that were free a moment ago, all different.
fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    // All are held until all are known, or the kernel could hand out one twice.
    let mut held = Vec::with_capacity(COUNT);
    for port in &mut ports {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

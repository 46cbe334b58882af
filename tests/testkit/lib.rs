//! What the black-box tests stand on: real stores as processes, stand-ins for what a worker talks to, harnesses for the
//! two programs, and ways to look at both replicas that share no code with the engine.
//!
//! Nothing here uses `sync-core` or the programs' libraries: a mistake in those must not hide in the tests' own eyes.
//! Every server listens on 127.0.0.1 with a port of its own, keeps its data in a temporary directory, and ends with the
//! test process, also when that is killed.

pub mod agent;
pub mod bucket;
pub mod cli;
pub mod container;
pub mod events;
pub mod fake_store;
pub mod http;
pub mod image;
mod leash;
pub mod matrix;
pub mod measure;
pub mod model;
pub mod observe;
pub mod openclaw;
pub mod process;
pub mod proxy;
pub mod runtime;
pub mod store;
pub mod stub;
pub mod tools;
pub mod tree;
pub mod wait;
pub mod worker;

pub use bucket::Bucket;
pub use cli::Cli;
pub use proxy::Proxy;
pub use store::{Store, StoreKind};
pub use wait::{PATIENCE, holds_for, wait_for, wait_until};
pub use worker::Worker;

/// Runs every named `async fn(&'static Store) -> anyhow::Result<()>` against each store, as tests of modules
/// `embedded`, `minio` and `seaweed`. Where the tool of a store is missing the test is recorded as skipped.
#[macro_export]
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        $crate::on_store!(embedded, Embedded, $($test),+);
        $crate::on_store!(minio, Minio, $($test),+);
        $crate::on_store!(seaweed, Seaweed, $($test),+);
    };
}

/// Runs every named `async fn(&'static Store) -> anyhow::Result<()>` against one store, as tests of module `$module`.
#[macro_export]
macro_rules! on_store {
    ($module:ident, $kind:ident, $($test:ident),+ $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() -> anyhow::Result<()> {
                    match $crate::Store::shared($crate::StoreKind::$kind).await? {
                        Some(store) => super::$test(store).await,
                        None => Ok(()),
                    }
                }
            )+
        }
    };
}

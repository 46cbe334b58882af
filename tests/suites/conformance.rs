//! One set of tests for every store: what the engine relies on, asked through the engine's own trait.
//!
//! A store that answers differently from [`Expected`] fails, also where it learned something: then the table and the
//! documentation are to be changed with it.

#[path = "conformance/errors.rs"]
mod errors;
#[path = "conformance/listing.rs"]
mod listing;
#[path = "conformance/objects.rs"]
mod objects;
#[path = "conformance/unconditional.rs"]
mod unconditional;
#[path = "conformance/writes.rs"]
mod writes;

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use sync_core::{
    digest::{ContentHash, ContentHasher, ETag},
    path::{ObjectKey, Prefix},
    secret::Secret,
    store::{
        Capabilities, ListedObject, ObjectStore, PutBody, PutMode, PutOptions, StoreError, Support,
        memory::MemoryStore,
        probe::probe,
        s3::{Keys, S3Config, S3Store},
    },
};
use testkit::{Bucket, Store, StoreKind};

/// A store under test, with an empty bucket.
struct Subject {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    /// Absent for the store in memory.
    bucket: Option<Bucket>,
}

/// Which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The one in memory.
    Memory,
    /// A server.
    Server(StoreKind),
}

/// What is known of each store.
struct Expected {
    capabilities: Capabilities,
    order: Order,
}

/// How a store orders its listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By the bytes of the keys.
    Bytes,
    /// As a tree: what is in `a/` comes right after `a`.
    Tree,
}

impl Subject {
    fn memory() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            kind: Kind::Memory,
            bucket: None,
        }
    }

    async fn server(store: &Store) -> Result<Self> {
        let bucket = store.create_bucket().await?;
        Ok(Self {
            store: Arc::new(connect(&bucket).await?),
            kind: Kind::Server(store.kind()),
            bucket: Some(bucket),
        })
    }

    fn expected(&self) -> Expected {
        let capabilities = |conditional_put, conditional_delete| Capabilities {
            conditional_put,
            conditional_delete,
        };
        let (capabilities, order) = match self.kind {
            Kind::Memory | Kind::Server(StoreKind::Embedded) => {
                (capabilities(Support::Yes, Support::Yes), Order::Bytes)
            }
            Kind::Server(StoreKind::Minio) => {
                (capabilities(Support::Yes, Support::No), Order::Bytes)
            }
            Kind::Server(StoreKind::Seaweed) => {
                (capabilities(Support::Yes, Support::Yes), Order::Tree)
            }
            Kind::Server(StoreKind::Garage) => {
                (capabilities(Support::No, Support::No), Order::Bytes)
            }
        };
        Expected {
            capabilities,
            order,
        }
    }

    fn writes_conditionally(&self) -> bool {
        self.expected().capabilities.conditional_put == Support::Yes
    }

    async fn put(&self, key: &str, content: &str, mode: PutMode) -> Result<ETag, StoreError> {
        put(&*self.store, key, content, mode).await
    }

    async fn overwrite(&self, key: &str, content: &str) -> Result<ETag> {
        Ok(self.put(key, content, PutMode::Overwrite).await?)
    }

    async fn text(&self, name: &str) -> Result<String> {
        let content = sync_core::store::read_whole(&*self.store, &key(name), None, 1 << 30).await?;
        Ok(String::from_utf8(
            content.with_context(|| format!("no object {name}"))?,
        )?)
    }

    /// All objects under a prefix, in the store's order.
    async fn list(&self, prefix: &str) -> Result<Vec<ListedObject>> {
        let (mut objects, mut token) = (Vec::new(), None);
        loop {
            let page = self.store.list(prefix, token.as_deref()).await?;
            objects.extend(page.objects);
            token = page.next;
            if token.is_none() {
                return Ok(objects);
            }
        }
    }
}

async fn connect(bucket: &Bucket) -> Result<S3Store> {
    let config = S3Config {
        endpoint: Some(bucket.endpoint().to_owned()),
        bucket: bucket.name().to_owned(),
        keys: Some(Keys {
            access_key: bucket.access_key().to_owned(),
            secret_key: Secret::new(bucket.secret_key()),
            session_token: None,
        }),
        ..S3Config::default()
    };
    Ok(S3Store::connect(&config).await?)
}

async fn put(
    store: &dyn ObjectStore,
    name: &str,
    content: &str,
    mode: PutMode,
) -> Result<ETag, StoreError> {
    let options = options(content.as_bytes(), mode);
    let body = PutBody::Bytes(Bytes::from(content.to_owned()));
    store.put(&key(name), body, options).await
}

fn options(content: &[u8], mode: PutMode) -> PutOptions {
    PutOptions {
        mode,
        digest: hash(content).digest,
        metadata: Vec::new(),
    }
}

fn hash(content: &[u8]) -> ContentHash {
    let mut hasher = ContentHasher::default();
    hasher.update(content);
    hasher.finish()
}

#[track_caller]
#[expect(clippy::unwrap_used, reason = "the keys of these tests are keys")]
fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Runs every named test against every store.
macro_rules! on_every_subject {
    ($($module:ident::$test:ident),+ $(,)?) => {
        mod memory {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() -> anyhow::Result<()> {
                    super::$module::$test(&super::Subject::memory()).await
                }
            )+
        }
        on_every_subject!(@server embedded, Embedded, $($module::$test),+);
        on_every_subject!(@server minio, Minio, $($module::$test),+);
        on_every_subject!(@server seaweed, Seaweed, $($module::$test),+);
        on_every_subject!(@server garage, Garage, $($module::$test),+);
    };
    (@server $store:ident, $kind:ident, $($module:ident::$test:ident),+) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() -> anyhow::Result<()> {
                    match testkit::Store::shared(testkit::StoreKind::$kind).await? {
                        Some(store) => {
                            super::$module::$test(&super::Subject::server(store).await?).await
                        }
                        None => Ok(()),
                    }
                }
            )+
        }
    };
}

on_every_subject!(
    listing::a_listing_of_2500_keys_comes_in_pages_and_is_complete,
    listing::keys_come_in_the_order_that_is_known_of_the_store,
    listing::a_prefix_is_a_beginning_of_keys_and_nothing_else,
    listing::odd_keys_are_listed_as_they_were_written,
    listing::a_file_beside_a_directory_of_its_name,
    listing::components_of_255_bytes_and_long_keys_are_taken,
    objects::an_object_is_seen_as_a_whole_or_not_at_all,
    objects::tags_of_single_parts_are_md5_sums,
    objects::an_empty_object_is_an_object,
    objects::metadata_comes_back,
    objects::a_read_of_one_version_gets_that_version_or_nothing,
    objects::what_is_absent_is_absent,
    objects::a_large_file_is_one_object,
    writes::the_probe_finds_what_is_known_of_the_store,
    writes::a_create_happens_where_nothing_is,
    writes::an_update_happens_over_the_version_it_names,
    writes::of_many_creates_one_wins,
    writes::of_many_updates_one_wins,
    writes::a_delete_with_a_condition_spares_other_versions,
    writes::a_body_that_is_not_what_was_announced_is_refused,
    errors::requests_are_counted,
    errors::a_missing_bucket_is_told_from_a_missing_object,
    errors::wrong_keys_are_told_from_a_refusal,
    unconditional::a_foreign_version_is_noticed_before_it_is_overwritten,
    unconditional::a_foreign_creation_is_noticed,
    unconditional::a_foreign_edit_is_not_deleted,
);

/// The probe's answer, and no trace of it.
async fn probed(subject: &Subject) -> Result<Capabilities> {
    let found = probe(&*subject.store, &Prefix::new("agents/a")?).await?;
    assert_eq!(subject.list("").await?, [], "the probe left a key");
    Ok(found)
}

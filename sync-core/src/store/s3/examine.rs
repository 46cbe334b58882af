//! Questions about the store itself: what time it has, whether it tells of changes.
//!
//! Asked by people who look for what is wrong; the engine never does.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;

use super::S3Store;
use crate::store::{ListPage, ObjectStore as _, StoreError, StoreErrorKind};

/// How often a store that sends events is to say that it is still there, and how long that is waited for.
const PING: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);

/// What a store makes of somebody who wants to hear of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notifications {
    /// It sends events.
    Sent,
    /// It takes the request and sends nothing.
    Awaited,
    /// It knows no such thing.
    None,
}

/// How a store answered a listing.
#[derive(Debug)]
pub struct Greeting {
    /// The first page of the prefix.
    pub page: Result<ListPage, StoreError>,
    /// The store's clock when it answered, to the second; also where it refused.
    pub clock: Option<SystemTime>,
}

impl S3Store {
    /// Lists one page and tells what time the store has.
    pub async fn greet(&self, prefix: &str) -> Greeting {
        let page = self.list_page(prefix, None).await;
        let clock = self.clock();
        Greeting { page, clock }
    }

    /// Whether the store sends events of a prefix to whoever listens. An error tells nothing of it.
    pub async fn notifies(&self, prefix: &str) -> Result<Notifications, StoreError> {
        let first = async {
            let mut words = self.listen_to(prefix, PING).await?;
            Ok::<_, StoreError>(words.next().await)
        };
        match tokio::time::timeout(LIMIT, first).await {
            Err(_) => Ok(Notifications::Awaited),
            Ok(Ok(Some(Ok(_)))) => Ok(Notifications::Sent),
            Ok(Err(error)) if error.kind.is_fatal() || error.kind == StoreErrorKind::Denied => {
                Err(error)
            }
            Ok(Err(_) | Ok(Some(Err(_)) | None)) => Ok(Notifications::None),
        }
    }
}

//! Reading objects whose answers may break off.
//!
//! The SDK repeats requests, but not answers that had begun; this does.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::{ObjectStore, StoreError, StoreErrorKind};
use crate::{backoff::Backoff, digest::ETag, path::ObjectKey};

/// How often an object is read, and the waits in between.
const ATTEMPTS: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A small object as a whole; `None` where there is none. With `if_match` only that version. An object of more than
/// `max_bytes` is an error.
pub async fn read_whole(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    if_match: Option<&ETag>,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let read = || read_once(store, key, if_match, max_bytes);
    match again_if_it_breaks_off(read, |error| error.kind).await {
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

async fn read_once(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    if_match: Option<&ETag>,
    max_bytes: u64,
) -> Result<Vec<u8>, StoreError> {
    let mut object = store.get(key, if_match).await?;
    let mut content = Vec::new();
    while let Some(piece) = object.body.next().await {
        content.extend_from_slice(&piece?);
        if content.len() as u64 > max_bytes {
            let message = format!("larger than the {max_bytes} bytes that such an object may have");
            return Err(StoreError::new(
                "GET",
                key.as_str(),
                StoreErrorKind::Other,
                message,
            ));
        }
    }
    Ok(content)
}

/// Repeats a read while its answer breaks off. `kind` tells what class an error is of; other classes end it.
pub(crate) async fn again_if_it_breaks_off<T, E, F>(
    read: impl Fn() -> F,
    kind: impl Fn(&E) -> StoreErrorKind,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(FIRST_WAIT, LAST_WAIT);
    for _ in 1..ATTEMPTS {
        match read().await {
            Err(error) if matches!(kind(&error), StoreErrorKind::Unavailable { .. }) => {
                tokio::time::sleep(backoff.next(fastrand::f64())).await;
            }
            other => return other,
        }
    }
    read().await
}

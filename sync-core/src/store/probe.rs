//! What a store really does with conditional requests, found by asking it once.
//!
//! Stores differ and some ignore the headers without a word, which would turn every guarded overwrite into a blind one.
//! Uses two keys of its own below the mount's `.hiclaw/` and removes them.

use bytes::Bytes;

use super::{
    Capabilities, ObjectStore, PutBody, PutMode, PutOptions, StoreError, StoreErrorKind, Support,
};
use crate::{
    digest::{ContentHasher, ETag},
    path::{ObjectKey, PathError, Prefix, RelPath},
};

/// Asks the store. An error, denied access too, tells nothing of what it does.
pub async fn probe(store: &dyn ObjectStore, prefix: &Prefix) -> Result<Capabilities, StoreError> {
    let nothing = Capabilities {
        conditional_put: Support::No,
        conditional_delete: Support::No,
    };
    let Ok((present, absent)) = keys(prefix) else {
        return Ok(nothing);
    };
    let found = ask(store, &present, &absent).await;
    for key in [&present, &absent] {
        match store.delete(key, None).await {
            Err(error) if error.kind.is_fatal() => return Err(error),
            // Left behind at worst: the keys are never mirrored.
            Err(error) => tracing::debug!(%error, "can't remove a key of the probe"),
            Ok(()) => {}
        }
    }
    found
}

/// Asks whether a key with a `\` stays what it is. A store that takes it for `/` would make another file of it.
pub(crate) async fn keeps_backslashes(
    store: &dyn ObjectStore,
    prefix: &Prefix,
) -> Result<Support, StoreError> {
    let name = format!(".hiclaw/probe-backslash-{:016x}", fastrand::u64(..));
    let key = |separator| RelPath::new(format!("{name}{separator}x"));
    let (Ok(sent), Ok(mangled)) = (key('\\'), key('/')) else {
        return Ok(Support::No);
    };
    let (sent, mangled) = (prefix.key(&sent), prefix.key(&mangled));
    let written = write(store, &sent, "1", PutMode::Overwrite).await?;
    let found = store.head(&mangled).await?;
    store.delete(&sent, None).await?;
    Ok(if written == Answer::Written && found.is_none() {
        Support::Yes
    } else {
        Support::No
    })
}

fn keys(prefix: &Prefix) -> Result<(ObjectKey, ObjectKey), PathError> {
    let key = |name: &str| RelPath::new(format!(".hiclaw/probe-{name}-{:016x}", fastrand::u64(..)));
    Ok((prefix.key(&key("present")?), prefix.key(&key("absent")?)))
}

async fn ask(
    store: &dyn ObjectStore,
    present: &ObjectKey,
    absent: &ObjectKey,
) -> Result<Capabilities, StoreError> {
    let wrong = ETag::new("00000000000000000000000000000000");
    let conditional_put = match write(store, present, "1", PutMode::Create).await? {
        // Refused though there is nothing: one release of MinIO does so, and no write would ever succeed.
        Answer::Refused => {
            write(store, present, "1", PutMode::Overwrite).await?;
            Support::No
        }
        Answer::Written => {
            let refused = [
                write(store, present, "2", PutMode::Create).await?,
                write(store, present, "2", PutMode::Update(wrong.clone())).await?,
                write(store, absent, "2", PutMode::Update(wrong.clone())).await?,
            ];
            if refused.iter().all(|answer| *answer == Answer::Refused) {
                Support::Yes
            } else {
                Support::No
            }
        }
    };
    let conditional_delete = match store.delete(present, Some(&wrong)).await {
        // A moment's trouble is not to be remembered for good.
        Err(error) if error.kind.is_transient() || error.kind.is_fatal() => return Err(error),
        // Refused, and for the right reason: the object is still there.
        Err(error)
            if error.kind == StoreErrorKind::Precondition
                && store.head(present).await?.is_some() =>
        {
            Support::Yes
        }
        Ok(()) | Err(_) => Support::No,
    };
    Ok(Capabilities {
        conditional_put,
        conditional_delete,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Written,
    Refused,
}

async fn write(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    text: &'static str,
    mode: PutMode,
) -> Result<Answer, StoreError> {
    let mut hasher = ContentHasher::default();
    hasher.update(text.as_bytes());
    let options = PutOptions {
        mode,
        digest: hasher.finish().digest,
        metadata: Vec::new(),
    };
    match store
        .put(
            key,
            PutBody::Bytes(Bytes::from_static(text.as_bytes())),
            options,
        )
        .await
    {
        Ok(_) => Ok(Answer::Written),
        // Some stores say that they don't implement a condition instead of ignoring it.
        Err(error)
            if matches!(
                error.kind,
                StoreErrorKind::Precondition | StoreErrorKind::Other
            ) =>
        {
            Ok(Answer::Refused)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_store_like_aws_supports_both_and_keeps_no_trace() {
        let store = MemoryStore::new();
        let found = probe(&store, &Prefix::new("agents/a").unwrap())
            .await
            .unwrap();
        assert_eq!(
            found,
            Capabilities {
                conditional_put: Support::Yes,
                conditional_delete: Support::Yes
            }
        );
        assert!(store.keys().is_empty());
    }
}

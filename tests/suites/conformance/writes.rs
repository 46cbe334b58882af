//! Preconditions of writes and deletes, and digests.

use anyhow::{Context, Result};
use bytes::Bytes;
use sync_core::{
    digest::ETag,
    store::{PutBody, PutMode, PutOptions, StoreErrorKind, Support},
};

use super::{Subject, hash, key, options, probed};

const WRITERS: usize = 16;

pub(crate) async fn the_probe_finds_what_is_known_of_the_store(subject: &Subject) -> Result<()> {
    assert_eq!(probed(subject).await?, subject.expected().capabilities);
    Ok(())
}

pub(crate) async fn a_create_happens_where_nothing_is(subject: &Subject) -> Result<()> {
    subject.put("x", "first", PutMode::Create).await?;
    let second = subject.put("x", "second", PutMode::Create).await;
    if subject.writes_conditionally() {
        let error = second.err().context("it was created twice")?;
        assert_eq!(error.kind, StoreErrorKind::Precondition, "{error}");
        assert_eq!(subject.text("x").await?, "first");
    } else {
        // Without a word: this is why there is a probe.
        second?;
        assert_eq!(subject.text("x").await?, "second");
    }
    subject.store.delete(&key("x"), None).await?;
    subject.put("x", "third", PutMode::Create).await?;
    assert_eq!(subject.text("x").await?, "third");
    Ok(())
}

pub(crate) async fn an_update_happens_over_the_version_it_names(subject: &Subject) -> Result<()> {
    let first = subject.overwrite("x", "first").await?;
    let second = subject
        .put("x", "second", PutMode::Update(first.clone()))
        .await?;
    let stale = subject
        .put("x", "stale", PutMode::Update(first.clone()))
        .await;
    let absent = subject.put("absent", "new", PutMode::Update(first)).await;
    if subject.writes_conditionally() {
        for refused in [stale, absent] {
            let error = refused.err().context("it was written")?;
            assert_eq!(error.kind, StoreErrorKind::Precondition, "{error}");
        }
        assert_eq!(subject.text("x").await?, "second");
        assert!(subject.store.head(&key("absent")).await?.is_none());
        subject.put("x", "third", PutMode::Update(second)).await?;
    } else {
        stale?;
        absent?;
        subject.overwrite("x", "third").await?;
    }
    assert_eq!(subject.text("x").await?, "third");
    subject.overwrite("x", "whatever was there").await?;
    assert_eq!(subject.text("x").await?, "whatever was there");
    Ok(())
}

/// Writes from many sides at once; gives the contents of those that were told that they had won.
async fn race(subject: &Subject, mode: &PutMode) -> Result<Vec<String>> {
    let contents: Vec<_> = (0..WRITERS)
        .map(|writer| format!("writer {writer}"))
        .collect();
    let writes = contents
        .iter()
        .map(|content| subject.put("x", content, mode.clone()));
    let results = futures_util::future::join_all(writes).await;
    let mut winners = Vec::new();
    for (content, result) in contents.iter().zip(results) {
        match result {
            Ok(_) => winners.push(content.clone()),
            Err(error) => assert_eq!(error.kind, StoreErrorKind::Precondition, "{error}"),
        }
    }
    assert!(winners.contains(&subject.text("x").await?), "{winners:?}");
    Ok(winners)
}

pub(crate) async fn of_many_creates_one_wins(subject: &Subject) -> Result<()> {
    let winners = race(subject, &PutMode::Create).await?;
    if subject.writes_conditionally() {
        assert_eq!(winners.len(), 1, "{winners:?}");
    }
    Ok(())
}

pub(crate) async fn of_many_updates_one_wins(subject: &Subject) -> Result<()> {
    let before = subject.overwrite("x", "before").await?;
    let winners = race(subject, &PutMode::Update(before)).await?;
    if subject.writes_conditionally() {
        assert_eq!(winners.len(), 1, "{winners:?}");
    }
    Ok(())
}

pub(crate) async fn a_delete_with_a_condition_spares_other_versions(
    subject: &Subject,
) -> Result<()> {
    let old = subject.overwrite("x", "old").await?;
    let new = subject.overwrite("x", "new").await?;
    let stale = subject.store.delete(&key("x"), Some(&old)).await;
    match subject.expected().capabilities.conditional_delete {
        Support::Yes => {
            let error = stale.err().context("another version was deleted")?;
            assert_eq!(error.kind, StoreErrorKind::Precondition, "{error}");
            assert_eq!(subject.text("x").await?, "new");
            subject.store.delete(&key("x"), Some(&new)).await?;
        }
        // Ignored: the engine never sends the condition there, but looks first.
        Support::No => stale?,
    }
    assert!(subject.store.head(&key("x")).await?.is_none());
    let absent = subject
        .store
        .delete(&key("x"), Some(&ETag::new(new.as_str())))
        .await;
    if let Err(error) = absent {
        let gone = [StoreErrorKind::NotFound, StoreErrorKind::Precondition];
        assert!(gone.contains(&error.kind), "{error}");
    }
    Ok(())
}

pub(crate) async fn a_body_that_is_not_what_was_announced_is_refused(
    subject: &Subject,
) -> Result<()> {
    subject.overwrite("x", "before").await?;
    for (name, mode) in [("x", PutMode::Overwrite), ("new", PutMode::Create)] {
        let options = PutOptions {
            digest: hash(b"announced").digest,
            ..options(b"", mode)
        };
        let body = PutBody::Bytes(Bytes::from_static(b"something else"));
        let refused = subject.store.put(&key(name), body, options).await;
        let error = refused.err().context("it was taken")?;
        assert_eq!(error.kind, StoreErrorKind::Rejected, "{error}");
    }
    assert_eq!(subject.text("x").await?, "before");
    assert!(subject.store.head(&key("new")).await?.is_none());
    Ok(())
}

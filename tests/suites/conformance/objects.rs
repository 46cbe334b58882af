//! Reading and writing objects.

use std::io::{Seek as _, Write as _};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sync_core::{
    digest::ETag,
    store::{PutBody, PutMode, PutOptions, StoreErrorKind},
};

use super::{Subject, hash, key, options};

/// The whole body, and how many bytes it was announced with.
async fn read(subject: &Subject, name: &str, if_match: Option<&ETag>) -> Result<(Vec<u8>, u64)> {
    let mut object = subject.store.get(&key(name), if_match).await?;
    let mut content = Vec::new();
    while let Some(piece) = object.body.next().await {
        content.extend_from_slice(&piece?);
    }
    Ok((content, object.info.size_bytes))
}

pub(crate) async fn an_object_is_seen_as_a_whole_or_not_at_all(subject: &Subject) -> Result<()> {
    // Of different sizes, so that a mixture shows.
    let versions = [vec![b'a'; 1 << 20], vec![b'b'; 2 << 20]].map(Bytes::from);
    let writer = async {
        for content in versions.iter().cycle().take(12).cloned() {
            let options = options(&content, PutMode::Overwrite);
            let body = PutBody::Bytes(content);
            subject.store.put(&key("torn?"), body, options).await?;
        }
        anyhow::Ok(())
    };
    let reader = async {
        let mut seen = 0;
        while seen < 12 {
            match subject.store.get(&key("torn?"), None).await {
                Err(error) if error.kind == StoreErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
                Ok(mut object) => {
                    let mut content = Vec::new();
                    let mut broken = false;
                    while let Some(piece) = object.body.next().await {
                        match piece {
                            Ok(piece) => content.extend_from_slice(&piece),
                            // Replaced while it was read: no version, and nobody takes it for one.
                            Err(_) => broken = true,
                        }
                    }
                    let whole = versions.iter().any(|version| **version == *content);
                    assert!(whole || broken, "{} bytes of no version", content.len());
                    if whole {
                        assert_eq!(object.info.etag.as_str(), hash(&content).md5_hex);
                        assert_eq!(object.info.size_bytes, content.len() as u64);
                    }
                    seen += 1;
                }
            }
        }
        Ok(())
    };
    let (written, seen) = tokio::join!(writer, reader);
    written?;
    seen
}

pub(crate) async fn tags_of_single_parts_are_md5_sums(subject: &Subject) -> Result<()> {
    for content in ["", "text", "again"] {
        let expected = hash(content.as_bytes()).md5_hex;
        let first = subject.overwrite("x", content).await?;
        assert_eq!(first.as_md5(), Some(&*expected));
        let info = subject.store.head(&key("x")).await?.context("no object")?;
        assert_eq!(info.etag, first);
        assert_eq!(info.size_bytes, content.len() as u64);
        // The same content has the same tag: an echo of our own write is recognised by it.
        assert_eq!(subject.overwrite("x", content).await?, first);
    }
    Ok(())
}

pub(crate) async fn an_empty_object_is_an_object(subject: &Subject) -> Result<()> {
    subject.overwrite("dir/empty", "").await?;
    assert_eq!(read(subject, "dir/empty", None).await?, (Vec::new(), 0));
    let listed = subject.list("dir/").await?;
    let listed: Vec<_> = listed
        .iter()
        .map(|object| (&*object.key, object.size_bytes))
        .collect();
    assert_eq!(listed, [("dir/empty", 0)]);
    Ok(())
}

pub(crate) async fn metadata_comes_back(subject: &Subject) -> Result<()> {
    let metadata: Vec<_> = [
        ("mode", "0755"),
        ("mtime", "1795247480.709971273"),
        (
            "sha256",
            "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806",
        ),
        ("with-dash", "a b=c+d/e%20\"f\";g"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let options = PutOptions {
        metadata: metadata.clone(),
        ..options(b"text", PutMode::Overwrite)
    };
    let body = PutBody::Bytes(Bytes::from_static(b"text"));
    subject.store.put(&key("x"), body, options).await?;
    let head = subject.store.head(&key("x")).await?.context("no object")?;
    let get = subject.store.get(&key("x"), None).await?.info;
    assert_eq!(head.metadata, metadata);
    assert_eq!(get.metadata, metadata);
    assert!(head.modified.is_some());
    // An overwrite takes the metadata with it.
    subject.overwrite("x", "text").await?;
    let head = subject.store.head(&key("x")).await?.context("no object")?;
    assert_eq!(head.metadata, []);
    Ok(())
}

pub(crate) async fn a_read_of_one_version_gets_that_version_or_nothing(
    subject: &Subject,
) -> Result<()> {
    let old = subject.overwrite("x", "old").await?;
    assert_eq!(read(subject, "x", Some(&old)).await?.0, b"old");
    let new = subject.overwrite("x", "new").await?;
    let refused = subject.store.get(&key("x"), Some(&old)).await;
    let refused = refused.err().context("it was read")?;
    assert_eq!(refused.kind, StoreErrorKind::Precondition, "{refused}");
    assert_eq!(read(subject, "x", Some(&new)).await?.0, b"new");
    Ok(())
}

pub(crate) async fn what_is_absent_is_absent(subject: &Subject) -> Result<()> {
    assert!(subject.store.head(&key("absent")).await?.is_none());
    let got = subject.store.get(&key("absent"), None).await;
    let error = got.err().context("it was read")?;
    assert_eq!(error.kind, StoreErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
    // A version of what is absent: gone is as good as changed.
    let tag = ETag::new("900150983cd24fb0d6963f7d28e17f72");
    let got = subject.store.get(&key("absent"), Some(&tag)).await;
    let error = got.err().context("it was read")?;
    let gone = [StoreErrorKind::NotFound, StoreErrorKind::Precondition];
    assert!(gone.contains(&error.kind), "{error}");
    subject.store.delete(&key("absent"), None).await?;
    Ok(())
}

pub(crate) async fn a_large_file_is_one_object(subject: &Subject) -> Result<()> {
    // More than goes in one request, and no multiple of anything.
    let mut content = vec![0_u8; (66 << 20) + 12345];
    for (number, block) in content.chunks_mut(4096).enumerate() {
        block.fill(u8::try_from(number % 251)?);
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(&content)?;
    file.rewind()?;
    let body = |file: &std::fs::File| {
        anyhow::Ok(PutBody::File {
            file: file.try_clone()?,
            size_bytes: content.len() as u64,
        })
    };
    let create = options(&content, PutMode::Create);
    let tag = subject
        .store
        .put(&key("large"), body(&file)?, create.clone())
        .await?;
    let info = subject
        .store
        .head(&key("large"))
        .await?
        .context("no object")?;
    assert_eq!((&info.etag, info.size_bytes), (&tag, content.len() as u64));
    let (found, _) = read(subject, "large", Some(&tag)).await?;
    assert!(found == content, "another content came back");
    if subject.writes_conditionally() {
        for mode in [PutMode::Create, PutMode::Update(ETag::new("other-2"))] {
            let options = options(&content, mode.clone());
            let again = subject
                .store
                .put(&key("large"), body(&file)?, options)
                .await;
            let error = again.err().with_context(|| format!("{mode:?} was done"))?;
            assert_eq!(error.kind, StoreErrorKind::Precondition, "{mode:?} {error}");
        }
        let update = options(&content, PutMode::Update(tag));
        subject
            .store
            .put(&key("large"), body(&file)?, update)
            .await?;
    }
    let wrong = PutOptions {
        digest: hash(b"other").digest,
        ..options(&content, PutMode::Overwrite)
    };
    let refused = subject
        .store
        .put(&key("refused"), body(&file)?, wrong)
        .await;
    let refused = refused.err().context("a wrong digest was taken")?;
    assert_eq!(refused.kind, StoreErrorKind::Rejected, "{refused}");
    assert!(subject.store.head(&key("refused")).await?.is_none());
    Ok(())
}

//! Listings: complete, in pages, in the known order, with ETags and sizes.

use std::collections::BTreeMap;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _};
use testkit::StoreKind;

use super::{Kind, Order, Subject, hash, key};

pub(crate) async fn a_listing_of_2500_keys_comes_in_pages_and_is_complete(
    subject: &Subject,
) -> Result<()> {
    let written: BTreeMap<_, _> = (0..2500)
        .map(|number| (format!("many/{number:04}"), format!("content {number}")))
        .collect();
    subject.overwrite("maniac", "not below the prefix").await?;
    futures_util::stream::iter(written.iter().map(Ok))
        .try_for_each_concurrent(32, |(key, content)| async move {
            subject.overwrite(key, content).await.map(drop)
        })
        .await?;

    let (mut pages, mut token) = (Vec::new(), None);
    loop {
        let page = subject.store.list("many/", token.as_deref()).await?;
        pages.push(page.objects);
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    let listed: Vec<_> = pages.into_iter().flatten().collect();
    for (object, (key, content)) in listed.iter().zip(&written) {
        assert_eq!(object.key, *key);
        assert_eq!(object.size_bytes, content.len() as u64);
        assert_eq!(object.etag.as_str(), hash(content.as_bytes()).md5_hex);
    }
    Ok(())
}

pub(crate) async fn keys_come_in_the_order_that_is_known_of_the_store(
    subject: &Subject,
) -> Result<()> {
    // Directories that no object is named after: see `a_file_beside_a_directory_of_its_name`.
    let mut keys = vec![
        "a b", "a!", "a-", "a-b", "a.b", "a/b", "a/b-c", "a/c/d", "a0", "ab", "b", "Z", "é", "😀",
    ];
    for key in &keys {
        subject.overwrite(key, "x").await?;
    }
    match subject.expected().order {
        Order::Bytes => keys.sort_unstable(),
        Order::Tree => keys.sort_by_key(|key| key.replace('/', "\0")),
    }
    let listed: Vec<_> = subject.list("").await?;
    let listed: Vec<_> = listed.iter().map(|object| &*object.key).collect();
    assert_eq!(listed, keys);
    Ok(())
}

pub(crate) async fn a_prefix_is_a_beginning_of_keys_and_nothing_else(
    subject: &Subject,
) -> Result<()> {
    for key in ["p/a", "p/aa", "p/ab/c", "p/b", "pp/a", "p-", "q"] {
        subject.overwrite(key, "x").await?;
    }
    for (prefix, expected) in [
        ("p/", vec!["p/a", "p/aa", "p/ab/c", "p/b"]),
        ("p/a", vec!["p/a", "p/aa", "p/ab/c"]),
        ("p/ab/", vec!["p/ab/c"]),
        ("none/", vec![]),
        ("p/a/", vec![]),
    ] {
        let mut listed: Vec<_> = subject
            .list(prefix)
            .await?
            .into_iter()
            .map(|object| object.key)
            .collect();
        listed.sort();
        assert_eq!(listed, expected, "{prefix}");
    }
    Ok(())
}

pub(crate) async fn odd_keys_are_listed_as_they_were_written(subject: &Subject) -> Result<()> {
    let mut keys = vec![
        "sp ace/x",
        "plus+x",
        "per%2Fcent",
        "100%",
        "hash#x",
        "query?x=1&y",
        "amp&lt;",
        "'\"`$(x)",
        "semi;colon:at@",
        "[brackets]{braces}",
        "tilde~",
        "star*",
        "equals=",
        "comma,",
        "trail.",
        "...",
        "-",
        "nfc-\u{e9}",
        "nfd-e\u{301}",
        "😀/🎉",
        "a\u{200b}b",
        "newline\nx",
        "tab\tx",
    ];
    match subject.kind {
        // Written as `/`, which is another key: the engine never meets it, since it lists what it wrote.
        Kind::Server(StoreKind::Seaweed) => {}
        Kind::Memory | Kind::Server(StoreKind::Embedded | StoreKind::Minio | StoreKind::Garage) => {
            keys.push("back\\slash");
        }
    }
    for name in &keys {
        subject.overwrite(name, name).await?;
    }
    let mut listed = Vec::new();
    for object in subject.list("").await? {
        assert_eq!(subject.text(&object.key).await?, object.key);
        assert!(subject.store.head(&key(&object.key)).await?.is_some());
        listed.push(object.key);
    }
    listed.sort();
    keys.sort_unstable();
    assert_eq!(listed, keys);
    for name in keys {
        subject.store.delete(&key(name), None).await?;
    }
    assert_eq!(subject.list("").await?, []);
    Ok(())
}

pub(crate) async fn components_of_255_bytes_and_long_keys_are_taken(
    subject: &Subject,
) -> Result<()> {
    let accented = format!("d/{}x", "é".repeat(127));
    let deep = [&*"c".repeat(255); 3].join("/");
    let keys = ["l".repeat(255), accented, deep];
    for name in &keys {
        subject.overwrite(name, "long").await?;
        assert_eq!(subject.text(name).await?, "long");
    }
    let mut listed: Vec<_> = futures_util::stream::iter(subject.list("").await?)
        .map(|object| object.key)
        .collect()
        .await;
    listed.sort();
    let mut expected = keys.to_vec();
    expected.sort();
    assert_eq!(listed, expected);
    Ok(())
}

/// A tree can't hold both, a bucket can. MinIO takes both and then hides the directory from every listing, so that a
/// listing that lacks what lies below an object proves nothing.
pub(crate) async fn a_file_beside_a_directory_of_its_name(subject: &Subject) -> Result<()> {
    subject.overwrite("x/below", "below").await?;
    subject.overwrite("x", "file").await?;
    assert_eq!(subject.text("x").await?, "file");
    assert_eq!(subject.text("x/below").await?, "below");
    let listed: Vec<_> = subject.list("").await?;
    let listed: Vec<_> = listed.iter().map(|object| &*object.key).collect();
    let below = subject.list("x/").await?.len();
    match subject.kind {
        Kind::Server(StoreKind::Minio) => {
            assert_eq!((listed.as_slice(), below), (&["x"][..], 0));
        }
        Kind::Memory
        | Kind::Server(StoreKind::Embedded | StoreKind::Seaweed | StoreKind::Garage) => {
            assert_eq!((listed.as_slice(), below), (&["x", "x/below"][..], 1));
        }
    }
    subject.store.delete(&key("x"), None).await?;
    assert_eq!(subject.list("").await?.len(), 1);
    Ok(())
}

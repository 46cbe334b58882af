//! The store without the protocol: atomicity, order, sharing of blobs, what survives a restart and what is swept.

mod listing;
mod uploads;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bytes::Bytes;
use s3s::dto::{ETag, ETagCondition};

use super::*;
use crate::serve::{
    checksum::{self, Checksums},
    condition::{ReadCondition, WriteCondition},
    details::{Details, Headers},
};

const BUCKET: &str = "bucket";
const MIB: usize = 1024 * 1024;

async fn open(directory: &Path) -> Arc<Store> {
    let store = Store::open(directory).unwrap();
    match store.write(|edit| edit.create_bucket(BUCKET, 1)).await {
        Ok(()) | Err(StoreError::BucketExists { .. }) => Arc::new(store),
        Err(error) => panic!("{error}"),
    }
}

fn inline(key: &str, body: &str) -> PutObject {
    PutObject {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        content: NewContent::Inline(Bytes::copy_from_slice(body.as_bytes())),
        size_bytes: body.len() as u64,
        etag: body.to_owned(),
        modified: 1,
        details: Details::default(),
        condition: WriteCondition::default(),
    }
}

fn file(store: &Store, size: usize) -> NewContent {
    let (blob, file) = store.blobs().create().unwrap();
    file.set_len(size as u64).unwrap();
    NewContent::File {
        blob,
        length_bytes: size as u64,
    }
}

fn in_file(store: &Store, key: &str) -> PutObject {
    PutObject {
        content: file(store, 100),
        size_bytes: 100,
        ..inline(key, "in a file")
    }
}

fn tagged(etag: &str) -> ETagCondition {
    ETagCondition::ETag(ETag::Strong(etag.to_owned()))
}

async fn get(store: &Store, key: &str) -> Option<(ObjectRow, Vec<Segment>)> {
    let key = key.to_owned();
    let look = store.read(move |connection| {
        let bucket = bucket_id(connection, BUCKET)?;
        let Some(row) = object(connection, bucket, &key)? else {
            return Ok(None);
        };
        let segments = segments(connection, row.content)?;
        Ok(Some((row, segments)))
    });
    look.await.unwrap()
}

async fn delete(store: &Store, key: &'static str) {
    store
        .write(move |edit| edit.delete_object(BUCKET, key, &WriteCondition::default()))
        .await
        .unwrap();
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("blobs")).unwrap().count()
}

/// Runs all writes at once; the numbers of those that were made.
async fn race(store: &Arc<Store>, puts: Vec<PutObject>) -> Vec<usize> {
    let tasks: Vec<_> = puts
        .into_iter()
        .map(|put| {
            let store = Arc::clone(store);
            tokio::spawn(async move { store.write(|edit| edit.put_object(put)).await })
        })
        .collect();
    let mut won = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(()) => won.push(number),
            Err(StoreError::PreconditionFailed) => {}
            Err(other) => panic!("{other}"),
        }
    }
    won
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_conditional_writes_of_a_key_exactly_one_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let create = |number: usize| {
        let condition = WriteCondition {
            if_none_match: Some(ETagCondition::Any),
            ..WriteCondition::default()
        };
        PutObject {
            condition,
            ..inline(
                &format!("key-{}", number % 10),
                &format!("made by {number}"),
            )
        }
    };
    let won = race(&store, (0..80).map(create).collect()).await;
    assert_eq!(
        won.iter()
            .map(|number| number % 10)
            .collect::<BTreeSet<_>>()
            .len(),
        10
    );
    assert_eq!(won.len(), 10);
    let mut updates = Vec::new();
    for number in 0..80 {
        let key = format!("key-{}", number % 10);
        let (row, _) = get(&store, &key).await.unwrap();
        let condition = WriteCondition {
            if_match: Some(tagged(&row.etag)),
            ..WriteCondition::default()
        };
        updates.push(PutObject {
            condition,
            content: file(&store, 10),
            ..inline(&key, &format!("update {number}"))
        });
    }
    let won = race(&store, updates).await;
    assert_eq!(won.len(), 10);
    for number in won {
        let (row, _) = get(&store, &format!("key-{}", number % 10)).await.unwrap();
        assert_eq!(row.etag, format!("update {number}"));
    }
    assert_eq!(
        files(directory.path()),
        10,
        "files of writes that were refused are gone"
    );
}

#[tokio::test]
async fn a_failed_change_leaves_nothing_and_does_not_touch_its_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let put = in_file(&store, "half");
    let failed: Result<(), _> = store
        .write(|edit| {
            edit.put_object(put)?;
            Err(StoreError::PreconditionFailed)
        })
        .await;
    assert!(matches!(failed, Err(StoreError::PreconditionFailed)));
    assert!(get(&store, "half").await.is_none());
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_restart_and_orphans_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store
        .write(|edit| edit.put_object(inline("small", "text")))
        .await
        .unwrap();
    let put = in_file(&store, "big");
    store.write(|edit| edit.put_object(put)).await.unwrap();
    begin(&store, "upload", "multi").await;
    add_part(&store, "upload", 1, 5 * MIB).await.unwrap();
    let orphan = store.blobs().path(0x7fff);
    let foreign = directory.path().join("blobs/README");
    std::fs::write(&orphan, "left by a kill").unwrap();
    std::fs::write(&foreign, "not ours").unwrap();
    drop(store);
    let store = open(directory.path()).await;
    assert!(!orphan.exists() && foreign.exists());
    assert_eq!(get(&store, "small").await.unwrap().0.etag, "text");
    let (_, segments) = get(&store, "big").await.unwrap();
    assert!(
        matches!(&segments[..], [Segment { source: SegmentSource::File(blob), .. }] if store.blobs().path(*blob).exists())
    );
    assert!(
        store.blobs().number() > 0x7fff,
        "numbers are never used twice"
    );
    complete(&store, "upload", vec![named(1)], WriteCondition::default())
        .await
        .unwrap();
    assert_eq!(
        get(&store, "multi").await.unwrap().0.size_bytes,
        5 * MIB as u64
    );
}

#[tokio::test]
async fn a_blob_lives_as_long_as_one_object_shares_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let put = in_file(&store, "source");
    store.write(|edit| edit.put_object(put)).await.unwrap();
    let copy = |source: &str, if_match: Option<ETagCondition>| CopyObject {
        source_bucket: BUCKET.to_owned(),
        source_key: source.to_owned(),
        source_condition: ReadCondition {
            if_match,
            ..ReadCondition::default()
        },
        bucket: BUCKET.to_owned(),
        key: "copy".to_owned(),
        condition: WriteCondition::default(),
        headers: Some(Headers {
            content_type: Some("text/new".to_owned()),
            ..Headers::default()
        }),
        modified: 9,
    };
    let (stale, fresh) = (
        copy("source", Some(tagged("other"))),
        copy("source", Some(tagged("in a file"))),
    );
    let refused = store.write(|edit| edit.copy_object(stale)).await;
    assert!(matches!(refused, Err(StoreError::PreconditionFailed)));
    let row = store.write(|edit| edit.copy_object(fresh)).await.unwrap();
    assert_eq!(
        row.details.headers.content_type.as_deref(),
        Some("text/new")
    );
    delete(&store, "source").await;
    assert_eq!(files(directory.path()), 1);
    let onto_itself = copy("copy", None);
    store
        .write(|edit| edit.copy_object(onto_itself))
        .await
        .unwrap();
    assert_eq!(files(directory.path()), 1);
    store
        .write(|edit| edit.put_object(inline("copy", "something else")))
        .await
        .unwrap();
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_second_server_is_told_which_directory_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let error = Store::open(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(
        error
            .to_string()
            .contains(directory.path().to_str().unwrap()),
        "{error}"
    );
    drop(store);
    drop(Store::open(directory.path()).unwrap());
}

#[tokio::test]
async fn a_directory_of_a_later_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await);
    let catalogue = rusqlite::Connection::open(directory.path().join("catalogue.db")).unwrap();
    catalogue.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(catalogue);
    assert!(matches!(
        Store::open(directory.path()),
        Err(OpenError::TooNew { found: 99, .. })
    ));
}

async fn begin(store: &Store, upload: &str, key: &str) {
    let row = UploadRow {
        id: upload.to_owned(),
        key: key.to_owned(),
        started: 1,
        headers: Headers::default(),
        algorithm: None,
        span: None,
    };
    let create = CreateUpload {
        bucket: BUCKET.to_owned(),
        row,
    };
    store
        .write(move |edit| edit.create_upload(&create))
        .await
        .unwrap();
}

fn part_etag(number: i32) -> String {
    checksum::etag([u8::try_from(number).unwrap(); 16])
}

async fn add_part(store: &Store, upload: &str, number: i32, size: usize) -> Result<(), StoreError> {
    let put = PutPart {
        bucket: BUCKET.to_owned(),
        key: "multi".to_owned(),
        upload: upload.to_owned(),
        number,
        content: file(store, size),
        size_bytes: size as u64,
        etag: part_etag(number),
        modified: 1,
        checksums: Checksums::default(),
    };
    store.write(|edit| edit.put_part(put)).await
}

fn named(number: i32) -> NamedPart {
    NamedPart {
        number,
        etag: Some(part_etag(number)),
        checksums: Checksums::default(),
    }
}

async fn complete(
    store: &Store,
    upload: &str,
    parts: Vec<NamedPart>,
    condition: WriteCondition,
) -> Result<ObjectRow, StoreError> {
    let complete = CompleteUpload {
        bucket: BUCKET.to_owned(),
        key: "multi".to_owned(),
        upload: upload.to_owned(),
        parts,
        expected: Checksums::default(),
        expected_bytes: None,
        condition,
        modified: 2,
    };
    store.write(|edit| edit.complete_upload(complete)).await
}

#[tokio::test]
async fn a_bucket_with_objects_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store
        .write(|edit| edit.put_object(inline("key", "text")))
        .await
        .unwrap();
    let result = store.write(|edit| edit.delete_bucket(BUCKET)).await;
    assert!(matches!(result, Err(StoreError::BucketNotEmpty { .. })));
    delete(&store, "key").await;
    store
        .write(|edit| edit.delete_bucket(BUCKET))
        .await
        .unwrap();
    let result = store
        .write(|edit| edit.put_object(inline("key", "text")))
        .await;
    assert!(matches!(result, Err(StoreError::NoSuchBucket { .. })));
}

#[tokio::test]
async fn a_file_that_is_being_read_outlives_its_object() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let put = in_file(&store, "key");
    store.write(|edit| edit.put_object(put)).await.unwrap();
    let visit = store.visit();
    assert!(get(&store, "key").await.is_some());
    delete(&store, "key").await;
    assert_eq!(files(directory.path()), 1);
    drop(visit);
    assert_eq!(files(directory.path()), 0);
}

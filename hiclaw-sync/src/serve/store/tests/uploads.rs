//! Multipart uploads, from their beginning to an object or to nothing.

use super::*;

#[tokio::test]
async fn an_upload_becomes_an_object_only_as_a_whole_and_without_copying() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    begin(&store, "upload", "multi").await;
    for (number, size) in [(1, 5 * MIB), (3, 6 * MIB), (4, 10), (5, 11)] {
        add_part(&store, "upload", number, size).await.unwrap();
    }
    add_part(&store, "upload", 4, 12).await.unwrap();
    assert_eq!(
        files(directory.path()),
        4,
        "a part that was sent again takes the place of the first"
    );
    let none = WriteCondition::default;
    let result = complete(&store, "upload", vec![named(3), named(1)], none()).await;
    assert!(matches!(result, Err(StoreError::InvalidPartOrder)));
    let result = complete(&store, "upload", vec![named(1), named(1)], none()).await;
    assert!(matches!(result, Err(StoreError::InvalidPartOrder)));
    let result = complete(&store, "upload", vec![named(2)], none()).await;
    assert!(matches!(result, Err(StoreError::InvalidPart { number: 2 })));
    let result = complete(
        &store,
        "upload",
        vec![NamedPart {
            number: 3,
            ..named(1)
        }],
        none(),
    )
    .await;
    assert!(matches!(result, Err(StoreError::InvalidPart { number: 3 })));
    let result = complete(&store, "upload", vec![named(1), named(4), named(5)], none()).await;
    assert!(matches!(
        result,
        Err(StoreError::PartTooSmall { number: 4 })
    ));
    let condition = WriteCondition {
        if_match: Some(tagged("x")),
        ..none()
    };
    let result = complete(&store, "upload", vec![named(1)], condition).await;
    assert!(matches!(result, Err(StoreError::NoSuchKey { .. })));
    assert!(get(&store, "multi").await.is_none());
    let chosen = vec![named(1), named(3), named(4)];
    let row = complete(&store, "upload", chosen, none()).await.unwrap();
    let etags = [part_etag(1), part_etag(3), part_etag(4)];
    assert_eq!(
        row.etag,
        checksum::etag_of_parts(etags.iter().map(String::as_str))
    );
    assert_eq!(row.size_bytes, 11 * MIB as u64 + 12);
    let (_, segments) = get(&store, "multi").await.unwrap();
    let lengths: Vec<_> = segments
        .iter()
        .map(|segment| segment.length_bytes)
        .collect();
    assert_eq!(lengths, [5 * MIB as u64, 6 * MIB as u64, 12]);
    assert_eq!(
        files(directory.path()),
        3,
        "the part that was not named is gone"
    );
    let again = complete(&store, "upload", vec![named(1)], none()).await;
    assert!(matches!(again, Err(StoreError::NoSuchUpload { .. })));
    delete(&store, "multi").await;
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    begin(&store, "first", "multi").await;
    begin(&store, "second", "multi").await;
    add_part(&store, "first", 1, 10).await.unwrap();
    add_part(&store, "second", 1, 10).await.unwrap();
    store
        .write(|edit| edit.abort_upload(BUCKET, "multi", "first"))
        .await
        .unwrap();
    assert_eq!(files(directory.path()), 1);
    assert!(matches!(
        add_part(&store, "first", 2, 10).await,
        Err(StoreError::NoSuchUpload { .. })
    ));
    store
        .write(|edit| edit.delete_bucket(BUCKET))
        .await
        .unwrap();
    assert_eq!(files(directory.path()), 0, "uploads go with their bucket");
}

//! Records as stores send them, and as nobody should.

use crate::{
    digest::ETag,
    events::{
        Hint,
        record::{Records, parse},
    },
};

/// A line as MinIO sends it.
pub(super) const MINIO: &str = r#"{"Records":[{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventTime":"2026-11-21T07:53:31.713Z","eventName":"s3:ObjectCreated:Copy","userIdentity":{"principalId":"key"},"requestParameters":{"principalId":"key","region":"","sourceIPAddress":"127.0.0.1"},"responseElements":{"content-length":"232","x-minio-origin-endpoint":"http://127.0.0.1:9000"},"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"bkt","ownerIdentity":{"principalId":"key"},"arn":"arn:aws:s3:::bkt"},"object":{"key":"agents/a/copy \u003c\u0026\u003eé %2F+","size":5,"eTag":"5d41402abc4b2a76b9719d911017c592","contentType":"binary/octet-stream","userMetadata":{"content-type":"binary/octet-stream"},"sequencer":"18EA0030F3BE3908"}},"source":{"host":"127.0.0.1","port":"","userAgent":"Boto3"}}]}"#;

fn events(found: &Records) -> Vec<(&str, &Hint)> {
    let pairs = found.events.iter();
    pairs.map(|(key, hint)| (key.as_str(), hint)).collect()
}

fn record(name: &str, object: &str) -> String {
    format!(r#"{{"eventName":"{name}","s3":{{"object":{object}}}}}"#)
}

#[test]
fn a_line_of_minio_is_read() {
    let found = parse(MINIO.as_bytes());
    let tag = Hint::Written(ETag::new("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(events(&found), [("agents/a/copy <&>é %2F+", &tag)]);
    assert!(!found.is_ping());
}

#[test]
fn lines_without_records_are_pings() {
    for line in [
        r#"{"Records":null}"#,
        r#"{"Records":[]}"#,
        "{}",
        r#" {"Records":null,"Err":null} "#,
    ] {
        assert!(parse(line.as_bytes()).is_ping(), "{line}");
    }
}

#[test]
fn every_kind_of_record_is_what_the_table_says() {
    let tag = || Hint::Written(ETag::new("t"));
    for (name, object, expected) in [
        (
            "s3:ObjectCreated:Put",
            r#"{"key":"k","eTag":"t"}"#,
            Some(tag()),
        ),
        (
            "s3:ObjectCreated:Put",
            r#"{"key":"k","eTag":"\"t\"","size":0}"#,
            Some(tag()),
        ),
        (
            "s3:ObjectCreated:PutTagging",
            r#"{"key":"k","eTag":"t"}"#,
            Some(tag()),
        ),
        // Without the scheme, as AWS writes it.
        (
            "ObjectCreated:Put",
            r#"{"key":"k","eTag":"t"}"#,
            Some(tag()),
        ),
        (
            "s3:ObjectCreated:Put",
            r#"{"key":"k"}"#,
            Some(Hint::Unknown),
        ),
        (
            "s3:ObjectCreated:Put",
            r#"{"key":"k","eTag":""}"#,
            Some(Hint::Unknown),
        ),
        (
            "s3:ObjectCreated:Put",
            r#"{"key":"k","eTag":7,"size":"big"}"#,
            Some(Hint::Unknown),
        ),
        (
            "s3:ObjectRemoved:Delete",
            r#"{"key":"k"}"#,
            Some(Hint::Removed),
        ),
        (
            "s3:ObjectRemoved:DeleteMarkerCreated",
            r#"{"key":"k","eTag":"t"}"#,
            Some(Hint::Removed),
        ),
        (
            "s3:ObjectRemoved:NoOP",
            r#"{"key":"k"}"#,
            Some(Hint::Removed),
        ),
        ("s3:ObjectAccessed:Get", r#"{"key":"k"}"#, None),
        ("s3:BucketCreated:*", "{}", None),
    ] {
        let line = format!(r#"{{"Records":[{}]}}"#, record(name, object));
        let found = parse(line.as_bytes());
        assert_eq!(found.malformed, 0, "{line}");
        let hints: Vec<_> = found.events.into_iter().collect();
        let expected: Vec<_> = expected
            .map(|hint| ("k".to_owned(), hint))
            .into_iter()
            .collect();
        assert_eq!(hints, expected, "{line}");
    }
}

#[test]
fn a_record_that_cannot_be_read_spoils_no_other() {
    let good = record("s3:ObjectRemoved:Delete", r#"{"key":"k"}"#);
    let bad = [
        "null",
        "7",
        "[]",
        "{}",
        r#"{"eventName":"s3:ObjectCreated:Put"}"#,
        r#"{"eventName":7,"s3":{"object":{"key":"k"}}}"#,
        r#"{"eventName":"s3:ObjectCreated:Put","s3":{"object":{"key":7}}}"#,
        r#"{"eventName":"s3:ObjectCreated:Put","s3":{"object":{"key":""}}}"#,
        r#"{"eventName":"s3:ObjectCreated:Put","s3":[{"object":{"key":"k"}}]}"#,
    ];
    for bad in bad {
        let line = format!(r#"{{"Records":[{good},{bad},{good}]}}"#);
        let found = parse(line.as_bytes());
        assert_eq!(found.malformed, 1, "{bad}");
        assert_eq!(
            events(&found),
            [("k", &Hint::Removed), ("k", &Hint::Removed)],
            "{bad}"
        );
    }
}

#[test]
fn lines_that_are_no_events_are_malformed_and_no_ping() {
    let deep = format!(r#"{{"Records":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for line in [
        "<?xml version=\"1.0\"?>",
        "data: {}",
        r#"{"Records":7}"#,
        r#"{"Records":[{}"#,
        "[]",
        "null",
        "\u{0}",
        r#"{"Records":[{"eventName":"s3:ObjectCreated:Put","s3":{"object":{"key":"\ud800"}}}]}"#,
        deep.as_str(),
    ] {
        let found = parse(line.as_bytes());
        assert_eq!((found.malformed, found.events.len()), (1, 0), "{line:.60}");
        assert!(!found.is_ping());
    }
    assert_eq!(parse(b"\xFF\xFE").malformed, 1);
}

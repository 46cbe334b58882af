//! What may be asked for, and what is sent. Streams over a socket are tried by the suites, with clients that sign.

use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;

use super::{super::store::Feed, *};

fn parse(text: &str) -> Result<Wanted, String> {
    let uri: Uri = text.parse().unwrap();
    assert!(Wanted::is_asked_for(&uri), "{text}");
    Wanted::parse(&uri).map_err(|error| error.code().as_str().to_owned())
}

fn written(key: &str, size_bytes: u64, how: Writing) -> Change {
    Change::Written {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
        etag: "5d41402abc4b2a76b9719d911017c592".to_owned(),
        size_bytes,
        how,
    }
}

fn removed(key: &str) -> Change {
    Change::Removed {
        bucket: "bucket".to_owned(),
        key: key.to_owned(),
    }
}

#[test]
fn only_a_bucket_with_names_of_events_is_asked_for_a_stream() {
    for (text, expected) in [
        ("/bucket?events=s3:ObjectCreated:*", true),
        ("/bucket/?prefix=a&events=", true),
        ("/?events=s3:ObjectCreated:*", true),
        ("/bucket?prefix=events", false),
        ("/bucket?eventsX=1", false),
        ("/bucket", false),
        ("/bucket/key?events=s3:ObjectCreated:*", false),
    ] {
        assert_eq!(
            Wanted::is_asked_for(&text.parse().unwrap()),
            expected,
            "{text}"
        );
    }
}

#[test]
fn parameters_are_taken_as_minio_takes_them() {
    let created = "events=s3%3AObjectCreated%3A%2A";
    for (text, expected) in [
        (format!("/b?{created}"), Ok(())),
        (
            "/b?events=s3:ObjectCreated:Put&events=s3:ObjectAccessed:*".to_owned(),
            Ok(()),
        ),
        (
            format!("/b?{created}&prefix=a%2Fb+c%2B&suffix=&ping=10"),
            Ok(()),
        ),
        (format!("/b?{created}&unknown=1"), Ok(())),
        ("/b?events=s3:Nonsense".to_owned(), Err("InvalidArgument")),
        ("/b?events=".to_owned(), Err("InvalidArgument")),
        (
            "/b?events=s3:ObjectCreated:*,s3:ObjectRemoved:*".to_owned(),
            Err("InvalidArgument"),
        ),
        (
            format!("/b?{created}&prefix=a&prefix=b"),
            Err("InvalidArgument"),
        ),
        (format!("/b?{created}&prefix=../x"), Err("InvalidArgument")),
        (format!("/b?{created}&suffix=%FF"), Err("InvalidArgument")),
        (
            format!("/b?{created}&prefix={}", "x".repeat(1025)),
            Err("InvalidArgument"),
        ),
        (format!("/b?{created}&ping=0"), Err("InvalidArgument")),
        (format!("/b?{created}&ping=-3"), Err("InvalidArgument")),
        (format!("/b?{created}&ping=soon"), Err("InvalidArgument")),
    ] {
        let found = parse(&text).map(drop);
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }
    assert_eq!(
        parse(&format!("/b?{created}&ping=7")).unwrap().ping,
        Some(Duration::from_secs(7))
    );
    assert_eq!(parse(&format!("/?{created}")).unwrap().bucket, None);
}

#[test]
fn what_is_wanted_is_told_and_nothing_else() {
    let both = "events=s3:ObjectCreated:*&events=s3:ObjectRemoved:*";
    let put = || written("agents/a/x +%.md", 5, Writing::Put);
    for (query, change, expected) in [
        (format!("/bucket?{both}&prefix=agents/a/"), put(), true),
        (
            format!("/bucket?{both}&prefix=agents/a/x%20%2B%25"),
            put(),
            true,
        ),
        (format!("/bucket?{both}&prefix=agents/b/"), put(), false),
        (format!("/bucket?{both}&suffix=.md"), put(), true),
        (format!("/bucket?{both}&suffix=.txt"), put(), false),
        (format!("/other?{both}"), put(), false),
        (format!("/?{both}"), put(), true),
        (
            "/bucket?events=s3:ObjectCreated:Copy".to_owned(),
            put(),
            false,
        ),
        (
            "/bucket?events=s3:ObjectCreated:Copy".to_owned(),
            written("k", 0, Writing::Copy),
            true,
        ),
        ("/bucket?events=s3:ObjectRemoved:*".to_owned(), put(), false),
        (
            "/bucket?events=s3:ObjectRemoved:Delete".to_owned(),
            removed("k"),
            true,
        ),
    ] {
        assert_eq!(
            parse(&query).unwrap().wants(&change),
            expected,
            "{query} {change:?}"
        );
    }
}

fn announced(change: Change) -> Announced {
    Announced {
        change,
        at: 1_790_000_000_123,
        sequence: 0x18EA_0030_F0E7_CB18,
    }
}

#[test]
fn a_line_has_the_form_of_minios() {
    let text = line(&announced(written("a/x +%\"\n😀.md", 5, Writing::Parts)));
    assert_eq!(
        text.matches('\n').count(),
        1,
        "a line break in a key is escaped"
    );
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let record = &value["Records"][0];
    assert_eq!(
        record["eventName"],
        "s3:ObjectCreated:CompleteMultipartUpload"
    );
    assert_eq!(record["eventTime"], "2026-09-21T14:13:20.123Z");
    assert_eq!(record["s3"]["bucket"]["name"], "bucket");
    let object = &record["s3"]["object"];
    assert_eq!(object["key"], "a/x +%\"\n😀.md", "taken as it is");
    assert_eq!(object["size"], 5);
    assert_eq!(object["eTag"], "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(object["sequencer"], "18EA0030F0E7CB18");
    let empty: serde_json::Value =
        serde_json::from_str(&line(&announced(written("k", 0, Writing::Put)))).unwrap();
    assert!(empty["Records"][0]["s3"]["object"].get("size").is_none());
    let gone: serde_json::Value = serde_json::from_str(&line(&announced(removed("k")))).unwrap();
    assert_eq!(gone["Records"][0]["eventName"], "s3:ObjectRemoved:Delete");
    assert!(gone["Records"][0]["s3"]["object"].get("eTag").is_none());
}

#[tokio::test(start_paused = true)]
async fn something_is_sent_every_interval_and_the_end_of_the_news_is_the_end() {
    let feed = Feed::default();
    let body = body(feed.subscribe(|_| true), (Duration::from_secs(5), PING));
    let started = tokio::time::Instant::now();
    let mut pieces = body.into_data_stream();
    for count in 1..=3 {
        assert_eq!(pieces.next().await.unwrap().unwrap(), PING);
        assert_eq!(started.elapsed(), Duration::from_secs(5) * count);
    }
    feed.close();
    assert!(pieces.next().await.is_none());
}

//! The server as its users see it, without signatures: content on its way in and out, refusals, starting and stopping.
//!
//! What needs a signing client is tried with boto3, rclone and s5cmd (`tests/clients`).

use std::{
    io::{self, Read, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use s3s::dto::StreamingBlob;

use super::{
    checksum::{Checksums, Expected},
    receive::{Incoming, Placement, Received, receive},
    store::{NewContent, Segment, SegmentSource},
    *,
};

fn options(data: &Path) -> ServeOptions {
    ServeOptions {
        data: data.to_owned(),
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        access_key: "access".to_owned(),
        secret_key: Secret::new("secret"),
        buckets: vec!["bucket".to_owned()],
    }
}

fn incoming(pieces: Vec<io::Result<Bytes>>, length: Option<i64>, md5: Option<&str>) -> Incoming {
    let expected =
        Expected::new(md5, Checksums::default(), None, &hyper::HeaderMap::new()).unwrap();
    Incoming {
        body: Some(StreamingBlob::wrap(stream::iter(pieces))),
        length,
        expected,
        trailers: None,
    }
}

fn files(data: &Path) -> usize {
    std::fs::read_dir(data.join("blobs")).unwrap().count()
}

async fn take(
    store: &Store,
    pieces: Vec<io::Result<Bytes>>,
    length: Option<i64>,
    md5: Option<&str>,
) -> s3s::S3Result<Received> {
    receive(
        store.blobs(),
        incoming(pieces, length, md5),
        Placement::Inline,
    )
    .await
}

#[tokio::test]
async fn content_that_is_not_what_was_said_about_it_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for size in [10, 300_000] {
        let piece = || Ok(Bytes::from(vec![b'x'; size]));
        let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
        let wrong_md5 = Some("AAAAAAAAAAAAAAAAAAAAAA==");
        let longer = i64::try_from(size + 1).unwrap();
        for (result, code) in [
            (
                take(&store, vec![piece(), broken()], None, None).await,
                "IncompleteBody",
            ),
            (
                take(&store, vec![piece()], Some(longer), None).await,
                "IncompleteBody",
            ),
            (
                take(&store, vec![piece()], None, wrong_md5).await,
                "BadDigest",
            ),
        ] {
            assert_eq!(result.err().unwrap().code().as_str(), code, "{size} bytes");
        }
        assert_eq!(files(directory.path()), 0, "{size} bytes");
        assert_eq!(
            take(&store, vec![piece()], None, None)
                .await
                .unwrap()
                .size_bytes,
            size as u64
        );
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let pieces = stream::iter(vec![Ok::<_, io::Error>(Bytes::from(vec![b'x'; 300_000]))])
        .chain(stream::pending());
    let mut request = incoming(Vec::new(), None, None);
    request.body = Some(StreamingBlob::wrap(pieces));
    let mut receiving = Box::pin(receive(store.blobs(), request, Placement::Inline));
    wait_until(async || {
        let polled = std::future::poll_fn(|context| Poll::Ready(receiving.as_mut().poll(context)));
        assert!(polled.await.is_pending());
        files(directory.path()) == 1
    })
    .await;
    drop(receiving);
    wait_until(async || files(directory.path()) == 0).await;
}

async fn wait_until(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "waited too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn any_stretch_of_a_content_of_many_segments_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let body: Vec<u8> = (0..1_500_000_u32)
        .map(|number| u8::try_from(number % 251).unwrap())
        .collect();
    let pieces = body
        .chunks(100_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let received = take(&store, pieces, None, None).await.unwrap();
    let NewContent::File { blob, .. } = &received.content else {
        panic!("too small for a file")
    };
    let segments = || {
        let file = |start: u64, length_bytes| Segment {
            source: SegmentSource::File(blob.id()),
            start,
            length_bytes,
        };
        let small = Segment {
            source: SegmentSource::Inline(Bytes::from_static(b"0123456789")),
            start: 2,
            length_bytes: 6,
        };
        vec![file(0, 1_000_000), small, file(1_000_000, 500_000)]
    };
    let whole = [&body[..1_000_000], b"234567", &body[1_000_000..]].concat();
    let end = whole.len();
    for (from, to) in [
        (0, end),
        (0, 1),
        (end - 1, end),
        (999_999, 1_000_007),
        (1_000_001, 1_000_003),
        (5, 5),
        (600_000, end),
    ] {
        let range = from as u64..to as u64;
        let content = send::content(store.blobs(), segments(), range, store.visit())
            .await
            .unwrap();
        let chunks: Vec<_> = content.map(|chunk| chunk.unwrap()).collect().await;
        assert!(chunks.concat() == whole[from..to], "{from}..{to}");
    }
}

/// Sends a request and returns the status line and the headers; the answer's body is read and dropped.
fn exchange(connection: &mut TcpStream, head: &str, body: &[u8]) -> io::Result<String> {
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    let length = answer
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let length: u64 = length.map_or(0, |length| length.parse().unwrap());
    io::copy(&mut Read::by_ref(connection).take(length), &mut io::sink())?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_gets_its_answer_and_the_connection_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::bind(options(directory.path())).await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { stopped.await.unwrap() }));
    let client = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        let body = vec![b'x'; 8 * 1024 * 1024];
        for _ in 0..3 {
            let head = format!(
                "PUT /bucket/key HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let answer = exchange(&mut connection, &head, &body).unwrap();
            assert!(answer.starts_with("http/1.1 403"), "{answer}");
        }
        let head = format!("GET /bucket HTTP/1.1\r\nhost: {address}\r\n\r\n");
        assert!(
            exchange(&mut connection, &head, b"")
                .unwrap()
                .starts_with("http/1.1 403")
        );
        connection
    });
    let connection = client.await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .expect("an idle connection holds nothing up")
        .unwrap()
        .unwrap();
    drop(connection);
    assert_eq!(files(directory.path()), 0);
}

#[tokio::test]
async fn a_stopped_server_gives_its_directory_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::bind(options(directory.path())).await.unwrap();
    assert!(matches!(
        Server::bind(options(directory.path())).await,
        Err(ServeError::Open(OpenError::InUse { .. }))
    ));
    server.run(std::future::ready(())).await.unwrap();
    Server::bind(options(directory.path())).await.unwrap();
}

#[tokio::test]
async fn bad_options_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let bad = ServeOptions {
        buckets: vec!["Bad_Name".to_owned()],
        ..options(directory.path())
    };
    let error = Server::bind(bad).await.unwrap_err();
    assert!(error.to_string().contains("Bad_Name"), "{error}");
    let bad = ServeOptions {
        secret_key: Secret::default(),
        ..options(directory.path())
    };
    assert!(matches!(Server::bind(bad).await, Err(ServeError::NoKeys)));
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let bad = ServeOptions {
        listen: taken.local_addr().unwrap(),
        ..options(directory.path())
    };
    assert!(matches!(
        Server::bind(bad).await,
        Err(ServeError::Listen { .. })
    ));
}

//! Both ends over real sockets, and raw clients that misbehave.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixListener as StdListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{Instant, sleep, timeout},
};

use super::{
    lines::{Line, LineReader},
    server::{MAX_CLIENTS, REQUEST_LIMIT_BYTES},
    *,
};

mod any_input;
mod place;

const LIMIT: Duration = Duration::from_secs(20);

/// Each operation stands for a way to behave.
#[derive(Default)]
struct Stub {
    /// Futures that are waiting for ever.
    waiting: Arc<AtomicUsize>,
}

/// Counts as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(counter.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Stub {
    fn handle(
        &self,
        request: Request,
        events: EventSink,
    ) -> BoxFuture<'static, Result<Value, ControlError>> {
        let waiting = self.waiting.clone();
        async move {
            match request.op {
                Op::Pull => {
                    for path in &request.paths {
                        events.send(json!({ "path": path })).await.unwrap();
                    }
                    Ok(json!({ "paths": request.paths, "direction": request.direction }))
                }
                Op::Push => Err(ControlError::Refused {
                    kind: "unreachable".to_owned(),
                    message: "the store is away".to_owned(),
                }),
                Op::Flush => {
                    let _counted = Counted::new(&waiting);
                    std::future::pending().await
                }
                Op::Subscribe => {
                    let _counted = Counted::new(&waiting);
                    events.send(json!("subscribed")).await.unwrap();
                    std::future::pending().await
                }
                Op::Sync => {
                    let _counted = Counted::new(&waiting);
                    while events.send(json!("x".repeat(1000))).await.is_ok() {}
                    Ok(Value::Null)
                }
                Op::Plan => panic!("a defect"),
                Op::Approve => {
                    sleep(Duration::from_millis(100)).await;
                    Ok(json!("approved"))
                }
                Op::Status | Op::Conflicts => Ok(json!("fine")),
            }
        }
        .boxed()
    }
}

struct Scene {
    directory: TempDir,
    server: ControlServer,
    waiting: Arc<AtomicUsize>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stub = Stub::default();
        let waiting = stub.waiting.clone();
        let server = ControlServer::bind(directory.path(), Arc::new(stub)).unwrap();
        Self {
            directory,
            server,
            waiting,
        }
    }

    async fn client(&self) -> ControlClient {
        let client = ControlClient::connect(self.directory.path()).await.unwrap();
        client.expect("the engine is there")
    }

    async fn raw(&self) -> Raw {
        Raw::new(UnixStream::connect(self.server.path()).await.unwrap())
    }

    async fn until_waiting(&self, count: usize) {
        let limit = Instant::now() + LIMIT;
        while self.waiting.load(Ordering::SeqCst) != count {
            assert!(Instant::now() < limit, "{count} never waited");
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A client that sends what it likes.
struct Raw {
    lines: LineReader<tokio::net::unix::OwnedReadHalf>,
    write: tokio::net::unix::OwnedWriteHalf,
}

impl Raw {
    fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            lines: LineReader::new(read, 1 << 20),
            write,
        }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn line(&mut self) -> Line {
        timeout(LIMIT, self.lines.next())
            .await
            .expect("an answer in time")
            .unwrap()
    }

    async fn reply(&mut self) -> Reply {
        match self.line().await {
            Line::Text(text) => serde_json::from_slice(&text).unwrap(),
            other @ (Line::TooLong | Line::End) => panic!("{other:?} is no reply"),
        }
    }

    async fn refusal(&mut self) -> (Option<u64>, String) {
        match self.reply().await {
            Reply {
                id,
                body: ReplyBody::Error(refusal),
            } => (id, refusal.kind),
            other => panic!("{other:?} is no error"),
        }
    }
}

#[tokio::test]
async fn a_call_gets_its_events_in_order_and_then_its_result() {
    let scene = Scene::new();
    let mut client = scene.client().await;
    let paths: Vec<String> = (0..200).map(|n| format!("file {n}")).collect();
    let mut events = Vec::new();
    let request = Request {
        paths: paths.clone(),
        ..Request::new(Op::Pull)
    };
    let result = client
        .call(request, |event| events.push(event))
        .await
        .unwrap();
    assert_eq!(result["paths"], json!(paths));
    let expected: Vec<Value> = paths.iter().map(|path| json!({ "path": path })).collect();
    assert_eq!(events, expected);
    let again = client.call(Request::new(Op::Status), |_| {}).await.unwrap();
    assert_eq!(again, json!("fine"));
}

#[tokio::test]
async fn a_refusal_keeps_its_kind_and_message() {
    let scene = Scene::new();
    let error = scene
        .client()
        .await
        .call(Request::new(Op::Push), |_| {})
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the store is away");
    assert!(matches!(error, ControlError::Refused { kind, .. } if kind == "unreachable"));
}

#[tokio::test]
async fn the_lines_are_those_of_the_reference() {
    let scene = Scene::new();
    let mut raw = scene.raw().await;
    raw.send("\n{\"id\":1,\"op\":\"pull\",\"paths\":[\"a\"],\"unknown\":{}}\n")
        .await;
    let lines = [raw.line().await, raw.line().await];
    let expected = [
        "{\"id\":1,\"event\":{\"path\":\"a\"}}",
        "{\"id\":1,\"result\":{\"paths\":[\"a\"],\"direction\":null}}",
    ];
    assert_eq!(
        lines,
        expected.map(|line| Line::Text(line.as_bytes().to_vec()))
    );
    raw.send("{\"id\":2,\"op\":\"push\"}\n").await;
    let expected =
        "{\"id\":2,\"error\":{\"kind\":\"unreachable\",\"message\":\"the store is away\"}}";
    assert_eq!(raw.line().await, Line::Text(expected.as_bytes().to_vec()));
}

#[tokio::test]
async fn garbage_gets_an_error_and_disturbs_neither_its_sender_nor_others() {
    let scene = Scene::new();
    let mut other = scene.client().await;
    let mut raw = scene.raw().await;
    for (line, id) in [
        ("nonsense\n", None),
        ("{}\n", None),
        ("[1,2]\n", None),
        ("{\"id\":7}\n", Some(7)),
        ("{\"id\":8,\"op\":\"explode\"}\n", Some(8)),
        ("{\"id\":9,\"op\":\"pull\",\"paths\":\"a\"}\n", Some(9)),
        ("{\"id\":-1,\"op\":\"pull\"}\n", None),
        ("{\"id\":\"x\",\"op\":\"pull\"}\n", None),
    ] {
        raw.send(line).await;
        assert_eq!(raw.refusal().await, (id, KIND_INVALID.to_owned()), "{line}");
    }
    raw.send(b"\xff\xfe\0\n").await;
    assert_eq!(raw.refusal().await, (None, KIND_INVALID.to_owned()));
    raw.send("[".repeat(10_000) + "\n").await;
    assert_eq!(raw.refusal().await, (None, KIND_INVALID.to_owned()));
    assert!(other.call(Request::new(Op::Status), |_| {}).await.is_ok());
    raw.send("{\"id\":3,\"op\":\"status\"}\n").await;
    assert_eq!(raw.reply().await.body, ReplyBody::Result(json!("fine")));
}

#[tokio::test]
async fn a_line_over_the_limit_gets_an_error_and_ends_the_connection() {
    let scene = Scene::new();
    let mut raw = scene.raw().await;
    let padding = REQUEST_LIMIT_BYTES - "{\"op\":\"status\",\"x\":\"\"}".len();
    raw.send(format!(
        "{{\"op\":\"status\",\"x\":\"{}\"}}\n",
        "x".repeat(padding)
    ))
    .await;
    assert_eq!(raw.reply().await.body, ReplyBody::Result(json!("fine")));
    raw.send(vec![b'x'; REQUEST_LIMIT_BYTES + 1]).await;
    assert_eq!(raw.refusal().await, (None, KIND_TOO_LONG.to_owned()));
    assert_eq!(raw.line().await, Line::End);
}

#[tokio::test]
async fn hanging_clients_keep_nobody_from_being_served() {
    let scene = Scene::new();
    let mut half = scene.raw().await;
    half.send("{\"op\":\"stat").await;
    let mut waits = scene.raw().await;
    waits.send("{\"op\":\"flush\"}\n").await;
    scene.until_waiting(1).await;
    assert!(
        scene
            .client()
            .await
            .call(Request::new(Op::Status), |_| {})
            .await
            .is_ok()
    );
    // Its own other requests are served as well.
    waits.send("{\"id\":2,\"op\":\"status\"}\n").await;
    assert_eq!(waits.reply().await.id, Some(2));
    half.send("us\"}\n").await;
    assert_eq!(half.reply().await.body, ReplyBody::Result(json!("fine")));
}

#[tokio::test]
async fn more_clients_than_allowed_are_told_so() {
    let scene = Scene::new();
    let mut clients = Vec::new();
    for _ in 0..MAX_CLIENTS {
        let mut client = scene.client().await;
        client.call(Request::new(Op::Status), |_| {}).await.unwrap();
        clients.push(client);
    }
    let error = scene
        .client()
        .await
        .call(Request::new(Op::Status), |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, ControlError::Refused { kind, .. } if kind == KIND_BUSY));
    clients.pop();
    let limit = Instant::now() + LIMIT;
    while scene
        .client()
        .await
        .call(Request::new(Op::Status), |_| {})
        .await
        .is_err()
    {
        assert!(Instant::now() < limit, "the place never got free");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_engine_that_goes_in_the_middle_of_a_call_is_an_error_with_words() {
    let scene = Scene::new();
    let mut client = scene.client().await;
    let call = tokio::spawn(async move { client.call(Request::new(Op::Flush), |_| {}).await });
    scene.until_waiting(1).await;
    drop(scene.server);
    let error = timeout(LIMIT, call).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, ControlError::Gone), "{error:?}");
    assert!(error.to_string().contains("went away"));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_or_not_understood_is_an_error() {
    for (answer, wanted) in [
        ("{\"id\":1,\"res", "Gone"),
        ("hello\n", "Answer"),
        ("{\"id\":1}\n", "Answer"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let listener =
            tokio::net::UnixListener::bind(directory.path().join("control.sock")).unwrap();
        let engine = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let client = async {
            let mut client = ControlClient::connect(directory.path())
                .await
                .unwrap()
                .unwrap();
            client
                .call(Request::new(Op::Status), |_| {})
                .await
                .unwrap_err()
        };
        let ((), error) = tokio::join!(engine, client);
        assert!(
            format!("{error:?}").starts_with(wanted),
            "{answer}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_defect_in_the_handler_ends_one_connection_only() {
    let scene = Scene::new();
    let error = scene
        .client()
        .await
        .call(Request::new(Op::Plan), |_| {})
        .await
        .unwrap_err();
    assert!(matches!(error, ControlError::Gone), "{error:?}");
    assert!(
        scene
            .client()
            .await
            .call(Request::new(Op::Status), |_| {})
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_client_that_has_said_everything_still_gets_its_answer() {
    let scene = Scene::new();
    let mut raw = scene.raw().await;
    raw.send("{\"id\":1,\"op\":\"approve\"}").await;
    raw.write.shutdown().await.unwrap();
    assert_eq!(raw.reply().await.body, ReplyBody::Result(json!("approved")));
    assert_eq!(raw.line().await, Line::End);
}

#[tokio::test]
async fn a_subscription_ends_with_its_client() {
    let scene = Scene::new();
    let mut raw = scene.raw().await;
    raw.send("{\"id\":1,\"op\":\"subscribe\"}\n").await;
    assert_eq!(
        raw.reply().await.body,
        ReplyBody::Event(json!("subscribed"))
    );
    scene.until_waiting(1).await;
    drop(raw);
    scene.until_waiting(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_nothing_is_let_go() {
    let scene = Scene::new();
    let (mut stream, start) = (
        UnixStream::connect(scene.server.path()).await.unwrap(),
        Instant::now(),
    );
    stream.write_all(b"{\"op\":").await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(start.elapsed() >= Duration::from_mins(5));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_let_go() {
    let scene = Scene::new();
    let mut raw = scene.raw().await;
    raw.send("{\"id\":1,\"op\":\"sync\"}\n").await;
    scene.until_waiting(1).await;
    // The clock is moved on only when nothing else can be done.
    sleep(Duration::from_mins(1)).await;
    assert_eq!(scene.waiting.load(Ordering::SeqCst), 0);
}

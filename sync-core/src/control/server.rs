//! The answering end.
//!
//! Each client has a task, and one more that writes to it. A client that sends garbage gets an error, one that hangs holds
//! nothing but its own two tasks, and one that stays silent or reads nothing is let go after a while.

use std::{io, path::Path, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ControlError, KIND_BUSY, KIND_TOO_LONG, Op, Refusal, Reply, ReplyBody, Request,
    lines::{Line, LineReader},
    parse,
    socket::{self, BindError, Claim},
};

/// Longest request.
pub(super) const REQUEST_LIMIT_BYTES: usize = 64 << 10;
/// Clients at a time.
pub(super) const MAX_CLIENTS: usize = 32;
/// Unanswered requests of one client; more are read when these are done.
const MAX_REQUESTS: usize = 16;
/// Lines that may wait for a client to read them.
const LINES_QUEUED: usize = 64;
/// A client that has asked nothing for so long is let go.
const IDLE_LIMIT: Duration = Duration::from_mins(5);
/// A client that reads nothing for so long is let go.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Wait after no connection could be accepted, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Does what is asked.
pub trait Handler: Send + Sync + 'static {
    /// The result of `request`. It may send events until then.
    ///
    /// The future is dropped when the server is; that of an [`Op::Subscribe`] also when the client ends its side.
    fn handle(
        &self,
        request: Request,
        events: EventSink,
    ) -> BoxFuture<'static, Result<Value, ControlError>>;
}

/// Where the events of one request go.
#[derive(Debug, Clone)]
pub struct EventSink {
    id: u64,
    lines: mpsc::Sender<Vec<u8>>,
}

/// The client has gone: nobody reads events any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub struct ClientGone;

impl EventSink {
    /// Sends an event. Waits while the client is slow.
    pub async fn send(&self, event: Value) -> Result<(), ClientGone> {
        let line = encode(&Reply {
            id: Some(self.id),
            body: ReplyBody::Event(event),
        });
        self.lines.send(line).await.map_err(|_| ClientGone)
    }
}

/// A listening control socket. Dropping it removes the socket and drops what is being handled.
#[derive(Debug)]
pub struct ControlServer {
    // Fields are dropped in this order: nobody finds a socket that nobody accepts from.
    claim: Claim,
    _accepting: AbortOnDropHandle<()>,
}

impl ControlServer {
    /// Listens in `state_directory`, which has to exist. Call it inside a tokio runtime.
    ///
    /// A socket that a dead engine left is replaced; one that answers makes this fail.
    pub fn bind(state_directory: &Path, handler: Arc<dyn Handler>) -> Result<Self, BindError> {
        Self::bind_with(state_directory, &socket::runtime_directories(), handler)
    }

    /// [`bind`](Self::bind), with the directories to try when the path in `state_directory` is too long for a socket.
    pub fn bind_with(
        state_directory: &Path,
        runtime_directories: &[std::path::PathBuf],
        handler: Arc<dyn Handler>,
    ) -> Result<Self, BindError> {
        let (listener, claim) = socket::bind(state_directory, runtime_directories)?;
        let accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener, handler)));
        Ok(Self {
            claim,
            _accepting: accepting,
        })
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.claim.path()
    }
}

async fn accept(listener: UnixListener, handler: Arc<dyn Handler>) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() >= MAX_CLIENTS => turn_away(&stream),
                Ok((stream, _)) => {
                    clients.spawn(serve(stream, handler.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a control connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = clients.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a control connection ended with a defect");
            },
        }
    }
}

fn turn_away(stream: &UnixStream) {
    let refusal = Refusal::new(KIND_BUSY, "too many clients are connected to the engine");
    let line = encode(&Reply {
        id: None,
        body: ReplyBody::Error(refusal),
    });
    // A new socket has room for one line; a client that is gone already needs no answer.
    if let Err(error) = stream.try_write(&line) {
        tracing::debug!(%error, "a control client could not be told that there are too many");
    }
}

/// Whether the client may still send requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Open,
    Ended,
}

async fn serve(stream: UnixStream, handler: Arc<dyn Handler>) {
    let (read, write) = stream.into_split();
    let (out, outbox) = mpsc::channel(LINES_QUEUED);
    let writer = AbortOnDropHandle::new(tokio::spawn(write_lines(write, outbox)));
    let mut lines = LineReader::new(read, REQUEST_LIMIT_BYTES);
    let mut requests = FuturesUnordered::new();
    let mut subscriptions = FuturesUnordered::new();
    let mut sending = Sending::Open;
    while sending == Sending::Open || !requests.is_empty() {
        let running = requests.len() + subscriptions.len();
        tokio::select! {
            line = lines.next(), if sending == Sending::Open && running < MAX_REQUESTS => {
                match take(line, &out).await {
                    Taken::Request(request) if request.op == Op::Subscribe => {
                        subscriptions.push(answer(request, handler.clone(), out.clone()));
                    }
                    Taken::Request(request) => {
                        requests.push(answer(request, handler.clone(), out.clone()));
                    }
                    Taken::Nothing => {}
                    Taken::End => sending = Sending::Ended,
                }
            }
            Some(()) = requests.next() => {}
            Some(()) = subscriptions.next() => {}
            () = out.closed() => return,
            () = sleep(IDLE_LIMIT), if running == 0 => return,
        }
    }
    // The rest of the answers goes out; the writer's own limit bounds that.
    drop((subscriptions, requests, out));
    if let Err(error) = writer.await {
        tracing::debug!(%error, "the writer of a control connection ended early");
    }
}

/// What came of a line.
enum Taken {
    Request(Request),
    Nothing,
    End,
}

async fn take(line: io::Result<Line>, out: &mpsc::Sender<Vec<u8>>) -> Taken {
    let (id, refusal, taken) = match line {
        Ok(Line::Text(text)) if text.trim_ascii().is_empty() => return Taken::Nothing,
        Ok(Line::Text(text)) => match parse(&text) {
            Ok(request) => return Taken::Request(request),
            Err((id, refusal)) => (id, refusal, Taken::Nothing),
        },
        Ok(Line::TooLong) => {
            let message = format!("a request has at most {REQUEST_LIMIT_BYTES} bytes");
            (None, Refusal::new(KIND_TOO_LONG, message), Taken::End)
        }
        Ok(Line::End) | Err(_) => return Taken::End,
    };
    let line = encode(&Reply {
        id,
        body: ReplyBody::Error(refusal),
    });
    match out.send(line).await {
        Ok(()) => taken,
        Err(_) => Taken::End,
    }
}

async fn answer(request: Request, handler: Arc<dyn Handler>, out: mpsc::Sender<Vec<u8>>) {
    let id = request.id;
    let events = EventSink {
        id,
        lines: out.clone(),
    };
    let body = match handler.handle(request, events).await {
        Ok(result) => ReplyBody::Result(result),
        Err(error) => ReplyBody::Error(error.into()),
    };
    let line = encode(&Reply { id: Some(id), body });
    if out.send(line).await.is_err() {
        tracing::debug!("a control client has gone before its answer");
    }
}

/// Writes until there is nothing more to write, or the client reads no more.
async fn write_lines(mut write: OwnedWriteHalf, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        match timeout(WRITE_LIMIT, write.write_all(&line)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "a control client has gone");
                return;
            }
            Err(_) => {
                tracing::warn!("a control client reads nothing; it is let go");
                return;
            }
        }
    }
}

fn encode(reply: &Reply) -> Vec<u8> {
    let mut line = serde_json::to_vec(reply).unwrap_or_else(|error| {
        // Documents of this module always serialise; keep the promise of one reply per request in any case.
        format!(
            r#"{{"id":null,"error":{{"kind":"failed","message":"unprintable answer: {error:?}"}}}}"#
        )
        .into_bytes()
    });
    line.push(b'\n');
    line
}

//! Connections: accepts them, hands requests to the protocol, ends them in order.
//!
//! Owns sockets and the rule that a request refused early is read to its end first: a client that is still sending would
//! otherwise see a broken connection in place of the answer. Knows nothing of objects.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use super::integrity;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response,
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use s3s::{Body, HttpError, service::S3Service};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::task::TaskTracker;

/// How long requests that are under way at a stop may still take.
const GRACE: Duration = Duration::from_secs(5);
/// How long, and how much, is read of a body whose request is refused.
const DRAIN: Duration = Duration::from_mins(1);
const DRAIN_BYTES: u64 = 1024 * 1024 * 1024;

/// Serves until `shutdown` is done, then lets requests that are under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    service: S3Service,
    shutdown: impl Future<Output = ()> + Send,
) {
    let (stop, stopping) = watch::channel(());
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, service.clone(), stopping.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors, most likely; some will be closed soon.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    drop(stop);
    connections.close();
    // None takes longer than its grace, and then nothing holds the store open.
    connections.wait().await;
}

async fn connection(stream: TcpStream, service: S3Service, mut stopping: watch::Receiver<()>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch off delays of small packets");
    }
    let answer = service_fn(move |request| answer(service.clone(), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The sender says nothing; it goes away when the server stops.
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::warn!("a request did not end in time"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    let (head, body) = request.into_parts();
    let shared = SharedBody(Arc::new(Mutex::new(body)));
    let response = match integrity::checked(&head, shared.clone()).await {
        Ok(body) => service.call(Request::from_parts(head, body)).await?,
        Err(refusal) => refusal
            .to_http_response()
            .map_err(|error| HttpError::new(error.into()))?,
    };
    let is_refused = response.status().is_client_error() || response.status().is_server_error();
    if is_refused
        && !shared.is_end_stream()
        && tokio::time::timeout(DRAIN, drain(shared)).await.is_err()
    {
        tracing::debug!("gave up reading the body of a refused request");
    }
    Ok(response)
}

async fn drain(mut body: SharedBody) {
    let mut read_bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read_bytes > DRAIN_BYTES {
            return;
        }
    }
}

/// A request body that can be read on after the protocol let go of it.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Incoming>>);

impl hyper::body::Body for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size_hint()
    }
}

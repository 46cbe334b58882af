//! What a proxy can do to a request instead of passing it on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::{Request, Response};

use super::{Body, BoxError, Shared};

/// Something that goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is passed on after a while.
    Delay(Duration),
    /// It is answered with this status and never reaches the store.
    Status(u16),
    /// The connection breaks before the store sees it.
    LoseRequest,
    /// The connection breaks when this many bytes of the body, at least, have reached the proxy; the store sees nothing.
    CutRequest(usize),
    /// The store carries it out, then the connection breaks without an answer.
    LoseAnswer,
    /// The connection breaks after this many bytes of the answer's body.
    TruncateAnswer(usize),
    /// It waits, and then is passed on, until [`super::Proxy::heal`].
    Hold,
}

/// Which requests a [`Fault`] befalls.
#[derive(Debug, Clone)]
pub struct Rule {
    method: &'static str,
    contains: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// Every request with this method (`""` for any) whose path and query, as sent, contain `text`.
    #[must_use]
    pub fn new(method: &'static str, text: &str, fault: Fault) -> Self {
        Self {
            method,
            contains: text.to_owned(),
            skip: 0,
            times: usize::MAX,
            fault,
        }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Not the first ones that match.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    pub(super) fn take(&mut self, method: &str, target: &str) -> Option<Fault> {
        let matches =
            (self.method.is_empty() || self.method == method) && target.contains(&self.contains);
        if !matches || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault)
    }
}

impl Fault {
    pub(super) async fn apply(
        self,
        shared: &Shared,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, BoxError> {
        match self {
            Self::Delay(time) => {
                tokio::time::sleep(time).await;
                shared.forward(request).await
            }
            Self::Status(status) => {
                // Read to the end: an answer before that looks like a broken connection to many clients.
                request.into_body().collect().await?;
                let body = Full::new(Bytes::from_static(b""))
                    .map_err(|never| match never {})
                    .boxed();
                Ok(Response::builder().status(status).body(body)?)
            }
            Self::LoseRequest => Err(broken()),
            Self::CutRequest(length) => {
                let mut body = request.into_body();
                let mut received = 0;
                while received < length
                    && let Some(frame) = body.frame().await
                {
                    received += frame?.data_ref().map_or(0, Bytes::len);
                }
                Err(broken())
            }
            Self::LoseAnswer => {
                shared.forward(request).await?.into_body().collect().await?;
                Err(broken())
            }
            Self::TruncateAnswer(length) => {
                let (parts, body) = shared.forward(request).await?.into_parts();
                let content = body.collect().await?.to_bytes();
                let head = content.slice(..length.min(content.len()));
                Ok(Response::from_parts(
                    parts,
                    Truncated {
                        head: Some(head),
                        flushed: false,
                    }
                    .boxed(),
                ))
            }
            Self::Hold => {
                shared.until_healed().await;
                shared.forward(request).await
            }
        }
    }
}

fn broken() -> BoxError {
    io::Error::new(io::ErrorKind::ConnectionReset, "broken by the test").into()
}

/// A body that fails after its beginning.
struct Truncated {
    head: Option<Bytes>,
    flushed: bool,
}

impl HttpBody for Truncated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        if !self.flushed {
            // One round in which the server sends what it has: an error at once would take the answer's head with it.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(broken())))
    }
}

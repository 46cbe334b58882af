//! A stand-in HTTP server: it writes down every request and answers as it was told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use serde_json::Value;

use crate::http::Serving;

/// A running stand-in; ends when dropped.
pub struct Stub {
    serving: Serving,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Received>>,
    answers: Mutex<HashMap<(String, String), Reply>>,
}

/// One request that a stand-in received.
#[derive(Debug, Clone)]
pub struct Received {
    /// The method, in capitals.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The value of the `Authorization` header; empty when there is none.
    pub authorization: String,
    /// The whole body.
    pub body: Bytes,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {:?}", self.body))
    }
}

/// What a stand-in answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// An answer with a JSON body.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/json",
            body: body.to_string().into(),
        }
    }

    /// An answer without a body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            content_type: "text/plain",
            body: Bytes::new(),
        }
    }
}

impl Stub {
    /// Starts a stand-in that answers 404 to everything it was not told about.
    pub async fn start() -> Result<Self> {
        Self::answering(|_| None).await
    }

    /// Starts a stand-in that first asks `answer`, then what it was told with [`Stub::on`].
    pub async fn answering(
        answer: impl Fn(&Received) -> Option<Reply> + Clone + Send + Sync + 'static,
    ) -> Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let serving = Serving::start(move |request| {
            let (state, answer) = (Arc::clone(&shared), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let authorization = parts
                    .headers
                    .get("authorization")
                    .and_then(|value| value.to_str().ok());
                let received = Received {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    authorization: authorization.unwrap_or_default().to_owned(),
                    body: body
                        .collect()
                        .await
                        .map(http_body_util::Collected::to_bytes)
                        .unwrap_or_default(),
                };
                let reply = answer(&received).unwrap_or_else(|| state.answer_to(&received));
                lock(&state.requests).push(received);
                let mut response = Response::new(Full::new(reply.body));
                *response.status_mut() =
                    hyper::StatusCode::from_u16(reply.status).unwrap_or_default();
                response.headers_mut().insert(
                    "content-type",
                    hyper::header::HeaderValue::from_static(reply.content_type),
                );
                response
            }
        })
        .await?;
        Ok(Self { serving, state })
    }

    /// Answers `method` on `path` with `reply` from now on.
    pub fn on(&self, method: &str, path: &str, reply: Reply) {
        lock(&self.state.answers).insert((method.to_owned(), path.to_owned()), reply);
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.serving.url()
    }

    /// Everything received so far on `path`.
    #[must_use]
    pub fn received(&self, path: &str) -> Vec<Received> {
        lock(&self.state.requests)
            .iter()
            .filter(|request| request.path == path)
            .cloned()
            .collect()
    }
}

impl State {
    fn answer_to(&self, received: &Received) -> Reply {
        let key = (received.method.clone(), received.path.clone());
        lock(&self.answers)
            .get(&key)
            .cloned()
            .unwrap_or_else(|| Reply::empty(404))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

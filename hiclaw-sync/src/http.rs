//! A small HTTP client for the controller, the homeserver, probes and reload actions.
//!
//! Owns one connection pool and the time limit of every request. Never follows redirects, never retries, and never puts a
//! header or a body into an error.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, header};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;
use sync_core::secret::Secret;

/// Longer answers are none that we asked for.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A request failed before there was a whole answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The request can't be sent as it is.
    #[error("{method} {url} is no valid request")]
    Invalid {
        /// The method.
        method: String,
        /// The URL, without credentials and query.
        url: String,
        /// The cause.
        #[source]
        source: hyper::http::Error,
    },
    /// There was no answer.
    #[error("{method} {url} got no answer")]
    NoAnswer {
        /// The method.
        method: String,
        /// The URL, without credentials and query.
        url: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{method} {url} took longer than {limit:?}")]
    TimedOut {
        /// The method.
        method: String,
        /// The URL, without credentials and query.
        url: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The certificates to trust can't be loaded.
    #[error("can't load the system's certificates")]
    Certificates(#[source] std::io::Error),
}

/// A request.
#[derive(Debug)]
pub struct Request {
    method: String,
    url: String,
    bearer: Option<Secret>,
    /// The body, which may hold secrets.
    json: Option<Secret>,
}

impl Request {
    /// A GET.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A POST with an empty body.
    #[must_use]
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Any method, with an empty body.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            bearer: None,
            json: None,
        }
    }

    /// With `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(mut self, token: Secret) -> Self {
        self.bearer = Some(token);
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.json = Some(Secret::new(body.to_string()));
        self
    }

    fn build(&self) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
        let method = Method::from_bytes(self.method.as_bytes())?;
        let mut builder = hyper::Request::builder().method(method).uri(&self.url);
        if let Some(token) = &self.bearer {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        if self.json.is_some() {
            builder = builder.header(header::CONTENT_TYPE, "application/json");
        }
        let body = self
            .json
            .as_ref()
            .map(|body| Bytes::copy_from_slice(body.expose().as_bytes()))
            .unwrap_or_default();
        builder.body(Full::new(body))
    }

    /// The URL as errors may say it.
    fn shown_url(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        match url.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                let host = authority
                    .rsplit_once('@')
                    .map_or(authority, |(_, host)| host);
                format!("{scheme}://{host}{path}")
            }
            None => url.to_owned(),
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// The client. Clones share connections.
#[derive(Debug, Clone, Default)]
pub struct HttpClient(Arc<Connections>);

type Plain = Client<HttpConnector, Full<Bytes>>;
type Tls = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The pools, made when they are first needed: reading the system's certificates takes a while, and images that talk plain
/// HTTP only may have none.
#[derive(Debug, Default)]
struct Connections {
    plain: OnceLock<Plain>,
    tls: OnceLock<Tls>,
}

impl Connections {
    fn plain(&self) -> &Plain {
        self.plain
            .get_or_init(|| pool().build(HttpConnector::new()))
    }

    fn tls(&self) -> Result<&Tls, ClientError> {
        if let Some(client) = self.tls.get() {
            return Ok(client);
        }
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(ClientError::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(self.tls.get_or_init(|| pool().build(connector)))
    }
}

fn pool() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_timer(TokioTimer::new());
    builder
}

impl HttpClient {
    /// Sends a request and waits for the whole answer.
    pub async fn send(&self, request: Request, limit: Duration) -> Result<Answer, ClientError> {
        let (method, url) = (request.method.clone(), request.shown_url());
        let built = match request.build() {
            Ok(built) => built,
            Err(source) => {
                return Err(ClientError::Invalid {
                    method,
                    url,
                    source,
                });
            }
        };
        let tls = if built.uri().scheme_str() == Some("https") {
            Some(self.0.tls()?)
        } else {
            None
        };
        match tokio::time::timeout(limit, self.exchange(tls, built)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(ClientError::NoAnswer {
                method,
                url,
                source,
            }),
            Err(_) => Err(ClientError::TimedOut { method, url, limit }),
        }
    }

    async fn exchange(
        &self,
        tls: Option<&Tls>,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let answer = match tls {
            Some(client) => client.request(request).await?,
            None => self.0.plain().request(request).await?,
        };
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY_BYTES)
            .collect()
            .await?
            .to_bytes();
        Ok(Answer { status, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_show_neither_credentials_nor_queries() {
        for (url, shown) in [
            (
                "http://user:pass@host:1/path?token=x#y",
                "http://host:1/path",
            ),
            ("https://host", "https://host"),
            ("http://host/a@b", "http://host/a@b"),
            ("nonsense?x", "nonsense"),
        ] {
            assert_eq!(Request::get(url).shown_url(), shown);
        }
        let request = Request::post("http://h/")
            .bearer(Secret::new("tok"))
            .json(&serde_json::json!({"password": "pw"}));
        let shown = format!("{request:?}");
        assert!(!shown.contains("tok") && !shown.contains("pw"), "{shown}");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = HttpClient::default();
        let error = client
            .send(Request::get(&url), Duration::from_millis(100))
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
        drop(listener);
        let error = client
            .send(Request::get(&url), Duration::from_secs(10))
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::NoAnswer { .. }), "{error}");
    }
}

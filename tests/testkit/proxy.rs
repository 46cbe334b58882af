//! A proxy in front of a store: it writes down every request and breaks what a test wants broken.
//!
//! Requests go on unchanged, `Host` header included, so signatures stay valid. Bodies stream through in both directions.

mod fault;
mod mute;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use fault::{Fault, Rule};

use crate::wait::{PATIENCE, wait_until};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = BoxBody<Bytes, BoxError>;

/// A running proxy; ends, with its connections, when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Open,
    Cut,
    /// Connections stay, and nothing passes.
    Mute,
}

struct Shared {
    upstream: Uri,
    client: Client<HttpConnector, Incoming>,
    seen: Mutex<Vec<Seen>>,
    rules: Mutex<Vec<Rule>>,
    heals: watch::Sender<u64>,
    line: watch::Sender<Line>,
}

/// One request that reached the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The method, in capitals.
    pub method: String,
    /// The path as sent, percent-encoded: `/BUCKET/KEY`.
    pub path: String,
    /// The query as sent; empty when there is none.
    pub query: String,
    /// Length of the body as announced.
    pub body_bytes: u64,
    /// The status that was answered; `None` while there is no answer.
    pub status: Option<u16>,
}

/// What a request is to an S3 store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A page of a listing.
    List,
    /// An object read.
    Get,
    /// An object write, or any step of a multipart upload.
    Put,
    /// A metadata read.
    Head,
    /// A delete of one or more objects.
    Delete,
    /// Anything else: bucket operations, the listen stream.
    Other,
}

/// How many requests of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pages of listings.
    pub list: usize,
    /// Object reads.
    pub get: usize,
    /// Object writes and steps of multipart uploads.
    pub put: usize,
    /// Metadata reads.
    pub head: usize,
    /// Deletes.
    pub delete: usize,
    /// Anything else.
    pub other: usize,
}

impl Seen {
    /// What it is to a store.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.is_stream() {
            return Kind::Other;
        }
        let names = |name: &str| {
            self.query
                .split('&')
                .any(|pair| pair.split('=').next() == Some(name))
        };
        let is_object = self.path.trim_matches('/').contains('/');
        match self.method.as_str() {
            "GET" if names("list-type") => Kind::List,
            "GET" if is_object => Kind::Get,
            "POST" if names("delete") => Kind::Delete,
            "PUT" | "POST" if is_object => Kind::Put,
            "HEAD" if is_object => Kind::Head,
            "DELETE" if is_object => Kind::Delete,
            _ => Kind::Other,
        }
    }
}

impl Seen {
    /// True for a request for a stream of events.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        names_events(&self.query)
    }
}

fn names_events(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair.split('=').next() == Some("events"))
}

impl Proxy {
    /// Starts a proxy in front of `upstream`, such as `http://127.0.0.1:9000`.
    pub async fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.parse().context("upstream of the proxy")?,
            client: Client::builder(TokioExecutor::new()).build_http(),
            seen: Mutex::default(),
            rules: Mutex::default(),
            heals: watch::Sender::new(0),
            line: watch::Sender::new(Line::Open),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything seen since the start or the last [`Proxy::clear`], in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// [`Proxy::requests`], counted by kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for seen in lock(&self.shared.seen).iter() {
            let count = match seen.kind() {
                Kind::List => &mut counts.list,
                Kind::Get => &mut counts.get,
                Kind::Put => &mut counts.put,
                Kind::Head => &mut counts.head,
                Kind::Delete => &mut counts.delete,
                Kind::Other => &mut counts.other,
            };
            *count += 1;
        }
        counts
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        lock(&self.shared.seen).clear();
    }

    /// Breaks every connection, and every new one as soon as it is made, until [`Proxy::restore`].
    pub fn cut(&self) {
        self.shared.line.send_replace(Line::Cut);
    }

    /// Holds back every byte in both directions, on connections that are there and on new ones, until
    /// [`Proxy::restore`]: what a connection looks like whose other end is gone without a word.
    pub fn mute(&self) {
        self.shared.line.send_replace(Line::Mute);
    }

    /// Ends a [`Proxy::cut`] or a [`Proxy::mute`].
    pub fn restore(&self) {
        self.shared.line.send_replace(Line::Open);
    }

    /// Waits until nothing was requested for `span`.
    pub async fn until_quiet(&self, span: Duration) -> Result<()> {
        let (mut seen, mut since) = (self.requests().len(), Instant::now());
        wait_until("a quiet client", 2 * PATIENCE, || {
            let now = self.requests().len();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            since.elapsed() >= span
        })
        .await?;
        Ok(())
    }

    /// How many streams of events were asked for and granted since the start or the last [`Proxy::clear`].
    #[must_use]
    pub fn streams(&self) -> usize {
        let seen = lock(&self.shared.seen);
        let granted = |seen: &&Seen| seen.is_stream() && seen.status == Some(200);
        seen.iter().filter(granted).count()
    }

    /// Adds a rule; of several that match a request the oldest is used.
    pub fn add(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Removes all rules and lets go the requests that [`Fault::Hold`] holds.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
        self.shared.heals.send_modify(|heals| *heals += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.line.send_replace(Line::Cut);
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(serve(socket, Arc::clone(&shared)));
    }
}

async fn serve(socket: TcpStream, shared: Arc<Shared>) {
    let mut line = shared.line.subscribe();
    let service = service_fn(|request| shared.answer(request));
    let mut server = hyper::server::conn::http1::Builder::new();
    // Header names keep their case in nothing that is signed; titles are what most stores print.
    let connection = server
        .title_case_headers(true)
        .serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        // A connection that ends in an error was broken on purpose or by the client.
        _ = connection => {}
        _ = line.wait_for(|line| *line == Line::Cut) => {}
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        self.until_not_mute().await;
        let number = self.note(&request);
        let fault = self.fault_for(&request);
        let response = match fault {
            None => self.forward(request).await?,
            Some(fault) => fault.apply(self, request).await?,
        };
        if let Some(seen) = lock(&self.seen).get_mut(number) {
            seen.status = Some(response.status().as_u16());
        }
        Ok(response)
    }

    fn note(&self, request: &Request<Incoming>) -> usize {
        let length = request
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let mut seen = lock(&self.seen);
        seen.push(Seen {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            body_bytes: length.unwrap_or(0),
            status: None,
        });
        seen.len() - 1
    }

    fn fault_for(&self, request: &Request<Incoming>) -> Option<Fault> {
        let target = request
            .uri()
            .path_and_query()
            .map_or("", |target| target.as_str());
        lock(&self.rules)
            .iter_mut()
            .find_map(|rule| rule.take(request.method().as_str(), target))
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let mut target = self.upstream.clone().into_parts();
        target.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(target).map_err(io::Error::other)?;
        let is_stream = request.uri().query().is_some_and(names_events);
        let response = self.client.request(request).await?;
        self.until_not_mute().await;
        Ok(response.map(|body| {
            let body = body.map_err(Into::into).boxed();
            // Only what goes on for long can be muted midway.
            if is_stream {
                mute::mutable(body, self.line.subscribe()).boxed()
            } else {
                body
            }
        }))
    }

    async fn until_not_mute(&self) {
        let mut line = self.line.subscribe();
        // The sender lives in self.
        drop(line.wait_for(|line| *line != Line::Mute).await);
    }

    async fn until_healed(&self) {
        // The sender lives in self, so the only end of the wait is a heal.
        drop(self.heals.subscribe().changed().await);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The health server: `/livez`, `/readyz`, `/status`, `/metrics`.
//!
//! Owns a small HTTP/1 server for probes and scrapers. It needs no authentication and says no secret. Never starts unless it
//! was asked for.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::health::Health;

/// Connections at the same time: probes and a scraper need few.
const CONNECTIONS: usize = 32;
/// A client must have asked by then.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// A connection ends by then, whatever the client does.
const CONNECTION_LIMIT: Duration = Duration::from_mins(1);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Opens the port.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers for ever.
pub async fn serve(listener: TcpListener, health: Health) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = health.clone();
                tokio::spawn(async move {
                    connection(stream, health).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "can't accept a connection");
                // Out of descriptors, most likely: others give some back.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, health: Health) {
    let service = service_fn(move |request| answer(request, health.clone()));
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT);
    let serving = server.serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIMIT, serving).await {
        tracing::debug!(%error, "a health connection broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    health: Health,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(response(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET and HEAD\n".to_owned(),
        ));
    }
    // The status looks at the file system.
    let rendered = tokio::task::spawn_blocking(move || render(&path, &health)).await;
    let (status, kind, body) = rendered.unwrap_or_else(|error| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            TEXT,
            format!("{error}\n"),
        )
    });
    Ok(response(status, kind, body))
}

fn render(path: &str, health: &Health) -> (StatusCode, &'static str, String) {
    match path {
        "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => match health.readiness() {
            Ok(()) => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        "/status" => (StatusCode::OK, JSON, format!("{}\n", health.document())),
        "/metrics" => (StatusCode::OK, PROMETHEUS, health.metrics()),
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /livez, /readyz, /status and /metrics\n".to_owned(),
        ),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use hiclaw_sync::http::{self, HttpClient};

    use crate::{health::Stage, runtime::RuntimeStatus, supervisor::State};

    #[tokio::test]
    async fn probes_see_the_worker_become_ready() {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let health = Health::default();
        tokio::spawn(serve(listener, health.clone()));
        let client = HttpClient::default();
        let ask = async |method: &str, path: &str| {
            let request = http::Request::new(method, &format!("{base}{path}"));
            let answer = client.send(request, Duration::from_secs(20)).await.unwrap();
            (
                answer.status,
                String::from_utf8(answer.body.to_vec()).unwrap(),
            )
        };
        assert_eq!(ask("GET", "/livez").await, (200, "ok\n".into()));
        assert_eq!(
            ask("GET", "/readyz").await,
            (503, "starting: the workspace is being prepared\n".into())
        );
        let (sender, runtime) = watch::channel(RuntimeStatus {
            state: State::Starting,
            id: Some(7),
            restarts: 0,
        });
        health.has_runtime(runtime);
        health.enter(Stage::Running);
        assert_eq!(ask("GET", "/readyz").await.0, 503);
        sender.send_modify(|status| status.state = State::Ready);
        assert_eq!(ask("GET", "/readyz").await, (200, "ok\n".into()));
        let (status, document) = ask("GET", "/status").await;
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(
            (status, &document["runtime"]["pid"], &document["ready"]),
            (200, &7.into(), &true.into())
        );
        assert!(ask("GET", "/metrics").await.1.contains("hiclaw_ready 1"));
        assert_eq!(ask("GET", "/other").await.0, 404);
        assert_eq!(ask("POST", "/livez").await.0, 405);
    }
}

//! A stand-in controller sees the right requests at the right times.

use hiclaw_sync::{
    http::HttpClient,
    settings::{Controller, TokenSource},
};
use sync_core::secret::Secret;
use tokio::time::Instant;

use super::*;
use crate::testing::Server;

fn client(server: &Server, tokens: Vec<TokenSource>) -> ControllerClient {
    let controller = Controller {
        url: server.url(""),
        worker: "cr-alice".into(),
        tokens,
    };
    ControllerClient::new(controller, HttpClient::default())
}

fn reporter(server: &Server, tokens: Vec<TokenSource>) -> Reporter {
    let activity = Arc::new(|| Some("2026-01-02T03:04:05Z".to_owned()));
    Reporter::new(client(server, tokens), activity)
}

fn status(state: State) -> RuntimeStatus {
    RuntimeStatus {
        state,
        id: Some(1),
        restarts: 0,
    }
}

#[tokio::test]
async fn the_report_is_an_empty_post_with_the_token_of_the_moment() {
    let server = Server::start(vec![(204, "")]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let fallback = TokenSource::Value(Secret::new("fallback"));
    let client = client(&server, vec![TokenSource::File(file.clone()), fallback]);
    for content in [None, Some("one\n"), Some("two")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        client.report_ready(None).await.unwrap();
    }
    let requests = server.requests();
    let tokens: Vec<_> = requests
        .iter()
        .map(|request| request.authorization.as_deref().unwrap())
        .collect();
    assert_eq!(tokens, ["Bearer fallback", "Bearer one", "Bearer two"]);
    assert!(requests.iter().all(
        |request| request.line == "POST /api/v1/workers/cr-alice/ready" && request.body.is_empty()
    ));
}

#[tokio::test]
async fn a_refusal_says_the_status_and_not_the_token() {
    let server = Server::start(vec![(403, "token s3cret is bad")]).await;
    let error = client(&server, vec![TokenSource::Value(Secret::new("s3cret"))])
        .report_ready(None)
        .await
        .unwrap_err();
    let text = chain(&error);
    assert!(
        text.contains("status 403") && !text.contains("s3cret"),
        "{text}"
    );
}

/// Lets made-up time pass until the server has seen so many requests.
async fn seen(server: &Server, count: usize) {
    while server.requests().len() < count {
        tokio::time::advance(Duration::from_millis(100)).await;
        // The sockets are real: give them real time.
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)))
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn five_tries_with_growing_waits_then_a_heartbeat_every_minute() {
    let server = Server::start(vec![(500, ""), (500, ""), (500, ""), (500, ""), (204, "")]).await;
    let (sender, receiver) = watch::channel(status(State::Starting));
    let task = tokio::spawn(reporter(&server, Vec::new()).run(receiver));
    sender.send(status(State::Ready)).unwrap();
    let mut times = Vec::new();
    let started = Instant::now();
    for count in 1..=7 {
        seen(&server, count).await;
        times.push(started.elapsed().as_secs_f64());
    }
    for (time, expected) in times.iter().zip([0.0, 2.0, 6.0, 12.0, 20.0, 80.0, 140.0]) {
        assert!((expected..expected + 1.9).contains(time), "{times:?}");
    }
    let bodies: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert!(
        bodies.iter().take(5).all(String::is_empty),
        "ready: {bodies:?}"
    );
    assert!(
        bodies
            .iter()
            .skip(5)
            .all(|body| body == r#"{"lastActiveAt":"2026-01-02T03:04:05Z"}"#),
        "heartbeat: {bodies:?}"
    );
    sender.send(status(State::Starting)).unwrap();
    drop(sender);
    task.await.unwrap();
}

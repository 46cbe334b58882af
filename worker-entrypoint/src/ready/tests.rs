//! Each kind of look, and what happens when a runtime is late.

use sync_core::{layout::FileText, path::RelPath};

use super::*;
use crate::testing;

fn prober(directory: &std::path::Path, check: ReadyCheck) -> Prober {
    Prober {
        probe: Some(ReadyProbe {
            check,
            interval: Duration::from_millis(20),
            timeout: Duration::from_mins(1),
        }),
        fallback: None,
        workspace: Arc::new(Workspace::open(directory).unwrap()),
        place: testing::place(directory),
        client: HttpClient::default(),
    }
}

async fn is_ready(prober: &Prober) -> bool {
    prober
        .look(&prober.probe.as_ref().unwrap().check)
        .await
        .is_ok()
}

#[tokio::test]
async fn a_file_is_ready_once_it_holds_the_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = RelPath::new(".copaw/config.json").unwrap();
    let prober = prober(
        directory.path(),
        ReadyCheck::File {
            path: path.clone(),
            text: FileText::Contains("\"channels\"".into()),
        },
    );
    assert!(!is_ready(&prober).await);
    prober.workspace.publish(&path, b"{}").unwrap();
    assert!(!is_ready(&prober).await);
    prober
        .workspace
        .publish(&path, br#"{"channels": {}}"#)
        .unwrap();
    assert!(is_ready(&prober).await);
}

#[tokio::test]
async fn a_command_is_ready_once_it_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let command = ["test", "-e", "up"].map(str::to_owned).to_vec();
    let prober = prober(directory.path(), ReadyCheck::Command { command });
    assert!(!is_ready(&prober).await);
    let ready = tokio::spawn({
        let prober = prober.clone();
        async move { prober.ready().await }
    });
    prober
        .workspace
        .publish(&RelPath::new("up").unwrap(), b"")
        .unwrap();
    tokio::time::timeout(Duration::from_secs(20), ready)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_url_is_ready_once_it_answers_with_the_status() {
    let directory = tempfile::tempdir().unwrap();
    let server = testing::Server::start(vec![(503, "{}"), (200, "{}")]).await;
    let prober = prober(
        directory.path(),
        ReadyCheck::Http {
            url: server.url("/readyz"),
            status: 200,
        },
    );
    tokio::time::timeout(Duration::from_secs(20), prober.ready())
        .await
        .unwrap();
    let requests: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.line)
        .collect();
    assert_eq!(requests, ["GET /readyz", "GET /readyz"]);
}

#[tokio::test(start_paused = true)]
async fn another_look_counts_once_the_first_has_said_no_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| ReadyCheck::File {
        path: RelPath::new(name).unwrap(),
        text: FileText::Contains(String::new()),
    };
    let prober = Prober {
        fallback: Some(file("second")),
        ..prober(directory.path(), file("first"))
    };
    let second = RelPath::new("second").unwrap();
    prober.workspace.publish(&second, b"").unwrap();
    let started = Instant::now();
    prober.ready().await;
    assert!(
        (15..17).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );
}

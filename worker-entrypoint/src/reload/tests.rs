//! Which actions follow from which groups, and that each is taken.

use sync_core::layout::{Restart, StoreKeys};

use super::*;
use crate::{
    process::Exit,
    runtime::{Probe, Runtime, RuntimeLauncher},
    supervisor::Policy,
    testing,
};

fn reload(action: ReloadAction) -> Reload {
    Reload {
        action,
        validate: None,
    }
}

fn exec(command: &[&str]) -> ReloadAction {
    ReloadAction::Exec {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
    }
}

#[test]
fn each_action_is_taken_once_and_a_restart_replaces_all_others() {
    let actions = BTreeMap::from([
        ("a".to_owned(), reload(exec(&["x"]))),
        ("b".to_owned(), reload(exec(&["x"]))),
        ("c".to_owned(), reload(ReloadAction::Watched)),
        ("d".to_owned(), reload(ReloadAction::Restart)),
    ]);
    for (groups, expected) in [
        (&["a", "b"][..], vec![exec(&["x"])]),
        (&["a", "c"], vec![exec(&["x"]), ReloadAction::Watched]),
        (&["a", "c", "d"], vec![ReloadAction::Restart]),
        (&["unknown"], vec![]),
    ] {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let found: Vec<_> = distinct(&groups, &actions).into_iter().cloned().collect();
        assert_eq!(found, expected, "{groups:?}");
    }
}

#[tokio::test]
async fn the_runtime_is_told_by_signal_request_and_command() {
    let directory = tempfile::tempdir().unwrap();
    let server = testing::Server::start(vec![(204, "")]).await;
    // The runtime ends with 7 on SIGUSR2, which it may take only after the other two were done.
    let script = "trap 'test -e done && exit 7' USR2; echo x > up; while :; do sleep 0.02; done";
    let place = testing::place(directory.path());
    let launcher = RuntimeLauncher {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        keys: StoreKeys::default(),
        directory: place.directory.clone(),
        environment: place.environment.clone(),
    };
    let probe: Probe = Box::new(|| Box::pin(std::future::pending()));
    let policy = Policy::new(Restart::Never, Duration::from_secs(20), None);
    let mut runtime = Runtime::start(policy, Box::new(launcher), probe, || 0.0);
    while !directory.path().join("up").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let reloader = Reloader {
        actions: BTreeMap::from([
            (
                "a".to_owned(),
                reload(ReloadAction::Http {
                    method: "PUT".into(),
                    url: server.url("/reload"),
                }),
            ),
            ("b".to_owned(), reload(exec(&["touch", "done"]))),
            (
                "c".to_owned(),
                reload(ReloadAction::Signal(ReloadSignal::Usr2)),
            ),
        ]),
        runtime: runtime.handle().clone(),
        place,
        client: HttpClient::default(),
        counts: Arc::default(),
    };
    let counts = reloader.counts.clone();
    let (sender, receiver) = broadcast::channel(4);
    let groups = |groups: &[&str]| Published {
        groups: Arc::new(groups.iter().map(|group| (*group).to_owned()).collect()),
    };
    sender.send(groups(&["a", "b"])).unwrap();
    sender.send(groups(&["c"])).unwrap();
    drop(sender);
    reloader.run(receiver).await;
    assert_eq!(runtime.finished().await, Exit::Code(7));
    assert_eq!(server.requests().len(), 1);
    assert_eq!((counts.done(), counts.failed()), (1, 0));
}

//! Restarts on a paused clock with made-up processes; stops with real ones.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use sync_core::layout::{Restart, StoreKeys};

use super::*;

const GRACE: Duration = Duration::from_secs(20);

/// What a made-up process does.
#[derive(Debug, Clone, Copy)]
enum Script {
    /// Ends by itself.
    Ends(Exit, Duration),
    /// Runs until SIGTERM, then takes so long.
    Obeys(Duration),
    /// Ignores SIGTERM.
    Ignores,
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<(String, Duration)>>);

impl Log {
    fn note(&self, since: Instant, what: impl Into<String>) {
        self.0.lock().unwrap().push((what.into(), since.elapsed()));
    }

    fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|(what, at)| format!("{}s {what}", at.as_secs()))
            .collect()
    }
}

struct Scripted {
    scripts: VecDeque<Script>,
    log: Arc<Log>,
    since: Instant,
}

impl Launcher for Scripted {
    fn launch(&mut self) -> io::Result<Box<dyn Process>> {
        self.log.note(self.since, "launch");
        let script = self.scripts.pop_front().ok_or(io::ErrorKind::NotFound)?;
        let end = match script {
            Script::Ends(exit, after) => Some((exit, Instant::now() + after)),
            Script::Obeys(_) | Script::Ignores => None,
        };
        Ok(Box::new(Made {
            script,
            end,
            log: self.log.clone(),
            since: self.since,
        }))
    }
}

struct Made {
    script: Script,
    end: Option<(Exit, Instant)>,
    log: Arc<Log>,
    since: Instant,
}

impl Process for Made {
    fn id(&self) -> i32 {
        1
    }

    fn ended(&mut self) -> BoxFuture<'_, (Exit, Cause)> {
        Box::pin(async move {
            match self.end {
                Some((exit, at)) => {
                    tokio::time::sleep_until(at).await;
                    (exit, Cause::Runtime)
                }
                None => std::future::pending().await,
            }
        })
    }

    fn terminate(&mut self) {
        self.log.note(self.since, "term");
        if let Script::Obeys(time) = self.script {
            self.end = Some((Exit::Code(0), Instant::now() + time));
        }
    }

    fn kill(&mut self) {
        self.log.note(self.since, "kill");
        self.end = Some((Exit::Signal(9), Instant::now()));
    }

    fn signal(&self, number: i32) {
        self.log.note(self.since, format!("signal {number}"));
    }
}

fn start(restart: Restart, scripts: &[Script]) -> (Runtime, Arc<Log>) {
    let log = Arc::new(Log::default());
    let since = Instant::now();
    let launcher = Scripted {
        scripts: scripts.iter().copied().collect(),
        log: log.clone(),
        since,
    };
    let probe: Probe = Box::new(|| Box::pin(tokio::time::sleep(Duration::from_millis(1500))));
    (
        Runtime::start(
            Policy::new(restart, GRACE, None),
            Box::new(launcher),
            probe,
            || 0.0,
        ),
        log,
    )
}

const CRASH: Script = Script::Ends(Exit::Code(1), Duration::ZERO);

#[tokio::test(start_paused = true)]
async fn a_runtime_that_crashes_is_started_again_after_waits_that_double() {
    let scripts = [
        CRASH,
        CRASH,
        CRASH,
        CRASH,
        Script::Ends(Exit::Code(0), Duration::ZERO),
    ];
    let (mut runtime, log) = start(Restart::OnFailure, &scripts);
    assert_eq!(runtime.finished().await, Exit::Code(0));
    assert_eq!(
        log.lines(),
        [
            "0s launch",
            "1s launch",
            "3s launch",
            "7s launch",
            "15s launch"
        ]
    );
    assert_eq!(runtime.handle().status().borrow().restarts, 4);
}

#[tokio::test(start_paused = true)]
async fn published_files_end_the_wait() {
    let (mut runtime, log) = start(
        Restart::OnFailure,
        &[CRASH, CRASH, CRASH, Script::Ends(Exit::Code(0), GRACE)],
    );
    let mut status = runtime.handle().status();
    tokio::time::sleep(Duration::from_secs(5)).await;
    status
        .wait_for(|status| matches!(status.state, State::Waiting(_)))
        .await
        .unwrap();
    runtime.handle().files_changed();
    runtime.finished().await;
    assert_eq!(log.lines().last().unwrap(), "5s launch");
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_ignores_sigterm_is_killed_after_the_grace() {
    let (mut runtime, log) = start(Restart::Always, &[Script::Ignores]);
    let mut status = runtime.handle().status();
    status
        .wait_for(|status| status.state == State::Ready)
        .await
        .unwrap();
    runtime.handle().stop();
    runtime.handle().stop();
    assert_eq!(runtime.finished().await, Exit::Signal(9));
    assert_eq!(log.lines(), ["0s launch", "1s term", "21s kill"]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_waits_for_the_end_and_gives_the_end_the_grace() {
    let (mut runtime, log) = start(
        Restart::OnFailure,
        &[
            Script::Obeys(Duration::from_secs(3)),
            Script::Obeys(GRACE * 2),
        ],
    );
    let mut status = runtime.handle().status();
    status
        .wait_for(|status| status.state == State::Ready)
        .await
        .unwrap();
    runtime.handle().restart();
    status
        .wait_for(|status| status.restarts == 1)
        .await
        .unwrap();
    runtime.handle().signal(28);
    runtime.handle().stop();
    assert_eq!(runtime.finished().await, Exit::Signal(9));
    assert_eq!(
        log.lines(),
        [
            "0s launch",
            "1s term",
            "4s launch",
            "4s signal 28",
            "4s term",
            "24s kill"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_ends_the_runtime_as_a_shell_would() {
    let (mut runtime, _) = start(Restart::Always, &[]);
    assert_eq!(runtime.finished().await, Exit::Code(127));
}

/// A real runtime that runs `script`.
fn real(script: &str, grace: Duration) -> Runtime {
    let path = std::env::var_os("PATH").unwrap();
    let launcher = RuntimeLauncher {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        keys: StoreKeys::default(),
        directory: std::env::temp_dir(),
        environment: Arc::new([("PATH".into(), path)].into()),
    };
    let probe: Probe = Box::new(|| Box::pin(std::future::pending()));
    Runtime::start(
        Policy::new(Restart::Never, grace, None),
        Box::new(launcher),
        probe,
        || 0.0,
    )
}

async fn appears(file: &std::path::Path) -> String {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(text) = std::fs::read_to_string(file)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        assert!(Instant::now() < limit, "{} does not appear", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_whole_group_is_killed_when_it_ignores_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!(
        "trap '' TERM; sh -c 'echo $$ > {}; while :; do sleep 0.1; done' & wait; sleep 1000",
        file.display()
    );
    let mut runtime = real(&script, Duration::from_millis(300));
    let grandchild = appears(&file).await;
    runtime.handle().stop();
    assert_eq!(runtime.finished().await, Exit::Signal(9));
    assert!(!is_alive(&grandchild));
}

#[tokio::test]
async fn those_who_outlive_the_leader_have_the_grace_too() {
    let directory = tempfile::tempdir().unwrap();
    let (ready, done) = (
        directory.path().join("ready"),
        directory.path().join("done"),
    );
    // The leader ends at once; its child takes its time to put things away.
    let child = format!(
        "trap 'sleep 0.3; echo x > {}; exit' TERM; echo x > {}; while :; do sleep 0.05; done",
        done.display(),
        ready.display()
    );
    let mut runtime = real(
        &format!("trap 'exit 3' TERM; sh -c \"{child}\" & wait"),
        GRACE,
    );
    appears(&ready).await;
    runtime.handle().stop();
    assert_eq!(runtime.finished().await, Exit::Code(3));
    assert!(done.exists(), "the child was killed before it was done");
}

#[tokio::test]
async fn a_leader_that_ends_by_itself_leaves_nobody_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 1000 & echo $! > {}; exit 9", file.display());
    let mut runtime = real(&script, GRACE);
    assert_eq!(runtime.finished().await, Exit::Code(9));
    assert!(!is_alive(&appears(&file).await));
}

#[tokio::test]
async fn a_stopped_runtime_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let mut runtime = real(
        &format!(
            "trap 'exit 0' TERM; echo $$ > {}; kill -STOP $$; while :; do sleep 0.05; done",
            file.display()
        ),
        GRACE,
    );
    appears(&file).await;
    runtime.handle().stop();
    assert_eq!(runtime.finished().await, Exit::Code(0));
}

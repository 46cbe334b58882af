//! What the worker says about itself: alive, ready, state, metrics.
//!
//! Owns the collected view and its texts. Never serves it ([`http`](crate::http)) and never decides anything.

mod metrics;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};
use sync_core::status::Status;
use tokio::sync::watch;

use crate::{engine::Engine, reload::ReloadCounts, runtime::RuntimeStatus, supervisor::State};

/// How far the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The workspace is being prepared.
    Preparing,
    /// The runtime was started.
    Running,
    /// It is being stopped, and the last changes are sent.
    Draining,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Draining => "draining",
        }
    }
}

/// The parts of the worker that have something to say. Clones share it.
#[derive(Clone)]
pub struct Health(Arc<Parts>);

struct Parts {
    started: Instant,
    stage: Mutex<Stage>,
    engine: OnceLock<Arc<dyn Engine>>,
    runtime: OnceLock<watch::Receiver<RuntimeStatus>>,
    reloads: Arc<ReloadCounts>,
}

/// Everything at one moment.
struct View {
    stage: Stage,
    uptime_seconds: u64,
    runtime: Option<RuntimeStatus>,
    engine: Option<Status>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Parts {
            started: Instant::now(),
            stage: Mutex::new(Stage::Preparing),
            engine: OnceLock::new(),
            runtime: OnceLock::new(),
            reloads: Arc::default(),
        }))
    }
}

impl Health {
    /// The worker goes on to another stage.
    pub fn enter(&self, stage: Stage) {
        *self.stage() = stage;
    }

    /// From here on there is an engine. Only the first one counts.
    pub fn has_engine(&self, engine: Arc<dyn Engine>) {
        self.0.engine.get_or_init(|| engine);
    }

    /// From here on there is a runtime. Only the first one counts.
    pub fn has_runtime(&self, runtime: watch::Receiver<RuntimeStatus>) {
        self.0.runtime.get_or_init(|| runtime);
    }

    /// Counts of reloads.
    #[must_use]
    pub fn reloads(&self) -> &Arc<ReloadCounts> {
        &self.0.reloads
    }

    /// Ready, or why not. Blocks shortly on the file system.
    pub fn readiness(&self) -> Result<(), String> {
        self.view().readiness()
    }

    /// The state as a document. Blocks shortly on the file system.
    #[must_use]
    pub fn document(&self) -> Value {
        let view = self.view();
        let runtime = view.runtime.map(|runtime| {
            json!({ "state": state_name(runtime.state), "pid": runtime.id, "restarts": runtime.restarts })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "stage": view.stage.name(),
            "uptime_seconds": view.uptime_seconds,
            "ready": view.readiness().is_ok(),
            "reason": view.readiness().err(),
            "runtime": runtime,
            "reloads": { "done": self.0.reloads.done(), "failed": self.0.reloads.failed() },
            "sync": view.engine,
        })
    }

    /// The metrics in Prometheus' text form. Blocks shortly on the file system.
    #[must_use]
    pub fn metrics(&self) -> String {
        metrics::render(&self.view(), &self.0.reloads)
    }

    fn view(&self) -> View {
        View {
            stage: *self.stage(),
            uptime_seconds: self.0.started.elapsed().as_secs(),
            runtime: self.0.runtime.get().map(|runtime| *runtime.borrow()),
            engine: self.0.engine.get().map(|engine| engine.status()),
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn readiness(&self) -> Result<(), String> {
        match self.stage {
            Stage::Preparing => return Err("starting: the workspace is being prepared".to_owned()),
            Stage::Draining => return Err("stopping".to_owned()),
            Stage::Running => {}
        }
        match self.runtime.map(|runtime| runtime.state) {
            Some(State::Ready) => {}
            None | Some(State::Idle | State::Starting) => {
                return Err("starting: the runtime is not ready yet".to_owned());
            }
            Some(State::Waiting(exit)) => {
                return Err(format!(
                    "degraded: the runtime ended with {exit} and will be started again"
                ));
            }
            Some(State::Stopping(_)) => {
                return Err("degraded: the runtime is being restarted".to_owned());
            }
            Some(State::Finished(exit)) => {
                return Err(format!("stopping: the runtime ended with {exit}"));
            }
        }
        if let Some(engine) = &self.engine
            && let Some(outage) = &engine.outage
        {
            return Err(format!("degraded: {outage}"));
        }
        let degraded = self.engine.iter().flat_map(|status| &status.degraded);
        match degraded.cloned().reduce(|all, one| format!("{all}; {one}")) {
            Some(why) => Err(format!("degraded: {why}")),
            None => Ok(()),
        }
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Starting => "starting",
        State::Ready => "ready",
        State::Waiting(_) => "waiting",
        State::Stopping(_) => "stopping",
        State::Finished(_) => "finished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{process::Exit, supervisor::Why};

    fn view(stage: Stage, state: Option<State>, outage: Option<&str>) -> View {
        let engine = Status {
            outage: outage.map(str::to_owned),
            ..Status::default()
        };
        let runtime = state.map(|state| RuntimeStatus {
            state,
            id: None,
            restarts: 0,
        });
        View {
            stage,
            uptime_seconds: 0,
            runtime,
            engine: Some(engine),
        }
    }

    #[test]
    fn a_worker_is_ready_only_while_everything_is_well() {
        let crashed = State::Waiting(Exit::Code(78));
        for (stage, state, outage, expected) in [
            (Stage::Preparing, None, None, "starting: the workspace"),
            (
                Stage::Running,
                Some(State::Starting),
                None,
                "starting: the runtime",
            ),
            (
                Stage::Running,
                Some(crashed),
                None,
                "degraded: the runtime ended with exit code 78",
            ),
            (
                Stage::Running,
                Some(State::Stopping(Why::Restart)),
                None,
                "degraded",
            ),
            (
                Stage::Running,
                Some(State::Ready),
                Some("connection refused"),
                "degraded: connection refused",
            ),
            (Stage::Running, Some(State::Ready), None, ""),
            (Stage::Draining, Some(State::Ready), None, "stopping"),
        ] {
            let reason = view(stage, state, outage)
                .readiness()
                .err()
                .unwrap_or_default();
            assert!(
                reason.starts_with(expected) && reason.is_empty() == expected.is_empty(),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_group_that_is_held_back_degrades_a_worker() {
        let mut view = view(Stage::Running, Some(State::Ready), None);
        let status = view.engine.get_or_insert_default();
        status.degraded = vec!["config: x: invalid".to_owned(), "skills: y: no".to_owned()];
        let reason = view.readiness().unwrap_err();
        assert_eq!(reason, "degraded: config: x: invalid; skills: y: no");
    }

    #[test]
    fn metrics_are_what_a_scraper_reads() {
        let text = metrics::render(
            &view(Stage::Running, Some(State::Ready), None),
            &ReloadCounts::default(),
        );
        assert!(text.contains("\nhiclaw_ready 1\n"), "{text}");
        assert!(
            text.contains("\nhiclaw_requests_total{kind=\"put\"} 0\n"),
            "{text}"
        );
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let family = name.split('{').next().unwrap();
            assert!(
                text.contains(&format!("# TYPE {family} ")),
                "{family} has no type"
            );
        }
    }
}

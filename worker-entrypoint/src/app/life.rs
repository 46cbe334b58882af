//! The worker from its settings to its exit code.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use hiclaw_sync::{controller::ControllerClient, settings::Settings};
use sync_core::layout::RuntimeSpec;

use super::{
    drain::drain,
    settings::{self, Waiting},
    startup::{Prepared, Start},
};
use tokio::task::JoinSet;

use crate::{
    cli::Cli,
    controller::Reporter,
    engine::{Engine, chain},
    environment,
    health::{Health, Stage},
    http,
    process::{self, Exit},
    ready::Prober,
    reload::Reloader,
    runtime::{Runtime, RuntimeLauncher},
    service_manager::{self, ServiceManager},
    signals::{Demand, Signals},
    supervisor::Policy,
    sys,
};

/// How long the last flush may take unless told.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);
/// How long what the runtime left behind outside its process group has to end.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// How long after the runtime's start the work of the start is taken to be over, the listings of a subscription among it.
const STARTED: Duration = Duration::from_secs(3);

/// Runs a worker; gives its exit code.
pub(super) async fn run(cli: Cli, mut signals: Signals) -> anyhow::Result<u8> {
    let resolved = tokio::select! {
        resolved = settings::resolve(&cli.global, cli.run, Waiting::AsTold) => resolved,
        number = stop_demanded(&mut signals) => return Ok(Exit::Signal(number).code()),
    };
    let (settings, inherited) = resolved?;
    let health = Health::default();
    let flush_timeout = settings.run.flush_timeout.unwrap_or(FLUSH_TIMEOUT);
    if let Some(address) = settings.run.health_listen {
        let listener = http::bind(address)
            .await
            .with_context(|| format!("can't listen on {address}"))?;
        tracing::info!(address = %listener.local_addr()?, "serving health");
        // To the very end: whoever looks during the last flush is told of it.
        tokio::spawn(http::serve(listener, health.clone()));
    }
    let mut engine = None;
    let start = Start {
        settings: &settings,
        inherited: &inherited,
        health: &health,
    };
    let prepared = tokio::select! {
        prepared = start.prepare(&mut engine) => prepared,
        number = stop_demanded(&mut signals) => {
            tracing::info!(signal = number, "stopping before the runtime was started");
            health.enter(Stage::Draining);
            drain(engine.as_ref(), flush_timeout).await;
            return Ok(Exit::Signal(number).code());
        }
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            drain(engine.as_ref(), flush_timeout).await;
            return Err(error);
        }
    };
    let Some(engine) = engine else {
        anyhow::bail!("there is no engine")
    };
    let worker = Running {
        settings,
        flush_timeout,
        command: cli.runtime,
        engine,
        health,
    };
    Ok(worker.run(prepared, signals).await)
}

/// Waits for a signal that asks for the end; where there is no runtime, no other is answered.
pub(super) async fn stop_demanded(signals: &mut Signals) -> i32 {
    loop {
        match signals.next().await {
            Demand::Stop(number) => return number,
            Demand::Pull | Demand::Forward(_) | Demand::Ignore(_) => {}
        }
    }
}

/// Gives back what only the start needed: most of the code has run once by then, and what was freed is kept by the heap.
async fn forget_start() {
    tokio::time::sleep(STARTED).await;
    let forget = || {
        sys::trim_heap();
        sys::forget_code();
    };
    if let Err(error) = tokio::task::spawn_blocking(forget).await {
        tracing::debug!(%error, "the memory of the start stays in use");
    }
}

/// A worker whose runtime is started.
struct Running {
    settings: Settings,
    flush_timeout: Duration,
    /// Replaces the layout's command, unless it is empty.
    command: Vec<String>,
    engine: Arc<dyn Engine>,
    health: Health,
}

impl Running {
    async fn run(self, prepared: Prepared, signals: Signals) -> u8 {
        // Before the runtime reads its files: a change after this moment is reloaded.
        let published = self.engine.subscribe();
        // To the very end: a runtime that is started again finds its databases as it left them.
        if let Err(error) = self.engine.hold_databases().await {
            tracing::error!("{}", chain(&error));
        }
        let (mut runtime, reloader) = self.start(prepared);
        let mut reloading = JoinSet::new();
        reloading.spawn(reloader.run(published));
        let manager = std::env::var_os(service_manager::VARIABLE);
        let manager = manager
            .and_then(|name| ServiceManager::at(&name))
            .map(Arc::new);
        if let Some(manager) = manager.clone() {
            let status = runtime.handle().status();
            tokio::spawn(async move { manager.follow(status).await });
        }
        tokio::spawn(forget_start());
        let exit = self.supervise(&mut runtime, signals).await;
        self.health.enter(Stage::Draining);
        if let Some(manager) = manager {
            manager.stopping();
        }
        reloading.shutdown().await;
        process::end_descendants(LAST_GRACE).await;
        drain(Some(&self.engine), self.flush_timeout).await;
        exit.code()
    }

    fn start(&self, prepared: Prepared) -> (Runtime, Reloader) {
        let Prepared {
            layout,
            fallback,
            workspace,
            place,
            client,
        } = prepared;
        let own = !self.command.is_empty();
        let prober = Prober {
            // The probe is for the layout's runtime: another one is ready as soon as it runs.
            probe: layout.ready.filter(|_| !own),
            fallback,
            workspace,
            place: place.clone(),
            client: client.clone(),
        };
        let launcher = RuntimeLauncher {
            command: if own {
                self.command.clone()
            } else {
                layout.runtime.command.clone()
            },
            keys: environment::store_keys(&self.settings),
            directory: layout.runtime.cwd.clone(),
            environment: place.environment.clone(),
        };
        let runtime = Runtime::start(
            self.policy(&layout.runtime),
            Box::new(launcher),
            prober.into_probe(),
            fastrand::f64,
        );
        self.health.has_runtime(runtime.handle().status());
        self.health.enter(Stage::Running);
        if let Some(controller) = self.settings.controller.clone() {
            let engine = self.engine.clone();
            let activity = Arc::new(move || engine.status().last_change);
            let reporter =
                Reporter::new(ControllerClient::new(controller, client.clone()), activity);
            tokio::spawn(reporter.run(runtime.handle().status()));
        }
        let reloader = Reloader {
            actions: layout.reload,
            runtime: runtime.handle().clone(),
            place,
            client,
            counts: self.health.reloads().clone(),
        };
        (runtime, reloader)
    }

    fn policy(&self, spec: &RuntimeSpec) -> Policy {
        Policy::new(
            self.settings.run.restart.unwrap_or(spec.restart),
            self.settings.run.stop_grace.unwrap_or(spec.stop_grace),
            spec.crash_limit,
        )
    }

    /// Answers signals until the runtime has ended for good.
    async fn supervise(&self, runtime: &mut Runtime, mut signals: Signals) -> Exit {
        let handle = runtime.handle().clone();
        loop {
            tokio::select! {
                exit = runtime.finished() => return exit,
                demand = signals.next() => match demand {
                    Demand::Stop(number) => {
                        tracing::info!(signal = number, "stopping");
                        self.health.enter(Stage::Draining);
                        handle.stop();
                    }
                    Demand::Pull => pull(self.engine.clone()),
                    Demand::Forward(number) => handle.signal(number),
                    Demand::Ignore(number) => tracing::debug!(signal = number, "ignored"),
                },
            }
        }
    }
}

/// Asked for beside everything else: signals are answered meanwhile.
fn pull(engine: Arc<dyn Engine>) {
    tracing::info!("SIGHUP: pulling");
    tokio::spawn(async move {
        if let Err(error) = engine.pull_soon().await {
            tracing::warn!("{}", chain(&error));
        }
    });
}

//! The worker from its settings to its exit code.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use hiclaw_sync::settings::Settings;
use sync_core::layout::RuntimeSpec;
use tokio::task::JoinSet;

use super::{
    drain::drain,
    settings::{self, Waiting},
    startup::{Prepared, Start},
};
use crate::{
    cli::{Cli, RunOptions},
    controller::Reporter,
    engine::{Engine, chain},
    health::{Health, Stage},
    http,
    process::{self, Exit},
    ready::Prober,
    reload::Reloader,
    runtime::{Runtime, RuntimeLauncher},
    signals::{Demand, Signals},
    supervisor::Policy,
};

/// How long what the runtime left behind outside its process group has to end.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Runs a worker; gives its exit code.
pub(super) async fn run(cli: Cli, mut signals: Signals) -> anyhow::Result<u8> {
    let resolved = tokio::select! {
        resolved = settings::resolve(&cli.global, Waiting::AsTold) => resolved,
        number = stop_demanded(&mut signals) => return Ok(Exit::Signal(number).code()),
    };
    let (settings, inherited) = resolved?;
    let mut helpers = JoinSet::new();
    let health = Health::default();
    if let Some(address) = cli.run.health_listen {
        let listener = http::bind(address)
            .await
            .with_context(|| format!("can't listen on {address}"))?;
        tracing::info!(address = %listener.local_addr()?, "serving health");
        helpers.spawn(http::serve(listener, health.clone()));
    }
    let mut engine = None;
    let start = Start {
        settings: &settings,
        inherited: &inherited,
        options: &cli.run,
        health: &health,
    };
    let prepared = tokio::select! {
        prepared = start.prepare(&mut engine) => prepared,
        number = stop_demanded(&mut signals) => {
            tracing::info!(signal = number, "stopping before the runtime was started");
            health.enter(Stage::Draining);
            drain(engine.as_ref(), cli.run.flush_timeout).await;
            return Ok(Exit::Signal(number).code());
        }
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            drain(engine.as_ref(), cli.run.flush_timeout).await;
            return Err(error);
        }
    };
    let Some(engine) = engine else {
        anyhow::bail!("there is no engine")
    };
    let worker = Running {
        settings,
        options: cli.run,
        command: cli.runtime,
        engine,
        health,
    };
    Ok(worker.run(prepared, signals, helpers).await)
}

/// Waits for a signal that asks for the end; before the runtime is started no other is answered.
async fn stop_demanded(signals: &mut Signals) -> i32 {
    loop {
        match signals.next().await {
            Demand::Stop(number) => return number,
            Demand::Pull | Demand::Forward(_) | Demand::Ignore(_) => {}
        }
    }
}

/// A worker whose runtime is started.
struct Running {
    settings: Settings,
    options: RunOptions,
    /// Replaces the layout's command, unless it is empty.
    command: Vec<String>,
    engine: Arc<dyn Engine>,
    health: Health,
}

impl Running {
    async fn run(self, prepared: Prepared, signals: Signals, mut helpers: JoinSet<()>) -> u8 {
        // Before the runtime reads its files: a change after this moment is reloaded.
        let published = self.engine.subscribe();
        let (mut runtime, reloader) = self.start(prepared);
        helpers.spawn(reloader.run(published));
        let exit = self.supervise(&mut runtime, signals).await;
        self.health.enter(Stage::Draining);
        helpers.shutdown().await;
        process::end_descendants(LAST_GRACE).await;
        drain(Some(&self.engine), self.options.flush_timeout).await;
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
            let reporter = Reporter::new(controller, client.clone(), activity);
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
            self.options.restart.map_or(spec.restart, Into::into),
            self.options.stop_grace.unwrap_or(spec.stop_grace),
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

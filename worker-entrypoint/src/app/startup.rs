//! Everything before the runtime: connecting and the layout's steps.

use std::{path::Path, sync::Arc, time::Instant};

use hiclaw_sync::{settings::Settings, worker::Worker};
use sync_core::{
    events::EventSettings,
    layout::{Need, ReadyCheck, ResolvedLayout, Step, Variable},
    resident::ResidentSettings,
};

use super::{agent::Told, connect};
use crate::{
    command::Place,
    engine::Engine,
    environment::{self, Variables},
    health::Health,
    steps::{self, StepContext},
    workspace::Workspace,
};
use hiclaw_sync::http::HttpClient;

/// What a worker starts from.
pub(super) struct Start<'a> {
    pub(super) settings: &'a Settings,
    /// The environment that the runtime inherits.
    pub(super) inherited: &'a Variables,
    pub(super) health: &'a Health,
}

/// A prepared worker.
pub(super) struct Prepared {
    pub(super) layout: ResolvedLayout,
    /// What else tells that the runtime is ready.
    pub(super) fallback: Option<ReadyCheck>,
    pub(super) workspace: Arc<Workspace>,
    /// Where the runtime's commands run.
    pub(super) place: Place,
    pub(super) client: HttpClient,
}

impl Start<'_> {
    /// Connects and does the steps. `slot` holds the engine as soon as there is one: whoever cancels this must drain it.
    pub(super) async fn prepare(
        &self,
        slot: &mut Option<Arc<dyn Engine>>,
    ) -> anyhow::Result<Prepared> {
        let started = Instant::now();
        let workspace = Arc::new(Workspace::open(&self.settings.workspace)?);
        let client = HttpClient::default();
        let worker = connect::worker(self.settings).await?;
        let place = self.place(&worker.layout);
        let engine = connect::engine(&worker, self.resident_settings(), &place).await?;
        tracing::info!(place = engine.place(), layout = worker.layout.name, duration = ?started.elapsed(), "connected");

        let (own_files, _) = worker
            .layout
            .steps
            .split_at(until_own_files(&worker.layout.steps));
        let engine = slot.insert(engine);
        steps::run_all(
            own_files,
            &self.context(engine, &workspace, &place, &client),
        )
        .await?;

        // The agent's files are there now. They may name a team that could not be known before, with mounts of its own.
        let done = own_files.len();
        let again = Worker::with_store(worker.settings.clone(), worker.store.clone()).await?;
        if !connect::same_mounts(&worker.layout, &again.layout) {
            tracing::info!("the agent's files name a team; its mounts are used from here on");
            // Locks on the mounts are held by the old engine, whose last owner this is.
            *slot = None;
            *slot = Some(connect::engine(&again, self.resident_settings(), &place).await?);
        }
        if let Some(engine) = slot {
            self.health.has_engine(engine.clone());
            let rest = again.layout.steps.get(done..).unwrap_or_default();
            steps::run_all(rest, &self.context(engine, &workspace, &place, &client)).await?;
        }
        let (layout, fallback) = self.final_layout(&workspace).await?;
        tracing::info!(duration = ?started.elapsed(), "the workspace is prepared");
        let place = self.place(&layout);
        Ok(Prepared {
            layout,
            fallback,
            workspace,
            place,
            client,
        })
    }

    fn resident_settings(&self) -> ResidentSettings {
        let default = ResidentSettings::default();
        let run = &self.settings.run;
        ResidentSettings {
            pull_interval: run.pull_interval.unwrap_or(default.pull_interval),
            events: EventSettings {
                listen: run.events.unwrap_or_default(),
                ..default.events
            },
            ..default
        }
    }

    fn place(&self, layout: &ResolvedLayout) -> Place {
        let environment =
            environment::of_runtime(self.inherited.clone(), self.settings, &layout.runtime);
        Place {
            directory: self.settings.workspace.clone(),
            environment: Arc::new(environment),
        }
    }

    fn context(
        &self,
        engine: &Arc<dyn Engine>,
        workspace: &Arc<Workspace>,
        place: &Place,
        client: &HttpClient,
    ) -> StepContext {
        StepContext {
            engine: engine.clone(),
            workspace: workspace.clone(),
            worker: self.settings.worker.clone(),
            time_zone: self.settings.time_zone.clone(),
            system_root: Path::new("/").to_owned(),
            place: place.clone(),
            client: client.clone(),
        }
    }

    /// The layout with what only the agent's files tell, and the look at the runtime that it names without them.
    async fn final_layout(
        &self,
        workspace: &Arc<Workspace>,
    ) -> anyhow::Result<(ResolvedLayout, Option<ReadyCheck>)> {
        let told = Told::by(workspace.clone(), self.inherited.clone()).await?;
        let plain = self.settings.load_layout(&told.team)?;
        let Some(port) = told.gateway_port else {
            return Ok((plain, None));
        };
        let variables = self.settings.variables(&told.team);
        let variables = variables.with(Variable::GatewayPort, port.to_string());
        let layout = self.settings.load_layout_with(&variables)?;
        let fallback = plain.ready.map(|probe| probe.check).filter(|check| {
            layout
                .ready
                .as_ref()
                .is_some_and(|probe| probe.check != *check)
        });
        Ok((layout, fallback))
    }
}

/// How many steps there are up to the pull of the agent's own files.
fn until_own_files(steps: &[Step]) -> usize {
    let is_own = |step: &Step| matches!(step, Step::Pull(pull) if pull.need == Need::Required);
    steps.iter().position(is_own).map_or(0, |at| at + 1)
}

//! Everything before the runtime: connecting and the layout's steps.

use std::{ffi::OsStr, path::Path, sync::Arc, time::Instant};

use hiclaw_sync::{settings::Settings, worker::Worker};
use sync_core::{
    layout::{Need, ResolvedLayout, Step, Team, Variable, team_from_agents_md},
    path::RelPath,
};

use super::connect;
use crate::{
    cli::RunOptions,
    client::HttpClient,
    command::Place,
    engine::Engine,
    environment::{self, Variables},
    health::Health,
    steps::{self, StepContext},
    workspace::Workspace,
};

/// Port of OpenClaw's gateway where nothing names one.
const GATEWAY_PORT: u16 = 18789;

/// What a worker starts from.
pub(super) struct Start<'a> {
    pub(super) settings: &'a Settings,
    /// The environment that the runtime inherits.
    pub(super) inherited: &'a Variables,
    pub(super) options: &'a RunOptions,
    pub(super) health: &'a Health,
}

/// A prepared worker.
pub(super) struct Prepared {
    pub(super) layout: ResolvedLayout,
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
        let engine = connect::engine(&worker, self.options.pull_interval).await?;
        tracing::info!(place = engine.place(), layout = worker.layout.name, duration = ?started.elapsed(), "connected");

        let (own_files, _) = worker
            .layout
            .steps
            .split_at(until_own_files(&worker.layout.steps));
        let place = self.place(&worker.layout);
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
            *slot = Some(connect::engine(&again, self.options.pull_interval).await?);
        }
        if let Some(engine) = slot {
            self.health.has_engine(engine.clone());
            let rest = again.layout.steps.get(done..).unwrap_or_default();
            steps::run_all(rest, &self.context(engine, &workspace, &place, &client)).await?;
        }
        let layout = self.final_layout(&workspace).await?;
        tracing::info!(duration = ?started.elapsed(), "the workspace is prepared");
        let place = self.place(&layout);
        Ok(Prepared {
            layout,
            workspace,
            place,
            client,
        })
    }

    fn place(&self, layout: &ResolvedLayout) -> Place {
        let environment =
            environment::of_runtime(self.inherited.clone(), self.settings, &layout.runtime.env);
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

    /// The layout with what only the agent's files tell: the team and the gateway's port.
    async fn final_layout(&self, workspace: &Arc<Workspace>) -> anyhow::Result<ResolvedLayout> {
        let workspace = workspace.clone();
        let inherited_port = self
            .inherited
            .get(OsStr::new("OPENCLAW_GATEWAY_PORT"))
            .cloned();
        let (team, port) = tokio::task::spawn_blocking(move || {
            let config = document(&workspace, "openclaw.json")
                .and_then(|text| sync_core::merge::value(&text).ok());
            let team = document(&workspace, "AGENTS.md").map_or_else(Team::default, |text| {
                team_from_agents_md(&text, config.as_ref())
            });
            let from_environment =
                inherited_port.and_then(|port| port.to_str().and_then(|port| port.parse().ok()));
            (
                team,
                from_environment.unwrap_or_else(|| gateway_port(config.as_ref())),
            )
        })
        .await?;
        let variables = self
            .settings
            .variables(&team)
            .with(Variable::GatewayPort, port.to_string());
        Ok(self.settings.load_layout_with(&variables)?)
    }
}

/// How many steps there are up to the pull of the agent's own files.
fn until_own_files(steps: &[Step]) -> usize {
    let is_own = |step: &Step| matches!(step, Step::Pull(pull) if pull.need == Need::Required);
    steps.iter().position(is_own).map_or(0, |at| at + 1)
}

fn document(workspace: &Workspace, name: &str) -> Option<String> {
    let content = workspace.read(&RelPath::new(name).ok()?).ok()??;
    String::from_utf8(content).ok()
}

fn gateway_port(config: Option<&serde_json::Value>) -> u16 {
    let port = config.and_then(|config| config.get("gateway")?.get("port")?.as_u64());
    port.and_then(|port| u16::try_from(port).ok())
        .unwrap_or(GATEWAY_PORT)
}

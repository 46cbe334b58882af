//! A worker as the commands see it: its settings, its store and its layout.
//!
//! Owns finding out the team, which decides the mounts. Never synchronises anything.

use std::{collections::BTreeMap, ffi::OsString, io, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use sync_core::{
    layout::{ResolvedLayout, Team, team_from_agents_md},
    path::{Prefix, RelPath},
    root::STATE_DIRECTORY,
    session::Session,
    store::{
        ObjectStore, StoreError, StoreErrorKind, read_whole,
        s3::{KeySource, S3Config, S3Store},
    },
};

use crate::{
    controller::ControllerClient,
    http::HttpClient,
    settings::{CredentialSource, Origin, Settings},
    validate::{self, CommandValidator},
};

/// Documents that tell the team are no larger.
const MAX_DOCUMENT_BYTES: u64 = 1024 * 1024;

/// A worker whose store and layout are known.
pub struct Worker {
    /// What it was told.
    pub settings: Settings,
    /// Its bucket.
    pub store: Arc<dyn ObjectStore>,
    /// Its tree.
    pub layout: ResolvedLayout,
}

impl Worker {
    /// Connects to the store, finds out the team and resolves the layout for it.
    pub async fn connect(mut settings: Settings) -> anyhow::Result<Self> {
        // A wrong layout is found before anything is asked of the network.
        settings.load_layout(&Team::default())?;
        let config = store_config(&mut settings).await?;
        let store: Arc<dyn ObjectStore> = Arc::new(S3Store::connect(&config).await?);
        Self::with_store(settings, store).await
    }

    /// The same on a store that is already at hand.
    pub async fn with_store(
        settings: Settings,
        store: Arc<dyn ObjectStore>,
    ) -> anyhow::Result<Self> {
        let team = team(&settings, &*store)
            .await
            .with_context(|| place(&settings))?;
        let layout = settings.load_layout(&team)?;
        Ok(Self {
            settings,
            store,
            layout,
        })
    }

    /// Opens the mounts. The layout's `validate` commands run as children of this process.
    pub async fn session(&self) -> anyhow::Result<Session> {
        let mut environment: BTreeMap<_, _> = std::env::vars_os().collect();
        let added = self.layout.runtime.env.iter();
        environment.extend(added.map(|(name, value)| (name.into(), value.into())));
        self.session_with(environment, validate::as_child()).await
    }

    /// The same with `validate` commands that have this environment and are run by `run`.
    pub async fn session_with(
        &self,
        environment: BTreeMap<OsString, OsString>,
        run: validate::Run,
    ) -> anyhow::Result<Session> {
        let concurrency = self.settings.store.concurrency.get();
        let session = Session::open(&self.layout, self.store.clone(), concurrency).await?;
        let validator = CommandValidator::new(&self.layout, &self.settings, environment, run);
        Ok(match validator {
            Some(validator) => session.with_validator(Arc::new(validator)),
            None => session,
        })
    }

    /// Where the engine keeps its state: where its control socket is.
    #[must_use]
    pub fn state_directory(&self) -> PathBuf {
        state_directory(&self.settings)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// How the store is reached, with the controller as the source of keys where they come from it. What the controller knows
/// better enters the settings.
pub async fn store_config(settings: &mut Settings) -> anyhow::Result<S3Config> {
    let key_source = key_source(settings).await?;
    Ok(S3Config {
        key_source,
        ..settings.store.s3_config()
    })
}

/// The controller as a source of keys, where the settings want its keys. It is asked once before anything else: it may know
/// where the store is.
async fn key_source(settings: &mut Settings) -> anyhow::Result<Option<Arc<dyn KeySource>>> {
    if settings.store.credentials != CredentialSource::Controller {
        return Ok(None);
    }
    let controller = settings
        .controller
        .clone()
        .context("keys are to come from a controller, and there is none")?;
    let client = ControllerClient::new(controller, HttpClient::default());
    let issued = client
        .issue_credentials()
        .await
        .context("can't get the store's keys from the controller")?;
    if settings.store.endpoint.is_none() {
        settings.store.endpoint = issued.endpoint;
    }
    if let (Origin::Default, Some(bucket)) = (settings.store.bucket_origin, issued.bucket) {
        settings.store.bucket = bucket;
    }
    Ok(Some(Arc::new(client)))
}

/// Where the engine of a worker keeps its state.
#[must_use]
pub fn state_directory(settings: &Settings) -> PathBuf {
    settings.workspace.join(STATE_DIRECTORY)
}

/// The store and bucket in words, for errors.
#[must_use]
pub fn place(settings: &Settings) -> String {
    let endpoint = settings.store.endpoint.as_deref().unwrap_or("AWS S3");
    format!("bucket {} at {endpoint}", settings.store.bucket)
}

/// The team that the agent's documents name: the local ones, or before the first pull those in the bucket.
async fn team(settings: &Settings, store: &dyn ObjectStore) -> anyhow::Result<Team> {
    let prefix = Prefix::new(&format!("agents/{}", settings.worker))?;
    let Some(agents_md) = document(settings, store, &prefix, "AGENTS.md").await? else {
        return Ok(Team::default());
    };
    let config = document(settings, store, &prefix, "openclaw.json").await?;
    let config = config.and_then(|text| sync_core::merge::value(&text).ok());
    Ok(team_from_agents_md(&agents_md, config.as_ref()))
}

async fn document(
    settings: &Settings,
    store: &dyn ObjectStore,
    prefix: &Prefix,
    name: &str,
) -> anyhow::Result<Option<String>> {
    let path = settings.workspace.join(name);
    match std::fs::read(&path) {
        // The agent may write anything; what isn't text names no team.
        Ok(content) => return Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    }
    match read_object(store, &prefix.key(&RelPath::new(name)?)).await {
        // AWS answers so for an absent object where listing is allowed for some prefixes only. If it is a real denial, the
        // pull that follows says so.
        Err(error) if error.kind == StoreErrorKind::Denied => {
            tracing::debug!("{error}; taken for absent");
            Ok(None)
        }
        other => Ok(other?),
    }
}

/// A small object as text; `None` where there is none.
pub async fn read_object(
    store: &dyn ObjectStore,
    key: &sync_core::path::ObjectKey,
) -> Result<Option<String>, StoreError> {
    let content = read_whole(store, key, None, MAX_DOCUMENT_BYTES).await?;
    Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
}

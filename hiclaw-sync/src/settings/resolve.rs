//! All settings of a worker.
//!
//! Owns how they follow from options and environment.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sync_core::{
    layout::{Team, Variable, Variables},
    path::RelPath,
    secret::Secret,
};

use super::{
    environment::Environment,
    layouts::LayoutChoice,
    lookup::{Found, Lookup, SettingsError},
    options::GlobalOptions,
    run::RunVariables,
    store::{self, StoreSettings},
    values::{
        Controller, Deployment, EnvMount, Generation, Necessity, Toggle, TokenSource, Traces,
        base_url,
    },
};

const DEFAULT_MATRIX_URL: &str = "http://127.0.0.1:6167";
const DEFAULT_AI_GATEWAY_URL: &str = "http://aigw-local.hiclaw.io:8080";
const DEFAULT_CONSOLE_PORT: u16 = 8088;
const DEFAULT_ENV_TIMEOUT: Duration = Duration::from_mins(5);

/// All settings of a worker.
///
/// - `worker` is one safe path component
/// - `root` and `workspace` are absolute, valid UTF-8, without `.` and `..`
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent's name.
    pub worker: String,
    /// Its name in the controller's paths.
    pub worker_cr: String,
    /// How to reach the store.
    pub store: StoreSettings,
    /// `<alias>/<bucket>`, as `mc` takes it.
    pub storage_prefix: String,
    /// The `mc` alias of the store.
    pub alias: String,
    /// The directory that holds `agents` and `shared`.
    pub root: PathBuf,
    /// The agent's own directory.
    pub workspace: PathBuf,
    /// Which layout to use.
    pub layout: LayoutChoice,
    /// Where the container runs; `None` when that is to be found out.
    pub deployment: Option<Deployment>,
    /// Which names the deployment uses.
    pub generation: Generation,
    /// The controller, if there is one.
    pub controller: Option<Controller>,
    /// The homeserver.
    pub matrix_url: String,
    /// The domain of Matrix users.
    pub matrix_domain: Option<String>,
    /// Whether the runtime's Matrix channel logs everything.
    pub matrix_debug: Toggle,
    /// The gateway to models and tools.
    pub ai_gateway_url: String,
    /// A directory of variables to wait for.
    pub env_mount: Option<EnvMount>,
    /// Port of the runtime's console.
    pub console_port: u16,
    /// Where the runtime sends traces, if it does.
    pub traces: Option<Traces>,
    /// The time zone; `None` leaves the system's.
    pub time_zone: Option<String>,
    /// How the worker is run.
    pub run: RunVariables,
}

impl Settings {
    /// Resolves all settings. The error names everything that is missing or wrong.
    pub fn resolve(
        options: &GlobalOptions,
        environment: &dyn Environment,
    ) -> Result<Self, SettingsError> {
        let lookup = Lookup::new(environment);
        let settings = Self::read(options, &lookup);
        lookup.finish()?;
        Ok(settings)
    }

    /// The settings with made-up values where `lookup` notes a mistake.
    fn read(options: &GlobalOptions, lookup: &Lookup<'_>) -> Self {
        let generation = lookup.generation();
        let worker = worker(lookup, options).unwrap_or_default();
        let worker_cr = lookup
            .text("WORKER_CR_NAME")
            .unwrap_or_else(|| worker.clone());
        let controller = controller(lookup, &worker_cr);
        let store = store::store(lookup, options, controller.is_some());
        let (alias, storage_prefix) = storage_prefix(lookup, generation, &store.bucket);
        let (root, workspace) = places(lookup, options, generation, &worker);
        Self {
            worker,
            worker_cr,
            store,
            storage_prefix,
            alias,
            root,
            workspace,
            layout: LayoutChoice::read(lookup, options),
            deployment: store::deployment(lookup),
            generation,
            controller,
            matrix_url: service(lookup, "MATRIX_URL", "MATRIX_SERVER", DEFAULT_MATRIX_URL),
            matrix_domain: lookup.text("MATRIX_DOMAIN"),
            matrix_debug: toggle(lookup, "MATRIX_DEBUG"),
            ai_gateway_url: service(
                lookup,
                "AI_GATEWAY_URL",
                "AI_GATEWAY",
                DEFAULT_AI_GATEWAY_URL,
            ),
            env_mount: env_mount(lookup),
            console_port: lookup
                .parsed(lookup.prefixed("CONSOLE_PORT"), port)
                .unwrap_or(DEFAULT_CONSOLE_PORT),
            traces: traces(lookup),
            time_zone: lookup.plain("TZ").map(|found| found.value),
            run: RunVariables::read(lookup),
        }
    }

    /// The values for a layout's variables, for a member or leader of `team`.
    #[must_use]
    pub fn variables(&self, team: &Team) -> Variables {
        let variables = Variables::new(
            &self.worker,
            &self.root.to_string_lossy(),
            &self.workspace.to_string_lossy(),
        )
        .with(Variable::ConsolePort, self.console_port.to_string())
        .with(Variable::Bucket, &self.store.bucket)
        .with(Variable::StoragePrefix, &self.storage_prefix)
        .with(Variable::MatrixUrl, &self.matrix_url)
        .with(Variable::AiGatewayUrl, &self.ai_gateway_url)
        .with_team(team);
        let optional = [
            (Variable::WorkerCr, Some(&self.worker_cr)),
            (Variable::FsEndpoint, self.store.endpoint.as_ref()),
            (
                Variable::ControllerUrl,
                self.controller.as_ref().map(|controller| &controller.url),
            ),
        ];
        optional
            .into_iter()
            .fold(variables, |variables, (variable, value)| match value {
                Some(value) => variables.with(variable, value),
                None => variables,
            })
    }
}

/// The worker's name. It becomes part of paths and keys, so it must be one safe path component.
fn worker(lookup: &Lookup<'_>, options: &GlobalOptions) -> Option<String> {
    let flag = options.worker.clone().map(|value| Found {
        name: "--worker".to_owned(),
        value,
    });
    let Some(found) = flag.or_else(|| lookup.prefixed("WORKER_NAME")) else {
        lookup.mistake(
            "HICLAW_WORKER_NAME or --worker",
            "is missing: the agent's name",
        );
        return None;
    };
    lookup.parsed(Some(found), |name| match RelPath::new(name) {
        Ok(path) if path.parent().is_none() => Ok(name.to_owned()),
        Ok(_) => Err("must be a name, without `/`".to_owned()),
        Err(error) => Err(format!(
            "is no name that a directory can have: {}",
            error.reason()
        )),
    })
}

fn controller(lookup: &Lookup<'_>, worker: &str) -> Option<Controller> {
    let url = lookup.parsed(lookup.prefixed("CONTROLLER_URL"), |text| {
        base_url(text, "http")
    })?;
    let token = lookup.secret("AUTH_TOKEN").map(TokenSource::Value);
    let file = lookup
        .text("AUTH_TOKEN_FILE")
        .map(|path| TokenSource::File(path.into()));
    let key = lookup
        .plain("HICLAW_WORKER_API_KEY")
        .map(|found| TokenSource::Value(Secret::new(found.value)));
    Some(Controller {
        url,
        worker: worker.to_owned(),
        tokens: token.into_iter().chain(file).chain(key).collect(),
    })
}

/// Alias and storage prefix. The prefix is passed on as it was given: the agent's own skills use it.
fn storage_prefix(lookup: &Lookup<'_>, generation: Generation, bucket: &str) -> (String, String) {
    let alias = generation.alias();
    store::storage_prefix(lookup).map_or_else(
        || (alias.to_owned(), format!("{alias}/{bucket}")),
        |prefix| (prefix.alias, prefix.whole),
    )
}

/// The URL of a service; `old` is what early documents called the variable, with `HICLAW_` before it.
fn service(lookup: &Lookup<'_>, suffix: &str, old: &str, default: &str) -> String {
    let found = lookup
        .prefixed(suffix)
        .or_else(|| lookup.plain(&format!("HICLAW_{old}")));
    lookup
        .parsed(found, |text| base_url(text, "http"))
        .unwrap_or_else(|| default.to_owned())
}

fn toggle(lookup: &Lookup<'_>, suffix: &str) -> Toggle {
    lookup
        .parsed(lookup.prefixed(suffix), Toggle::parse)
        .unwrap_or_default()
}

fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| "must be a number from 1 to 65535".to_owned())
}

fn traces(lookup: &Lookup<'_>) -> Option<Traces> {
    if !toggle(lookup, "CMS_TRACES_ENABLED").is_on() {
        return None;
    }
    // The controller writes the short names; the long ones follow the switch's own.
    let text = |name: &str| {
        lookup
            .text(&format!("CMS_{name}"))
            .or_else(|| lookup.text(&format!("CMS_TRACES_{name}")))
    };
    Some(Traces {
        endpoint: text("ENDPOINT"),
        license_key: text("LICENSE_KEY").map(Secret::new),
        project: text("PROJECT"),
        workspace: text("WORKSPACE"),
        service_name: text("SERVICE_NAME"),
    })
}

fn env_mount(lookup: &Lookup<'_>) -> Option<EnvMount> {
    let required = toggle(lookup, "WORKER_ENV_MOUNT_REQUIRED");
    let seconds = |text: &str| {
        text.parse()
            .map_err(|_| "must be a number of seconds".to_owned())
    };
    let timeout = lookup
        .parsed(lookup.prefixed("WORKER_ENV_MOUNT_TIMEOUT_SECONDS"), seconds)
        .map(Duration::from_secs);
    let directory = lookup.prefixed("WORKER_ENV_MOUNT_DIR")?;
    Some(EnvMount {
        directory: lookup.absolute(&directory.name, Path::new(&directory.value))?,
        necessity: if required.is_on() {
            Necessity::Required
        } else {
            Necessity::Optional
        },
        timeout: timeout.unwrap_or(DEFAULT_ENV_TIMEOUT),
    })
}

/// Root and workspace. What is not given follows from the other, as long as the workspace is `<root>/agents/<worker>`; HOME
/// counts only where it has that form, because then it was set for this worker.
fn places(
    lookup: &Lookup<'_>,
    options: &GlobalOptions,
    generation: Generation,
    worker: &str,
) -> (PathBuf, PathBuf) {
    let flag = options.root.clone().map(|path| ("--root".to_owned(), path));
    let variable = || {
        let found = lookup.prefixed("ROOT")?;
        Some((found.name, found.value.into()))
    };
    let root = flag
        .or_else(variable)
        .and_then(|(name, path)| lookup.absolute(&name, &path));
    let given = options
        .workspace
        .as_ref()
        .and_then(|path| lookup.absolute("--workspace", path));
    let home = || {
        let home = PathBuf::from(lookup.plain("HOME").filter(|_| root.is_none())?.value);
        let plain = home
            .is_absolute()
            .then(|| lookup.absolute("HOME", &home))
            .flatten()?;
        root_of(&plain, worker).is_some().then_some(plain)
    };
    let workspace = given.or_else(home);
    let root = root
        .or_else(|| root_of(workspace.as_ref()?, worker))
        .unwrap_or_else(|| PathBuf::from(generation.root()));
    let workspace = workspace.unwrap_or_else(|| root.join("agents").join(worker));
    (root, workspace)
}

/// The root of a workspace of the form `<root>/agents/<worker>`.
fn root_of(workspace: &Path, worker: &str) -> Option<PathBuf> {
    let tail = Path::new("agents").join(worker);
    let root = workspace.parent()?.parent()?;
    (!worker.is_empty() && workspace.ends_with(tail)).then(|| root.to_owned())
}

#[cfg(test)]
mod tests;

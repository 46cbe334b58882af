//! What a worker is told by its command line and its environment.
//!
//! Owns the names of options and variables, their defaults, and how they are turned into one value ([`Settings`]). A flag
//! wins over a variable; `HICLAW_` wins over `AGENTTEAMS_`; an empty variable counts as absent. The environment is handed
//! in. Never opens a connection; reads files only to load layouts.

mod env_file;
mod environment;
mod layouts;
mod lookup;
mod options;
mod resolve;
mod run;
mod show;
mod store;
mod values;

pub use self::{
    env_file::{EnvFileError, parse_env_file},
    environment::{Environment, Overlay, ProcessEnvironment},
    layouts::{KnownLayouts, LAYOUT_DIRECTORY, LayoutChoice, LayoutFileError},
    lookup::{SettingMistake, SettingsError},
    options::{GlobalOptions, LogFormat, PathStyle, ProgressMode},
    resolve::Settings,
    run::RunVariables,
    store::{CredentialSource, Origin, StoreSettings},
    values::{
        Controller, Deployment, EnvMount, Generation, Necessity, Provider, Toggle, TokenSource,
        Traces,
    },
};

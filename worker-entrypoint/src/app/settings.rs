//! The settings, with the variables of a mounted file over those of the process.

use hiclaw_sync::settings::{
    EnvMount, GlobalOptions, Necessity, Overlay, ProcessEnvironment, Settings,
};
use sync_core::secret::Secret;

use crate::{cli::RunOptions, env_mount, environment::Variables, service_manager};

/// Whether to wait for a mounted file of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// As long as the settings say.
    AsTold,
    /// Not at all: what is there counts.
    Not,
}

/// The settings, and the environment that the runtime inherits.
pub(super) async fn resolve(
    options: &GlobalOptions,
    run: RunOptions,
    waiting: Waiting,
) -> anyhow::Result<(Settings, Variables)> {
    let file = match mount(options) {
        Some(mut mount) => {
            if waiting == Waiting::Not {
                mount.necessity = Necessity::Optional;
            }
            env_mount::wait(&mount).await?
        }
        None => Vec::new(),
    };
    let mut inherited: Variables = std::env::vars_os()
        .filter(|(name, _)| name != service_manager::VARIABLE)
        .collect();
    inherited.extend(file.iter().map(|(name, value)| (name.into(), value.into())));
    let mut settings = Settings::resolve(options, &Overlay::new(file, ProcessEnvironment))?;
    settings.run = run.or(&settings.run);
    Ok((settings, inherited))
}

/// The mount, looked up with made-up values for what only the file may give. Other mistakes are told later, all together.
fn mount(options: &GlobalOptions) -> Option<EnvMount> {
    let made_up = || Some(Secret::new("made-up"));
    let options = GlobalOptions {
        worker: Some("made-up".to_owned()),
        endpoint: Some("http://made-up".to_owned()),
        access_key: made_up(),
        secret_key: made_up(),
        ..options.clone()
    };
    Settings::resolve(&options, &ProcessEnvironment)
        .ok()?
        .env_mount
}

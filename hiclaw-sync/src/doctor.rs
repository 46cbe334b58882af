//! Looking for what keeps a worker from working, and saying what to do.
//!
//! Owns the checks and their words. Each check stands for itself: one that can't be made says so and the others go on.
//! Writes and removes keys of the engine's own (`.hiclaw/doctor-…`) and one file in the state directory; changes nothing
//! else, and never prints a secret.

mod access;
mod files;
mod machine;
mod services;
mod store;
mod weight;

use serde::Serialize;
use sync_core::{
    layout::{ResolvedLayout, Team},
    store::s3::S3Store,
};

use crate::{
    settings::{Environment, GlobalOptions, Settings},
    worker::{Worker, store_config},
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at; a stable word for scripts.
    pub check: &'static str,
    /// What it came to.
    pub state: State,
    /// What was found, for people.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not asked, because something before it failed.
    Skipped,
    /// The worker works, but not as well as it could.
    Warning,
    /// This keeps the worker from working.
    Failed,
}

/// What a whole examination came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing failed.
    Sound,
    /// Something did.
    Failed,
    /// The store can't be reached.
    Unreachable,
}

impl Check {
    fn new(check: &'static str, state: State, message: impl Into<String>) -> Self {
        Self {
            check,
            state,
            message: message.into(),
            advice: None,
        }
    }

    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Ok, message)
    }

    fn skipped(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, State::Skipped, message)
    }

    fn warning(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..Self::new(check, State::Warning, message)
        }
    }

    fn failed(check: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..Self::new(check, State::Failed, message)
        }
    }
}

/// Makes every check; `tell` gets each as soon as it is made.
pub async fn examine(
    options: &GlobalOptions,
    environment: &(dyn Environment + Sync),
    tell: &mut (dyn FnMut(Check) + Send),
) -> Verdict {
    let mut verdict = Verdict::Sound;
    let mut note = |check: Check, tell: &mut (dyn FnMut(Check) + Send)| {
        if check.state == State::Failed {
            verdict = Verdict::Failed;
        }
        tell(check);
    };
    let mut settings = match Settings::resolve(options, environment) {
        Ok(settings) => settings,
        Err(error) => {
            for mistake in error.mistakes() {
                let advice =
                    "set it and start again; `worker-entrypoint check` shows what is understood";
                note(Check::failed("settings", mistake.to_string(), advice), tell);
            }
            return verdict;
        }
    };
    note(settings_check(&settings), tell);
    let (layout, store_checks, reached) = ask_the_store(&mut settings).await;
    for check in store_checks {
        note(check, tell);
    }
    match layout {
        Ok(layout) => {
            for check in machine::checks(&settings, &layout).await {
                note(check, tell);
            }
        }
        Err(check) => note(check, tell),
    }
    for check in services::checks(&settings, environment).await {
        note(check, tell);
    }
    match reached {
        store::Reached::No => Verdict::Unreachable,
        store::Reached::Yes => verdict,
    }
}

fn settings_check(settings: &Settings) -> Check {
    let endpoint = settings.store.endpoint.as_deref().unwrap_or("AWS S3");
    Check::ok(
        "settings",
        format!(
            "worker {}, layout {}, bucket {} at {endpoint}, workspace {}",
            settings.worker,
            settings.layout,
            settings.store.bucket,
            settings.workspace.display()
        ),
    )
}

/// The layout for the worker's team where the store tells it, and what the store's checks found.
async fn ask_the_store(
    settings: &mut Settings,
) -> (Result<ResolvedLayout, Check>, Vec<Check>, store::Reached) {
    let config = store_config(settings).await;
    let settings = &*settings;
    let without_team = || {
        settings.load_layout(&Team::default()).map_err(|error| {
            let advice = "`hiclaw-sync layouts check FILE` explains every mistake";
            Check::failed("layout", error.to_string(), advice)
        })
    };
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let advice =
                "check HICLAW_CONTROLLER_URL and the worker's token, and the controller's log";
            let check = Check::failed("credentials", crate::exit::message(&error), advice);
            return (without_team(), vec![check], store::Reached::Yes);
        }
    };
    let s3 = match S3Store::connect(&config).await {
        Ok(s3) => std::sync::Arc::new(s3),
        Err(error) => {
            let message = crate::exit::message(&anyhow::Error::new(error));
            let check = Check::failed("store", message, "check --ca-cert and the endpoint");
            return (without_team(), vec![check], store::Reached::Yes);
        }
    };
    let found = store::greet(settings, &s3).await;
    let mut checks = found.checks;
    if !found.usable {
        checks.push(Check::skipped(
            "access",
            "the store was not asked any further",
        ));
        return (without_team(), checks, found.reached);
    }
    let layout = match Worker::with_store(settings.clone(), s3.clone()).await {
        Ok(worker) => Ok(worker.layout),
        Err(_) => without_team(),
    };
    if let Ok(layout) = &layout {
        checks.extend(access::checks(&s3, layout).await);
        checks.extend(store::abilities(&s3, layout).await);
        checks.extend(files::checks(settings, &s3, layout).await);
    }
    (layout, checks, found.reached)
}

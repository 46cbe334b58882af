//! A worker's life: settings, steps, runtime, drain.
//!
//! Owns the order and the exit code. What each part does is in its own module.
//!
//! ```text
//! init ─► settings ─► connect ─► steps (pull, links, …, mirror, login) ─► runtime ─► stop ─► last flush ─► exit code
//!                        └──────────── SIGTERM at any point ────────────────────────►┘
//! ```

mod agent;
mod connect;
mod drain;
mod life;
mod settings;
mod startup;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::Parser as _;
use hiclaw_sync::{
    exit::{self, Exit},
    logging,
};

use crate::{
    cli::{Cli, Command},
    engine::chain,
    healthcheck::{self, Question},
    signals::Signals,
};

/// Everything but the init.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli.global, logging::Default::Informative);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "can't start");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => explain(&error),
    };
    // A step that was cancelled may still look at files; nothing waits for it.
    runtime.shutdown_background();
    code.into()
}

async fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Some(Command::Demo { arguments, runtime }) => {
            crate::demo::run(arguments, runtime).await?;
            Ok(0)
        }
        Some(Command::Check) => check(&cli).await,
        Some(Command::Healthcheck { live }) => {
            let question = if live {
                Question::Alive
            } else {
                Question::Ready
            };
            healthcheck(&cli, question).await
        }
        Some(Command::Pause) => {
            let mut signals = Signals::listen().context("can't listen for signals")?;
            life::stop_demanded(&mut signals).await;
            Ok(0)
        }
        None => {
            // Before anything else: from here on no signal ends the process unasked.
            let signals = Signals::listen().context("can't listen for signals")?;
            crate::process::become_subreaper().context("can't take care of orphans")?;
            Box::pin(life::run(cli, signals)).await
        }
    }
}

/// Prints the settings and the layout's name, if they are right.
async fn check(cli: &Cli) -> anyhow::Result<u8> {
    let (settings, _) = settings::resolve(&cli.global, cli.run, settings::Waiting::Not).await?;
    let layout = settings.load_layout(&sync_core::layout::Team::default())?;
    let mut document = settings.redacted();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("layout_resolved".to_owned(), layout.name.into());
        // Keys of the store stand in it by their names.
        let runtime = serde_json::json!({
            "command": layout.runtime.command,
            "cwd": layout.runtime.cwd,
            "env": layout.runtime.env,
            "default_env": layout.runtime.default_env,
        });
        fields.insert("layout_runtime".to_owned(), runtime);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{document:#}").context("can't print")?;
    Ok(0)
}

/// Says how the running worker is. Whatever keeps that from being found out is no good news either, and a code of 2 means
/// nothing to container engines.
async fn healthcheck(cli: &Cli, question: Question) -> anyhow::Result<u8> {
    let listen = match cli.run.health_listen {
        Some(listen) => Ok(Some(listen)),
        None => settings::resolve(&cli.global, cli.run, settings::Waiting::Not)
            .await
            .map(|(settings, _)| settings.run.health_listen),
    };
    let answer = match listen {
        Ok(listen) => healthcheck::ask(question, listen)
            .await
            .map_err(anyhow::Error::new),
        Err(error) => Err(error),
    };
    let (words, code) = match answer {
        Ok(words) => (words, 0),
        Err(error) => (chain(error.as_ref()), Exit::Failed.code()),
    };
    writeln!(std::io::stdout().lock(), "{words}").context("can't print")?;
    Ok(code)
}

/// Says what went wrong and what can be done; gives the exit code.
fn explain(error: &anyhow::Error) -> u8 {
    let text = chain(error.as_ref());
    if let Some(advice) = exit::advice(error) {
        tracing::error!("{text}; {advice}");
    } else {
        tracing::error!("{text}");
    }
    // A store that never answered is a failure like any other here: nobody runs this by hand.
    match Exit::of_error(error) {
        Exit::Usage => Exit::Usage.code(),
        Exit::Done
        | Exit::Failed
        | Exit::Problems
        | Exit::Held
        | Exit::Unreachable
        | Exit::Interrupted => Exit::Failed.code(),
    }
}

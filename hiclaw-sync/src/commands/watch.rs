//! `watch`: the resident engine in the foreground, without a runtime.

use std::{io, sync::Arc};

use anyhow::Context as _;
use sync_core::{
    events::EventSettings,
    resident::ResidentSettings,
    session::{Direction, Session},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{form, worker};
use crate::{
    cli::WatchArguments,
    exit::Exit,
    output::{self, Form, Mood},
    resident::Engine,
    settings::GlobalOptions,
};

pub(super) async fn run(global: &GlobalOptions, arguments: WatchArguments) -> anyhow::Result<Exit> {
    let worker = worker(global).await?;
    let session = Arc::new(worker.session().await?);
    let listen = arguments.events.or(worker.settings.run.events);
    let settings = ResidentSettings {
        pull_interval: arguments.pull_interval,
        events: EventSettings {
            listen: listen.unwrap_or_default(),
            ..EventSettings::default()
        },
        ..ResidentSettings::default()
    };
    let engine = Engine::start(session.clone(), settings, &worker.state_directory()).await?;
    let mut events = engine.resident().subscribe();
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    engine.resident().pass_soon(Direction::Sync).await?;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    if let Err(error) = show(global, &event) {
                        tracing::error!("can't show what happens any more; stopping: {error:#}");
                        break;
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "output is too slow; some passes are not shown");
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(Exit::Failed),
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tokio::select! {
        report = engine.stop() => Ok(Exit::of_report(&report??)),
        _ = terminate.recv() => Ok(given_up(&session)),
        _ = interrupt.recv() => Ok(given_up(&session)),
    }
}

/// A second signal: whoever stops us will not wait for a store that doesn't answer.
fn given_up(session: &Session) -> Exit {
    for unsent in session.unsent() {
        tracing::warn!(mount = unsent.mount, path = %unsent.path, "not sent; the next start sends it");
    }
    Exit::Failed
}

fn show(global: &GlobalOptions, event: &sync_core::resident::Event) -> anyhow::Result<()> {
    use sync_core::resident::Event;
    let mut out = io::stdout().lock();
    let form = form(global);
    match event {
        event if form == Form::Json => output::json(&mut out, event)?,
        Event::Pass { report, .. } if report.is_quiet() => {}
        Event::Pass { report, .. } => output::report(&mut out, form, Mood::Done, report)?,
        Event::Failed { message, .. } => tracing::error!("{message}"),
        _ => {}
    }
    Ok(())
}

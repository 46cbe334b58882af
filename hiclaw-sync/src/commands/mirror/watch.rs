//! `mirror --watch`: the resident engine on a mirror.
//!
//! A directory is watched, and looked at as a whole now and then; a bucket is only looked at now and then.

use std::{io, time::Duration};

use anyhow::Context as _;
use sync_core::{
    report::Side,
    resident::{Event, Resident, ResidentSettings, Trigger},
    watch::Watcher,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{Opened, form, request};
use crate::{
    cli::MirrorArguments,
    exit::Exit,
    output::{self, Form, Mood},
    progress, resident,
    settings::GlobalOptions,
};

/// Time between two looks: at a directory that is watched anyhow, and at a bucket.
const DIRECTORY_INTERVAL: Duration = Duration::from_mins(5);
const BUCKET_INTERVAL: Duration = Duration::from_secs(30);

pub(super) async fn run(
    global: &GlobalOptions,
    arguments: &MirrorArguments,
    opened: &Opened,
    mut ended: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<Exit> {
    let (watcher, news, usual) = match opened.source {
        Side::Local => {
            let (sender, news) = mpsc::channel(resident::NEWS_QUEUED);
            let mounts = resident::watched_mounts(&opened.session);
            let watcher = tokio::task::spawn_blocking(move || Watcher::start(mounts, sender))
                .await?
                .context("can't watch the files")?;
            (Some(watcher), Some(news), DIRECTORY_INTERVAL)
        }
        Side::Remote => (None, None, BUCKET_INTERVAL),
    };
    // The first look tells at once what would otherwise be tried again for ever: wrong keys, a bucket that isn't there.
    tokio::select! {
        first = first_pass(global, opened) => first?,
        () = &mut ended => return Ok(Exit::Interrupted),
    }
    let settings = ResidentSettings {
        pull_interval: arguments.interval.unwrap_or(usual),
        ..ResidentSettings::default()
    };
    let engine = Resident::start(opened.session.clone(), settings, news);
    show_events(global, &engine, ended).await?;
    let exit = match opened.source {
        // What changed until now is still copied.
        Side::Local => Exit::of_report(&engine.stop().await??),
        Side::Remote => Exit::Done,
    };
    drop(watcher);
    Ok(exit)
}

async fn first_pass(global: &GlobalOptions, opened: &Opened) -> anyhow::Result<()> {
    let progress = progress::start(global);
    let result = opened.session.pass(&request(), &progress).await;
    drop(progress);
    let report =
        result.map_err(|error| super::super::pass::stopped(error, opened.place.clone()))?;
    let event = Event::Pass {
        trigger: Trigger::Request,
        report: std::sync::Arc::new(report),
    };
    show(global, &event)
}

async fn show_events(
    global: &GlobalOptions,
    engine: &Resident,
    mut ended: impl Future<Output = ()> + Unpin,
) -> anyhow::Result<()> {
    let mut events = engine.subscribe();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => show(global, &event)?,
                Err(RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "output is too slow; some passes are not shown");
                }
                Err(RecvError::Closed) => anyhow::bail!("the engine has ended"),
            },
            () = &mut ended => return Ok(()),
        }
    }
}

fn show(global: &GlobalOptions, event: &Event) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let form = form(global);
    match event {
        event if form == Form::Json => output::json(&mut out, event)?,
        Event::Pass {
            report,
            trigger: Trigger::Change | Trigger::Schedule,
        } if report.is_quiet() => {}
        Event::Pass { report, .. } => output::report(&mut out, form, Mood::Done, report)?,
        Event::Failed { message, .. } => tracing::error!("{message}"),
        _ => {}
    }
    Ok(())
}

//! `conflicts`: through the resident engine where there is one, else here.

use std::io;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sync_core::{
    control::{ConflictAction, ControlClient, ControlError, Op, Request},
    report::Side,
    session::{ConflictDetails, ConflictVersion, InBucket},
    status::ConflictCopy,
};

use super::{form, pass::refusal, settings};
use crate::{
    cli::{ConflictsCommand, Take},
    exit::Exit,
    output::{self, Form},
    progress,
    resident::{Resolution, after_resolving},
    settings::{GlobalOptions, Settings},
    worker::{self, Worker},
};

pub(super) async fn run(global: &GlobalOptions, command: ConflictsCommand) -> anyhow::Result<Exit> {
    let form = form(global);
    let settings = settings(global)?;
    let mut out = io::stdout().lock();
    let (written, exit) = match command {
        ConflictsCommand::List => {
            let copies = list(settings).await?;
            (show_list(&mut out, form, &copies), Exit::Done)
        }
        ConflictsCommand::Show { path } => {
            let details = show(settings, path).await?;
            (show_details(&mut out, form, &details), Exit::Done)
        }
        ConflictsCommand::Resolve { path, take } => {
            let resolution = resolve(global, settings, path, take).await?;
            let exit = exit_of(&resolution);
            (show_resolution(&mut out, form, &resolution), exit)
        }
    };
    output::forgive_closed_pipe(written).context("can't write the result")?;
    Ok(exit)
}

async fn list(settings: Settings) -> anyhow::Result<Vec<ConflictCopy>> {
    if let Some(client) = connect(&settings).await? {
        return ask(client, ConflictAction::List, Vec::new(), None).await;
    }
    let session = Worker::connect(settings).await?.session().await?;
    Ok(tokio::task::spawn_blocking(move || session.conflicts()).await?)
}

async fn show(settings: Settings, path: String) -> anyhow::Result<ConflictDetails> {
    if let Some(client) = connect(&settings).await? {
        return ask(client, ConflictAction::Show, vec![path], None).await;
    }
    let session = Worker::connect(settings).await?.session().await?;
    Ok(tokio::task::spawn_blocking(move || session.conflict(&path)).await??)
}

async fn resolve(
    global: &GlobalOptions,
    settings: Settings,
    path: String,
    take: Take,
) -> anyhow::Result<Resolution> {
    let take = match take {
        Take::Local => Side::Local,
        Take::Remote => Side::Remote,
    };
    if let Some(client) = connect(&settings).await? {
        return ask(client, ConflictAction::Resolve, vec![path], Some(take)).await;
    }
    let session = Worker::connect(settings).await?.session().await?;
    let resolved = session.resolve(&path, take).await?;
    let progress = progress::start(global);
    let request = after_resolving(&resolved);
    let pass = session.pass(&request, &progress).await;
    Ok(Resolution::new(resolved, pass))
}

async fn connect(settings: &Settings) -> Result<Option<ControlClient>, ControlError> {
    ControlClient::connect(&worker::state_directory(settings)).await
}

async fn ask<T: DeserializeOwned>(
    mut client: ControlClient,
    action: ConflictAction,
    paths: Vec<String>,
    take: Option<Side>,
) -> anyhow::Result<T> {
    let request = Request {
        paths,
        action: Some(action),
        take,
        ..Request::new(Op::Conflicts)
    };
    let answer: Value = client.call(request, |_| {}).await.map_err(refusal)?;
    serde_json::from_value(answer).context("the resident engine's answer is not understood")
}

/// The version is in its place here either way; only the bucket may not know yet.
fn exit_of(resolution: &Resolution) -> Exit {
    match &resolution.pass {
        Some(report) => Exit::of_report(report),
        None if resolution.unreachable => Exit::Unreachable,
        None => Exit::Problems,
    }
}

fn show_list(out: &mut dyn io::Write, form: Form, copies: &[ConflictCopy]) -> io::Result<()> {
    match form {
        Form::Json => output::json(out, &copies),
        Form::Text | Form::Quiet if copies.is_empty() => writeln!(out, "no conflict copies"),
        Form::Text | Form::Quiet => copies.iter().try_for_each(|copy| {
            let whose = copy.side.map_or("a", whose);
            let place = output::place(&copy.mount, &copy.path);
            let file = output::place(&copy.mount, &copy.copy);
            let size = output::size(copy.bytes);
            writeln!(out, "{place}: {whose} version is kept as {file} ({size})")
        }),
    }
}

fn show_details(out: &mut dyn io::Write, form: Form, details: &ConflictDetails) -> io::Result<()> {
    if form == Form::Json {
        return output::json(out, details);
    }
    let ConflictDetails {
        mount,
        path,
        versions,
        diff,
        diff_note,
    } = details;
    if versions.first().is_none_or(|first| first.path != *path) {
        writeln!(out, "{}: nothing stands here", output::place(mount, path))?;
    }
    for version in versions {
        show_version(out, mount, version)?;
    }
    if let Some(diff) = diff {
        write!(out, "\n{diff}")?;
    }
    match diff_note {
        Some(note) => writeln!(out, "\n{note}"),
        None => Ok(()),
    }
}

fn show_version(out: &mut dyn io::Write, mount: &str, version: &ConflictVersion) -> io::Result<()> {
    let ConflictVersion {
        path,
        side,
        found,
        modified,
        bytes,
        sha256,
        in_bucket,
    } = version;
    writeln!(out, "{}", output::place(mount, path))?;
    writeln!(out, "  version   {}", side.map_or("one", whose))?;
    if let Some(found) = found {
        writeln!(out, "  found     {found}")?;
    }
    if let Some(modified) = modified {
        writeln!(out, "  modified  {modified}")?;
    }
    writeln!(out, "  size      {bytes} bytes")?;
    writeln!(out, "  sha256    {sha256}")?;
    let bucket = match in_bucket {
        InBucket::Yes => "has it too",
        InBucket::No => "has nothing under this path",
        InBucket::OtherVersion => "has another version",
    };
    writeln!(out, "  bucket    {bucket}")
}

fn show_resolution(out: &mut dyn io::Write, form: Form, resolution: &Resolution) -> io::Result<()> {
    let resolved = &resolution.resolved;
    match form {
        Form::Json => return output::json(out, resolution),
        Form::Quiet => {}
        Form::Text => {
            let path = output::place(&resolved.mount, &resolved.path);
            let copy = output::place(&resolved.mount, &resolved.copy);
            let whose = whose(resolved.taken);
            writeln!(out, "{path}: {whose} version stands; {copy} is removed")?;
            for copy in &resolved.remaining {
                let copy = output::place(&resolved.mount, copy);
                writeln!(out, "{path}: {copy} is still there")?;
            }
        }
    }
    if let Some(report) = &resolution.pass {
        output::problems(out, report)?;
    }
    match &resolution.pending {
        Some(reason) => writeln!(out, "the bucket is told with the next pass: {reason}"),
        None => Ok(()),
    }
}

fn whose(side: Side) -> &'static str {
    match side {
        Side::Local => "the local",
        Side::Remote => "the bucket's",
    }
}

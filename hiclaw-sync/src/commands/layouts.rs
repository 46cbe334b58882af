//! `layouts`: which there are, what they mean, what is wrong with one.

use std::{
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use sync_core::{layout::Team, secret::Secret};

use super::{form, settings};
use crate::{
    cli::LayoutsCommand,
    exit::Exit,
    output::{self, Form},
    settings::{GlobalOptions, KnownLayouts, LAYOUT_DIRECTORY},
};

pub(super) fn run(global: &GlobalOptions, command: LayoutsCommand) -> anyhow::Result<Exit> {
    match command {
        LayoutsCommand::List => list(global),
        LayoutsCommand::Show { name } => show(global, name),
        LayoutsCommand::Check { file } => check(global, &file),
    }
}

fn list(global: &GlobalOptions) -> anyhow::Result<Exit> {
    let known = KnownLayouts::load(Path::new(LAYOUT_DIRECTORY))?;
    let mut out = io::stdout().lock();
    let layouts = known
        .set
        .names()
        .into_iter()
        .map(|name| Ok((name, known.set.get(name)?.description())))
        .collect::<Result<Vec<_>, sync_core::layout::LayoutError>>()?;
    let written = match form(global) {
        Form::Json => {
            let documents: Vec<_> = layouts
                .iter()
                .map(|(name, description)| serde_json::json!({ "name": name, "description": description }))
                .collect();
            output::json(&mut out, &documents)
        }
        Form::Text | Form::Quiet => layouts
            .iter()
            .try_for_each(|(name, description)| writeln!(out, "{name:<18} {description}")),
    };
    output::forgive_closed_pipe(written)?;
    for (path, error) in &known.broken {
        tracing::warn!(path = %path.display(), "not a layout: {error}");
    }
    Ok(if known.broken.is_empty() {
        Exit::Done
    } else {
        Exit::Problems
    })
}

fn show(global: &GlobalOptions, name: String) -> anyhow::Result<Exit> {
    let mut options = global.clone();
    options.layout = Some(name);
    // A layout can be looked at before there is a worker.
    options.worker.get_or_insert_with(|| "NAME".to_owned());
    options
        .endpoint
        .get_or_insert_with(|| "http://127.0.0.1:9000".to_owned());
    options.access_key.get_or_insert_with(|| Secret::new("-"));
    options.secret_key.get_or_insert_with(|| Secret::new("-"));
    let layout = settings(&options)?.load_layout(&Team::default())?;
    output::forgive_closed_pipe(write!(io::stdout().lock(), "{layout}"))?;
    Ok(Exit::Done)
}

fn check(global: &GlobalOptions, file: &Path) -> anyhow::Result<Exit> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let known = KnownLayouts::load(Path::new(LAYOUT_DIRECTORY))?;
    let mistakes = known.set.check(&text, &file.display().to_string());
    let mut out = io::stdout().lock();
    let written = match form(global) {
        Form::Json => {
            let documents: Vec<_> = mistakes
                .iter()
                .map(|mistake| {
                    serde_json::json!({ "line": mistake.line(), "column": mistake.column(), "message": mistake.message() })
                })
                .collect();
            output::json(&mut out, &documents)
        }
        Form::Text | Form::Quiet if mistakes.is_empty() => {
            writeln!(out, "{}: no mistakes", file.display())
        }
        Form::Text | Form::Quiet => mistakes
            .iter()
            .try_for_each(|mistake| writeln!(out, "{mistake}")),
    };
    output::forgive_closed_pipe(written)?;
    Ok(if mistakes.is_empty() {
        Exit::Done
    } else {
        Exit::Usage
    })
}

//! `doctor`: shows what an examination finds.

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::form;
use crate::{
    doctor::{self, Check, State, Verdict},
    exit::Exit,
    output::{self, Form, printable},
    settings::{GlobalOptions, ProcessEnvironment},
};

pub(super) async fn run(global: &GlobalOptions) -> anyhow::Result<Exit> {
    let form = form(global);
    let mut checks = Vec::new();
    let mut written = Ok(());
    let verdict = doctor::examine(global, &ProcessEnvironment, &mut |check| {
        // As they come: some take seconds.
        if form != Form::Json && written.is_ok() {
            written = show(form, &check);
        }
        checks.push(check);
    })
    .await;
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (failed, warnings) = (count(State::Failed), count(State::Warning));
    written = written.and_then(|()| {
        let mut out = io::stdout().lock();
        match form {
            Form::Json => output::json(
                &mut out,
                &serde_json::json!({"checks": checks, "failed": failed, "warnings": warnings}),
            ),
            Form::Quiet => Ok(()),
            Form::Text => writeln!(out, "{failed} failed, {warnings} warnings"),
        }
    });
    output::forgive_closed_pipe(written).context("can't write the result")?;
    Ok(match verdict {
        Verdict::Sound => Exit::Done,
        Verdict::Failed => Exit::Failed,
        Verdict::Unreachable => Exit::Unreachable,
    })
}

fn show(form: Form, check: &Check) -> io::Result<()> {
    let word = match check.state {
        State::Ok => "ok",
        State::Skipped => "not asked",
        State::Warning => "warning",
        State::Failed => "FAILED",
    };
    if form == Form::Quiet && check.state < State::Warning {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{word:<9} {:<18} {}",
        check.check,
        printable(&check.message)
    )?;
    if let Some(advice) = &check.advice {
        writeln!(out, "{:<9} {:<18} -> {}", "", "", printable(advice))?;
    }
    Ok(())
}

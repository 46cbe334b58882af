//! `pull`, `push`, `sync`, `plan`, `approve`: through the resident engine where there is one, else here.

use std::io;

use anyhow::Context as _;
use sync_core::{
    control::{ControlClient, ControlError, Op, Request},
    guard::Approval,
    report::Report,
    session::{Direction, PassError, PassRequest},
};

use super::{form, settings};
use crate::{
    cli::PassArguments,
    exit::{Decided, Exit},
    output::{self, Mood},
    progress,
    resident::{ERROR_UNREACHABLE, ERROR_USAGE},
    settings::{GlobalOptions, Settings},
    worker::{self, Worker},
};

/// Which way, and whether held deletes go too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Pull,
    Push,
    Sync,
    Approve,
}

impl Way {
    fn direction(self) -> Direction {
        match self {
            Self::Pull => Direction::Pull,
            Self::Push => Direction::Push,
            Self::Sync | Self::Approve => Direction::Sync,
        }
    }

    fn op(self) -> Op {
        match self {
            Self::Pull => Op::Pull,
            Self::Push => Op::Push,
            Self::Sync => Op::Sync,
            Self::Approve => Op::Approve,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Sync => "sync",
            Self::Approve => "approve",
        }
    }
}

pub(super) async fn run(
    global: &GlobalOptions,
    way: Way,
    arguments: PassArguments,
) -> anyhow::Result<Exit> {
    let settings = settings(global)?;
    let mood = if arguments.dry_run {
        Mood::Planned
    } else {
        Mood::Done
    };
    let report = match ControlClient::connect(&worker::state_directory(&settings)).await? {
        Some(client) => ask(client, way, arguments).await?,
        None => Box::pin(alone(global, settings, way, arguments)).await?,
    };
    output::report(&mut io::stdout().lock(), form(global), mood, &report)
        .context("can't write the result")?;
    Ok(Exit::of_report(&report))
}

/// Lets the resident engine do it.
async fn ask(
    mut client: ControlClient,
    way: Way,
    arguments: PassArguments,
) -> anyhow::Result<Report> {
    let request = Request {
        op: if arguments.dry_run {
            Op::Plan
        } else {
            way.op()
        },
        paths: arguments.paths,
        direction: arguments.dry_run.then(|| way.word().to_owned()),
        ..Request::new(way.op())
    };
    let result = client.call(request, |_| {}).await;
    match result {
        Ok(value) => {
            serde_json::from_value(value).context("the resident engine's answer is not understood")
        }
        Err(error) => Err(refusal(error)),
    }
}

/// What the resident engine refused, with the exit code that its word means.
pub(super) fn refusal(error: ControlError) -> anyhow::Error {
    let ControlError::Refused { kind, message } = error else {
        return error.into();
    };
    let exit = match kind.as_str() {
        ERROR_UNREACHABLE => Exit::Unreachable,
        ERROR_USAGE => Exit::Usage,
        _ => Exit::Failed,
    };
    anyhow::Error::new(Decided(exit)).context(message)
}

/// Does it under the mounts' locks.
async fn alone(
    global: &GlobalOptions,
    settings: Settings,
    way: Way,
    arguments: PassArguments,
) -> anyhow::Result<Report> {
    let place = worker::place(&settings);
    let worker = Worker::connect(settings).await?;
    let session = worker.session().await?;
    let approval = if way == Way::Approve {
        Approval::Given
    } else {
        Approval::None
    };
    let request = PassRequest {
        approval,
        ..session.request(way.direction(), &arguments.paths)?
    };
    let progress = progress::start(global);
    let result = if arguments.dry_run {
        session.plan(&request, &progress).await
    } else {
        session.pass(&request, &progress).await
    };
    drop(progress);
    result.map_err(|error| stopped(error, place))
}

/// A pass that could not go on, as an error. What was done before the end is told too: it is done.
pub(super) fn stopped(error: PassError, place: String) -> anyhow::Error {
    if !error.report.is_quiet() {
        output::report(
            &mut io::stderr().lock(),
            output::Form::Text,
            Mood::Done,
            &error.report,
        )
        .ok();
    }
    anyhow::Error::new(error.source).context(place)
}

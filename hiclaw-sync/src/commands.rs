//! What each command does.

mod layouts;
mod pass;
mod serve;
mod shell;
mod state;
mod watch;

use std::io::Write as _;

use anyhow::Context as _;

use crate::{
    cli::{Cli, Command, PassArguments, PlanDirection},
    exit::{self, Exit},
    output::Form,
    settings::{GlobalOptions, ProcessEnvironment, Settings},
    worker::Worker,
};

/// Runs a command and reports its failure on standard error.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    let json = cli.global.json;
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(error) => {
            let code = Exit::of_error(&error);
            let mut stderr = std::io::stderr().lock();
            let message = exit::message(&error);
            let mut said = writeln!(stderr, "hiclaw-sync: {message}");
            if let Some(advice) = exit::advice(&error) {
                said = said.and(writeln!(stderr, "  {advice}"));
            }
            if json {
                let document = serde_json::json!({ "error": message, "exit_code": code.code() });
                said = said.and(crate::output::json(
                    &mut std::io::stdout().lock(),
                    &document,
                ));
            }
            // Nobody is there to be told that nobody is there.
            said.ok();
            code
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { global, command } = cli;
    match command.unwrap_or_else(|| Command::Pull(PassArguments::default())) {
        Command::Layouts(command) => layouts::run(&global, command),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man => shell::manual(),
        other => runtime()?.block_on(asynchronous(global, other)),
    }
}

/// The commands that talk to a store.
async fn asynchronous(global: GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Pull(arguments) => pass::run(&global, pass::Way::Pull, arguments).await,
        Command::Push(arguments) => pass::run(&global, pass::Way::Push, arguments).await,
        Command::Sync(arguments) => pass::run(&global, pass::Way::Sync, arguments).await,
        Command::Plan(arguments) => {
            let way = match arguments.direction {
                PlanDirection::Pull => pass::Way::Pull,
                PlanDirection::Push => pass::Way::Push,
                PlanDirection::Sync => pass::Way::Sync,
            };
            pass::run(
                &global,
                way,
                PassArguments {
                    paths: arguments.paths,
                    dry_run: true,
                },
            )
            .await
        }
        Command::Approve => pass::run(&global, pass::Way::Approve, PassArguments::default()).await,
        Command::Status => state::status(&global).await,
        Command::Conflicts => state::conflicts(&global).await,
        Command::Watch(arguments) => watch::run(&global, arguments).await,
        Command::Serve(arguments) => serve::run(&global, arguments).await,
        Command::Layouts(_) | Command::Completions { .. } | Command::Man => Ok(Exit::Usage),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the asynchronous runtime")
}

/// How results are shown.
fn form(global: &GlobalOptions) -> Form {
    match (global.json, global.quiet) {
        (true, _) => Form::Json,
        (false, true) => Form::Quiet,
        (false, false) => Form::Text,
    }
}

fn settings(global: &GlobalOptions) -> anyhow::Result<Settings> {
    Ok(Settings::resolve(global, &ProcessEnvironment)?)
}

async fn worker(global: &GlobalOptions) -> anyhow::Result<Worker> {
    Worker::connect(settings(global)?).await
}

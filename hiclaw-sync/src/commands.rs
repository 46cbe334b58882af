//! What each command does.

mod conflicts;
mod doctor;
mod layouts;
mod mirror;
mod objects;
mod pass;
mod serve;
mod shell;
mod state;
mod watch;

use std::io::Write as _;

use anyhow::Context as _;

use self::pass::Way;
use crate::{
    cli::{Cli, Command, ConflictsCommand, PassArguments, PlanDirection},
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
    let command = command.unwrap_or_else(|| Command::Pull(PassArguments::default()));
    match command {
        Command::Pull(arguments) => pass(&global, Way::Pull, arguments),
        Command::Push(arguments) => pass(&global, Way::Push, arguments),
        Command::Sync(arguments) => pass(&global, Way::Sync, arguments),
        Command::Plan(arguments) => {
            let way = match arguments.direction {
                PlanDirection::Pull => Way::Pull,
                PlanDirection::Push => Way::Push,
                PlanDirection::Sync => Way::Sync,
            };
            pass(
                &global,
                way,
                PassArguments {
                    paths: arguments.paths,
                    dry_run: true,
                },
            )
        }
        Command::Approve => pass(&global, Way::Approve, PassArguments::default()),
        Command::Status => runtime()?.block_on(state::status(&global)),
        Command::Conflicts { command } => runtime()?.block_on(conflicts::run(
            &global,
            command.unwrap_or(ConflictsCommand::List),
        )),
        Command::Watch(arguments) => runtime()?.block_on(watch::run(&global, arguments)),
        Command::Serve(arguments) => runtime()?.block_on(serve::run(&global, arguments)),
        Command::Mirror(arguments) => runtime()?.block_on(mirror::run(&global, arguments)),
        Command::Ls(arguments) => runtime()?.block_on(objects::list::run(&global, arguments)),
        Command::Cat(arguments) => runtime()?.block_on(objects::cat(&global, arguments)),
        Command::Stat(arguments) => runtime()?.block_on(objects::stat(&global, arguments)),
        Command::Put(arguments) => runtime()?.block_on(objects::put(&global, arguments)),
        Command::Rm(arguments) => runtime()?.block_on(objects::remove::run(&global, arguments)),
        Command::Doctor => runtime()?.block_on(doctor::run(&global)),
        Command::Layouts(command) => layouts::run(&global, command),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man => shell::manual(),
    }
}

fn pass(global: &GlobalOptions, way: Way, arguments: PassArguments) -> anyhow::Result<Exit> {
    runtime()?.block_on(pass::run(global, way, arguments))
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

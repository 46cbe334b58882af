//! `hiclaw-sync`: brings a worker's files and its bucket prefix together, by hand or on an agent's request.

use std::process::ExitCode;

use clap::Parser as _;
use hiclaw_sync::{cli::Cli, logging};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli.global, logging::Default::Quiet);
    hiclaw_sync::run(cli).into()
}

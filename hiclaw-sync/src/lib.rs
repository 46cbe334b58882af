//! Command line and embedded store of the HiClaw sync agent.
//!
//! Owns the settings that both binaries resolve, the embedded S3 store, and the commands of `hiclaw-sync`. All
//! synchronising is done by `sync-core`; guidance prose and exit codes live here.

pub mod cli;
mod commands;
pub mod controller;
pub mod doctor;
pub mod exit;
pub mod http;
pub mod logging;
pub mod output;
pub mod progress;
pub mod resident;
pub mod serve;
pub mod settings;
pub mod target;
pub mod validate;
pub mod worker;

pub use commands::run;

/// The program `hiclaw-sync`, whatever the file is called that it runs from.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let cli = <cli::Cli as clap::Parser>::parse();
    logging::start(&cli.global, logging::Default::Quiet);
    run(cli).into()
}

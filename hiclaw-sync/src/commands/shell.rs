//! Completions and the manual page.

use std::io;

use clap::CommandFactory as _;

use crate::{cli::Cli, exit::Exit, output};

pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hiclaw-sync", &mut text);
    output::forgive_closed_pipe(io::Write::write_all(&mut io::stdout().lock(), &text))?;
    Ok(Exit::Done)
}

pub(super) fn manual() -> anyhow::Result<Exit> {
    let manual = clap_mangen::Man::new(Cli::command());
    output::forgive_closed_pipe(manual.render(&mut io::stdout().lock()))?;
    Ok(Exit::Done)
}

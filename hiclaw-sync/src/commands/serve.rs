//! `serve`: the embedded store.

use std::io::{self, Write as _};

use anyhow::Context as _;
use sync_core::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{DEFAULT_SERVE_KEYS, ServeArguments},
    exit::{Decided, Exit},
    serve::{ServeOptions, Server},
    settings::{Environment as _, GlobalOptions, ProcessEnvironment},
};

pub(super) async fn run(global: &GlobalOptions, arguments: ServeArguments) -> anyhow::Result<Exit> {
    let (access_key, secret_key) = keys(global, &arguments)?;
    let server = Server::bind(ServeOptions {
        data: arguments.data,
        listen: arguments.listen,
        access_key,
        secret_key,
        buckets: global.bucket.iter().cloned().collect(),
    })
    .await?;
    let mut out = io::stdout();
    writeln!(out, "listening on http://{}", server.local_addr())
        .and_then(|()| out.flush())
        .context("can't write to standard output")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    Ok(Exit::Done)
}

/// From the options, else from the variables that workers use, else those that everybody knows from `MinIO`.
fn keys(global: &GlobalOptions, arguments: &ServeArguments) -> anyhow::Result<(String, Secret)> {
    let access_key = global
        .access_key
        .clone()
        .or_else(|| variable("FS_ACCESS_KEY"));
    let secret_key = global
        .secret_key
        .clone()
        .or_else(|| variable("FS_SECRET_KEY"));
    match (access_key, secret_key) {
        (Some(access_key), Some(secret_key)) => Ok((access_key.expose().to_owned(), secret_key)),
        (None, None) if arguments.listen.ip().is_loopback() => {
            let (access_key, secret_key) = DEFAULT_SERVE_KEYS;
            Ok((access_key.to_owned(), Secret::new(secret_key)))
        }
        (None, None) => Err(usage(format!(
            "give --access-key and --secret-key: {} can be reached from other machines",
            arguments.listen
        ))),
        (Some(_), None) => Err(usage(
            "--access-key needs --secret-key (or HICLAW_FS_SECRET_KEY)".to_owned(),
        )),
        (None, Some(_)) => Err(usage(
            "--secret-key needs --access-key (or HICLAW_FS_ACCESS_KEY)".to_owned(),
        )),
    }
}

fn usage(message: String) -> anyhow::Error {
    anyhow::Error::new(Decided(Exit::Usage)).context(message)
}

fn variable(name: &str) -> Option<Secret> {
    ["HICLAW_", "AGENTTEAMS_"].iter().find_map(|prefix| {
        let value = ProcessEnvironment
            .variable(&format!("{prefix}{name}"))?
            .into_string()
            .ok()?;
        (!value.is_empty()).then(|| Secret::new(value))
    })
}

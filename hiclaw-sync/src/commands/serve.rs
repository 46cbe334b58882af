//! `serve`: the embedded store.

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use sync_core::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{DEFAULT_SERVE_KEYS, ServeArguments},
    exit::Exit,
    serve::{ServeOptions, Server},
    settings::{CredentialSource, GlobalOptions, ProcessEnvironment, StoreSettings},
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

fn keys(global: &GlobalOptions, arguments: &ServeArguments) -> anyhow::Result<(String, Secret)> {
    if let (Some(access_key), Some(secret_key)) = (&global.access_key, &global.secret_key) {
        return Ok((access_key.expose().to_owned(), secret_key.clone()));
    }
    // Half a pair is a mistake that the settings explain.
    let settings = StoreSettings::resolve(global, &ProcessEnvironment)?;
    match settings.credentials {
        CredentialSource::Static {
            access_key,
            secret_key,
            ..
        } => Ok((access_key.expose().to_owned(), secret_key)),
        CredentialSource::Controller | CredentialSource::Aws
            if arguments.listen.ip().is_loopback() =>
        {
            let (access_key, secret_key) = DEFAULT_SERVE_KEYS;
            Ok((access_key.to_owned(), Secret::new(secret_key)))
        }
        CredentialSource::Controller | CredentialSource::Aws => {
            bail!(
                "give --access-key and --secret-key: {} can be reached from other machines",
                arguments.listen
            )
        }
    }
}

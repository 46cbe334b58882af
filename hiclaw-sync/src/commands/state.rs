//! `status`.

use std::io;

use anyhow::Context as _;
use sync_core::{
    control::{ControlClient, Op, Request},
    status::Status,
};

use super::{form, settings};
use crate::{
    exit::Exit,
    output,
    settings::GlobalOptions,
    worker::{self, Worker},
};

pub(super) async fn status(global: &GlobalOptions) -> anyhow::Result<Exit> {
    let status = fetch(global).await?;
    output::status(&mut io::stdout().lock(), form(global), &status)
        .context("can't write the status")?;
    Ok(Exit::Done)
}

/// From the resident engine, else what the last one left.
async fn fetch(global: &GlobalOptions) -> anyhow::Result<Status> {
    let settings = settings(global)?;
    if let Some(mut client) = ControlClient::connect(&worker::state_directory(&settings)).await? {
        let value = client.call(Request::new(Op::Status), |_| {}).await?;
        return serde_json::from_value(value)
            .context("the resident engine's answer is not understood");
    }
    let worker = Worker::connect(settings).await?;
    Ok(worker.session().await?.status())
}

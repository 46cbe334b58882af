//! `hiclaw-sync serve`, the embedded store.

use anyhow::{Context, Result};

use super::{ACCESS_KEY, SECRET_KEY, Store, StoreKind};
use crate::leash::{Leash, data_dir};
use crate::tools;
use crate::wait::{PATIENCE, wait_until};

const READY: &str = "listening on ";

/// On this port; 0 picks one.
pub(super) async fn start(port: u16) -> Result<Store> {
    let program = tools::hiclaw_sync()?;
    let data = data_dir("embedded")?;
    let objects = data.join("objects").display().to_string();
    let address = format!("127.0.0.1:{port}");
    let leash = Leash::start(
        &program,
        &[
            "serve",
            "--data",
            &objects,
            "--listen",
            &address,
            "--access-key",
            ACCESS_KEY,
            "--secret-key",
            SECRET_KEY,
        ],
        &[],
        data,
    )?;
    wait_until("`listening on` of hiclaw-sync serve", PATIENCE, || {
        leash.log().contains(READY)
    })
    .await
    .with_context(|| leash.log())?;
    let log = leash.log();
    let endpoint = log
        .lines()
        .find_map(|line| line.split_once(READY))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .with_context(|| format!("no address in {log:?}"))?
        .to_owned();
    Ok(Store {
        kind: StoreKind::Embedded,
        endpoint,
        leash,
    })
}

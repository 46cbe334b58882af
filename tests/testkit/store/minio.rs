//! A MinIO server with one directory.

use anyhow::{Result, anyhow};

use super::{ACCESS_KEY, SECRET_KEY, Store, StoreKind, free_ports};
use crate::leash::{Leash, data_dir};
use crate::tools::Tool;

pub(super) fn start() -> Result<Store> {
    let program = Tool::Minio.path().map_err(|reason| anyhow!(reason))?;
    let data = data_dir("minio")?;
    let objects = data.join("objects").display().to_string();
    let [port] = free_ports()?;
    let address = format!("127.0.0.1:{port}");
    let leash = Leash::start(
        &program,
        &[
            "server",
            "--quiet",
            "--address",
            &address,
            "--console-address",
            "127.0.0.1:0",
            &objects,
        ],
        &[
            ("MINIO_ROOT_USER", ACCESS_KEY),
            ("MINIO_ROOT_PASSWORD", SECRET_KEY),
            ("MINIO_BROWSER", "off"),
            ("MINIO_UPDATE", "off"),
        ],
        data,
    )?;
    Ok(Store {
        kind: StoreKind::Minio,
        endpoint: format!("http://{address}"),
        leash,
    })
}

//! A Garage server of one node. It ignores the conditions of writes and deletes.

use std::fs;

use anyhow::{Result, anyhow};

use super::{Store, StoreKind, free_ports};
use crate::leash::{Leash, data_dir};
use crate::tools::Tool;

/// Garage takes keys of its own form only.
pub(super) const ACCESS_KEY: &str = "GK746573746163636573736b65";
pub(super) const SECRET_KEY: &str =
    "7465737453656372657430313233343536373839534543524554746573745365";

pub(super) fn start() -> Result<Store> {
    let program = Tool::Garage.path().map_err(|reason| anyhow!(reason))?;
    let data = data_dir("garage")?;
    let [rpc, s3] = free_ports()?;
    let config = data.join("garage.toml");
    let here = data.display();
    let text = format!(
        r#"metadata_dir = "{here}/meta"
data_dir = "{here}/data"
db_engine = "sqlite"
metadata_fsync = false
data_fsync = false
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{SECRET_KEY}"
[s3_api]
s3_region = "us-east-1"
api_bind_addr = "127.0.0.1:{s3}"
"#
    );
    fs::write(&config, text)?;
    let config = config.display().to_string();
    let leash = Leash::start(
        &program,
        &["-c", &config, "server", "--single-node", "--default-bucket"],
        &[
            ("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY),
            ("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY),
            ("GARAGE_DEFAULT_BUCKET", "default"),
        ],
        data,
    )?;
    Ok(Store {
        kind: StoreKind::Garage,
        endpoint: format!("http://127.0.0.1:{s3}"),
        leash,
    })
}

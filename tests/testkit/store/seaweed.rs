//! A SeaweedFS server: master, volume, filer and S3 gateway in one process.

use std::fs;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::{ACCESS_KEY, SECRET_KEY, Store, StoreKind, free_ports};
use crate::leash::{Leash, data_dir};
use crate::tools::Tool;

pub(super) fn start() -> Result<Store> {
    let program = Tool::Seaweedfs.path().map_err(|reason| anyhow!(reason))?;
    let data = data_dir("seaweed")?;
    let identities = data.join("identities.json");
    let credentials = json!({"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY});
    let identity = json!({"name": "test", "credentials": [credentials], "actions": ["Admin", "Read", "Write", "List", "Tagging"]});
    fs::write(&identities, json!({"identities": [identity]}).to_string())?;
    let objects = data.join("objects");
    fs::create_dir(&objects)?;
    let [
        s3,
        s3_grpc,
        master,
        master_grpc,
        volume,
        volume_grpc,
        filer,
        filer_grpc,
    ] = free_ports()?;
    let arguments = [
        "server".to_owned(),
        format!("-dir={}", objects.display()),
        "-s3".to_owned(),
        format!("-s3.config={}", identities.display()),
        "-ip=127.0.0.1".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-s3.port={s3}"),
        format!("-s3.port.grpc={s3_grpc}"),
        "-s3.port.iceberg=0".to_owned(),
        "-s3.port.lance=0".to_owned(),
        format!("-master.port={master}"),
        format!("-master.port.grpc={master_grpc}"),
        format!("-volume.port={volume}"),
        format!("-volume.port.grpc={volume_grpc}"),
        format!("-filer.port={filer}"),
        format!("-filer.port.grpc={filer_grpc}"),
        "-master.telemetry=false".to_owned(),
        // One volume belongs to one bucket, and tests make many buckets.
        "-volume.max=300".to_owned(),
        "-master.volumeSizeLimitMB=64".to_owned(),
    ];
    let leash = Leash::start(&program, &arguments, &[], data)?;
    Ok(Store {
        kind: StoreKind::Seaweed,
        endpoint: format!("http://127.0.0.1:{s3}"),
        leash,
    })
}

//! Stand-ins for what a worker talks to beside its store: the Matrix homeserver and the controller.

use anyhow::Result;
use serde_json::json;

use crate::stub::{Reply, Stub};

/// Path of the Matrix login.
pub const LOGIN: &str = "/_matrix/client/v3/login";

/// A homeserver that logs everybody in with `token`.
pub async fn homeserver(token: &str) -> Result<Stub> {
    let stub = Stub::start().await?;
    stub.on(
        "POST",
        LOGIN,
        Reply::json(
            200,
            &json!({"access_token": token, "device_id": "TEST", "user_id": "@worker:test"}),
        ),
    );
    Ok(stub)
}

/// A homeserver that refuses every password.
pub async fn refusing_homeserver() -> Result<Stub> {
    let stub = Stub::start().await?;
    stub.on(
        "POST",
        LOGIN,
        Reply::json(
            403,
            &json!({"errcode": "M_FORBIDDEN", "error": "Invalid password"}),
        ),
    );
    Ok(stub)
}

/// The controller's path for readiness and heartbeats of `worker`.
#[must_use]
pub fn ready_path(worker: &str) -> String {
    format!("/api/v1/workers/{worker}/ready")
}

/// A controller that takes readiness reports of `worker`.
pub async fn controller(worker: &str) -> Result<Stub> {
    let stub = Stub::start().await?;
    stub.on("POST", &ready_path(worker), Reply::empty(204));
    Ok(stub)
}

//! What a controller puts into the bucket for one agent.

use anyhow::Result;
use serde_json::{Value, json};

use crate::bucket::Bucket;

/// The agent that tests use.
pub const NAME: &str = "alice";

/// Everything a worker brings to its workspace from [`seed`], in order.
pub const PULLED: [&str; 7] = [
    "AGENTS.md",
    "HEARTBEAT.md",
    "SOUL.md",
    "config/mcporter.json",
    "openclaw.json",
    "skills/greet/SKILL.md",
    "skills/greet/run.sh",
];

/// The secret that [`seed`] puts under `credentials/`, which must never leave the bucket.
pub const MATRIX_PASSWORD: &str = "matrixPassword0123456789";

/// The key of `path` in the workspace of [`NAME`].
#[must_use]
pub fn key(path: &str) -> String {
    format!("agents/{NAME}/{path}")
}

/// The openclaw.json that [`seed`] writes.
#[must_use]
pub fn openclaw_json() -> Value {
    json!({
        "gateway": {"mode": "local", "bind": "loopback", "port": 18789},
        "models": {"providers": {}},
        "channels": {"matrix": {"enabled": false, "accessToken": "stale-token"}},
        "plugins": {"entries": {}}
    })
}

/// Writes the files of the agent [`NAME`] and of the shared tree, markers and secrets included.
pub async fn seed(bucket: &Bucket) -> Result<()> {
    let config = openclaw_json().to_string();
    let objects = [
        ("openclaw.json", config.as_str()),
        ("SOUL.md", "# Alice\nA careful agent.\n"),
        ("AGENTS.md", "# Agents\nHelps the tests.\n"),
        ("HEARTBEAT.md", "# Heartbeat\n"),
        ("config/mcporter.json", "{\"mcpServers\": {}}\n"),
        (
            "skills/greet/SKILL.md",
            "---\nname: greet\ndescription: Says hello.\n---\nSay hello.\n",
        ),
        ("skills/greet/run.sh", "#!/bin/sh\necho hello\n"),
        ("credentials/matrix/password", MATRIX_PASSWORD),
        (".agentteams-keep", ""),
    ];
    for (path, content) in objects {
        bucket.put(&key(path), content.to_owned()).await?;
    }
    bucket
        .put_all([
            ("shared/knowledge/facts.md", "Water is wet.\n"),
            ("shared/tasks/t1/spec.md", "Write the report.\n"),
            ("shared/tasks/.gitkeep", ""),
        ])
        .await
}

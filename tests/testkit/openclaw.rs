//! The real OpenClaw gateway: where it is, a configuration for tests, and questions to a running one.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::http;
use crate::tools::{self, Tool};

/// The token of every gateway here.
const TOKEN: &str = "gateway-test-token";

/// An installed gateway and the port that a test gives it.
#[derive(Debug)]
pub struct Openclaw {
    port: u16,
    path: OsString,
    program: PathBuf,
}

impl Openclaw {
    /// The installed gateway with a free port. `None` where it is missing; the running test is recorded as skipped then.
    pub fn find() -> Result<Option<Self>> {
        let Some(program) = Tool::Openclaw.path_or_skip()? else {
            return Ok(None);
        };
        let node = tools::cache_dir()?.join("node/node_modules/node/bin");
        let bin = program
            .parent()
            .context("directory of openclaw")?
            .to_owned();
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths([node, bin].into_iter().chain(std::env::split_paths(&rest)))?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        Ok(Some(Self {
            port,
            path,
            program,
        }))
    }

    /// A `PATH` with the gateway and the node that it needs in front.
    pub fn path(&self) -> Result<&str> {
        self.path.to_str().context("a PATH that is no UTF-8")
    }

    /// A configuration with the admin interface that [`Openclaw::rpc`] needs and one model behind `model_url`.
    #[must_use]
    pub fn config(&self, workspace: &Path, model_url: &str, model_name: &str) -> Value {
        let model = json!({"id": "test-model", "name": model_name});
        let provider = json!({"baseUrl": format!("{model_url}/v1"), "apiKey": "none", "api": "openai-completions", "models": [model]});
        json!({
            "gateway": {
                "mode": "local", "bind": "loopback", "port": self.port,
                "auth": {"mode": "token", "token": TOKEN},
                // Its web interface writes a cache of 54 MB that no test looks at.
                "controlUi": {"enabled": false}
            },
            "agents": {"defaults": {"workspace": workspace, "model": {"primary": "test/test-model"}}},
            "models": {"providers": {"test": provider}},
            "plugins": {"entries": {"admin-http-rpc": {"enabled": true}}}
        })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// True when the gateway says that it is ready.
    pub async fn is_ready(&self) -> bool {
        http::is_ok(&self.url("/readyz")).await
    }

    /// Asks the running gateway over its admin interface and returns the `payload`.
    pub async fn rpc(&self, method: &str) -> Result<Value> {
        let body = json!({"method": method}).to_string();
        let answer = http::request(
            Method::POST,
            &self.url("/api/v1/admin/rpc"),
            Some(TOKEN),
            body,
        )
        .await?
        .json()?;
        match answer.get("payload") {
            Some(payload) => Ok(payload.clone()),
            None => bail!("{method}: {answer}"),
        }
    }

    /// Asks the running gateway over its own command line, for what the admin interface does not offer.
    pub async fn call(&self, workspace: &Path, method: &str, params: &Value) -> Result<Value> {
        let output = Command::new(&self.program)
            .args([
                "gateway",
                "call",
                method,
                "--json",
                "--token",
                TOKEN,
                "--expect-final",
                "--timeout",
                "180000",
            ])
            .args([
                "--port",
                &self.port.to_string(),
                "--params",
                &params.to_string(),
            ])
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", workspace)
            .env("OPENCLAW_CONFIG_PATH", workspace.join("openclaw.json"))
            .env("OPENCLAW_STATE_DIR", workspace.join(".openclaw"))
            .kill_on_drop(true)
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!(
                "openclaw gateway call {method}: {text}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_str(&text)
            .with_context(|| format!("openclaw gateway call {method}: {text}"))
    }
}

//! The settings for people and scripts, without secrets.
//!
//! Owns that text. Secrets are shown as `[redacted]`, so that one can see that they are there.

use std::fmt;

use serde_json::{Value, json};
use sync_core::secret::Secret;

use super::{
    options::PathStyle,
    resolve::Settings,
    store::CredentialSource,
    values::{Controller, EnvMount, Necessity, TokenSource, Traces},
};

const REDACTED: &str = "[redacted]";

impl Settings {
    /// All settings, secrets redacted.
    #[must_use]
    pub fn redacted(&self) -> Value {
        json!({
            "worker": self.worker,
            "layout": self.layout.to_string(),
            "root": self.root.to_string_lossy(),
            "workspace": self.workspace.to_string_lossy(),
            "endpoint": self.store.endpoint,
            "bucket": self.store.bucket,
            "storage_prefix": self.storage_prefix,
            "storage_provider": self.store.provider.to_string(),
            "credentials": credentials(&self.store.credentials),
            "region": self.store.region,
            "path_style": match self.store.path_style {
                PathStyle::Auto => "auto",
                PathStyle::Always => "always",
                PathStyle::Never => "never",
            },
            "ca_certificate": self.store.ca_certificate.as_ref().map(|path| path.to_string_lossy()),
            "concurrency": self.store.concurrency,
            "runtime": self.deployment.map_or_else(|| "detected".to_owned(), |deployment| deployment.to_string()),
            "controller": self.controller.as_ref().map(controller),
            "matrix_url": self.matrix_url,
            "matrix_domain": self.matrix_domain,
            "matrix_debug": self.matrix_debug.is_on(),
            "ai_gateway_url": self.ai_gateway_url,
            "env_mount": self.env_mount.as_ref().map(env_mount),
            "console_port": self.console_port,
            "traces": self.traces.as_ref().map(traces),
            "time_zone": self.time_zone.as_deref().unwrap_or("UTC"),
            "pull_interval_seconds": self.run.pull_interval.map(|time| time.as_secs()),
            "events": self.run.events.map(sync_core::events::Listen::name),
            "health_listen": self.run.health_listen.map(|address| address.to_string()),
            "flush_timeout_seconds": self.run.flush_timeout.map(|time| time.as_secs()),
            "stop_grace_seconds": self.run.stop_grace.map(|time| time.as_secs()),
            "restart": self.run.restart.map(|restart| restart.to_string()),
        })
    }
}

fn credentials(source: &CredentialSource) -> Value {
    match source {
        CredentialSource::Static { session_token, .. } => json!({
            "source": "settings",
            "access_key": REDACTED,
            "secret_key": REDACTED,
            "session_token": redact(session_token.as_ref()),
        }),
        CredentialSource::Controller => json!({ "source": "controller" }),
        CredentialSource::Aws => json!({ "source": "aws" }),
    }
}

fn controller(controller: &Controller) -> Value {
    let token = |source: &TokenSource| match source {
        TokenSource::Value(_) => REDACTED.to_owned(),
        TokenSource::File(path) => path.to_string_lossy().into_owned(),
    };
    let tokens: Vec<_> = controller.tokens.iter().map(token).collect();
    json!({ "url": controller.url, "worker": controller.worker, "tokens": tokens })
}

fn env_mount(mount: &EnvMount) -> Value {
    json!({
        "directory": mount.directory.to_string_lossy(),
        "required": mount.necessity == Necessity::Required,
        "timeout_seconds": mount.timeout.as_secs(),
    })
}

fn traces(traces: &Traces) -> Value {
    json!({
        "endpoint": traces.endpoint,
        "license_key": redact(traces.license_key.as_ref()),
        "project": traces.project,
        "workspace": traces.workspace,
        "service_name": traces.service_name,
    })
}

fn redact(secret: Option<&Secret>) -> Option<&'static str> {
    secret.map(|_| REDACTED)
}

/// One setting a line, those of a group with the group's name and a dot before theirs; what is absent shows `-`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        flatten("", &self.redacted(), &mut lines);
        let width = lines
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or_default();
        for (name, value) in lines {
            writeln!(f, "{name:width$}  {value}")?;
        }
        Ok(())
    }
}

fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let text = match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                flatten(&name, value, lines);
            }
            return;
        }
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(", "),
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    lines.push((name.to_owned(), text));
}

//! The values that settings are made of.
//!
//! Owns their types and how each is read from a text.

use std::{fmt, path::PathBuf, time::Duration};

use sync_core::secret::Secret;

/// Which names a deployment uses: HiClaw was renamed AgentTeams with version 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `HICLAW_` variables, `/root/hiclaw-fs`, alias `hiclaw`; also where nothing tells.
    HiClaw,
    /// `AGENTTEAMS_` variables only, `/root/agentteams-fs`, alias `agentteams`.
    AgentTeams,
}

impl Generation {
    /// The `mc` alias of the store, and the name of the deployment's files below `/opt`.
    #[must_use]
    pub fn alias(self) -> &'static str {
        match self {
            Self::HiClaw => "hiclaw",
            Self::AgentTeams => "agentteams",
        }
    }

    /// The default of `--root`.
    #[must_use]
    pub fn root(self) -> &'static str {
        match self {
            Self::HiClaw => "/root/hiclaw-fs",
            Self::AgentTeams => "/root/agentteams-fs",
        }
    }

    /// What its variables start with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::HiClaw => "HICLAW_",
            Self::AgentTeams => "AGENTTEAMS_",
        }
    }
}

/// What kind of store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// MinIO or another store with keys of its own.
    Minio,
    /// Aliyun OSS: keys come from the controller and expire.
    Oss,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minio => "minio",
            Self::Oss => "oss",
        })
    }
}

/// Where the container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// Docker.
    Docker,
    /// Kubernetes.
    Kubernetes,
    /// Alibaba Cloud.
    Aliyun,
    /// None of them.
    None,
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Kubernetes => "k8s",
            Self::Aliyun => "aliyun",
            Self::None => "none",
        })
    }
}

/// A setting that is on or off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Toggle {
    /// On.
    On,
    /// Off.
    #[default]
    Off,
}

impl Toggle {
    /// Reads the words that deployments use.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Self::On),
            "0" | "false" | "no" | "off" => Ok(Self::Off),
            _ => Err("must be `true` or `false`".to_owned()),
        }
    }

    pub(super) fn is_on(self) -> bool {
        self == Self::On
    }
}

/// The controller of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// Base URL, without a `/` at the end.
    pub url: String,
    /// The worker's name in its paths.
    pub worker: String,
    /// Where its bearer token may be, in order; the first that gives one counts.
    pub tokens: Vec<TokenSource>,
}

/// Where a bearer token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// Here.
    Value(Secret),
    /// In a file, which is replaced now and then: to be read at every use.
    File(PathBuf),
}

/// A directory whose file `env` holds variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvMount {
    /// The directory.
    pub directory: PathBuf,
    /// Whether the worker may start without it.
    pub necessity: Necessity,
    /// How long to wait for it.
    pub timeout: Duration,
}

/// Whether something may be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Necessity {
    /// It may not.
    Required,
    /// It may.
    Optional,
}

/// Where the runtime sends traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// OTLP endpoint.
    pub endpoint: Option<String>,
    /// Licence key that goes with every export.
    pub license_key: Option<Secret>,
    /// Project.
    pub project: Option<String>,
    /// Workspace of the tracing service.
    pub workspace: Option<String>,
    /// Name that the runtime reports as.
    pub service_name: Option<String>,
}

/// A base URL: `scheme` is put before a bare host, a `/` at the end taken off.
pub(super) fn base_url(text: &str, scheme: &str) -> Result<String, String> {
    let text = text.trim();
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        format!("{scheme}://{text}")
    };
    let full = full.trim_end_matches('/').to_owned();
    let rest = full
        .strip_prefix("http://")
        .or_else(|| full.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err("must start with http:// or https://".to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "must not hold a user name or password; there are settings of their own for keys"
                .to_owned(),
        );
    }
    if rest.contains(['?', '#']) {
        return Err("must be a base URL, without `?` and `#`".to_owned());
    }
    let (host, port) = split_port(authority);
    if host.is_empty()
        || host.contains(|character: char| character.is_whitespace() || character.is_control())
    {
        return Err("names no host".to_owned());
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("has a port that is no number from 0 to 65535".to_owned());
    }
    Ok(full)
}

/// Host and port; an IPv6 address is in brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return (host, rest.strip_prefix(':'));
    }
    authority
        .split_once(':')
        .map_or((authority, None), |(host, port)| (host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_completed_and_checked() {
        for (text, expected) in [
            ("minio:9000", Some("http://minio:9000")),
            ("http://minio:9000/", Some("http://minio:9000")),
            (
                "https://oss-cn-hangzhou.aliyuncs.com",
                Some("https://oss-cn-hangzhou.aliyuncs.com"),
            ),
            ("http://[::1]:9000", Some("http://[::1]:9000")),
            (" 10.0.0.1 ", Some("http://10.0.0.1")),
            ("http://gateway/store/", Some("http://gateway/store")),
            ("ftp://minio", None),
            ("http://", None),
            ("http://:9000", None),
            ("http://minio:port", None),
            ("http://minio:99999", None),
            ("http://key:secret@minio", None),
            ("http://minio?x=1", None),
            ("my host", None),
        ] {
            assert_eq!(base_url(text, "http").ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_url_with_a_password_is_refused_without_quoting_it() {
        let message = base_url("http://key:hunter2@minio", "http").unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }
}

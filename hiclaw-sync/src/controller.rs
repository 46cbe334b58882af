//! The controller of the deployment, as a worker asks it.
//!
//! Owns its URLs, the bearer token of the moment, and temporary credentials for the store. When to ask is the caller's
//! decision.

use std::{
    io,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde::Deserialize;
use serde_json::Value;
use sync_core::{
    secret::Secret,
    store::s3::{KeySource, Keys, TemporaryKeys},
};

use crate::{
    http::{Answer, ClientError, HttpClient, Request},
    settings::{Controller, TokenSource},
};

const LIMIT: Duration = Duration::from_secs(30);

/// The controller did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControllerError {
    /// There was no answer.
    #[error("the controller did not answer")]
    Client(#[from] ClientError),
    /// It said no.
    #[error("the controller answered POST {url} with status {status}{}", explain(*status))]
    Refused {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
    /// The token's file can't be read.
    #[error("can't read the controller's token {path}")]
    Token {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An answer without what was asked for.
    #[error("the controller's answer to POST {url} is not understood: {reason}")]
    NotUnderstood {
        /// The URL.
        url: String,
        /// What is wrong with it; never quotes the answer, which holds keys.
        reason: &'static str,
    },
}

impl ControllerError {
    /// True when the same may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Client(_) => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Token { .. } | Self::NotUnderstood { .. } => false,
        }
    }
}

/// What a status means for whoever operates the deployment.
fn explain(status: u16) -> &'static str {
    match status {
        401 | 403 => " (the worker's token is not accepted)",
        404 => " (it knows no worker of this name, see P_WORKER_CR_NAME)",
        503 => " (it issues no credentials outside of cloud deployments)",
        _ => "",
    }
}

/// Asks one controller. Clones share connections.
#[derive(Debug, Clone)]
pub struct ControllerClient {
    controller: Controller,
    client: HttpClient,
}

/// Credentials as the controller issues them, with where the store is.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The keys and when they expire.
    pub keys: TemporaryKeys,
    /// URL of the store, if the controller names one.
    pub endpoint: Option<String>,
    /// The bucket, if the controller names one.
    pub bucket: Option<String>,
}

/// The answer's fields.
#[derive(Deserialize)]
struct Credentials {
    access_key_id: String,
    access_key_secret: String,
    #[serde(default)]
    security_token: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
    #[serde(default)]
    expires_in_sec: Option<u64>,
    #[serde(default)]
    oss_endpoint: Option<String>,
    #[serde(default)]
    oss_bucket: Option<String>,
}

impl ControllerClient {
    /// For this controller.
    #[must_use]
    pub fn new(controller: Controller, client: HttpClient) -> Self {
        Self { controller, client }
    }

    /// Reports that the worker is ready, or still is; with the time of its last change, RFC 3339.
    pub async fn report_ready(&self, last_active_at: Option<&str>) -> Result<(), ControllerError> {
        let path = format!("/api/v1/workers/{}/ready", self.controller.worker);
        let body = last_active_at.map(|time| serde_json::json!({ "lastActiveAt": time }));
        self.post(&path, body.as_ref()).await.map(drop)
    }

    /// New credentials for the store.
    pub async fn issue_credentials(&self) -> Result<Issued, ControllerError> {
        let path = "/api/v1/credentials/sts";
        let answer = self.post(path, None).await?;
        read_credentials(&answer.body, SystemTime::now()).map_err(|reason| {
            ControllerError::NotUnderstood {
                url: self.url(path),
                reason,
            }
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.controller.url)
    }

    async fn post(&self, path: &str, body: Option<&Value>) -> Result<Answer, ControllerError> {
        let url = self.url(path);
        let mut request = Request::post(&url);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(token) = self.token().await? {
            request = request.bearer(token);
        }
        let answer = self.client.send(request, LIMIT).await?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(ControllerError::Refused {
                url,
                status: answer.status,
            })
        }
    }

    /// The first token that there is. Files are read at every use: they are replaced before the token in them expires.
    async fn token(&self) -> Result<Option<Secret>, ControllerError> {
        for source in &self.controller.tokens {
            match source {
                TokenSource::Value(token) => return Ok(Some(token.clone())),
                TokenSource::File(path) => match tokio::fs::read_to_string(path).await {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => return Ok(Some(Secret::new(text.trim()))),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => {
                        return Err(ControllerError::Token {
                            path: path.clone(),
                            source,
                        });
                    }
                },
            }
        }
        Ok(None)
    }
}

impl KeySource for ControllerClient {
    fn fetch(
        &self,
    ) -> BoxFuture<'_, Result<TemporaryKeys, Box<dyn std::error::Error + Send + Sync>>> {
        async move { Ok(self.issue_credentials().await?.keys) }.boxed()
    }
}

/// The answer's credentials. How long they last is counted from `now` where the answer says so in seconds: the clocks of two
/// machines are not compared.
fn read_credentials(body: &[u8], now: SystemTime) -> Result<Issued, &'static str> {
    let found: Credentials = serde_json::from_slice(body)
        .map_err(|_| "it is no JSON object with access_key_id and access_key_secret")?;
    if found.access_key_id.is_empty() || found.access_key_secret.is_empty() {
        return Err("its keys are empty");
    }
    let stamped = || {
        let time: jiff::Timestamp = found.expiration.as_deref()?.parse().ok()?;
        Some(SystemTime::from(time))
    };
    let expires = found
        .expires_in_sec
        .map(|seconds| now + Duration::from_secs(seconds.min(MAX_LIFETIME_SECONDS)))
        .or_else(stamped)
        .ok_or("it doesn't say when the keys expire")?;
    let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Ok(Issued {
        keys: TemporaryKeys {
            keys: Keys {
                access_key: found.access_key_id,
                secret_key: Secret::new(found.access_key_secret),
                session_token: filled(found.security_token).map(Secret::new),
            },
            expires,
        },
        endpoint: filled(found.oss_endpoint).map(|endpoint| {
            if endpoint.contains("://") {
                endpoint
            } else {
                format!("https://{endpoint}")
            }
        }),
        bucket: filled(found.oss_bucket),
    })
}

/// No credentials last longer; keeps a hostile number from overflowing the clock.
const MAX_LIFETIME_SECONDS: u64 = 7 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Issued, &'static str> {
        read_credentials(text.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn credentials_come_with_token_and_end_and_a_bare_endpoint_gets_https() {
        let issued = read(
            r#"{"access_key_id":"AK","access_key_secret":"S","security_token":"t+/=","expiration":"2026-01-01T00:00:00Z",
                "expires_in_sec":3600,"oss_endpoint":"oss-cn-hangzhou.aliyuncs.com","oss_bucket":"b"}"#,
        )
        .unwrap();
        assert_eq!(
            issued.endpoint.as_deref(),
            Some("https://oss-cn-hangzhou.aliyuncs.com")
        );
        assert_eq!(issued.bucket.as_deref(), Some("b"));
        assert_eq!(issued.keys.keys.access_key, "AK");
        let token = issued.keys.keys.session_token.clone().unwrap();
        assert_eq!(token.expose(), "t+/=");
        let hour = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        assert_eq!(
            issued.keys.expires, hour,
            "seconds count from our own clock"
        );
        assert!(!format!("{issued:?}").contains("t+/="));
    }

    #[test]
    fn without_seconds_the_stamp_counts_and_without_either_there_is_no_answer() {
        let issued = read(
            r#"{"access_key_id":"AK","access_key_secret":"S","expiration":"1970-01-01T00:00:09Z"}"#,
        )
        .unwrap();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        assert_eq!((issued.keys.expires, issued.endpoint), (end, None));
        for text in [
            "",
            "[]",
            r#"{"access_key_id":"AK"}"#,
            r#"{"access_key_id":"AK","access_key_secret":"S"}"#,
            r#"{"access_key_id":"","access_key_secret":"S","expires_in_sec":1}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let far = r#"{"access_key_id":"A","access_key_secret":"S","expires_in_sec":18446744073709551615}"#;
        assert!(read(far).is_ok());
    }
}

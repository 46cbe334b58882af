//! `matrix-login`: a new access token at every start.
//!
//! Owns the request and where the token goes. The password and the tokens are never logged, and no error says them: errors
//! hold statuses and the homeserver's error code only.

use std::time::Duration;

use serde_json::{Value, json};
use sync_core::{
    merge::{FieldPath, FieldPathError, MergeError, set_field, text_field},
    path::{ObjectKey, RelPath},
    secret::Secret,
};

use super::{Outcome, StepContext};
use crate::{
    engine::{EngineError, chain},
    workspace::WorkspaceError,
};
use hiclaw_sync::http::{ClientError, Request};

const HOMESERVER: &str = "channels.matrix.homeserver";
const ACCESS_TOKEN: &str = "channels.matrix.accessToken";
/// How long the homeserver may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The login did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The password can't be read.
    #[error("can't read the Matrix password")]
    Password(#[source] EngineError),
    /// The password's object is no text.
    #[error("the Matrix password {key} is no valid UTF-8")]
    PasswordText {
        /// Its key.
        key: String,
    },
    /// The configuration can't be read or written.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The configuration is not there, or no text.
    #[error("{path} is missing or no valid UTF-8")]
    NoConfig {
        /// Its path.
        path: RelPath,
    },
    /// The configuration is no JSON.
    #[error("{path} can't be changed")]
    Config {
        /// Its path.
        path: RelPath,
        /// The cause.
        #[source]
        source: MergeError,
    },
    /// A field's name is none.
    #[error(transparent)]
    Field(#[from] FieldPathError),
    /// The homeserver did not answer.
    #[error("the Matrix homeserver did not answer")]
    Request(#[from] ClientError),
    /// The homeserver refused.
    #[error("the Matrix homeserver refused the login with status {status} ({code})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The homeserver's word for it.
        code: String,
    },
    /// The answer holds no token.
    #[error("the Matrix homeserver's answer holds no access token")]
    NoToken,
}

/// Logs in, if there is a password and a homeserver.
pub(super) async fn run(
    password_key: &ObjectKey,
    config: &RelPath,
    context: &StepContext,
) -> Result<Outcome, LoginError> {
    let homeserver = text_field(&read(config, context)?, &FieldPath::new(HOMESERVER)?)
        .map_err(broken(config))?;
    let Some(homeserver) = homeserver.filter(|url| !url.is_empty()) else {
        return Ok(Outcome::Nothing);
    };
    let Some(password) = password(password_key, context).await? else {
        return Ok(Outcome::Nothing);
    };
    let token = login(&homeserver, &password, context).await?;
    // The file may have changed meanwhile: the token goes into what is there now.
    let text = read(config, context)?;
    let token = Value::String(token.expose().to_owned());
    let new = set_field(&text, &FieldPath::new(ACCESS_TOKEN)?, &token).map_err(broken(config))?;
    context.workspace.publish(config, new.as_bytes())?;
    Ok(Outcome::Done)
}

fn read(config: &RelPath, context: &StepContext) -> Result<String, LoginError> {
    let content = context.workspace.read(config)?;
    content
        .and_then(|content| String::from_utf8(content).ok())
        .ok_or_else(|| LoginError::NoConfig {
            path: config.clone(),
        })
}

fn broken(config: &RelPath) -> impl FnOnce(MergeError) -> LoginError {
    let path = config.clone();
    move |source| LoginError::Config { path, source }
}

/// The password without the line end that editors add.
async fn password(key: &ObjectKey, context: &StepContext) -> Result<Option<Secret>, LoginError> {
    let content = match context.engine.read_object(key).await {
        // Stores answer so for an absent object where the policy doesn't allow to list.
        Err(error @ EngineError::Denied { .. }) => {
            tracing::warn!(%key, "no Matrix login, the token stays as it is: {}", chain(&error));
            None
        }
        other => other.map_err(LoginError::Password)?,
    };
    let Some(content) = content else {
        return Ok(None);
    };
    let text = String::from_utf8(content).map_err(|_| LoginError::PasswordText {
        key: key.to_string(),
    })?;
    let password = Secret::new(text.trim_end_matches(['\r', '\n']));
    Ok(if password.is_empty() {
        None
    } else {
        Some(password)
    })
}

async fn login(
    homeserver: &str,
    password: &Secret,
    context: &StepContext,
) -> Result<Secret, LoginError> {
    let url = format!(
        "{}/_matrix/client/v3/login",
        homeserver.trim_end_matches('/')
    );
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": context.worker },
        "password": password.expose(),
    });
    let answer = context
        .client
        .send(Request::post(&url).json(&body), LIMIT)
        .await?;
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        // Homeservers say M_FORBIDDEN and the like; anything else may repeat what it was sent.
        let code = document
            .get("errcode")
            .and_then(Value::as_str)
            .filter(|code| is_code(code))
            .unwrap_or("no error code");
        return Err(LoginError::Refused {
            status: answer.status,
            code: code.to_owned(),
        });
    }
    let token = document
        .get("access_token")
        .and_then(Value::as_str)
        .filter(|token| !token.is_empty());
    token.map(Secret::new).ok_or(LoginError::NoToken)
}

fn is_code(text: &str) -> bool {
    text.starts_with("M_")
        && text.len() < 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

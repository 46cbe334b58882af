//! The services that the runtime talks to: homeserver, gateway, controller.

use std::time::Duration;

use super::Check;
use crate::{
    http::{HttpClient, Request},
    settings::{Environment, Settings},
};

/// Long enough for a service far away, short enough for a person who waits.
const LIMIT: Duration = Duration::from_secs(5);

/// Whether somebody named the service, or only its default is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Named,
    Default,
}

/// Asks each for a sign of life.
pub(super) async fn checks(
    settings: &Settings,
    environment: &(dyn Environment + Sync),
) -> Vec<Check> {
    let named = |suffixes: &[&str]| {
        let set = |name: String| {
            environment
                .variable(&name)
                .is_some_and(|value| !value.is_empty())
        };
        let any = suffixes
            .iter()
            .any(|suffix| set(format!("HICLAW_{suffix}")) || set(format!("AGENTTEAMS_{suffix}")));
        if any { Origin::Named } else { Origin::Default }
    };
    let mut checks = vec![
        service(
            "matrix",
            &format!("{}/_matrix/client/versions", settings.matrix_url),
            named(&["MATRIX_URL", "MATRIX_SERVER"]),
            "HICLAW_MATRIX_URL",
        )
        .await,
        service(
            "gateway",
            &settings.ai_gateway_url,
            named(&["AI_GATEWAY_URL", "AI_GATEWAY"]),
            "HICLAW_AI_GATEWAY_URL",
        )
        .await,
    ];
    if let Some(controller) = &settings.controller {
        let variable = "HICLAW_CONTROLLER_URL";
        checks.push(service("controller", &controller.url, Origin::Named, variable).await);
    }
    checks
}

async fn service(name: &'static str, url: &str, origin: Origin, variable: &str) -> Check {
    match (status(url).await, origin) {
        (Ok(status), _) if status < 500 => Check::ok(name, format!("{url} answers ({status})")),
        (Ok(status), _) => Check::warning(
            name,
            format!("{url} answers {status}"),
            "it is starting or in trouble: look at its log",
        ),
        (Err(reason), Origin::Named) => Check::failed(
            name,
            format!("{url}: {reason}"),
            format!(
                "check {variable}: name, port, and that it can be reached from this container (not its own localhost)"
            ),
        ),
        (Err(reason), Origin::Default) => Check::warning(
            name,
            format!("{url}, the default, doesn't answer: {reason}"),
            format!("set {variable} if the runtime needs it"),
        ),
    }
}

/// The status of a GET, or why there is none.
async fn status(url: &str) -> Result<u16, String> {
    match HttpClient::default().send(Request::get(url), LIMIT).await {
        Ok(answer) => Ok(answer.status),
        Err(error) => Err(innermost(&error)),
    }
}

/// The innermost cause: those above only say that connecting failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

//! The services that the runtime talks to: homeserver, gateway, controller.

use super::{Check, http};
use crate::settings::{Environment, Settings};

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
    match (http::status(url).await, origin) {
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

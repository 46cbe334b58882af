//! `healthcheck`: asks the worker of this container how it is, for container engines whose health check is a command.
//!
//! Owns where the worker is asked and what an answer comes to. Never looks at anything but the health server's answer, so
//! that it says what a probe over the network would be told.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hiclaw_sync::http::{ClientError, HttpClient, Request};

/// How long an answer may take: less than any engine waits for the command.
const LIMIT: Duration = Duration::from_secs(4);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether the process answers at all (`/livez`).
    Alive,
    /// Whether runtime and store can be used (`/readyz`).
    Ready,
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Self::Alive => "/livez",
            Self::Ready => "/readyz",
        }
    }
}

/// The worker is not well, or can't be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthcheckError {
    /// Nobody serves health.
    #[error(
        "the worker serves no health; set HICLAW_HEALTH_LISTEN, for example to 127.0.0.1:8089, or switch the health check off"
    )]
    NotServed,
    /// The port is chosen by the system, so that nobody else knows it.
    #[error("{listen} leaves the choice of the port to the system; name one")]
    NoPort {
        /// Where the worker listens.
        listen: SocketAddr,
    },
    /// There was no answer.
    #[error("the worker does not answer")]
    NoAnswer(#[source] ClientError),
    /// The answer was that it is not well.
    #[error("{reason}")]
    Unwell {
        /// The worker's own words.
        reason: String,
    },
}

/// Asks the worker that listens on `listen`; its answer when it is well.
pub async fn ask(
    question: Question,
    listen: Option<SocketAddr>,
) -> Result<String, HealthcheckError> {
    let listen = listen.ok_or(HealthcheckError::NotServed)?;
    if listen.port() == 0 {
        return Err(HealthcheckError::NoPort { listen });
    }
    let url = format!("http://{}{}", reachable(listen), question.path());
    let answer = HttpClient::default()
        .send(Request::get(&url), LIMIT)
        .await
        .map_err(HealthcheckError::NoAnswer)?;
    let words = String::from_utf8_lossy(&answer.body).trim().to_owned();
    match answer.status {
        200 => Ok(words),
        status if words.is_empty() => Err(HealthcheckError::Unwell {
            reason: format!("HTTP {status}"),
        }),
        _ => Err(HealthcheckError::Unwell { reason: words }),
    }
}

/// Where somebody in the same container reaches what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    if address.ip().is_unspecified() {
        SocketAddr::new(loopback, address.port())
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::{
        health::{Health, Stage},
        http,
        runtime::RuntimeStatus,
        supervisor::State,
    };

    #[tokio::test]
    async fn the_answer_is_that_of_the_probes() {
        let listener = http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let mut listen = listener.local_addr().unwrap();
        listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        let health = Health::default();
        let serving = tokio::spawn(http::serve(listener, health.clone()));

        let error = ask(Question::Ready, Some(listen)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "starting: the workspace is being prepared"
        );
        assert_eq!(ask(Question::Alive, Some(listen)).await.unwrap(), "ok");

        let (_sender, runtime) = watch::channel(RuntimeStatus {
            state: State::Ready,
            id: Some(7),
            restarts: 0,
        });
        health.has_runtime(runtime);
        health.enter(Stage::Running);
        assert_eq!(ask(Question::Ready, Some(listen)).await.unwrap(), "ok");

        serving.abort();
        assert!(serving.await.is_err());
        let error = ask(Question::Alive, Some(listen)).await.unwrap_err();
        assert!(matches!(error, HealthcheckError::NoAnswer(_)), "{error}");
    }

    #[tokio::test]
    async fn a_worker_that_cannot_be_asked_is_not_well() {
        let error = ask(Question::Ready, None).await.unwrap_err();
        assert!(error.to_string().contains("HICLAW_HEALTH_LISTEN"));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = ask(Question::Ready, Some(any)).await.unwrap_err();
        assert!(matches!(error, HealthcheckError::NoPort { .. }), "{error}");
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8089", "127.0.0.1:8089"),
            ("[::]:8089", "[::1]:8089"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}

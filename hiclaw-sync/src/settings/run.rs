//! How a worker is run, as its environment tells.
//!
//! Owns the variables behind the entrypoint's own options, so that they follow the rules of all others: both prefixes, empty
//! counts as absent, values of a mounted file count, and a wrong one is named together with every other mistake.

use std::{net::SocketAddr, time::Duration};

use sync_core::{events::Listen, layout::Restart};

use super::lookup::Lookup;
use crate::cli::{duration, interval, listen};

/// The variables; an option of the same name wins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunVariables {
    /// `P_PULL_INTERVAL`: time between two scheduled passes.
    pub pull_interval: Option<Duration>,
    /// `P_EVENTS`: whether the store is asked for events.
    pub events: Option<Listen>,
    /// `P_HEALTH_LISTEN`: where health is served.
    pub health_listen: Option<SocketAddr>,
    /// `P_FLUSH_TIMEOUT`: how long the last changes may take.
    pub flush_timeout: Option<Duration>,
    /// `P_STOP_GRACE`: time between SIGTERM and SIGKILL.
    pub stop_grace: Option<Duration>,
    /// `P_RESTART`: whether the runtime is started again when it ends.
    pub restart: Option<Restart>,
}

impl RunVariables {
    pub(super) fn read(lookup: &Lookup<'_>) -> Self {
        Self {
            pull_interval: lookup.parsed(lookup.prefixed("PULL_INTERVAL"), interval),
            events: lookup.parsed(lookup.prefixed("EVENTS"), listen),
            health_listen: lookup.parsed(lookup.prefixed("HEALTH_LISTEN"), |text| {
                text.parse()
                    .map_err(|_| "must be an address and a port, such as 0.0.0.0:8089".to_owned())
            }),
            flush_timeout: lookup.parsed(lookup.prefixed("FLUSH_TIMEOUT"), duration),
            stop_grace: lookup.parsed(lookup.prefixed("STOP_GRACE"), duration),
            restart: lookup.parsed(lookup.prefixed("RESTART"), restart),
        }
    }
}

fn restart(text: &str) -> Result<Restart, String> {
    [Restart::Never, Restart::OnFailure, Restart::Always]
        .into_iter()
        .find(|restart| restart.to_string() == text)
        .ok_or_else(|| "must be never, on-failure or always".to_owned())
}

//! What the agent's own files tell about how it is to be run.
//!
//! Owns reading it out of them; a file that is missing or broken tells nothing.

use std::{ffi::OsStr, sync::Arc};

use sync_core::{
    layout::{Team, team_from_agents_md},
    path::RelPath,
};

use crate::{environment::Variables, workspace::Workspace};

/// Sets the gateway's port over the configuration.
const PORT_VARIABLE: &str = "OPENCLAW_GATEWAY_PORT";

/// What the files tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The team.
    pub(super) team: Team,
    /// The port of the runtime's gateway, where it is named.
    pub(super) gateway_port: Option<u16>,
}

impl Told {
    /// Reads the files, off the threads that serve everything else.
    pub(super) async fn by(
        workspace: Arc<Workspace>,
        environment: Variables,
    ) -> Result<Self, tokio::task::JoinError> {
        tokio::task::spawn_blocking(move || Self::read(&workspace, &environment)).await
    }

    fn read(workspace: &Workspace, environment: &Variables) -> Self {
        let config = document(workspace, "openclaw.json")
            .and_then(|text| sync_core::merge::value(&text).ok());
        let team = document(workspace, "AGENTS.md")
            .map(|text| team_from_agents_md(&text, config.as_ref()))
            .unwrap_or_default();
        let set = environment
            .get(OsStr::new(PORT_VARIABLE))
            .and_then(|port| port.to_str()?.parse().ok());
        let named = || {
            let port = config.as_ref()?.get("gateway")?.get("port")?.as_u64()?;
            u16::try_from(port).ok()
        };
        Self {
            team,
            gateway_port: set.or_else(named),
        }
    }
}

fn document(workspace: &Workspace, name: &str) -> Option<String> {
    let content = workspace.read(&RelPath::new(name).ok()?).ok()??;
    String::from_utf8(content).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_environment_then_of_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(directory.path()).unwrap();
        let variables = |port: &str| Variables::from([(PORT_VARIABLE.into(), port.into())]);
        let port = |variables: &Variables| Told::read(&workspace, variables).gateway_port;
        assert_eq!(port(&Variables::new()), None);
        assert_eq!(port(&variables("17")), Some(17));
        let config = RelPath::new("openclaw.json").unwrap();
        for (text, expected) in [
            ("{ gateway: { port: 18, }, }", Some(18)),
            ("{ gateway: { port: 70000 } }", None),
            ("{ gateway: 1 }", None),
            ("broken {", None),
        ] {
            workspace.publish(&config, text.as_bytes()).unwrap();
            assert_eq!(port(&Variables::new()), expected, "{text}");
        }
        assert_eq!(port(&variables("nonsense")), None);
    }

    #[test]
    fn the_team_is_that_of_agents_md() {
        let directory = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(directory.path()).unwrap();
        let team = || Told::read(&workspace, &Variables::new()).team;
        assert_eq!(team(), Team::default());
        let agents = RelPath::new("AGENTS.md").unwrap();
        workspace.publish(&agents, b"- **Team**: blue\n").unwrap();
        assert_eq!(team().name.as_deref(), Some("blue"));
    }
}

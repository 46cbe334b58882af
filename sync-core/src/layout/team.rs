//! Which team an agent belongs to, read from the files that its controller seeded.
//!
//! Owns that reading. Never reads a file.

use crate::path::RelPath;

/// The line of AGENTS.md that names the team.
const TEAM_MARK: &str = "**Team**:";
/// What AGENTS.md of a team leader holds.
const LEADER_MARK: &str = "Upstream coordinator";

/// What an agent is in its team.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TeamRole {
    /// A member, or no member of any team.
    #[default]
    Member,
    /// The leader: it also sees what all teams share.
    Leader,
}

/// The team of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Team {
    /// The team's name; one safe path component. `None` when the agent works alone.
    pub name: Option<String>,
    /// What the agent is in it.
    pub role: TeamRole,
}

/// Reads the team from AGENTS.md (`**Team**: <name>`), else from `team_id` of openclaw.json. A name that is no single safe
/// path component counts as none: it would lead out of `teams/`.
#[must_use]
pub fn team_from_agents_md(agents_md: &str, openclaw_json: Option<&serde_json::Value>) -> Team {
    let role = if agents_md.contains(LEADER_MARK) {
        TeamRole::Leader
    } else {
        TeamRole::Member
    };
    let written = agents_md
        .lines()
        .find_map(|line| line.split_once(TEAM_MARK))
        .and_then(|(_, rest)| safe_name(rest));
    let name = written.or_else(|| openclaw_json?.get("team_id")?.as_str().and_then(safe_name));
    Team { name, role }
}

/// A team's name without the marks of Markdown around it.
fn safe_name(text: &str) -> Option<String> {
    let name = text.trim().trim_matches(['`', '*', '"']).trim();
    RelPath::new(name)
        .ok()
        .filter(|path| path.parent().is_none())
        .map(|_| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_comes_from_agents_md_then_from_openclaw_json() {
        let json = serde_json::json!({"team_id": "green"});
        for (agents_md, openclaw_json, expected) in [
            ("# A\n- **Team**: blue\n", None, Some("blue")),
            ("- **Team**: `blue`  \r\n", Some(&json), Some("blue")),
            ("**Team**: red\n**Team**: blue\n", None, Some("red")),
            ("no team here", Some(&json), Some("green")),
            ("**Team**:\n", Some(&json), Some("green")),
            ("**Team**: ../../hiclaw-config\n", None, None),
            ("**Team**: a/b\n", None, None),
            ("Team: blue\n", None, None),
            ("", None, None),
        ] {
            assert_eq!(
                team_from_agents_md(agents_md, openclaw_json)
                    .name
                    .as_deref(),
                expected,
                "{agents_md:?}"
            );
        }
    }

    #[test]
    fn a_leader_is_known_by_its_upstream_coordinator() {
        let leader =
            team_from_agents_md("**Team**: blue\n**Upstream coordinator**: manager\n", None);
        assert_eq!(
            leader,
            Team {
                name: Some("blue".into()),
                role: TeamRole::Leader
            }
        );
        assert_eq!(
            team_from_agents_md("**Team**: blue\n", None).role,
            TeamRole::Member
        );
    }

    #[test]
    fn a_team_id_that_is_no_text_is_no_team() {
        let json = serde_json::json!({"team_id": 5});
        assert_eq!(team_from_agents_md("", Some(&json)), Team::default());
    }
}

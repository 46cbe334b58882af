//! `{name}` in a layout's texts.
//!
//! Owns which names exist and how a text is filled in. Never looks a value up: they are handed in.

use std::collections::BTreeMap;

use super::team::{Team, TeamRole};

/// A name that layouts may use in `prefix`, `team_prefix`, `path`, commands, `cwd`, environment values, URLs and keys.
/// Path patterns and messages take none: braces are alternatives there, or plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Variable {
    /// `{worker}`: the agent's name.
    Worker,
    /// `{workspace}`: its directory.
    Workspace,
    /// `{root}`: the directory that holds `agents` and `shared`.
    Root,
    /// `{home}`: the runtime's home; the workspace unless set.
    Home,
    /// `{team}`: the team's name; only members of a team have it.
    Team,
    /// `{console_port}`: port of the runtime's console.
    ConsolePort,
    /// `{gateway_port}`: port of the runtime's gateway, known only when its configuration names it.
    GatewayPort,
    /// `{fs_endpoint}`: URL of the store.
    FsEndpoint,
    /// `{bucket}`: the bucket.
    Bucket,
    /// `{storage_prefix}`: `<alias>/<bucket>`, as `mc` takes it.
    StoragePrefix,
    /// `{matrix_url}`: the homeserver.
    MatrixUrl,
    /// `{ai_gateway_url}`: the gateway to models and tools.
    AiGatewayUrl,
    /// `{controller_url}`: the controller.
    ControllerUrl,
    /// `{candidate}`: in `validate`, the file that is about to be published. It stands for itself in a resolved layout: only
    /// the caller of the command knows the path.
    Candidate,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Worker,
        Self::Workspace,
        Self::Root,
        Self::Home,
        Self::Team,
        Self::ConsolePort,
        Self::GatewayPort,
        Self::FsEndpoint,
        Self::Bucket,
        Self::StoragePrefix,
        Self::MatrixUrl,
        Self::AiGatewayUrl,
        Self::ControllerUrl,
        Self::Candidate,
    ];

    /// The name between the braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Workspace => "workspace",
            Self::Root => "root",
            Self::Home => "home",
            Self::Team => "team",
            Self::ConsolePort => "console_port",
            Self::GatewayPort => "gateway_port",
            Self::FsEndpoint => "fs_endpoint",
            Self::Bucket => "bucket",
            Self::StoragePrefix => "storage_prefix",
            Self::MatrixUrl => "matrix_url",
            Self::AiGatewayUrl => "ai_gateway_url",
            Self::ControllerUrl => "controller_url",
            Self::Candidate => "candidate",
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|variable| variable.name() == name)
    }
}

/// The values that turn a layout into a [`ResolvedLayout`](super::ResolvedLayout).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variables {
    values: BTreeMap<Variable, String>,
    role: TeamRole,
}

impl Variables {
    /// The values that every worker has. `root` and `workspace` are absolute paths.
    #[must_use]
    pub fn new(worker: &str, root: &str, workspace: &str) -> Self {
        let values = BTreeMap::from([
            (Variable::Worker, worker.to_owned()),
            (Variable::Root, root.to_owned()),
            (Variable::Workspace, workspace.to_owned()),
            (Variable::Home, workspace.to_owned()),
            (Variable::Candidate, "{candidate}".to_owned()),
        ]);
        Self {
            values,
            role: TeamRole::Member,
        }
    }

    /// With one more value, or another one.
    #[must_use]
    pub fn with(mut self, variable: Variable, value: impl Into<String>) -> Self {
        self.values.insert(variable, value.into());
        self
    }

    /// As a member or leader of `team`, or of none.
    #[must_use]
    pub fn with_team(mut self, team: &Team) -> Self {
        self.role = team.role;
        if let Some(name) = &team.name {
            return self.with(Variable::Team, name.clone());
        }
        self.values.remove(&Variable::Team);
        self
    }

    /// The value of `variable`, if it has one.
    #[must_use]
    pub fn get(&self, variable: Variable) -> Option<&str> {
        self.values.get(&variable).map(String::as_str)
    }

    /// What the worker is in its team.
    #[must_use]
    pub fn role(&self) -> TeamRole {
        self.role
    }

    /// Made-up values for all variables, to check a layout without a worker. A leader sees all mounts.
    pub(super) fn made_up() -> Self {
        let mut base = Self::new("worker", "/root/fs", "/root/fs/agents/worker");
        base.role = TeamRole::Leader;
        Variable::ALL.into_iter().fold(base, |variables, variable| {
            if variables.get(variable).is_some() {
                variables
            } else {
                variables.with(variable, "1")
            }
        })
    }

    /// `text` with every `{name}` replaced. A brace that is not followed by lower-case letters, underscores and a closing
    /// brace stands for itself.
    pub(super) fn fill(&self, text: &str) -> Result<String, FillError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            if let Some((name, behind)) = name_at_start(after) {
                filled.push_str(self.value(name)?);
                rest = behind;
            } else {
                filled.push('{');
                rest = after;
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Result<&str, FillError> {
        let variable = Variable::by_name(name).ok_or_else(|| FillError::Unknown {
            name: name.to_owned(),
        })?;
        self.get(variable).ok_or(FillError::Unset { variable })
    }
}

fn name_at_start(text: &str) -> Option<(&str, &str)> {
    let (name, behind) = text.split_once('}')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then_some((name, behind))
}

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FillError {
    /// There is no such variable.
    Unknown { name: String },
    /// The variable exists but this worker has no value for it.
    Unset { variable: Variable },
}

impl std::fmt::Display for FillError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown { name } => {
                let known: Vec<_> = Variable::ALL
                    .iter()
                    .map(|variable| variable.name())
                    .collect();
                write!(
                    f,
                    "unknown variable `{{{name}}}`; known are {}",
                    known.join(", ")
                )
            }
            Self::Unset { variable } => {
                write!(f, "`{{{}}}` has no value for this worker", variable.name())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables::new("alice", "/root/fs", "/root/fs/agents/alice")
    }

    #[test]
    fn names_in_braces_are_replaced_and_other_braces_stay() {
        for (text, expected) in [
            ("agents/{worker}/", "agents/alice/"),
            ("{root}{workspace}", "/root/fs/root/fs/agents/alice"),
            ("{home}", "/root/fs/agents/alice"),
            (r#"{"a": {"b": 1}}"#, r#"{"a": {"b": 1}}"#),
            ("{}", "{}"),
            ("{Worker} {a,b} {", "{Worker} {a,b} {"),
            ("{{worker}}", "{alice}"),
        ] {
            assert_eq!(variables().fill(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn unknown_and_unset_variables_are_told_apart() {
        assert_eq!(
            variables().fill("{wroker}"),
            Err(FillError::Unknown {
                name: "wroker".into()
            })
        );
        assert_eq!(
            variables().fill("{team}"),
            Err(FillError::Unset {
                variable: Variable::Team
            })
        );
    }

    #[test]
    fn leaving_a_team_unsets_its_name() {
        let member = variables().with_team(&Team {
            name: Some("blue".into()),
            role: TeamRole::Leader,
        });
        assert_eq!(member.get(Variable::Team), Some("blue"));
        assert_eq!(member.role(), TeamRole::Leader);
        let alone = member.with_team(&Team::default());
        assert_eq!(alone, variables());
    }
}

//! `{name}` in a layout's texts.
//!
//! Owns which names exist and how a text is filled in. Never looks a value up: they are handed in.

use std::collections::BTreeMap;

use super::team::{Team, TeamRole};
use crate::secret::Secret;

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
    /// `{worker_cr}`: the agent's name in the controller's paths; its name unless set.
    WorkerCr,
    /// `{fs_access_key}`: the store's access key. It stands for itself in a resolved layout, which is shown to people: see
    /// [`StoreKeys`].
    FsAccessKey,
    /// `{fs_secret_key}`: the secret key; the same holds for it.
    FsSecretKey,
    /// `{candidate}`: in `validate`, the file that is about to be published. It stands for itself in a resolved layout: only
    /// the caller of the command knows the path.
    Candidate,
}

impl Variable {
    /// All of them.
    pub const ALL: [Self; 17] = [
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
        Self::WorkerCr,
        Self::FsAccessKey,
        Self::FsSecretKey,
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
            Self::WorkerCr => "worker_cr",
            Self::FsAccessKey => "fs_access_key",
            Self::FsSecretKey => "fs_secret_key",
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
            (Variable::WorkerCr, worker.to_owned()),
        ]);
        let by_name = [
            Variable::FsAccessKey,
            Variable::FsSecretKey,
            Variable::Candidate,
        ];
        let values = values
            .into_iter()
            .chain(by_name.map(|variable| (variable, format!("{{{}}}", variable.name()))))
            .collect();
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

/// The keys of the store for a runtime that wants them on its command line or in its environment.
///
/// A resolved layout holds `{fs_access_key}` and `{fs_secret_key}` by name, so that it can be shown and logged; the values
/// are put in by whoever starts the process.
#[derive(Debug, Clone, Default)]
pub struct StoreKeys {
    access_key: Secret,
    secret_key: Secret,
}

impl StoreKeys {
    const NAMES: [Variable; 2] = [Variable::FsAccessKey, Variable::FsSecretKey];

    /// These keys.
    #[must_use]
    pub fn new(access_key: Secret, secret_key: Secret) -> Self {
        Self {
            access_key,
            secret_key,
        }
    }

    /// `text` with the names replaced. What a key itself holds is not looked at again.
    #[must_use]
    pub fn fill(&self, text: &str) -> Secret {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let name = name_at_start(after);
            let key = name.and_then(|(name, behind)| Some((self.key(name)?, behind)));
            if let Some((key, behind)) = key {
                filled.push_str(key.expose());
                rest = behind;
            } else {
                filled.push('{');
                rest = after;
            }
        }
        filled.push_str(rest);
        Secret::new(filled)
    }

    fn key(&self, name: &str) -> Option<&Secret> {
        [&self.access_key, &self.secret_key]
            .into_iter()
            .zip(Self::NAMES)
            .find_map(|(key, variable)| (variable.name() == name).then_some(key))
    }

    /// The first key that `text` names.
    pub(super) fn first_in(text: &str) -> Option<Variable> {
        let named = |variable: &Variable| text.contains(&format!("{{{}}}", variable.name()));
        Self::NAMES.into_iter().find(named)
    }
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
    fn keys_stand_for_themselves_until_the_runtime_is_started() {
        let resolved = variables().fill("--key {fs_access_key} {worker}").unwrap();
        assert_eq!(resolved, "--key {fs_access_key} alice");
        // A key may hold anything, even what looks like a name.
        let keys = StoreKeys::new(Secret::new("{fs_secret_key}"), Secret::new("s{"));
        for (text, expected) in [
            ("--key {fs_access_key}", "--key {fs_secret_key}"),
            ("{fs_secret_key}{fs_secret_key}", "s{s{"),
            ("{worker} {} ${HOME} {", "{worker} {} ${HOME} {"),
        ] {
            assert_eq!(keys.fill(text).expose(), expected, "{text}");
        }
        assert!(!format!("{keys:?}").contains("s{"));
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

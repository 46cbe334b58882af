//! The layout's `validate` commands: a candidate is shown to them before it is published.
//!
//! Owns which command is asked, its environment and time limit, and what of its words reaches a problem: the first lines, with
//! secrets taken out. How a process is run is handed in, since the first process of a container has to do all waiting itself.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use sync_core::{
    layout::{ResolvedLayout, Variable},
    secret::Secret,
    validate::{Candidate, Validate},
};

use crate::settings::{CredentialSource, Settings};

/// How long a command may take: a pass waits for it.
pub const LIMIT: Duration = Duration::from_secs(30);
/// The variable that holds the path of a candidate, relative to its mount.
const PATH_VARIABLE: &str = "HICLAW_CANDIDATE_PATH";
/// What is kept of a command's words.
const LINES: usize = 5;
const LINE_CHARACTERS: usize = 200;
/// Larger candidates are not searched for secrets; nothing of the command's words is told then.
const MAX_SEARCHED_BYTES: u64 = 8 * 1024 * 1024;
/// Shorter values are no secrets, and are parts of many words.
const SHORTEST_SECRET: usize = 4;
const REDACTED: &str = "[redacted]";

/// A command to run to its end.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where.
    pub directory: PathBuf,
    /// Its whole environment.
    pub environment: Arc<BTreeMap<OsString, OsString>>,
    /// How long it may take.
    pub limit: Duration,
}

/// A command that did not end with code 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// How it ended, or why it did not run.
    pub why: String,
    /// What it wrote to its standard error.
    pub words: Vec<String>,
}

/// Runs commands. Cancelling kills the command.
pub type Run = Arc<dyn Fn(Invocation) -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync>;

/// Asks a layout's commands.
pub struct CommandValidator {
    commands: BTreeMap<String, Vec<String>>,
    directory: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    secrets: Vec<Secret>,
    run: Run,
}

impl CommandValidator {
    /// The commands of `layout`; `None` when it has none.
    #[must_use]
    pub fn new(
        layout: &ResolvedLayout,
        settings: &Settings,
        environment: BTreeMap<OsString, OsString>,
        run: Run,
    ) -> Option<Self> {
        let commands: BTreeMap<_, _> = layout
            .reload
            .iter()
            .filter_map(|(group, reload)| Some((group.clone(), reload.validate.clone()?)))
            .collect();
        if commands.is_empty() {
            return None;
        }
        Some(Self {
            commands,
            directory: settings.workspace.clone(),
            environment,
            secrets: store_secrets(settings),
            run,
        })
    }

    async fn ask(&self, candidate: &Candidate) -> Result<(), String> {
        let Some(command) = self.commands.get(&candidate.group) else {
            return Ok(());
        };
        let name = format!("{{{}}}", Variable::Candidate.name());
        let file = candidate.file.to_string_lossy();
        let mut environment = self.environment.clone();
        environment.insert(PATH_VARIABLE.into(), candidate.path.as_str().into());
        let invocation = Invocation {
            command: command
                .iter()
                .map(|part| part.replace(&name, &file))
                .collect(),
            directory: self.directory.clone(),
            environment: Arc::new(environment),
            limit: LIMIT,
        };
        (self.run)(invocation)
            .await
            .map_err(|refusal| self.told(&refusal, &candidate.file))
    }

    /// What a refusal becomes in a problem.
    fn told(&self, refusal: &Refusal, file: &Path) -> String {
        let Some(mut secrets) = secrets_in(file) else {
            return refusal.why.clone();
        };
        secrets.extend(self.secrets.iter().cloned());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        let mut text = refusal.why.clone();
        let lines = refusal.words.iter().map(|line| line.trim());
        let lines = lines.filter(|line| !line.is_empty()).take(LINES);
        for (number, line) in lines.enumerate() {
            text.push_str(if number == 0 { ": " } else { " / " });
            text.extend(redact(line, &secrets).chars().take(LINE_CHARACTERS));
        }
        text
    }
}

impl Validate for CommandValidator {
    fn wants(&self, group: &str) -> bool {
        self.commands.contains_key(group)
    }

    fn validate<'a>(&'a self, candidate: &'a Candidate) -> BoxFuture<'a, Result<(), String>> {
        self.ask(candidate).boxed()
    }
}

/// Runs commands as children of this process.
#[must_use]
pub fn as_child() -> Run {
    Arc::new(|invocation| run(invocation).boxed())
}

async fn run(invocation: Invocation) -> Result<(), Refusal> {
    let silent = |why: String| Refusal {
        why,
        words: Vec::new(),
    };
    let Some((program, arguments)) = invocation.command.split_first() else {
        return Err(silent("the command is empty".to_owned()));
    };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .current_dir(&invocation.directory)
        .env_clear()
        .envs(invocation.environment.iter())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| silent(format!("can't start `{program}`: {error}")))?;
    let ended = tokio::time::timeout(invocation.limit, child.wait_with_output()).await;
    let limit = invocation.limit;
    let output = ended
        .map_err(|_| silent(format!("`{program}` took longer than {limit:?}")))?
        .map_err(|error| silent(format!("can't wait for `{program}`: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Refusal {
        why: format!("`{program}` ended with {}", output.status),
        words: words.lines().map(str::to_owned).collect(),
    })
}

fn store_secrets(settings: &Settings) -> Vec<Secret> {
    match &settings.store.credentials {
        CredentialSource::Static {
            access_key: _,
            secret_key,
            session_token,
        } => [Some(secret_key.clone()), session_token.clone()]
            .into_iter()
            .flatten()
            .filter(|secret| secret.expose().len() >= SHORTEST_SECRET)
            .collect(),
        CredentialSource::Controller | CredentialSource::Aws => Vec::new(),
    }
}

/// The values in a document whose names say that they are secret; `None` where it can't be told.
fn secrets_in(file: &Path) -> Option<Vec<Secret>> {
    let size_bytes = std::fs::metadata(file).ok()?.len();
    if size_bytes > MAX_SEARCHED_BYTES {
        return None;
    }
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut found = Vec::new();
    // What is no JSON has its secrets in lines such as `token: …` and `TOKEN=…`.
    match sync_core::merge::value(&text) {
        Ok(document) => search(&document, false, &mut found),
        Err(_) => search_lines(&text, &mut found),
    }
    Some(found)
}

fn search(value: &Value, named: bool, found: &mut Vec<Secret>) {
    match value {
        Value::String(text) if named => note(text, found),
        Value::Array(items) => items.iter().for_each(|item| search(item, named, found)),
        Value::Object(fields) => {
            for (name, value) in fields {
                search(value, named || is_secret_name(name), found);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn search_lines(text: &str, found: &mut Vec<Secret>) {
    for line in text.lines() {
        if let Some((name, value)) = line.split_once([':', '='])
            && is_secret_name(name)
        {
            note(value.trim().trim_matches(['"', '\'', ',']), found);
        }
    }
}

fn note(text: &str, found: &mut Vec<Secret>) {
    if text.len() >= SHORTEST_SECRET {
        found.push(Secret::new(text));
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "passwd", "credential", "key"]
        .iter()
        .any(|word| name.contains(word))
}

fn redact(line: &str, secrets: &[Secret]) -> String {
    secrets.iter().fold(line.to_owned(), |line, secret| {
        line.replace(secret.expose(), REDACTED)
    })
}

#[cfg(test)]
mod tests;

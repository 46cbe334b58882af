//! The command line under test, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::agent;
use crate::bucket::Bucket;
use crate::tools;

/// No command of a test takes longer than this unless it hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// `hiclaw-sync` for the agent [`agent::NAME`], with a root of its own.
pub struct Cli {
    dir: TempDir,
    environment: Vec<(String, String)>,
    options: Vec<String>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; 128+n after signal n.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Cli {
    /// A command line that knows `bucket` from the environment, and an empty root.
    pub fn new(bucket: &Bucket) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("hiclaw-sync-test-root-")
            .tempdir()?;
        let root = dir.path().join("fs");
        std::fs::create_dir(&root)?;
        let environment = environment(bucket);
        let options = vec!["--root".to_owned(), root.display().to_string()];
        Ok(Self {
            dir,
            environment,
            options,
        })
    }

    /// A command line beside a running worker: in its root, as a user of its container has it.
    pub fn beside(bucket: &Bucket, root: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("hiclaw-sync-test-beside-")
            .tempdir()?;
        Ok(Self {
            dir,
            environment: environment(bucket),
            options: vec!["--root".to_owned(), root.display().to_string()],
        })
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(existing, _)| existing != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(existing, _)| existing != name);
        self
    }

    /// Adds a global option that stands before the command.
    #[must_use]
    pub fn option(mut self, option: &str, value: &str) -> Self {
        self.options.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// The root of the local tree.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("fs")
    }

    /// The agent's workspace.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.root().join("agents").join(agent::NAME)
    }

    /// A directory beside the root, for what a test puts aside.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let child = self.spawn(arguments)?;
        finish(child)
            .await
            .with_context(|| format!("hiclaw-sync {arguments:?}"))
    }

    /// Runs a command that must exit with 0.
    pub async fn ok(&self, arguments: &[&str]) -> Result<Ran> {
        let ran = self.run(arguments).await?;
        if ran.code != 0 {
            bail!(
                "hiclaw-sync {arguments:?} exited with {}\n{}\n{}",
                ran.code,
                ran.stdout,
                ran.stderr
            );
        }
        Ok(ran)
    }

    /// Runs a command that reads `input` from its standard input.
    pub async fn feed(&self, arguments: &[&str], input: &[u8]) -> Result<Ran> {
        use tokio::io::AsyncWriteExt as _;
        let mut child = self
            .command(&self.words(arguments)?)?
            .stdin(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let (written, ran) = tokio::join!(
            async move {
                stdin.write_all(input).await?;
                stdin.shutdown().await
            },
            finish(child)
        );
        // One that ends without reading has its reasons; its exit code tells.
        drop(written);
        ran
    }

    /// Starts a command; it is killed when the result is dropped.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        self.spawn_words(&self.words(arguments)?)
    }

    /// The words of a command, program first.
    pub fn words(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let program = tools::hiclaw_sync()?.display().to_string();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        Ok(std::iter::once(program)
            .chain(self.options.iter().cloned())
            .chain(arguments)
            .collect())
    }

    /// Starts another program in the environment of the commands, such as one that runs [`Cli::words`].
    pub fn spawn_words(&self, words: &[String]) -> Result<Child> {
        let (program, _) = words.split_first().context("no words")?;
        self.command(words)?
            .spawn()
            .with_context(|| format!("start {program}"))
    }

    fn command(&self, words: &[String]) -> Result<Command> {
        let (program, arguments) = words.split_first().context("no words")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("HOME", self.dir.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// Waits for a started command.
pub async fn finish(child: Child) -> Result<Ran> {
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .context("it hangs")??;
    Ok(Ran {
        code: exit_code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The exit code as a shell sees it.
pub(crate) fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The environment that makes a program work on `bucket` for the agent [`agent::NAME`].
pub(crate) fn environment(bucket: &Bucket) -> Vec<(String, String)> {
    [
        ("HICLAW_WORKER_NAME", agent::NAME),
        ("HICLAW_FS_ENDPOINT", bucket.endpoint()),
        ("HICLAW_FS_ACCESS_KEY", bucket.access_key()),
        ("HICLAW_FS_SECRET_KEY", bucket.secret_key()),
        ("HICLAW_FS_BUCKET", bucket.name()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl Ran {
    /// The one JSON document on standard output.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| {
            format!(
                "standard output is not one JSON document: {:?}\n{}",
                self.stdout, self.stderr
            )
        })
    }

    /// Sorted `path` fields of a list of the JSON document.
    pub fn paths(&self, list: &str) -> Result<Vec<String>> {
        let document = self.json()?;
        let entries = document
            .get(list)
            .and_then(Value::as_array)
            .with_context(|| format!("no list {list}"))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry
                .get("path")
                .and_then(Value::as_str)
                .with_context(|| format!("no path in {entry}"))?;
            paths.push(path.to_owned());
        }
        paths.sort();
        Ok(paths)
    }

    /// True when either stream holds `text`.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }
}

//! What the demo plays on: store, bucket, worker process, and looking at them.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hiclaw_sync::{
    serve::{ServeOptions, Server},
    worker::read_object,
};
use sync_core::{
    digest::ContentHasher,
    path::{ObjectKey, Prefix, RelPath},
    secret::Secret,
    store::{
        ObjectStore, PutBody, PutMode, PutOptions,
        s3::{Keys, S3Config, S3Store},
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    signal::unix::{self, Signal, SignalKind},
    sync::oneshot,
    task::JoinHandle,
};

use super::PATIENCE;

const BUCKET: &str = "hiclaw-storage";
const AGENT: &str = "alice";
const ACCESS_KEY: &str = "demo";
/// How often the demo looks.
const GLANCE: Duration = Duration::from_millis(20);

/// The skill that the demo adds.
pub(super) const SKILL: &str =
    "---\nname: translate\ndescription: Translates texts.\n---\n\nTranslate what you are given.\n";

/// The stand-in runtime: tells which model its configuration names, as often as it changes, and ends on SIGTERM.
const RUNTIME: &str = r#"
trap 'echo "runtime: stopping"; exit 0' TERM
last=
while :; do
  now=$(sed -n 's/.*"model": *"\([^"]*\)".*/\1/p' openclaw.json | head -n 1)
  if [ "$now" != "$last" ]; then echo "runtime: the model is $now"; echo "$now" > .cache/runtime-model; last=$now; fi
  sleep 0.1
done"#;

/// A configuration as the controller writes it.
pub(super) fn configuration(model: &str) -> String {
    let document = serde_json::json!({
        "gateway": { "mode": "local", "bind": "loopback", "auth": { "mode": "token", "token": "demo-token" } },
        "models": { "default": { "model": model } },
    });
    format!("{document:#}\n")
}

pub(super) struct Stage {
    directory: PathBuf,
    /// Removes the directory at the end, unless it is to be kept.
    temporary: Option<tempfile::TempDir>,
    store: S3Store,
    endpoint: String,
    secret: Secret,
    command: Vec<String>,
    worker: Option<Child>,
    /// Ctrl-C. It reaches the demo alone: the worker has a process group of its own.
    interrupts: Signal,
    since: Instant,
    _serving: JoinHandle<()>,
    _end_of_store: oneshot::Sender<()>,
}

impl Stage {
    /// Starts the store and seeds the agent.
    pub(super) async fn set(keep: Option<PathBuf>, command: Vec<String>) -> anyhow::Result<Self> {
        let (directory, temporary) = if let Some(directory) = keep {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("can't create {}", directory.display()))?;
            (std::fs::canonicalize(&directory)?, None)
        } else {
            let temporary = tempfile::tempdir().context("can't create a temporary directory")?;
            (temporary.path().to_owned(), Some(temporary))
        };
        let secret = Secret::new(format!("{:032x}", fastrand::u128(..)));
        let server = Server::bind(ServeOptions {
            data: directory.join("store"),
            listen: ([127, 0, 0, 1], 0).into(),
            access_key: ACCESS_KEY.to_owned(),
            secret_key: secret.clone(),
            buckets: vec![BUCKET.to_owned()],
        })
        .await?;
        let endpoint = format!("http://{}", server.local_addr());
        let (end_of_store, end) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let ended = async move {
                // Either the demo says so or it is gone.
                end.await.ok();
            };
            if let Err(error) = server.run(ended).await {
                tracing::error!("the embedded store ended: {error}");
            }
        });
        let keys = Keys {
            access_key: ACCESS_KEY.to_owned(),
            secret_key: secret.clone(),
            session_token: None,
        };
        let config = S3Config {
            endpoint: Some(endpoint.clone()),
            bucket: BUCKET.to_owned(),
            keys: Some(keys),
            ..S3Config::default()
        };
        let store = S3Store::connect(&config).await?;
        let stage = Self {
            directory,
            temporary,
            store,
            endpoint,
            secret,
            command,
            worker: None,
            interrupts: unix::signal(SignalKind::interrupt()).context("can't wait for Ctrl-C")?,
            since: Instant::now(),
            _serving: serving,
            _end_of_store: end_of_store,
        };
        stage.seed().await?;
        Ok(stage)
    }

    async fn seed(&self) -> anyhow::Result<()> {
        self.put("openclaw.json", &configuration("model-one"))
            .await?;
        self.put("SOUL.md", "# Soul\n\nYou are alice.\n").await?;
        self.put("AGENTS.md", "# Agents\n\nYou work alone.\n")
            .await?;
        self.put(
            "skills/greet/SKILL.md",
            "---\nname: greet\ndescription: Greets people.\n---\n\nBe kind.\n",
        )
        .await
    }

    /// Starts the worker on the seeded bucket.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("can't find this program")?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(
                ["PATH", "LANG", "NO_COLOR"]
                    .iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .env("HICLAW_WORKER_NAME", AGENT)
            .env("HICLAW_FS_ENDPOINT", &self.endpoint)
            .env("HICLAW_FS_ACCESS_KEY", ACCESS_KEY)
            .env("HICLAW_FS_SECRET_KEY", self.secret.expose())
            .env("HICLAW_FS_BUCKET", BUCKET)
            .arg("--root")
            .arg(self.directory.join("root"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .arg("--");
        if self.command.is_empty() {
            command.args(["sh", "-c", RUNTIME]);
        } else {
            command.args(&self.command);
        }
        // The agent's own field, which the merge must keep.
        self.write_local("openclaw.json", r#"{"note":"kept-by-the-agent"}"#)?;
        self.write_local(".cache/runtime-model", "")?;
        self.since = Instant::now();
        let mut worker = command.spawn().context("can't start the worker")?;
        let (out, err) = (worker.stdout.take(), worker.stderr.take());
        tokio::spawn(async move { tell(out).await });
        tokio::spawn(async move { tell(err).await });
        self.worker = Some(worker);
        Ok(())
    }

    /// Waits for a condition; gives how long it took since the last thing that was done.
    pub(super) async fn until(
        &mut self,
        what: &str,
        condition: impl Fn(&Self) -> bool,
    ) -> anyhow::Result<Duration> {
        while !condition(self) {
            self.keep_waiting(what).await?;
        }
        Ok(self.since.elapsed())
    }

    /// Waits for an object of the agent to hold a text.
    pub(super) async fn until_object(
        &mut self,
        path: &str,
        text: &str,
    ) -> anyhow::Result<Duration> {
        while read_object(&self.store, &key(path)?).await?.as_deref() != Some(text) {
            self.keep_waiting(&format!("{path} is in the bucket"))
                .await?;
        }
        Ok(self.since.elapsed())
    }

    async fn keep_waiting(&mut self, what: &str) -> anyhow::Result<()> {
        if let Some(worker) = &mut self.worker
            && let Some(status) = worker.try_wait()?
        {
            bail!("the worker ended with {status} before {what}");
        }
        if self.since.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?}, but not until {what}");
        }
        tokio::select! {
            () = tokio::time::sleep(GLANCE) => Ok(()),
            () = interrupted(&mut self.interrupts) => {
                self.stop().await?;
                bail!("interrupted before {what}")
            }
        }
    }

    /// Waits for Ctrl-C.
    pub(super) async fn until_interrupted(&mut self) {
        interrupted(&mut self.interrupts).await;
    }

    pub(super) fn runtime_runs(&self) -> bool {
        if self.command.is_empty() {
            self.runtime_uses("model-one")
        } else {
            self.local("openclaw.json").is_ok()
        }
    }

    /// Whether the runtime says that it uses a model; another runtime than the stand-in is believed to read its file.
    pub(super) fn runtime_uses(&self, model: &str) -> bool {
        let seen = if self.command.is_empty() {
            ".cache/runtime-model"
        } else {
            "openclaw.json"
        };
        self.local(seen).is_ok_and(|text| text.contains(model))
    }

    pub(super) fn local(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.workspace().join(path))
    }

    pub(super) fn write_local(&mut self, path: &str, text: &str) -> anyhow::Result<()> {
        let full = self.workspace().join(path);
        std::fs::create_dir_all(full.parent().unwrap_or(Path::new("/")))?;
        std::fs::write(&full, text).with_context(|| format!("can't write {}", full.display()))?;
        self.since = Instant::now();
        Ok(())
    }

    /// Writes an object as the controller would.
    pub(super) async fn put(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let mut hasher = ContentHasher::default();
        hasher.update(text.as_bytes());
        let options = PutOptions {
            mode: PutMode::Overwrite,
            digest: hasher.finish().digest,
            metadata: Vec::new(),
        };
        self.store
            .put(
                &key(path)?,
                PutBody::Bytes(Bytes::copy_from_slice(text.as_bytes())),
                options,
            )
            .await?;
        Ok(())
    }

    /// SIGHUP, which an operator may send too.
    pub(super) fn ask_for_pull(&mut self) -> anyhow::Result<()> {
        self.since = Instant::now();
        self.signal(rustix::process::Signal::HUP)
    }

    /// SIGTERM; gives how the worker ended and how long that took.
    pub(super) async fn stop(&mut self) -> anyhow::Result<(ExitStatus, Duration)> {
        self.signal(rustix::process::Signal::TERM)?;
        let started = Instant::now();
        let mut worker = self.worker.take().context("the worker is not running")?;
        let status = tokio::time::timeout(PATIENCE, worker.wait())
            .await
            .context("the worker doesn't stop")??;
        Ok((status, started.elapsed()))
    }

    fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let id = self
            .worker
            .as_ref()
            .and_then(Child::id)
            .context("the worker has ended")?;
        let id = i32::try_from(id)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .context("no process id")?;
        Ok(rustix::process::kill_process(id, signal)?)
    }

    pub(super) fn invite(&self) {
        say("Now you: edit files in");
        say(&format!("     {}", self.workspace().display()));
        say(&format!(
            "   or objects in s3://{BUCKET}/agents/{AGENT}/ at {}",
            self.endpoint
        ));
        say(&format!(
            "   (access key {ACCESS_KEY}, secret key {}); Ctrl-C ends the demo.",
            self.secret.expose()
        ));
    }

    pub(super) fn leave(&self) {
        if self.temporary.is_none() {
            say(&format!(
                "Store and files are kept in {}.",
                self.directory.display()
            ));
        }
    }

    fn workspace(&self) -> PathBuf {
        self.directory.join("root/agents").join(AGENT)
    }
}

async fn interrupted(interrupts: &mut Signal) {
    // A stream of signals never ends.
    interrupts.recv().await.unwrap_or(());
}

/// Shows what the worker says, set apart from the demo's own words.
async fn tell(stream: Option<impl tokio::io::AsyncRead + Unpin>) {
    let Some(stream) = stream else { return };
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        say(&format!("      | {line}"));
    }
}

/// A line of the demo's own.
pub(super) fn say(text: &str) {
    // A closed pipe: nobody looks any more, the tour goes on to its clean end.
    writeln!(std::io::stdout(), "{text}").ok();
}

fn key(path: &str) -> anyhow::Result<ObjectKey> {
    Ok(Prefix::new(&format!("agents/{AGENT}"))?.key(&RelPath::new(path)?))
}

//! A container without a container runtime: the program under test in a PID namespace, and a store that it talks to.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hiclaw_sync::{
    serve::{ServeOptions, Server},
    worker::read_object,
};
use rustix::process::{Pid, Signal};
use sync_core::{
    digest::ContentHasher,
    path::{ObjectKey, Prefix, RelPath},
    secret::Secret,
    store::{
        ObjectStore as _, PutBody, PutMode, PutOptions,
        s3::{Keys, S3Config, S3Store},
    },
};

use crate::Result;

const BUCKET: &str = "hiclaw-storage";
const KEY: &str = "test";
const SECRET: &str = "test-secret-key";
const LIMIT: Duration = Duration::from_mins(1);

/// Waits for a condition; an error when it does not come true in time.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) -> Result {
    let limit = Instant::now() + LIMIT;
    while !condition() {
        if Instant::now() > limit {
            return Err(format!("{what} did not come").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Why no PID namespace can be made here; `None` when it can.
pub(crate) fn obstacle() -> Option<String> {
    let tried = Command::new("unshare").args(NAMESPACE).arg("true").output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Says that a test was skipped, and leaves the word for the test run's summary.
pub(crate) fn skip(reason: &str) -> Result {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    writeln!(std::io::stderr(), "SKIPPED init {test}: {reason}")?;
    if let Some(file) = std::env::var_os("HICLAW_SYNC_TEST_SKIPPED") {
        let mut file = File::options().create(true).append(true).open(file)?;
        file.write_all(format!("init\t{test}\t{reason}\n").as_bytes())?;
    }
    Ok(())
}

const NAMESPACE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

/// A store with one agent in it.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    endpoint: String,
    store: S3Store,
}

impl Host {
    pub(crate) async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let secret = Secret::new(SECRET);
        let server = Server::bind(ServeOptions {
            data: directory.path().join("store"),
            listen: ([127, 0, 0, 1], 0).into(),
            access_key: KEY.to_owned(),
            secret_key: secret.clone(),
            buckets: vec![BUCKET.to_owned()],
        })
        .await?;
        let endpoint = format!("http://{}", server.local_addr());
        tokio::spawn(server.run(std::future::pending()));
        let config = S3Config {
            endpoint: Some(endpoint.clone()),
            bucket: BUCKET.to_owned(),
            keys: Some(Keys {
                access_key: KEY.to_owned(),
                secret_key: secret,
                session_token: None,
            }),
            ..S3Config::default()
        };
        let store = S3Store::connect(&config).await?;
        let host = Self {
            directory,
            endpoint,
            store,
        };
        host.put("openclaw.json", r#"{"gateway":{"mode":"local"}}"#)
            .await?;
        host.put("SOUL.md", "soul\n").await?;
        host.put("AGENTS.md", "agents\n").await?;
        Ok(host)
    }

    /// Writes an object of the agent.
    pub(crate) async fn put(&self, path: &str, text: &str) -> Result {
        let mut hasher = ContentHasher::default();
        hasher.update(text.as_bytes());
        let digest = hasher.finish().digest;
        let options = PutOptions {
            mode: PutMode::Overwrite,
            digest,
            metadata: Vec::new(),
        };
        let body = PutBody::Bytes(Bytes::copy_from_slice(text.as_bytes()));
        self.store.put(&key(path)?, body, options).await?;
        Ok(())
    }

    /// An object of the agent.
    pub(crate) async fn object(&self, path: &str) -> Result<Option<String>> {
        Ok(read_object(&self.store, &key(path)?).await?)
    }
}

fn key(path: &str) -> Result<ObjectKey> {
    Ok(Prefix::new("agents/alice")?.key(&RelPath::new(path)?))
}

/// The program under test with everything it starts.
pub(crate) struct Container {
    child: Child,
    kind: Kind,
    workspace: PathBuf,
    log: PathBuf,
    /// Removes the tree at the end.
    _root: tempfile::TempDir,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The child is `unshare`, whose only child is the init.
    Namespace,
    /// The child is the init.
    Plain,
    /// The child is `script`, whose only child is the init.
    Terminal,
}

impl Kind {
    fn command(self, words: &[&str]) -> Command {
        let mut command = match self {
            Self::Namespace => {
                let mut command = Command::new("unshare");
                command.args(NAMESPACE).args(words);
                command
            }
            Self::Plain => {
                let (program, arguments) = words.split_first().unwrap_or((&"true", &[]));
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            Self::Terminal => {
                let quoted = words
                    .iter()
                    .map(|word| format!("'{}'", word.replace('\'', r"'\''")));
                // The shell is replaced, so that nobody with job control is above the program.
                let line = format!("exec {}", quoted.collect::<Vec<_>>().join(" "));
                let mut command = Command::new("script");
                command.args(["-q", "-e", "-f", "-c", &line, "/dev/null"]);
                command
            }
        };
        command.stdin(match self {
            Self::Namespace | Self::Plain => Stdio::null(),
            Self::Terminal => Stdio::piped(),
        });
        command
    }
}

impl Container {
    /// Starts it as process 1, with a shell script as the runtime.
    pub(crate) fn start(host: &Host, options: &[&str], script: &str) -> Result<Self> {
        Self::run(Kind::Namespace, host, options, script)
    }

    /// Starts it as any process, with an init by request.
    pub(crate) fn without_namespace(host: &Host, script: &str) -> Result<Self> {
        Self::run(Kind::Plain, host, &["--force-init"], script)
    }

    /// Starts it in the foreground of a terminal of its own.
    pub(crate) fn at_a_terminal(host: &Host, script: &str) -> Result<Self> {
        Self::run(Kind::Terminal, host, &["--force-init"], script)
    }

    /// Presses keys at its terminal.
    pub(crate) fn press(&mut self, keys: &str) -> Result {
        let input = self.child.stdin.as_mut().ok_or("there is no terminal")?;
        input.write_all(keys.as_bytes())?;
        Ok(input.flush()?)
    }

    fn run(kind: Kind, host: &Host, options: &[&str], script: &str) -> Result<Self> {
        let root = tempfile::tempdir_in(host.directory.path())?;
        let log = root.path().join("log");
        let output = File::create(&log)?;
        let place = root.path().display().to_string();
        let script = format!("echo $$ > runtime.lock\n{script}");
        let mut words = vec![env!("CARGO_BIN_EXE_worker-entrypoint")];
        words.extend_from_slice(options);
        words.extend(["--root", &place, "--", "sh", "-c", &script]);
        let child = kind
            .command(&words)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HICLAW_WORKER_NAME", "alice")
            .env("HICLAW_FS_ENDPOINT", &host.endpoint)
            .env("HICLAW_FS_ACCESS_KEY", KEY)
            .env("HICLAW_FS_SECRET_KEY", SECRET)
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let workspace = root.path().join("agents/alice");
        Ok(Self {
            child,
            kind,
            workspace,
            log,
            _root: root,
        })
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn local(&self, path: &str) -> std::io::Result<String> {
        fs::read_to_string(self.workspace.join(path))
    }

    /// Waits for the script's `touch up`.
    pub(crate) async fn runtime_runs(&self) -> Result {
        let up = self.workspace.join("up");
        until("the runtime", || up.exists())
            .await
            .map_err(|error| format!("{error}\n{}", self.log()).into())
    }

    /// Waits until there is an init that listens, as it does before it forks. To a process 1 that has not said yet what it
    /// does with a signal the kernel doesn't deliver it at all.
    pub(crate) async fn init_listens(&self) -> Result {
        until("an init with an engine", || {
            self.init_now().and_then(first_child).is_some()
        })
        .await
    }

    fn init_now(&self) -> Option<Pid> {
        let own = Pid::from_child(&self.child);
        let init = match self.kind {
            Kind::Namespace | Kind::Terminal => first_child(own)?,
            Kind::Plain => own,
        };
        let name = fs::read_to_string(process(init).join("comm")).ok()?;
        name.starts_with("worker-entrypo").then_some(init)
    }

    /// The memory that the init holds.
    pub(crate) fn init_kibibytes(&self) -> Result<u64> {
        let init = self.init_now().ok_or("there is no process 1")?;
        let status = fs::read_to_string(process(init).join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.ok_or("it tells no size")?.parse()?)
    }

    pub(crate) fn signal_init(&self, signal: Signal) -> Result {
        let init = self.init_now().ok_or("there is no process 1")?;
        Ok(rustix::process::kill_process(init, signal)?)
    }

    pub(crate) fn signal_engine(&self, signal: Signal) -> Result {
        let engine = self
            .init_now()
            .and_then(first_child)
            .ok_or("there is no engine")?;
        Ok(rustix::process::kill_process(engine, signal)?)
    }

    /// Whether the runtime's shell is alive; its id is the one that it sees itself.
    pub(crate) fn runtime_lives(&self) -> bool {
        let Ok(id) = self.local("runtime.lock") else {
            return false;
        };
        let stat = fs::read_to_string(Path::new("/proc").join(id.trim()).join("stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    /// Waits for the end; gives the exit code.
    pub(crate) async fn ended(&mut self) -> Result<i32> {
        let limit = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return status.code().ok_or_else(|| format!("{status}").into());
            }
            if Instant::now() > limit {
                return Err(format!("it does not end\n{}", self.log()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Everything in the namespace goes with its process 1, which `--kill-child` takes along.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            writeln!(std::io::stderr(), "can't end a container: {error}").unwrap_or(());
        }
    }
}

fn process(id: Pid) -> PathBuf {
    Path::new("/proc").join(id.as_raw_nonzero().to_string())
}

fn first_child(of: Pid) -> Option<Pid> {
    let tasks = fs::read_dir(process(of).join("task")).ok()?;
    let lists = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .find_map(|id| Pid::from_raw(id.parse().ok()?))
}

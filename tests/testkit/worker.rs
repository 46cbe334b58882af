//! `worker-entrypoint` under test, as a container runtime starts it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::agent;
use crate::bucket::Bucket;
use crate::cli::{environment, exit_code};
use crate::process::{Process, descendants, kill, program_of, resident_bytes, ticks_of};
use crate::runtime::{Manners, Runtime};
use crate::tools;
use crate::wait::{PATIENCE, wait_until};

/// How often a test's worker pulls by schedule.
const HOUR: &str = "3600s";

/// A worker before its start.
pub struct Builder {
    dir: TempDir,
    environment: Vec<(String, String)>,
    options: Vec<String>,
    runtime: Choice,
    program: Program,
    position: Position,
}

/// Where the program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// A child of the test.
    Child,
    /// The first process of a PID namespace, as in a container.
    First,
}

/// What the worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The stand-in, as the command behind `--`.
    Command(Manners),
    /// The stand-in, as the program that the layout names.
    AsOpenclaw,
    /// What the layout names, as installed.
    Layout,
    /// The stand-in, as a program of any layout.
    Program,
}

/// Where the stand-in is put for [`Choice::Program`], and what it does before it runs.
#[derive(Debug, Default)]
struct Program {
    name: String,
    prelude: String,
}

/// A started worker. Dropping it kills it with everything it started.
pub struct Worker {
    dir: TempDir,
    child: Child,
    started: Instant,
    runtime: Option<Runtime>,
    ended: Option<i32>,
}

impl Builder {
    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(existing, _)| existing != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Pulls by schedule as often as this, not once an hour.
    #[must_use]
    pub fn pull_interval(mut self, interval: &str) -> Self {
        self.options
            .retain(|option| option != "--pull-interval" && option != HOUR);
        self.option("--pull-interval", interval)
    }

    /// Adds an option with its value.
    #[must_use]
    pub fn option(mut self, option: &str, value: &str) -> Self {
        self.options.extend([option.to_owned(), value.to_owned()]);
        self
    }

    /// Adds an argument without a value, such as a command.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.options.push(argument.to_owned());
        self
    }

    /// Runs the stand-in runtime with other manners than [`Manners::Good`].
    #[must_use]
    pub fn manners(mut self, manners: Manners) -> Self {
        self.runtime = Choice::Command(manners);
        self
    }

    /// Runs what the layout says, not the stand-in runtime.
    #[must_use]
    pub fn layout_runtime(mut self) -> Self {
        self.runtime = Choice::Layout;
        self
    }

    /// Runs the stand-in runtime as the program `openclaw` that the layout names, not as a command of its own.
    #[must_use]
    pub fn as_openclaw(mut self) -> Self {
        self.runtime = Choice::AsOpenclaw;
        self
    }

    /// Runs the layout's own command, with the stand-in runtime in the place of its program: an absolute path below `/opt`,
    /// which the worker then sees with that program alone in it, or a name for the front of `PATH`. `prelude` is shell
    /// that runs before the stand-in.
    #[must_use]
    pub fn as_program(mut self, name: &str, prelude: &str) -> Self {
        self.runtime = Choice::Program;
        self.program = Program {
            name: name.to_owned(),
            prelude: prelude.to_owned(),
        };
        self
    }

    /// Runs it as the first process of a PID namespace of its own. Its own processes are [`Worker::processes`] then; the test's
    /// child is `unshare`.
    #[must_use]
    pub fn as_first_process(mut self) -> Self {
        self.position = Position::First;
        self
    }

    /// The stand-in's script, as [`Builder::as_program`] would install it: for a program that comes from the bucket.
    pub fn program_text(&self, prelude: &str) -> Result<String> {
        let records = self.records()?;
        Ok(Runtime::create(&records, Manners::Good)?.as_program(prelude))
    }

    fn records(&self) -> Result<PathBuf> {
        let records = self.dir.path().join("runtime");
        fs::create_dir_all(&records)?;
        Ok(records)
    }

    /// The root of the local tree.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("fs")
    }

    /// The agent's workspace, for what shall be there before the start.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.root().join("agents").join(agent::NAME)
    }

    /// Starts it.
    pub fn start(self) -> Result<Worker> {
        fs::create_dir_all(self.root())?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))?;
        let records = self.records()?;
        let runtime = match self.runtime {
            Choice::Command(manners) => Some(Runtime::create(&records, manners)?),
            Choice::AsOpenclaw | Choice::Program => Some(Runtime::create(&records, Manners::Good)?),
            Choice::Layout => None,
        };
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        if let (Choice::AsOpenclaw, Some(runtime)) = (self.runtime, &runtime) {
            let front = [runtime.install_as_openclaw()?];
            path = std::env::join_paths(front.into_iter().chain(std::env::split_paths(&path)))?;
        }
        let mut command = Command::new(tools::worker_entrypoint()?);
        if let (Choice::Program, Some(runtime)) = (self.runtime, &runtime) {
            let Program { name, prelude } = &self.program;
            if let Some(below) = name.strip_prefix("/opt/") {
                let opt = self.dir.path().join("opt");
                runtime.install(&opt.join(below), prelude)?;
                command = seeing(&opt, command.get_program());
            } else if !name.is_empty() {
                let bin = self.dir.path().join("bin");
                runtime.install(&bin.join(name), prelude)?;
                path =
                    std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path)))?;
            }
        }
        if self.position == Position::First {
            command = first_process(command.get_program());
        }
        command
            .args(["--root".as_ref(), self.root().as_os_str()])
            .args(&self.options)
            .env_clear()
            .env("PATH", path)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let (Choice::Command(_), Some(runtime)) = (self.runtime, &runtime) {
            command.arg("--").args(runtime.command());
        }
        let child = command.spawn().context("start worker-entrypoint")?;
        Ok(Worker {
            dir: self.dir,
            child,
            started: Instant::now(),
            runtime,
            ended: None,
        })
    }
}

/// What makes a program the first process of a PID namespace. The end of `unshare` is its end.
const NAMESPACE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

fn first_process(program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("unshare");
    command.args(NAMESPACE).arg(program);
    command
}

/// Why [`Builder::as_first_process`] can't be used here; `None` when it can.
#[must_use]
pub fn no_namespace() -> Option<String> {
    match Command::new("unshare").args(NAMESPACE).arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// `program`, which sees `opt` as `/opt`; its process keeps its id.
fn seeing(opt: &Path, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("unshare");
    let mount = "mount --bind \"$0\" /opt && exec \"$@\"";
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]);
    command.arg(opt).arg(program);
    command
}

impl Worker {
    /// A worker of the agent [`agent::NAME`] on `bucket`, with an empty root and the stand-in runtime. It pulls by
    /// schedule only once an hour, so that a test sees no pull that it did not ask for.
    pub fn builder(bucket: &Bucket) -> Result<Builder> {
        let dir = tempfile::Builder::new()
            .prefix("hiclaw-sync-test-worker-")
            .tempdir()?;
        let options = ["--pull-interval", HOUR].map(str::to_owned).to_vec();
        Ok(Builder {
            dir,
            environment: environment(bucket),
            options,
            runtime: Choice::Command(Manners::Good),
            program: Program::default(),
            position: Position::Child,
        })
    }

    /// Starts such a worker and waits until its runtime runs.
    pub async fn start(bucket: &Bucket) -> Result<Self> {
        let worker = Self::builder(bucket)?.start()?;
        worker.wait_for_runtime().await?;
        Ok(worker)
    }

    /// Waits until the stand-in runtime was started for the first time.
    pub async fn wait_for_runtime(&self) -> Result<()> {
        self.runtime()?
            .wait_for_start(1, PATIENCE)
            .await
            .with_context(|| self.log())
    }

    /// The stand-in runtime.
    pub fn runtime(&self) -> Result<&Runtime> {
        self.runtime
            .as_ref()
            .context("this worker runs the layout's runtime")
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

    /// Everything it and its runtime printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.dir.path().join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Waits until its log holds `text`.
    pub async fn wait_for_log(&self, text: &str) -> Result<()> {
        let waited = wait_until(&format!("{text:?} in the log"), PATIENCE, || {
            self.log().contains(text)
        })
        .await;
        waited.map(drop).with_context(|| self.log())
    }

    /// How long ago it was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its process id.
    pub fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.child.id())?).context("a process id of 0")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Waits for its end and returns the exit code; 128+n after signal n.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = Some(exit_code(status));
                return Ok(exit_code(status));
            }
            if started.elapsed() > limit {
                bail!(
                    "worker-entrypoint still runs after {limit:?}:\n{}",
                    self.log()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM, and its exit code.
    pub async fn stop(&mut self) -> Result<i32> {
        self.signal(Signal::TERM)?;
        self.wait_exit(PATIENCE).await
    }

    /// `kill -9` of it and of everything it started, as when the machine dies; returns once all are gone.
    pub fn kill(&mut self) -> Result<()> {
        for pid in descendants(self.child.id()) {
            kill(pid);
        }
        self.child.kill()?;
        self.ended = Some(exit_code(self.child.wait()?));
        Ok(())
    }

    /// A stopped worker's files with another start: what a restart of the same container is.
    pub fn again(mut self, bucket: &Bucket) -> Result<Builder> {
        if self.ended.is_none() {
            bail!("the worker still runs");
        }
        let mut builder = Self::builder(bucket)?;
        std::mem::swap(&mut builder.dir, &mut self.dir);
        // The log and the records begin anew; the tree is what the restart finds.
        fs::rename(
            builder.dir.path().join("log"),
            builder.dir.path().join("log.before"),
        )?;
        fs::remove_dir_all(builder.dir.path().join("runtime"))?;
        Ok(builder)
    }

    /// All processes below the test's child, parents before children.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let below = descendants(self.child.id()).into_iter();
        below.filter_map(Process::look).collect()
    }

    /// The processes it started that run another program than its own: the runtime and what that started.
    pub fn children(&self) -> Result<Vec<u32>> {
        let own = program_of(self.child.id()).context("worker-entrypoint does not run")?;
        let mut children = descendants(self.child.id());
        children.retain(|pid| program_of(*pid).is_some_and(|program| program != own));
        Ok(children)
    }

    /// Processor time that it used so far, without the runtime.
    pub fn own_processor_time(&self) -> Result<Duration> {
        let own = self.own_processes()?.into_iter();
        let ticks: u64 = own
            .filter_map(|pid| ticks_of(Path::new(&format!("/proc/{pid}/stat"))))
            .sum();
        // 100 ticks a second wherever Linux runs.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Memory that is resident of it, in bytes, without the runtime.
    pub fn own_memory_bytes(&self) -> Result<u64> {
        let own = self.own_processes()?.into_iter();
        Ok(own.filter_map(resident_bytes).sum())
    }

    /// It, and what it started that runs its program.
    fn own_processes(&self) -> Result<Vec<u32>> {
        let others = self.children()?;
        let mut own = descendants(self.child.id());
        own.retain(|pid| !others.contains(pid));
        own.push(self.child.id());
        Ok(own)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.ended.is_none() && self.kill().is_err() {
            // It ended by itself between the look and the kill.
            self.ended = Some(0);
        }
    }
}

//! Containers of built images, started without an engine: a PID and a mount namespace of their own, the image's file system
//! as root, its user and environment. The network is the machine's, unless one of its own (with nothing but loopback) is
//! asked for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cli::{Ran, exit_code};
use crate::image::{Image, Images};
use crate::wait::{PATIENCE, wait_until};

/// What an engine does before it starts the entrypoint. The first program named is process 1 in the end.
const SCRIPT: &str = r#"
set -e
env=$(command -v env) chroot=$(command -v chroot)
root=$1 user=$2 writable=$3 own_network=$4; shift 4
[ -z "$own_network" ] || ip link set lo up
mkdir -p "$root/dev" "$root/proc"
if [ -n "$writable" ]; then
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  for place in $writable; do mount -t tmpfs -o "uid=${user%:*},gid=${user#*:}" tmpfs "$root/$place"; done
fi
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
count=$1; shift
names=
while [ "$count" -gt 0 ]; do names="$names $1"; shift; count=$((count - 1)); done
exec "$env" -i $names "$chroot" --userspec="$user" --groups= "$root" "$@"
"#;

/// A container before its start.
pub struct Builder<'i> {
    images: &'i Images,
    image: &'i Image,
    environment: BTreeMap<String, String>,
    arguments: Option<Vec<String>>,
    writable: String,
    network: Network,
}

/// Which network a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    Machine,
    Own,
}

/// A started container. Dropping it kills everything in it.
pub struct Container {
    child: Child,
    first: Pid,
    log: TempDir,
    user: (String, String),
    environment: BTreeMap<String, String>,
}

impl<'i> Builder<'i> {
    /// A container of `image`.
    #[must_use]
    pub fn new(images: &'i Images, image: &'i Image) -> Self {
        let pairs = image.list("Env");
        let pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
        let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            images,
            image,
            environment: environment.collect(),
            arguments: None,
            writable: String::new(),
            network: Network::Machine,
        }
    }

    /// Sets an environment variable; the value has no spaces.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What stands behind the image's name on an engine's command line.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = Some(arguments.iter().map(|&text| text.to_owned()).collect());
        self
    }

    /// Makes the image's file system read-only but for these directories, which are empty and belong to the user.
    #[must_use]
    pub fn read_only_but(mut self, directories: &[&str]) -> Self {
        self.writable = directories.join(" ");
        self
    }

    /// Gives it a network of its own.
    #[must_use]
    pub fn own_network(mut self) -> Self {
        self.network = Network::Own;
        self
    }

    /// Starts it; returns when its first process is there.
    pub async fn start(self) -> Result<Container> {
        let root = self.images.mount(self.image).await?;
        let log = tempfile::tempdir()?;
        let output = File::create(log.path().join("log"))?;
        let configured = self.image.user();
        let (user, group) = match configured {
            "" | "root" => ("0", "0"),
            other => other.split_once(':').context("a user and a group")?,
        };
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        let own_network = match self.network {
            Network::Machine => "",
            Network::Own => {
                command.arg("--net");
                "yes"
            }
        };
        command
            .args(["sh", "-c", SCRIPT, "container"])
            .arg(&root)
            .args([&format!("{user}:{group}"), &self.writable, own_network])
            .arg(self.environment.len().to_string())
            .args(
                self.environment
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .args(self.image.list("Entrypoint"))
            .args(self.arguments.unwrap_or_else(|| self.image.list("Cmd")))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let child = command.spawn().context("unshare")?;
        let id = child.id().context("it ended at once")?;
        let first = || {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let first = children.split_whitespace().next()?.parse().ok()?;
            // Until then it is the script above.
            let program = fs::read_link(format!("/proc/{first}/root")).ok()?;
            (program != Path::new("/")).then(|| Pid::from_raw(first))?
        };
        let mut found = None;
        wait_until("the container's first process", PATIENCE, || {
            found = first();
            found.is_some()
        })
        .await
        .with_context(|| read_log(&log))?;
        Ok(Container {
            child,
            first: found.context("a process")?,
            log,
            user: (user.to_owned(), group.to_owned()),
            environment: self.environment,
        })
    }
}

impl Container {
    /// Everything that its processes printed.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// A path of the container as seen from here.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.first.as_raw_nonzero());
        Path::new(&root).join(path.trim_start_matches('/'))
    }

    /// What `docker exec` does: another process of its user in the running container.
    pub async fn exec(&self, command: &[&str]) -> Result<Ran> {
        let nsenter = program("nsenter")?;
        let mut entering = Command::new(nsenter);
        let (user, group) = &self.user;
        entering
            .args(["--target", &self.first.as_raw_nonzero().to_string()])
            .args(["--mount", "--pid", "--root", "--wd"])
            .args(["--setuid", user, "--setgid", group, "--"])
            .args(command)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, entering.output()).await??;
        Ok(Ran {
            code: exit_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// What `docker stop` does, and the container's exit code.
    pub async fn stop(&mut self, limit: Duration) -> Result<i32> {
        kill_process(self.first, Signal::TERM)?;
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(exit_code(status?)),
            Err(_) => bail!("the container still runs after {limit:?}:\n{}", self.log()),
        }
    }
}

fn read_log(log: &TempDir) -> String {
    fs::read(log.path().join("log"))
        .map(|log| String::from_utf8_lossy(&log).into_owned())
        .unwrap_or_default()
}

/// A program of this machine, wherever the container's own `PATH` points.
fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed"))
}

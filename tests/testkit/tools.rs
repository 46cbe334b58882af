//! Where the installed tools and the programs under test are, and the record of what was skipped for want of a tool.
//!
//! Installing is the business of `tests/tools/install`.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A program that `tests/tools/install` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The MinIO server.
    Minio,
    /// MinIO's client.
    Mc,
    /// `weed`, the SeaweedFS server.
    Seaweedfs,
    /// A Python with boto3.
    Boto3,
    /// rclone.
    Rclone,
    /// s5cmd.
    S5cmd,
    /// The OpenClaw gateway, with the node that runs it.
    Openclaw,
    /// buildah, which builds images without an engine.
    Buildah,
    /// A static busybox.
    Busybox,
    /// A Python that knows what Kubernetes and Compose accept.
    Manifests,
    /// The Garage server, which is installed only when it is asked for.
    Garage,
}

impl Tool {
    /// Its name for `tests/tools/install`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Mc => "mc",
            Self::Seaweedfs => "seaweedfs",
            Self::Boto3 => "boto3",
            Self::Rclone => "rclone",
            Self::S5cmd => "s5cmd",
            Self::Openclaw => "openclaw",
            Self::Buildah | Self::Busybox => "buildah",
            Self::Manifests => "manifests",
            Self::Garage => "garage",
        }
    }

    /// The path of the program, or why it is not there.
    pub fn path(self) -> std::result::Result<PathBuf, String> {
        if env::var_os("HICLAW_SYNC_TEST_FAST").is_some() {
            return Err(format!("--fast leaves {} out", self.name()));
        }
        let cache = cache_dir().map_err(|error| error.to_string())?;
        let path = cache.join(match self {
            Self::Minio => "bin/minio",
            Self::Mc => "bin/mc",
            Self::Seaweedfs => "py/bin/weed",
            Self::Boto3 => "py/bin/python",
            Self::Rclone => "bin/rclone",
            Self::S5cmd => "bin/s5cmd",
            Self::Openclaw => "openclaw/node_modules/.bin/openclaw",
            Self::Buildah => "bin/buildah",
            Self::Busybox => "bin/busybox",
            Self::Manifests => "manifests/bin/python",
            Self::Garage => "cargo/bin/garage",
        });
        let skipped = cache.join("skipped").join(self.name());
        match fs::read_to_string(skipped) {
            Ok(reason) => Err(reason.trim().to_owned()),
            Err(_) if path.exists() => Ok(path),
            Err(_) => Err(format!(
                "{0} is not installed; run tests/tools/install {0}",
                self.name()
            )),
        }
    }

    /// The path of the program; where it is missing the running test is recorded as skipped.
    pub fn path_or_skip(self) -> Result<Option<PathBuf>> {
        match self.path() {
            Ok(path) => Ok(Some(path)),
            Err(reason) => skip(&reason).map(|()| None),
        }
    }
}

/// The directory that `tests/tools/install` installs into.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("HICLAW_SYNC_TEST_CACHE") {
        return Ok(dir.into());
    }
    let base = match env::var_os("XDG_CACHE_HOME") {
        Some(dir) => dir.into(),
        None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("hiclaw-sync-tests"))
}

/// Records the running test as skipped: on standard error, past the capture of the test runner, and in the file that
/// `HICLAW_SYNC_TEST_SKIPPED` names, which `tests/run` counts. A skip that cannot be recorded is an error, because it
/// would count as a pass.
pub fn skip(reason: &str) -> Result<()> {
    record("SKIPPED", "HICLAW_SYNC_TEST_SKIPPED", reason)
}

/// The same for a test of something that need not be installed: told and counted, and no failure anywhere.
pub fn leave_out(reason: &str) -> Result<()> {
    record("LEFT OUT", "HICLAW_SYNC_TEST_LEFT_OUT", reason)
}

fn record(what: &str, variable: &str, reason: &str) -> Result<()> {
    let suite = suite_name();
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("?");
    writeln!(std::io::stderr(), "{what} {suite} {test}: {reason}")?;
    if let Some(file) = env::var_os(variable) {
        let mut file = OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(format!("{suite}\t{test}\t{reason}\n").as_bytes())?;
    }
    Ok(())
}

fn suite_name() -> String {
    let exe = env::current_exe().unwrap_or_default();
    let stem = exe
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    stem.rsplit_once('-')
        .map_or(stem.clone(), |(name, _)| name.to_owned())
}

/// The `hiclaw-sync` program under test: `HICLAW_SYNC_BIN`, else the one built beside the test.
pub fn hiclaw_sync() -> Result<PathBuf> {
    built("hiclaw-sync", "HICLAW_SYNC_BIN")
}

/// The `worker-entrypoint` program under test: `WORKER_ENTRYPOINT_BIN`, else the one built beside the test.
pub fn worker_entrypoint() -> Result<PathBuf> {
    built("worker-entrypoint", "WORKER_ENTRYPOINT_BIN")
}

fn built(name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let exe = env::current_exe().context("path of the test program")?;
    let path = exe
        .ancestors()
        .skip(1)
        .map(|dir| dir.join(name))
        .take(2)
        .find(|path| path.is_file());
    match path {
        Some(path) => Ok(path),
        None => bail!(
            "{name} is not built; run `cargo build --workspace --bins`, or tests/run which does"
        ),
    }
}

/// True where a test may have a view of the file system of its own; where not, the running test is recorded as skipped.
pub fn own_mounts_or_skip() -> Result<bool> {
    let arguments = ["--user", "--map-root-user", "--mount", "true"];
    let made = std::process::Command::new("unshare")
        .args(arguments)
        .output();
    match made {
        Ok(output) if output.status.success() => Ok(true),
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            skip(&format!("no mounts of its own: {reason}")).map(|()| false)
        }
        Err(error) => skip(&format!("no unshare: {error}")).map(|()| false),
    }
}

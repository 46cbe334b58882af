//! Server processes that cannot outlive the test process.
//!
//! A shell starts the server and reads from a pipe that only this process holds the other end of. When the pipe closes,
//! because the leash was dropped or this process died in whatever way, the shell kills the server by its id and removes
//! its data. A line on the pipe makes it kill the server and start it again on the same data.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

const SCRIPT: &str = r#"
data=$1; shift
"$@" </dev/null &
server=$!
while read -r _; do
  kill -9 "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  "$@" </dev/null &
  server=$!
done
kill -9 "$server" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf -- "$data"
"#;

/// A running server with its data directory.
pub(crate) struct Leash {
    shell: Child,
    data: PathBuf,
}

/// A data directory that a [`Leash`] will own.
pub(crate) fn data_dir(name: &str) -> Result<PathBuf> {
    let dir = tempfile::Builder::new()
        .prefix(&format!("hiclaw-sync-test-{name}-"))
        .tempdir()?;
    Ok(dir.keep())
}

impl Leash {
    /// Starts `program`, its output going to `log` in `data`. The data directory is removed with the server.
    pub(crate) fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        environment: &[(&str, &str)],
        data: PathBuf,
    ) -> Result<Self> {
        let log = File::create(data.join("log"))?;
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash"])
            .arg(&data)
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(&data)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { shell, data })
    }

    /// Kills the server and starts it again, with the same arguments on the same data.
    pub(crate) fn restart(&mut self) -> Result<()> {
        let pipe = self.shell.stdin.as_mut().context("no pipe to the shell")?;
        pipe.write_all(b"again\n")?;
        Ok(pipe.flush()?)
    }

    /// What the server printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read(self.data.join("log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends by itself once the pipe is closed; nothing is left to do where it cannot be waited for.
        drop(self.shell.wait());
    }
}

//! A stand-in for the agent runtime: a shell script that writes down its starts and signals.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_until;

/// How the stand-in behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// Ends with 0 at SIGTERM, after a last edit of `last-words.md`.
    Good,
    /// Ignores SIGTERM.
    Deaf,
}

const SCRIPT: &str = r#"#!/bin/sh
# Stand-in for an agent runtime. $1: directory of the records, $2: manners.
records=$1
note() { echo "$*" >>"$records/log"; }
env | sort >"$records/env"
pwd >"$records/cwd"
for signal in HUP USR1 USR2 WINCH; do
  trap "note signal $signal" "$signal"
done
if [ "$2" = deaf ]; then
  trap 'note signal TERM' TERM
else
  trap 'note signal TERM; echo "last words" >last-words.md; note end; exit 0' TERM
fi
note "start $$"
while :; do
  if [ -s "$records/exit" ]; then
    code=$(cat "$records/exit"); rm "$records/exit"
    note "exit $code"
    exit "$code"
  fi
  sleep 0.1 &
  wait $!
done
"#;

/// The stand-in's script and records.
#[derive(Debug)]
pub struct Runtime {
    dir: PathBuf,
    manners: Manners,
}

impl Runtime {
    /// Puts the script into `dir`, which must exist.
    pub fn create(dir: &Path, manners: Manners) -> Result<Self> {
        fs::write(dir.join("runtime.sh"), SCRIPT)?;
        Ok(Self {
            dir: dir.to_owned(),
            manners,
        })
    }

    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let manners = match self.manners {
            Manners::Good => "good",
            Manners::Deaf => "deaf",
        };
        vec![
            "sh".to_owned(),
            self.path("runtime.sh"),
            self.path(""),
            manners.to_owned(),
        ]
    }

    /// Puts a program `openclaw` into a directory of its own, for the front of `PATH`: `gateway run` is the stand-in,
    /// `gateway health` says that all is well, and any call is written down with its arguments.
    pub fn install_as_openclaw(&self) -> Result<PathBuf> {
        let bin = self.dir.join("bin");
        fs::create_dir_all(&bin)?;
        let run = self.command().join("' '");
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>'{}'\ncase \"$1 $2\" in\n'gateway run') exec '{run}' ;;\n\
             'gateway health') echo '{{\"ok\": true}}' ;;\nesac\n",
            self.path("calls"),
        );
        let program = bin.join("openclaw");
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(bin)
    }

    /// Puts the stand-in into `place` as the program that a layout names. Every start's program and arguments are written
    /// down, one a line; `prelude` is shell that runs before, with the records' directory in `$records`.
    pub fn install(&self, place: &Path, prelude: &str) -> Result<()> {
        let script = self.as_program(prelude);
        fs::create_dir_all(place.parent().context("a program in a directory")?)?;
        fs::write(place, script)?;
        Ok(fs::set_permissions(
            place,
            fs::Permissions::from_mode(0o755),
        )?)
    }

    /// The text of such a program.
    #[must_use]
    pub fn as_program(&self, prelude: &str) -> String {
        format!(
            "#!/bin/sh\nrecords='{}'\nprintf '%s\\n' \"$0\" \"$@\" >\"$records/argv\"\n{prelude}\nexec '{}'\n",
            self.path(""),
            self.command().join("' '"),
        )
    }

    /// Program and arguments of the latest start of what [`Runtime::install`] put somewhere.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.record("argv").lines().map(str::to_owned).collect()
    }

    /// The arguments of every call of the program that [`Runtime::install_as_openclaw`] installed.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.record("calls").lines().map(str::to_owned).collect()
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn record(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// What it wrote down, a line each: `start PID`, `signal NAME`, `end`, `exit CODE`.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.record("log").lines().map(str::to_owned).collect()
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.log()
            .iter()
            .filter(|line| line.starts_with("start "))
            .count()
    }

    /// True when it wrote `line` down.
    #[must_use]
    pub fn noted(&self, line: &str) -> bool {
        self.log().iter().any(|noted| noted == line)
    }

    /// Waits until it was started for the `number`th time.
    pub async fn wait_for_start(&self, number: usize, limit: Duration) -> Result<()> {
        wait_until(&format!("start {number} of the runtime"), limit, || {
            self.starts() >= number
        })
        .await
        .map(drop)
    }

    /// An environment variable as the runtime got it.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.record("env")
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// The directory that it was started in.
    #[must_use]
    pub fn working_directory(&self) -> String {
        self.record("cwd").trim().to_owned()
    }

    /// Makes it end by itself with `code`.
    pub fn exit_with(&self, code: u8) -> Result<()> {
        // Renamed into place, so that the script never reads half of it.
        let staged = self.dir.join("exit.new");
        fs::write(&staged, code.to_string())?;
        Ok(fs::rename(staged, self.dir.join("exit"))?)
    }

    /// Its process id at the latest start.
    pub fn pid(&self) -> Result<Pid> {
        let log = self.log();
        let start = log
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("start "))
            .context("the runtime never started")?;
        Pid::from_raw(start.parse()?).context("a process id of 0")
    }

    /// Kills it with a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }
}

//! Processes as `/proc` shows them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Kills a process, if it is there.
pub(crate) fn kill(pid: u32) {
    // One that is gone already needs no kill.
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .and_then(|pid| kill_process(pid, Signal::KILL).ok());
}

/// All processes below `ancestor`, parents before children.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if let Some(parent) = field(&entry.path().join("stat"), 3) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| u64::from(parent) == *of)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its state's letter: `Z` for a zombie.
    pub state: char,
    /// When it started, in ticks since the machine did: with the id, what makes it this process.
    pub started: u64,
    /// The program; `None` for a zombie.
    pub program: Option<PathBuf>,
}

impl Process {
    /// The process with this id; `None` when there is none.
    #[must_use]
    pub fn look(pid: u32) -> Option<Self> {
        let stat = PathBuf::from(format!("/proc/{pid}/stat"));
        let text = fs::read_to_string(&stat).ok()?;
        let state = text.rsplit_once(')')?.1.trim_start().chars().next()?;
        Some(Self {
            pid,
            parent: u32::try_from(field(&stat, 3)?).ok()?,
            state,
            started: field(&stat, 21)?,
            program: program_of(pid),
        })
    }

    /// True while it is there, be it as a zombie.
    #[must_use]
    pub fn is_there(&self) -> bool {
        Self::look(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Sends it a signal; one that is gone needs none.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        match kill_process(pid.context("no process id")?, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Resident memory in KiB: all of it, and what is its own alone.
    pub fn resident_kib(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let sum = |names: &[&str]| {
            let lines = text.lines();
            let of = lines.filter(|line| names.iter().any(|name| line.starts_with(name)));
            of.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
                .sum()
        };
        Ok((sum(&["Rss:"]), sum(&["Private_Clean:", "Private_Dirty:"])))
    }
}

/// The program that a process runs.
pub(crate) fn program_of(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Processor time in ticks.
pub(crate) fn ticks_of(stat: &Path) -> Option<u64> {
    Some(field(stat, 13)? + field(stat, 14)?)
}

/// The memory of a process that is in RAM.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// A number of `/proc/PID/stat`, counted as in proc(5) but from 0; the command's name may hold anything, so the fields
/// are counted from its closing parenthesis.
fn field(stat: &Path, number: usize) -> Option<u64> {
    let text = fs::read_to_string(stat).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(number.checked_sub(2)?)?
        .parse()
        .ok()
}

//! Time, CPU time and peak memory of one process.
//!
//! Read from `/proc`: the CPU times of a process that ended and is not yet waited for are still there, its memory is
//! not, so that is looked at while it runs.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions};
use tokio::process::Command;

/// How often the memory is looked at. The peak is kept by the kernel: only what is allocated in the last moment of a
/// process is missed.
const LOOK: Duration = Duration::from_millis(5);
/// Ticks of `/proc/PID/stat` in a second: the kernel's promise to programs.
const TICKS: f64 = 100.0;

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mebibytes: f64,
}

/// Runs a command, which must succeed.
pub(crate) async fn run(mut command: Command) -> Result<Figures> {
    let started = Instant::now();
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let id = child.id().context("a process id")?;
    let pid = Pid::from_raw(i32::try_from(id)?).context("a process id")?;
    let mut peak_mebibytes = 0.0;
    // NOWAIT: it stays for the look at its CPU times, and for whoever waits for it.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while rustix::process::waitid(WaitId::Pid(pid), options)?.is_none() {
        if let Some(peak) = peak(id) {
            peak_mebibytes = peak;
        }
        tokio::time::sleep(LOOK).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = cpu(id)?;
    let status = child.wait().await?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(Figures {
        seconds,
        cpu_seconds,
        peak_mebibytes,
    })
}

fn peak(id: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// User and system time. The name in the middle of the line may hold anything, so fields are counted behind it.
fn cpu(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("a line of /proc/PID/stat")?;
    let ticks = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<f64>().context("ticks"))
        .sum::<Result<f64>>()?;
    Ok(ticks / TICKS)
}

/// The middle of each figure by itself.
pub(crate) fn median(figures: &[Figures]) -> Option<Figures> {
    let middle = |of: fn(&Figures) -> f64| {
        let mut values: Vec<_> = figures.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    Some(Figures {
        seconds: middle(|figures| figures.seconds)?,
        cpu_seconds: middle(|figures| figures.cpu_seconds)?,
        peak_mebibytes: middle(|figures| figures.peak_mebibytes)?,
    })
}

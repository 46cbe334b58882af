//! This machine: the engine's state, free space, the limit of watches, what the rules leave out.

use std::{fs, io, path::Path};

use sync_core::{
    control::ControlClient,
    layout::{Mount, ResolvedLayout},
    root::STATE_DIRECTORY,
};

use super::{
    Check,
    weight::{self, Weight},
};
use crate::{settings::Settings, worker::state_directory};

const WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";
/// Less free space than this deserves a word, and with less than this nothing goes on.
const SPACE_WARNING_BYTES: u64 = 1 << 30;
const SPACE_FAILED_BYTES: u64 = 32 << 20;

/// Everything that is asked of this machine.
pub(super) async fn checks(settings: &Settings, layout: &ResolvedLayout) -> Vec<Check> {
    let mut checks = vec![engine(settings).await];
    let mounts = layout.mounts.clone();
    let looked = tokio::task::spawn_blocking(move || of_mounts(&mounts)).await;
    match looked {
        Ok(found) => checks.extend(found),
        Err(error) => checks.push(Check::skipped("files", error.to_string())),
    }
    checks
}

async fn engine(settings: &Settings) -> Check {
    const NAME: &str = "engine";
    let directory = state_directory(settings);
    match ControlClient::connect(&directory).await {
        Ok(Some(_)) => Check::ok(NAME, "one is resident and answers"),
        Ok(None) if is_locked(&directory) => Check::warning(
            NAME,
            "another process has the workspace locked, and doesn't answer on the control socket",
            "a command is at work, or an engine hangs: `fuser` on .hiclaw-sync/lock names it",
        ),
        Ok(None) => Check::ok(NAME, "none is resident: commands do the work themselves"),
        Err(error) => Check::warning(
            NAME,
            format!("the control socket doesn't answer: {error}"),
            "restart the worker",
        ),
    }
}

fn is_locked(directory: &Path) -> bool {
    let file = fs::File::options().write(true).open(directory.join("lock"));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

fn of_mounts(mounts: &[Mount]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut directories = 0;
    for mount in mounts {
        checks.push(state(mount));
        checks.extend(space(mount));
        let weight = weight::weigh(mount);
        // What is only pulled is not watched.
        if mount.rules.rules().iter().any(|rule| rule.sync.pushes()) {
            directories += weight.watched_directories;
        }
        checks.extend(ignored(mount, &weight));
    }
    checks.push(watches(directories, fs::read_to_string(WATCHES)));
    checks
}

/// Whether the engine can keep its state.
fn state(mount: &Mount) -> Check {
    const NAME: &str = "state";
    let directory = existing(&mount.local);
    let inside = directory.join(STATE_DIRECTORY);
    let place = if inside.is_dir() {
        inside
    } else {
        directory.to_owned()
    };
    let probe = place.join(format!(".doctor-{:016x}", fastrand::u64(..)));
    let tried = fs::write(&probe, "").and_then(|()| fs::remove_file(&probe));
    match tried {
        Ok(()) => Check::ok(NAME, format!("{} can be written to", place.display())),
        Err(error) => Check::failed(
            NAME,
            format!("{} can't be written to: {error}", place.display()),
            "the engine keeps its state and stages files there: check owner and mount options",
        ),
    }
}

fn space(mount: &Mount) -> Option<Check> {
    const NAME: &str = "space";
    let directory = existing(&mount.local);
    let stat = rustix::fs::statvfs(directory).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let message = format!(
        "{} free for {}",
        indicatif::HumanBytes(free),
        mount.local.display()
    );
    let advice =
        "free some: new versions are staged beside the old ones before they take their place";
    Some(if free < SPACE_FAILED_BYTES {
        Check::failed(NAME, message, advice)
    } else if free < SPACE_WARNING_BYTES {
        Check::warning(NAME, message, advice)
    } else {
        Check::ok(NAME, message)
    })
}

/// The directory, or the nearest one above it that is there.
fn existing(directory: &Path) -> &Path {
    directory
        .ancestors()
        .find(|above| above.is_dir())
        .unwrap_or(Path::new("/"))
}

fn watches(directories: u64, limit: io::Result<String>) -> Check {
    const NAME: &str = "watches";
    let Some(limit) = limit.ok().and_then(|text| text.trim().parse::<u64>().ok()) else {
        return Check::skipped(NAME, format!("{WATCHES} can't be read"));
    };
    let message = format!("{directories} directories to watch, {limit} allowed to all processes");
    let advice = "raise fs.inotify.max_user_watches on the host, or leave heavy directories out; what can't be watched is \
                  looked at every 30 s";
    if directories.saturating_mul(5) >= limit.saturating_mul(4) {
        Check::warning(NAME, message, advice)
    } else {
        Check::ok(NAME, message)
    }
}

/// What the rules leave out, and what they had better leave out.
fn ignored(mount: &Mount, weight: &Weight) -> Vec<Check> {
    const NAME: &str = "weight";
    if !mount.local.is_dir() {
        return Vec::new();
    }
    let size = indicatif::HumanBytes;
    let mut checks = vec![Check::ok(
        NAME,
        format!(
            "{}: {} files with {} travel, {} files with {} are left out by rules and ignore files",
            mount.name,
            weight.travelling.files,
            size(weight.travelling.bytes),
            weight.left_out.files,
            size(weight.left_out.bytes)
        ),
    )];
    for heavy in &weight.heavy {
        checks.push(Check::warning(
            NAME,
            format!(
                "{}/{} travels with {} files and {}",
                mount.name,
                heavy.path,
                heavy.total.files,
                size(heavy.total.bytes)
            ),
            "it can be made again from what travels anyhow: leave it out with a line in .hiclawignore",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn watches_are_enough_or_nearly_used_up() {
        for (directories, limit, expected) in [
            (10, "8192\n", State::Ok),
            (7000, "8192\n", State::Warning),
            (9000, "8192\n", State::Warning),
            (10, "many", State::Skipped),
        ] {
            let check = watches(directories, Ok(limit.to_owned()));
            assert_eq!(check.state, expected, "{directories} of {limit}");
        }
    }
}

//! The search for a history that fails.

use std::{
    fmt::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{generate, run, shrink};

const HISTORIES: u64 = 2000;
/// Histories run side by side: they wait for the file system more than they compute.
const THREADS: usize = 2;
/// Failing histories shown at once.
const SHOWN: usize = 3;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Runs the history of a seed; tells how it fails.
fn try_seed(seed: u64) -> Option<String> {
    let history = generate::history(seed);
    let failure = run::run(&history).err()?;
    let (history, failure) = shrink::shrink(history, failure);
    let mut text = format!("HICLAW_MODEL_SEED={seed} fails:\n");
    for violation in failure.violations {
        writeln!(text, "  {violation}").unwrap();
    }
    writeln!(text, "shortened: {:#?}\nwhat happened:", history.store).unwrap();
    for line in failure.trace {
        writeln!(text, "  {line}").unwrap();
    }
    Some(text)
}

/// Whether as many histories are tried as show that each failpoint is reached.
pub(crate) fn is_complete() -> bool {
    let chosen = ["HICLAW_MODEL_SEED", "HICLAW_MODEL_FROM"];
    chosen.iter().all(|name| setting(name).is_none())
        && setting("HICLAW_MODEL_HISTORIES").is_none_or(|histories| histories >= HISTORIES)
        && sync_core::failpoint::COMPILED
}

/// Tries as many histories as the environment wants; tells of those that fail.
pub(crate) fn failures() -> Vec<String> {
    let (seeds, first) = match setting("HICLAW_MODEL_SEED") {
        Some(seed) => (1, seed),
        None => (
            setting("HICLAW_MODEL_HISTORIES").unwrap_or(HISTORIES),
            setting("HICLAW_MODEL_FROM").unwrap_or(0),
        ),
    };
    let next = AtomicU64::new(first);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failures.lock().unwrap().len() >= SHOWN {
                        return;
                    }
                    if let Some(failure) = try_seed(seed) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

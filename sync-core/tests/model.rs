//! The reference model: random histories over one mount, and what must be true of each.
//!
//! A history is two writers, passes, and everything that can go wrong in between; it follows from its seed.
//! `HICLAW_MODEL_HISTORIES` sets how many are tried, `HICLAW_MODEL_SEED` tries a single one. A history that fails is
//! shortened and printed; once understood it becomes a test of its own in `regressions`.

#[cfg(test)]
#[path = "model/check.rs"]
mod check;
#[cfg(test)]
#[path = "model/generate.rs"]
mod generate;
#[cfg(test)]
#[path = "model/history.rs"]
mod history;
#[cfg(test)]
#[path = "model/regressions.rs"]
mod regressions;
#[cfg(test)]
#[path = "model/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "model/run.rs"]
mod run;
#[cfg(test)]
#[path = "model/shrink.rs"]
mod shrink;
#[cfg(test)]
#[path = "model/store.rs"]
mod store;
#[cfg(test)]
#[path = "model/world.rs"]
mod world;

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

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

#[test]
fn random_histories_lose_nothing_and_come_to_rest() {
    let (seeds, first) = match setting("HICLAW_MODEL_SEED") {
        Some(seed) => (1, seed),
        None => (setting("HICLAW_MODEL_HISTORIES").unwrap_or(HISTORIES), 0),
    };
    let next = AtomicU64::new(first);
    let failures = std::sync::Mutex::new(Vec::new());
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
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

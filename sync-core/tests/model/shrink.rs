//! Makes a failing history short: leaves out what isn't needed for it to fail.

use super::{
    history::{Act, Event, History, Mounts, Step, StoreKind},
    rules::SHARED,
    run::{Failure, run},
};

/// How often shorter histories are tried.
const ATTEMPTS: usize = 2000;

/// The shortest failing history found, and how it fails.
pub(crate) fn shrink(mut history: History, mut failure: Failure) -> (History, Failure) {
    let mut attempts = 0;
    'again: loop {
        for candidate in candidates(&history) {
            attempts += 1;
            if attempts > ATTEMPTS {
                break 'again;
            }
            if let Err(found) = run(&candidate)
                && kind(&found) == kind(&failure)
            {
                (history, failure) = (candidate, found);
                continue 'again;
            }
        }
        break;
    }
    (history, failure)
}

/// Histories that lack one thing, the largest things first.
fn candidates(history: &History) -> Vec<History> {
    let mut candidates = Vec::new();
    let with_steps = |steps: Vec<Step>| History {
        steps,
        ..history.clone()
    };
    let count = history.steps.len();
    for length in [count / 2, count / 4, 1] {
        for start in (0..count).step_by(length.max(1)) {
            let mut steps = history.steps.clone();
            steps.drain(start..(start + length.max(1)).min(count));
            candidates.push(with_steps(steps));
        }
    }
    if history.store != StoreKind::PLAIN {
        candidates.push(History {
            store: StoreKind::PLAIN,
            ..history.clone()
        });
    }
    if history.mounts != Mounts::One && !mentions_shared(history) {
        candidates.push(History {
            mounts: Mounts::One,
            ..history.clone()
        });
    }
    for at in 0..count {
        for skipped in 0..acts(&mut history.steps[at].clone()).map_or(0, |acts| acts.len()) {
            let mut steps = history.steps.clone();
            if let Some(acts) = acts(&mut steps[at]) {
                acts.remove(skipped);
            }
            candidates.push(with_steps(steps));
        }
        for skipped in 0..events(&mut history.steps[at].clone()).map_or(0, |events| events.len()) {
            let mut steps = history.steps.clone();
            if let Some(events) = events(&mut steps[at]) {
                events.remove(skipped);
            }
            candidates.push(with_steps(steps));
        }
    }
    candidates
}

/// What a failure says, without its numbers: another failure met on the way is not followed.
fn kind(failure: &Failure) -> Option<String> {
    let first = failure.violations.first()?;
    Some(
        first
            .chars()
            .filter(|letter| !letter.is_numeric())
            .collect(),
    )
}

fn events(step: &mut Step) -> Option<&mut Vec<Event>> {
    match step {
        Step::Pass { events, .. } | Step::PushDirty { events } | Step::Resident { events, .. } => {
            Some(events)
        }
        Step::Local(_)
        | Step::Remote(_)
        | Step::Plan
        | Step::Deny(_)
        | Step::Mass(_)
        | Step::Reopen(_) => None,
    }
}

fn acts(step: &mut Step) -> Option<&mut Vec<Act>> {
    if let Step::Resident { acts, .. } = step {
        Some(acts)
    } else {
        None
    }
}

/// Whether a history needs the second mount.
fn mentions_shared(history: &History) -> bool {
    format!("{:?}", history.steps).contains(SHARED)
}

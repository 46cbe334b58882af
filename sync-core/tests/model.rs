//! The reference model: random histories over the mounts of a session, and what must be true of each.
//!
//! A history is two writers, passes, engines, and everything that can go wrong in between; it follows from its seed.
//! Crashes end the session at any request and at any failpoint: from there on nothing of it has an effect.
//! `HICLAW_MODEL_HISTORIES` sets how many are tried and `HICLAW_MODEL_FROM` the first seed, `HICLAW_MODEL_SEED` tries a single one. A history that fails is
//! shortened and printed; once understood it becomes a test of its own in `regressions`.

#[cfg(test)]
#[path = "model/check.rs"]
mod check;
#[cfg(test)]
#[path = "model/engine.rs"]
mod engine;
#[cfg(test)]
#[path = "model/generate.rs"]
mod generate;
#[cfg(test)]
#[path = "model/history.rs"]
mod history;
#[cfg(test)]
#[path = "model/links.rs"]
mod links;
#[cfg(test)]
#[path = "model/mass.rs"]
mod mass;
#[cfg(test)]
#[path = "model/merged.rs"]
mod merged;
#[cfg(test)]
#[path = "model/obstacles.rs"]
mod obstacles;
#[cfg(test)]
#[path = "model/parts.rs"]
mod parts;
#[cfg(test)]
#[path = "model/points.rs"]
mod points;
#[cfg(test)]
#[path = "model/regressions.rs"]
mod regressions;
#[cfg(test)]
#[path = "model/rest.rs"]
mod rest;
#[cfg(test)]
#[path = "model/rules.rs"]
mod rules;
#[cfg(test)]
#[path = "model/run.rs"]
mod run;
#[cfg(test)]
#[path = "model/script.rs"]
mod script;
#[cfg(test)]
#[path = "model/search.rs"]
mod search;
#[cfg(test)]
#[path = "model/shrink.rs"]
mod shrink;
#[cfg(test)]
#[path = "model/store.rs"]
mod store;
#[cfg(test)]
#[path = "model/tour.rs"]
mod tour;
#[cfg(test)]
#[path = "model/world.rs"]
mod world;

#[test]
fn random_histories_lose_nothing_and_come_to_rest() {
    let failures = search::failures();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    let never = points::never_crashed_at();
    assert!(
        never.is_empty() || !search::is_complete(),
        "no history ended at {never:?}"
    );
}

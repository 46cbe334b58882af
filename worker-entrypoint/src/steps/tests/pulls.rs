//! How long the agent's files are waited for.

use std::time::Duration;

use sync_core::{
    layout::{Need, PullStep},
    report::Report,
};
use tokio::time::Instant;

use super::*;
use crate::engine::fake::unreachable;

const MESSAGE: &str = "openclaw.json, SOUL.md or AGENTS.md not found after retries. Manager may not have created this Worker's config yet.";

fn step(need: Need) -> PullStep {
    PullStep {
        mounts: vec!["workspace".into()],
        require: vec![path("openclaw.json"), path("SOUL.md")],
        retries: 6,
        retry_delay: Duration::from_secs(5),
        missing: Some(MESSAGE.into()),
        need,
    }
}

fn pulls(bench: &Bench) -> usize {
    bench
        .engine
        .calls()
        .iter()
        .filter(|call| *call == "pull workspace")
        .count()
}

#[tokio::test(start_paused = true)]
async fn files_that_never_appear_end_the_startup_with_the_message() {
    let bench = Bench::new(FakeEngine::new());
    let started = Instant::now();
    let error = run_all(&[Step::Pull(step(Need::Required))], &bench.context)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), MESSAGE);
    assert_eq!((pulls(&bench), started.elapsed().as_secs()), (7, 30));
}

#[tokio::test(start_paused = true)]
async fn files_that_appear_later_are_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    let appear = move || {
        std::fs::write(home.join("openclaw.json"), "{}").unwrap();
        std::fs::write(home.join("SOUL.md"), "").unwrap();
        Ok(Report::default())
    };
    let engine = FakeEngine::new()
        .on_pull(|| Ok(Report::default()))
        .on_pull(appear);
    let bench = Bench::at(directory, engine);
    run_all(&[Step::Pull(step(Need::Required))], &bench.context)
        .await
        .unwrap();
    assert_eq!(pulls(&bench), 2);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_can_not_be_reached_is_tried_for_half_a_minute() {
    let mut engine = FakeEngine::new();
    for _ in 0..100 {
        engine = engine.on_pull(|| Err(unreachable()));
    }
    let bench = Bench::new(engine);
    let started = Instant::now();
    let error = run_all(&[Step::Pull(step(Need::Required))], &bench.context)
        .await
        .unwrap_err();
    assert!(
        chain(&error).contains("can't reach bucket b at http://127.0.0.1:1"),
        "{}",
        chain(&error)
    );
    assert!(pulls(&bench) >= 5, "{} tries", pulls(&bench));
    assert!(
        (20..=30).contains(&started.elapsed().as_secs()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_optional_is_tried_once_and_its_failure_is_a_hitch() {
    let bench = Bench::new(FakeEngine::new().on_pull(|| Err(unreachable())));
    let step = PullStep {
        require: Vec::new(),
        ..step(Need::Optional)
    };
    assert!(
        bench
            .run(Step::Pull(step))
            .await
            .unwrap_err()
            .starts_with("can't reach")
    );
    assert_eq!(pulls(&bench), 1);
}

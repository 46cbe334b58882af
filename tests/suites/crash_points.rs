//! `kill -9` at every single moment of execution, by the list of them (`sync_core::failpoint`): the next pass converges,
//! no version is lost, no conflict copy is made twice, and nothing is left in the staging directory. Then the same with
//! a state database that was damaged meanwhile.
//!
//! A moment that is never reached fails its test: a failpoint that nobody reaches proves nothing.

#[path = "crash_points/scene.rs"]
mod scene;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use sync_core::failpoint::{COMPILED, Point};
use testkit::{Store, on_store, tools};

use self::scene::{COPIES, Ended, Files, LARGE_BYTES, Size, first_scene, move_on, scene};

on_store!(
    embedded,
    Embedded,
    every_point_is_reached_and_survived,
    every_point_of_the_first_pass_is_survived,
    every_point_is_survived_when_others_edit_meanwhile,
    a_crash_during_the_recovery_from_a_crash_is_survived,
    a_worker_killed_before_it_pushes_an_edit_pushes_it_at_the_next_start,
    a_damaged_state_database_loses_no_version
);

/// Why nothing is tried in a release build.
const NO_POINTS: &str = "this build has no failpoints; use --features sync-core/failpoints";
/// Crashes looked into at the same time: they wait more than they compute.
const AT_ONCE: usize = 3;

/// What a pass without any crash makes of the scene, and so every pass after a crash.
fn assert_as_without_a_crash(files: &Files, size: Size) -> Result<()> {
    let mut expected: BTreeMap<&str, &str> = [
        ("both", "here both"),
        ("in/changed", "second in/changed"),
        ("in/new/file", "first in/new/file"),
        ("merged.json", r#"{"ours": 3, "theirs": 2}"#),
        ("out/changed", "second out/changed"),
        ("out/new", "first out/new"),
        ("remote/both", "there remote/both"),
        ("same", "first same"),
    ]
    .into();
    let large = if size == Size::Large { LARGE_BYTES } else { 0 };
    let mut copies = Vec::new();
    for (path, content) in files {
        if path.starts_with(COPIES) {
            copies.push(content.clone());
        } else if path == "out/large" {
            ensure!(content.len() == large, "out/large is torn");
        } else if path == "merged.json" {
            let found: Value = serde_json::from_slice(content)?;
            let wanted: Value = serde_json::from_str(expected.remove("merged.json").unwrap_or(""))?;
            ensure!(found == wanted, "merged.json is {found}");
        } else {
            let wanted = expected.remove(path.as_str());
            ensure!(
                wanted.is_some_and(|wanted| wanted == content),
                "{path} holds {content:?}"
            );
        }
    }
    ensure!(expected.is_empty(), "missing {expected:?}");
    copies.sort();
    ensure!(
        copies == ["here remote/both", "there both"],
        "copies {copies:?}"
    );
    Ok(())
}

fn size_for(point: Point) -> Size {
    let multipart = [
        Point::MultipartCreated,
        Point::PartSent,
        Point::PartsSent,
        Point::MultipartCompleted,
    ];
    if multipart.contains(&point) {
        Size::Large
    } else {
        Size::Small
    }
}

/// Points that a single pass reaches only when others interfere, or that lie elsewhere; the other tests reach them.
fn needs_more_than_a_pass(point: Point) -> bool {
    let elsewhere = [
        Point::PutBack,
        Point::MovedBack,
        Point::RecoveredCopyKept,
        Point::RecoveredPutBack,
        Point::Probed,
        Point::DirtyTaken,
    ];
    elsewhere.contains(&point)
}

/// Runs `check` for every point, some side by side.
async fn for_every_point<F>(
    points: impl Iterator<Item = Point>,
    check: impl Fn(Point) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    if !COMPILED {
        return tools::skip(NO_POINTS);
    }
    futures_util::stream::iter(points)
        .map(|point| {
            let checked = check(point);
            async move { checked.await.with_context(|| format!("killed at {point}")) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn every_point_is_reached_and_survived(store: &'static Store) -> Result<()> {
    let points = Point::ALL
        .iter()
        .copied()
        .filter(|point| !needs_more_than_a_pass(*point));
    for_every_point(points, async |point| {
        let size = size_for(point);
        let scene = scene(store, size).await?;
        let ended = scene.crash("pass", point, 1).await?;
        ensure!(ended == Ended::Killed, "it was never reached");
        // The pass after it is killed as well, one file further, where it comes to that.
        scene.crash("pass", point, 2).await?;
        let files = scene.converge().await?;
        assert_as_without_a_crash(&files, size)
    })
    .await
}

/// Nothing is known of either side: nothing is deleted, and what differs is kept twice.
async fn every_point_of_the_first_pass_is_survived(store: &'static Store) -> Result<()> {
    let points = Point::ALL
        .iter()
        .copied()
        .filter(|point| size_for(*point) == Size::Small);
    let must_be_reached = [Point::Probed, Point::RemoteCopyKept, Point::Created];
    for_every_point(points, async |point| {
        let scene = move_on(first_scene(store).await?, Size::Small).await?;
        let ended = scene.crash("pass", point, 1).await?;
        ensure!(
            ended == Ended::Killed || !must_be_reached.contains(&point),
            "it was never reached"
        );
        let files = scene.converge().await?;
        ensure!(files.contains_key("out/new"), "{:?}", files.keys());
        assert_merged(&files)
    })
    .await
}

/// The version that somebody writes in the worst moment stands somewhere, whether it became a conflict copy, stayed where
/// it is, or won.
async fn every_point_is_survived_when_others_edit_meanwhile(store: &'static Store) -> Result<()> {
    let points = Point::ALL.iter().copied().filter(|point| {
        let elsewhere = [
            Point::RecoveredCopyKept,
            Point::RecoveredPutBack,
            Point::DirtyTaken,
        ];
        !elsewhere.contains(point) && size_for(*point) == Size::Small
    });
    let must_be_reached = [Point::PutBack, Point::MovedBack, Point::LocalCopyKept];
    for_every_point(points, async |point| {
        let mut scene = scene(store, Size::Small).await?;
        let ended = scene.crash("interfered", point, 1).await?;
        ensure!(
            ended == Ended::Killed || !must_be_reached.contains(&point),
            "it was never reached"
        );
        scene.expect_the_edits(point);
        let files = scene.converge().await?;
        assert_merged(&files)
    })
    .await
}

fn assert_merged(files: &Files) -> Result<()> {
    let content = files.get("merged.json").context("merged.json is gone")?;
    let merged: Value = serde_json::from_slice(content)?;
    let value = |name: &str| merged.get(name).and_then(Value::as_u64);
    let values = (value("ours"), value("theirs"));
    ensure!(values == (Some(3), Some(2)), "{merged}");
    Ok(())
}

async fn a_crash_during_the_recovery_from_a_crash_is_survived(store: &'static Store) -> Result<()> {
    let crashes = [
        (Point::Exchanged, Point::RecoveredCopyKept),
        (Point::MovedAway, Point::RecoveredPutBack),
    ];
    for (first, recovered) in crashes {
        let again = [Point::BaselineOpened, recovered, Point::Swept];
        for_every_point(again.into_iter(), async |point| {
            let mut scene = scene(store, Size::Small).await?;
            scene.crash("interfered", first, 1).await?;
            scene.expect_the_edits(first);
            let ended = scene.crash("pass", point, 1).await?;
            ensure!(ended == Ended::Killed, "it was never reached");
            let files = scene.converge().await?;
            assert_merged(&files)
        })
        .await?;
    }
    Ok(())
}

async fn a_worker_killed_before_it_pushes_an_edit_pushes_it_at_the_next_start(
    store: &'static Store,
) -> Result<()> {
    if !COMPILED {
        return tools::skip(NO_POINTS);
    }
    let points = [
        Point::DirtyTaken,
        Point::ReadToSend,
        Point::SendingNoted,
        Point::PutDone,
    ];
    for point in points {
        let mut scene = scene(store, Size::Small).await?;
        scene.pass().await?;
        let ended = scene.crash("resident", point, 1).await?;
        ensure!(ended == Ended::Killed, "{point} was never reached");
        scene.kept.insert("the edit", "while the engine ran".into());
        let files = scene.converge().await?;
        ensure!(
            files.keys().filter(|path| path.starts_with(COPIES)).count() == 2,
            "an edit of the worker alone is no conflict"
        );
    }
    Ok(())
}

/// Ways to damage what SQLite keeps. The first letter of each name says what happens to `state.db` itself.
const DAMAGES: [fn(&PathBuf) -> Result<()>; 6] = [
    |state| truncate(&state.join("state.db"), 0, 1),
    |state| truncate(&state.join("state.db"), 1, 2),
    |state| truncate(&state.join("state.db-wal"), 1, 2),
    |state| remove(&[state.join("state.db-wal")]),
    |state| remove(&[state.join("state.db")]),
    |state| Ok(std::fs::write(state.join("state.db"), vec![0xa5; 10_000])?),
];

fn truncate(file: &PathBuf, numerator: u64, denominator: u64) -> Result<()> {
    if let Ok(found) = std::fs::metadata(file) {
        let length = found.len() * numerator / denominator;
        std::fs::File::options()
            .write(true)
            .open(file)?
            .set_len(length)?;
    }
    Ok(())
}

fn remove(files: &[PathBuf]) -> Result<()> {
    for file in files {
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// A crash, and then a database that tells nothing or something old: what the crash had left displaced is kept all the
/// same, and no file is taken for deleted.
async fn a_damaged_state_database_loses_no_version(store: &'static Store) -> Result<()> {
    let points = [
        Point::Exchanged,
        Point::MovedAway,
        Point::BatchSettled,
        Point::PutDone,
        Point::DeletedRemotely,
        Point::PassRemembered,
    ];
    for_every_point(points.into_iter(), async |point| {
        for (number, damage) in DAMAGES.iter().enumerate() {
            let mut scene = scene(store, Size::Small).await?;
            scene.crash("interfered", point, 1).await?;
            scene.expect_the_edits(point);
            damage(&scene.mount.join(".hiclaw-sync"))?;
            let files = scene
                .converge()
                .await
                .with_context(|| format!("damage {number}"))?;
            assert_merged(&files)?;
        }
        Ok(())
    })
    .await
}

//! What the crashes happen to: two sides that have moved on in every way that leads to an action, the process that is
//! killed, and what must hold of both sides afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::Output,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use sync_core::failpoint::Point;
use testkit::{Bucket, Store, tree};
use tokio::process::Command;

const SIGKILL: i32 = 9;
const PREFIX: &str = "agents/a/";
pub(crate) const COPIES: &str = ".sync-conflicts/";
/// More than is sent in one request.
pub(crate) const LARGE_BYTES: usize = 65 * 1024 * 1024;

/// What was written to both sides, and the directory that is the local one.
pub(crate) struct Scene {
    _home: tempfile::TempDir,
    pub(crate) mount: PathBuf,
    bucket: Bucket,
    /// All contents that must stand somewhere for ever, by a name.
    pub(crate) kept: BTreeMap<&'static str, Bytes>,
}

/// What the two sides hold after convergence, however it came about.
pub(crate) type Files = BTreeMap<String, Bytes>;

/// Both sides have moved on since they agreed, in every way that leads to an action.
pub(crate) async fn scene(store: &Store, size: Size) -> Result<Scene> {
    let scene = first_scene(store).await?;
    scene.pass().await?;
    move_on(scene, size).await
}

/// Both sides hold the same, and no pass was ever made.
pub(crate) async fn first_scene(store: &Store) -> Result<Scene> {
    let bucket = store.create_bucket().await?;
    let home = tempfile::tempdir()?;
    let mount = home.path().join("mount");
    std::fs::create_dir(&mount)?;
    let scene = Scene {
        _home: home,
        mount,
        bucket,
        kept: BTreeMap::new(),
    };
    for path in [
        "in/changed",
        "in/gone/deep/file",
        "out/changed",
        "out/gone",
        "both",
        "remote/both",
        "same",
    ] {
        tree::write(&scene.mount, path, format!("first {path}"))?;
    }
    scene
        .put("merged.json", r#"{"ours": 1, "theirs": 1}"#)
        .await?;
    Ok(scene)
}

pub(crate) async fn move_on(mut scene: Scene, size: Size) -> Result<Scene> {
    tree::write(&scene.mount, "merged.json", r#"{"ours": 3, "theirs": 1}"#)?;
    scene
        .put("merged.json", r#"{"ours": 1, "theirs": 2}"#)
        .await?;
    scene.put("in/changed", "second in/changed").await?;
    scene.put("in/new/file", "first in/new/file").await?;
    scene
        .bucket
        .delete(&format!("{PREFIX}in/gone/deep/file"))
        .await?;
    tree::write(&scene.mount, "out/changed", "second out/changed")?;
    tree::write(&scene.mount, "out/new", "first out/new")?;
    std::fs::remove_file(scene.mount.join("out/gone"))?;
    for path in ["both", "remote/both"] {
        tree::write(&scene.mount, path, format!("here {path}"))?;
        scene.put(path, &format!("there {path}")).await?;
    }
    if size == Size::Large {
        tree::write(&scene.mount, "out/large", vec![7; LARGE_BYTES])?;
    }
    scene.kept = [
        ("in/changed", "second in/changed"),
        ("in/new/file", "first in/new/file"),
        ("out/changed", "second out/changed"),
        ("out/new", "first out/new"),
        ("same", "first same"),
        ("both, local", "here both"),
        ("both, remote", "there both"),
        ("remote/both, local", "here remote/both"),
        ("remote/both, remote", "there remote/both"),
    ]
    .map(|(name, content)| (name, Bytes::from(content)))
    .into();
    Ok(scene)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Large,
}

impl Scene {
    async fn put(&self, path: &str, content: &str) -> Result<()> {
        let key = format!("{PREFIX}{path}");
        self.bucket.put(&key, content.to_owned()).await.map(drop)
    }

    async fn child(&self, mode: &str, crash: Option<(Point, usize)>) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crash-child"));
        command
            .arg(&self.mount)
            .args([self.bucket.endpoint(), self.bucket.name()])
            .args([self.bucket.access_key(), self.bucket.secret_key(), mode])
            .kill_on_drop(true);
        if let Some((point, number)) = crash {
            command.args([point.name(), &number.to_string()]);
        }
        command.output().await.context("start crash-child")
    }

    /// Runs a pass that is killed at the moment, if it comes to that.
    pub(crate) async fn crash(&self, mode: &str, point: Point, number: usize) -> Result<Ended> {
        let output = self.child(mode, Some((point, number))).await?;
        if output.status.signal() == Some(SIGKILL) {
            return Ok(Ended::Killed);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{point} {number}: {errors}");
        Ok(Ended::ByItself)
    }

    /// One pass to its end, and its report.
    pub(crate) async fn pass(&self) -> Result<Value> {
        let output = self.child("pass", None).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a pass failed: {errors}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Passes until nothing is done any more, two at most, and what both sides hold then.
    pub(crate) async fn converge(&self) -> Result<Files> {
        let report = self.pass().await?;
        ensure!(list(&report, "problems").is_empty(), "problems: {report:#}");
        self.pass().await?;
        let last = self.pass().await?;
        for kind in ["get", "put", "head", "delete"] {
            let requests = last.pointer(&format!("/requests/{kind}"));
            let none = requests.is_some_and(|requests| *requests == 0);
            ensure!(none, "the third pass still works: {last:#}");
        }
        let local = tree::read(&self.mount)?;
        let remote = self.bucket.tree(PREFIX).await?;
        // Neither the merged file nor a copy of it is ever sent.
        let without_merged = |files: &Files| -> Files {
            let mut files = files.clone();
            files.retain(|path, _| !path.contains("merged.json"));
            files
        };
        let (here, there) = (without_merged(&local), without_merged(&remote));
        ensure!(
            here == there,
            "{:?} here, {:?} there",
            here.keys(),
            there.keys()
        );
        let staged = tree::staged(&self.mount);
        ensure!(
            staged.is_empty(),
            "left in the staging directory: {staged:?}"
        );
        let standing: BTreeSet<_> = local.values().collect();
        for (name, content) in &self.kept {
            ensure!(standing.contains(content), "{name} is lost");
        }
        let copies: Vec<_> = local
            .iter()
            .filter(|(path, _)| path.starts_with(COPIES))
            .collect();
        let distinct: BTreeSet<_> = copies.iter().map(|(_, content)| content).collect();
        ensure!(distinct.len() == copies.len(), "doubled: {copies:?}");
        Ok(local)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Killed,
    ByItself,
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    let list = report.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

impl Scene {
    /// The edits that were surely made before the process was killed at `point`.
    pub(crate) fn expect_the_edits(&mut self, point: Point) {
        let after_the_deletes = [
            Point::MovedAway,
            Point::MovedBack,
            Point::DeletesSettled,
            Point::DeletedRemotely,
            Point::DeletesRecorded,
            Point::PassRemembered,
        ];
        let after_the_exchanges = [
            Point::Exchanged,
            Point::LocalCopyKept,
            Point::PutBack,
            Point::BatchPublished,
            Point::BatchSettled,
            Point::IncomingRecorded,
            Point::SendingNoted,
            Point::PutDone,
            Point::UploadsRecorded,
            Point::DeletesNoted,
        ];
        let deletes = after_the_deletes.contains(&point);
        if deletes {
            let edit = "edited in/gone/deep/file";
            self.kept
                .insert("the edit of what was deleted", edit.into());
        }
        if deletes || after_the_exchanges.contains(&point) {
            let edit = "edited in/changed";
            self.kept
                .insert("the edit of what was replaced", edit.into());
        }
    }
}

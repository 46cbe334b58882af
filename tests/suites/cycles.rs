//! Starts and stops, over and over, with random ends: no zombie, no process left, no stale lock, no lost edit.
//!
//! The worker is the first process of a PID namespace, as in a container. Every cycle starts it on the files that the one
//! before left, ends it at a moment and in a manner that the seed decides, and edits both sides. `HICLAW_CYCLES=1000` is the
//! long run, `HICLAW_CYCLES_SEED` repeats one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use rustix::process::Signal;
use testkit::process::Process;
use testkit::worker::no_namespace;
use testkit::{Bucket, PATIENCE, Store, Worker, agent, on_store, tools, tree, wait_until};

on_store!(
    embedded,
    Embedded,
    random_ends_lose_nothing_and_leave_nothing
);

const CYCLES: u64 = 25;

/// When a cycle ends.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When the log holds this text so many times.
    Logged(&'static str, usize),
    /// So long after the runtime was started and files were edited.
    Edited(Duration),
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// SIGTERM to the first process, and nothing else.
    Asked,
    /// SIGTERM, and SIGKILL of the engine so long after it.
    AskedThenKilled(Duration),
    /// SIGKILL of the engine alone.
    EngineKilled,
    /// SIGKILL of the runtime's leader and, with it gone, of the engine.
    RuntimeThenEngine,
    /// SIGKILL of the first process, which takes everything along: the machine dies.
    AllKilled,
}

fn moment(random: &mut fastrand::Rng) -> Moment {
    match random.u8(..10) {
        0 => Moment::Logged("connected", 1),
        1..3 => Moment::Logged("step done", random.usize(1..13)),
        3 => Moment::Logged("the workspace is prepared", 1),
        _ => Moment::Edited(Duration::from_millis(random.u64(..400))),
    }
}

fn manner(random: &mut fastrand::Rng) -> Manner {
    match random.u8(..8) {
        0..3 => Manner::Asked,
        3 => Manner::AskedThenKilled(Duration::from_millis(random.u64(..150))),
        4 | 5 => Manner::EngineKilled,
        6 => Manner::RuntimeThenEngine,
        _ => Manner::AllKilled,
    }
}

/// What both sides must hold in the end, apart from what was seeded.
#[derive(Debug, Default)]
struct Expected {
    here: BTreeMap<String, String>,
    there: BTreeMap<String, String>,
}

impl Expected {
    /// Edits of one cycle: new files, a changed one and a deleted one on each side, and a skill's file here.
    async fn edit(&mut self, cycle: u64, worker: &Worker, bucket: &Bucket) -> Result<()> {
        let content = format!("cycle {cycle}\n");
        let workspace = worker.workspace();
        for path in [format!("here/{cycle}.md"), "here/journal.md".to_owned()] {
            // As an editor writes: a new file takes the place of the old one.
            tree::write(&workspace, "here/.draft.lock", &content)?;
            std::fs::rename(workspace.join("here/.draft.lock"), workspace.join(&path))?;
            self.here.insert(path, content.clone());
        }
        for path in [format!("there/{cycle}.md"), "there/journal.md".to_owned()] {
            bucket.put(&agent::key(&path), content.clone()).await?;
            self.there.insert(path, content.clone());
        }
        if let Some(old) = cycle.checked_sub(3) {
            let path = format!("here/{old}.md");
            if self.here.remove(&path).is_some() {
                std::fs::remove_file(workspace.join(&path))?;
            }
            let path = format!("there/{old}.md");
            if self.there.remove(&path).is_some() {
                bucket.delete(&agent::key(&path)).await?;
            }
        }
        Ok(())
    }

    /// The edits made here are here, whatever happened.
    fn assert_here(&self, worker: &Worker) -> Result<()> {
        for (path, content) in &self.here {
            let found = tree::text(&worker.workspace(), path)?;
            assert_eq!(&found, content, "{path}\n{}", worker.log());
        }
        Ok(())
    }

    fn all(&self) -> BTreeMap<String, Bytes> {
        let all = self.here.iter().chain(&self.there);
        all.map(|(path, content)| (path.clone(), Bytes::from(content.clone())))
            .collect()
    }
}

/// What the cycles wrote of a tree.
fn written(tree: BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
    let is_ours = |path: &String| path.starts_with("here/") || path.starts_with("there/");
    tree.into_iter().filter(|(path, _)| is_ours(path)).collect()
}

/// The first process of the namespace, and the engine, once both are there.
async fn parts(worker: &Worker) -> Result<(Process, Process)> {
    let program = tools::worker_entrypoint()?.canonicalize()?;
    let find = || {
        let mut own = worker.processes();
        own.retain(|process| process.program.as_ref() == Some(&program));
        let mut own = own.into_iter();
        Some((own.next()?, own.next()?))
    };
    wait_until("init and engine", PATIENCE, || find().is_some()).await?;
    find().with_context(|| format!("they ended at once:\n{}", worker.log()))
}

async fn reach(moment: Moment, worker: &Worker) -> Result<()> {
    match moment {
        Moment::Logged(text, times) => {
            // There may be fewer steps than that: then it is the moment after the last one.
            wait_until("the moment to end", PATIENCE, || {
                let log = worker.log();
                log.matches(text).count() >= times || log.contains("the workspace is prepared")
            })
            .await
            .with_context(|| worker.log())?;
        }
        Moment::Edited(after) => tokio::time::sleep(after).await,
    }
    Ok(())
}

async fn end(manner: Manner, worker: &mut Worker, init: &Process, engine: &Process) -> Result<i32> {
    match manner {
        Manner::Asked => init.signal(Signal::TERM)?,
        Manner::AskedThenKilled(after) => {
            init.signal(Signal::TERM)?;
            tokio::time::sleep(after).await;
            engine.signal(Signal::KILL)?;
        }
        Manner::EngineKilled => engine.signal(Signal::KILL)?,
        Manner::RuntimeThenEngine => {
            for process in worker.processes() {
                if process.parent == engine.pid {
                    process.signal(Signal::KILL)?;
                }
            }
            engine.signal(Signal::KILL)?;
        }
        Manner::AllKilled => init.signal(Signal::KILL)?,
    }
    worker.wait_exit(PATIENCE).await
}

/// No process stays a zombie while the worker runs.
async fn assert_no_zombie(worker: &Worker) -> Result<()> {
    let mut before: Vec<Process> = Vec::new();
    let reaped = wait_until("every zombie to be reaped", PATIENCE, || {
        let zombies = worker.processes().into_iter();
        before = zombies.filter(|process| process.state == 'Z').collect();
        before.is_empty()
    });
    reaped.await.map(drop)
}

async fn one_cycle(
    cycle: u64,
    random: &mut fastrand::Rng,
    mut worker: Worker,
    bucket: &Bucket,
    expected: &mut Expected,
) -> Result<Worker> {
    let (moment, manner) = (moment(random), manner(random));
    let (init, engine) = parts(&worker).await?;
    let with_edits = matches!(moment, Moment::Edited(_));
    if with_edits {
        worker.wait_for_runtime().await?;
        expected.edit(cycle, &worker, bucket).await?;
        assert_no_zombie(&worker).await?;
    }
    reach(moment, &worker).await?;
    let processes = worker.processes();
    let code = end(manner, &mut worker, &init, &engine).await?;
    wait_until("the end of every process", PATIENCE, || {
        !processes.iter().any(Process::is_there)
    })
    .await
    .with_context(|| format!("after {moment:?}, {manner:?}"))?;
    expected.assert_here(&worker)?;
    if manner == Manner::Asked {
        // The runtime's own, or the signal's when there was none yet.
        assert!(
            [0, 143].contains(&code),
            "{code}, {moment:?}\n{}",
            worker.log()
        );
        if with_edits {
            let there = written(bucket.tree(&agent::key("")).await?);
            for (path, content) in &expected.here {
                let found = there.get(path);
                assert!(
                    found.is_some_and(|found| found == content),
                    "{path} was not sent before the end: {found:?}\n{}",
                    worker.log()
                );
            }
        }
    }
    Ok(worker)
}

fn number(name: &str) -> Result<Option<u64>> {
    match std::env::var(name) {
        Ok(text) => Ok(Some(
            text.parse().with_context(|| format!("{name}={text}"))?,
        )),
        Err(_) => Ok(None),
    }
}

async fn random_ends_lose_nothing_and_leave_nothing(store: &'static Store) -> Result<()> {
    if let Some(reason) = no_namespace() {
        return tools::skip(&reason);
    }
    let cycles = number("HICLAW_CYCLES")?.unwrap_or(CYCLES);
    let seed = number("HICLAW_CYCLES_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    let mut out = std::io::stdout();
    writeln!(out, "{cycles} cycles, HICLAW_CYCLES_SEED={seed}")?;
    let mut random = fastrand::Rng::with_seed(seed);
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let started = Instant::now();
    let mut expected = Expected::default();
    let mut builder = Worker::builder(&bucket)?;
    for cycle in 0..cycles {
        let worker = builder.as_first_process().start()?;
        let ended = one_cycle(cycle, &mut random, worker, &bucket, &mut expected);
        let ended = ended
            .await
            .with_context(|| format!("cycle {cycle}, seed {seed}"))?;
        builder = ended.again(&bucket)?;
    }
    let mut worker = builder.as_first_process().start()?;
    worker.wait_for_runtime().await?;
    let (init, engine) = parts(&worker).await?;
    wait_until("both sides to be the same", PATIENCE, || {
        tree::read(&worker.workspace()).is_ok_and(|here| written(here) == expected.all())
    })
    .await
    .with_context(|| worker.log())?;
    let code = end(Manner::Asked, &mut worker, &init, &engine).await?;
    assert_eq!(code, 0, "{}", worker.log());
    assert_eq!(written(tree::read(&worker.workspace())?), expected.all());
    assert_eq!(written(bucket.tree(&agent::key("")).await?), expected.all());
    let names = tree::names(&worker.workspace())?;
    let copies: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with(".sync-conflicts/"))
        .collect();
    if !copies.is_empty() {
        bail!("nobody else wrote, and there are conflict copies: {copies:?}");
    }
    assert_eq!(
        tree::staged(&worker.workspace()),
        [""; 0],
        "nothing is left staged"
    );
    let took = started.elapsed();
    writeln!(
        out,
        "{cycles} cycles in {took:?}: nothing lost, nothing left"
    )?;
    Ok(())
}

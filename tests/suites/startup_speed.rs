//! How long a worker whose prefix holds 600 objects (10 MiB) takes from its exec to the exec of its runtime, and the memory of
//! its two processes when it has nothing to do. The promises (a second, 2 MiB and 30 MiB at most) are made for the release
//! build: `tests/run --release startup_speed` prints the figures and holds them to it; other builds only print them.

use std::{io::Write as _, time::Duration};

use anyhow::{Context, Result};
use testkit::worker::no_namespace;
use testkit::{PATIENCE, Store, Worker, agent, on_store, tools, wait_until};

on_store!(
    embedded,
    Embedded,
    six_hundred_objects_within_the_limit,
    the_processes_are_small
);

/// Only a start that does something quadratic takes this long, whatever the build and the machine.
const SANE: Duration = Duration::from_secs(10);
/// Resident memory in KiB.
const INIT_KIB: u64 = 2 * 1024;
const ENGINE_KIB: u64 = 30 * 1024;

async fn put_objects(bucket: &testkit::Bucket) -> Result<()> {
    agent::seed(bucket).await?;
    let content = "0123456789abcde\n".repeat(10 * 1024 * 1024 / 600 / 16);
    for number in 0..600 {
        let path = format!("notes/{:02}/{number:03}.md", number % 20);
        bucket.put(&agent::key(&path), content.clone()).await?;
    }
    Ok(())
}

async fn six_hundred_objects_within_the_limit(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    put_objects(&bucket).await?;
    let worker = Worker::builder(&bucket)?.start()?;
    worker.wait_for_runtime().await?;
    let took = worker.age();
    writeln!(
        std::io::stdout(),
        "600 objects, 10 MiB: the runtime was started {took:?} after the exec of worker-entrypoint"
    )?;
    assert!(
        took < SANE,
        "the runtime was started after {took:?}:\n{}",
        worker.log()
    );
    Ok(())
}

async fn the_processes_are_small(store: &'static Store) -> Result<()> {
    if let Some(reason) = no_namespace() {
        return tools::skip(&reason);
    }
    let bucket = store.create_bucket().await?;
    put_objects(&bucket).await?;
    let worker = Worker::builder(&bucket)?.as_first_process().start()?;
    worker.wait_for_runtime().await?;
    // The pass after the start is over: from here on there is nothing to do.
    worker.wait_for_log("trigger=Request").await?;
    let program = tools::worker_entrypoint()?.canonicalize()?;
    let own = || {
        let mut own = worker.processes();
        own.retain(|process| process.program.as_ref() == Some(&program));
        own
    };
    wait_until("both processes", PATIENCE, || own().len() == 2).await?;
    let own = own();
    let (init, engine) = (own.first(), own.get(1));
    let (init, init_alone) = init.context("no init")?.resident_kib()?;
    let (engine, engine_alone) = engine.context("no engine")?.resident_kib()?;
    writeln!(
        std::io::stdout(),
        "resident with 600 objects, idle: init {init} KiB ({init_alone} of its own), engine {engine} KiB ({engine_alone} of its own)"
    )?;
    if !cfg!(debug_assertions) {
        assert!(init <= INIT_KIB, "init has {init} KiB");
        assert!(engine <= ENGINE_KIB, "the engine has {engine} KiB");
    }
    Ok(())
}

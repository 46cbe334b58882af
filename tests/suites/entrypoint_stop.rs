//! The runtime's end under `worker-entrypoint`: stop, crash, restart, signals and exit codes.

use anyhow::Result;
use rustix::process::Signal;
use testkit::runtime::Manners;
use testkit::{Bucket, PATIENCE, Store, Worker, agent, on_store, tree, wait_for, wait_until};

on_store!(
    embedded,
    Embedded,
    the_last_words_are_flushed_at_the_stop,
    a_deaf_runtime_is_killed_after_the_grace,
    signals_for_the_runtime_are_passed_on,
    the_exit_code_is_the_runtimes,
    a_crashed_runtime_is_started_again,
    a_restart_of_the_container_keeps_the_agents_edits,
);
on_store!(minio, Minio, the_last_words_are_flushed_at_the_stop);

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

async fn arrives(bucket: &Bucket, path: &str, content: &str) -> Result<()> {
    wait_for(&format!("{path} in the bucket"), PATIENCE, async || {
        Ok(bucket
            .get(&agent::key(path))
            .await?
            .is_some_and(|found| found == content))
    })
    .await
    .map(drop)
}

async fn the_last_words_are_flushed_at_the_stop(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::start(&bucket).await?;
    tree::write(&worker.workspace(), "just-before.md", "unsent\n")?;
    let code = worker.stop().await?;
    assert_eq!(code, 0, "{}", worker.log());
    let runtime = worker.runtime()?;
    assert!(
        runtime.noted("signal TERM") && runtime.noted("end"),
        "{:?}",
        runtime.log()
    );
    assert_eq!(
        bucket.text(&agent::key("just-before.md")).await?,
        "unsent\n"
    );
    assert_eq!(
        bucket.text(&agent::key("last-words.md")).await?,
        "last words\n"
    );
    Ok(())
}

async fn a_deaf_runtime_is_killed_after_the_grace(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?
        .manners(Manners::Deaf)
        .option("--stop-grace", "1s")
        .start()?;
    worker.wait_for_runtime().await?;
    tree::write(&worker.workspace(), "just-before.md", "unsent\n")?;
    assert_eq!(worker.stop().await?, 128 + 9, "{}", worker.log());
    assert_eq!(
        bucket.text(&agent::key("just-before.md")).await?,
        "unsent\n"
    );
    Ok(())
}

async fn signals_for_the_runtime_are_passed_on(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    worker.signal(Signal::USR1)?;
    worker.signal(Signal::USR2)?;
    wait_until("SIGUSR2 at the runtime", PATIENCE, || {
        worker
            .runtime()
            .is_ok_and(|runtime| runtime.noted("signal USR2"))
    })
    .await?;
    assert!(
        !worker.runtime()?.noted("signal USR1"),
        "it would open the gateway's debugger port"
    );
    assert_eq!(worker.runtime()?.starts(), 1);
    Ok(())
}

async fn the_exit_code_is_the_runtimes(store: &'static Store) -> Result<()> {
    for code in [0, 7] {
        let bucket = seeded(store).await?;
        let mut worker = Worker::builder(&bucket)?
            .option("--restart", "never")
            .start()?;
        worker.wait_for_runtime().await?;
        tree::write(&worker.workspace(), "just-before.md", "unsent\n")?;
        worker.runtime()?.exit_with(code)?;
        assert_eq!(
            worker.wait_exit(PATIENCE).await?,
            i32::from(code),
            "{}",
            worker.log()
        );
        assert_eq!(
            bucket.text(&agent::key("just-before.md")).await?,
            "unsent\n"
        );
    }
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?
        .option("--restart", "never")
        .start()?;
    worker.wait_for_runtime().await?;
    worker.runtime()?.signal(Signal::KILL)?;
    assert_eq!(
        worker.wait_exit(PATIENCE).await?,
        128 + 9,
        "{}",
        worker.log()
    );
    Ok(())
}

async fn a_crashed_runtime_is_started_again(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?
        .option("--restart", "on-failure")
        .start()?;
    worker.wait_for_runtime().await?;
    worker.runtime()?.signal(Signal::KILL)?;
    worker.runtime()?.wait_for_start(2, PATIENCE).await?;
    // The engine went on all the time.
    tree::write(&worker.workspace(), "after.md", "still here\n")?;
    arrives(&bucket, "after.md", "still here\n").await?;
    assert_eq!(worker.stop().await?, 0, "{}", worker.log());
    Ok(())
}

async fn a_restart_of_the_container_keeps_the_agents_edits(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::start(&bucket).await?;
    tree::write(&worker.workspace(), "SOUL.md", "by the agent\n")?;
    arrives(&bucket, "SOUL.md", "by the agent\n").await?;
    worker.stop().await?;

    // A recreated container has an empty disk; all comes from the bucket.
    let recreated = Worker::start(&bucket).await?;
    assert!(tree::holds(
        &recreated.workspace(),
        "SOUL.md",
        "by the agent\n"
    ));
    assert!(tree::holds(
        &recreated.workspace(),
        "last-words.md",
        "last words\n"
    ));
    drop(recreated);

    let worker = worker.again(&bucket)?.start()?;
    worker.wait_for_runtime().await?;
    assert!(tree::holds(
        &worker.workspace(),
        "SOUL.md",
        "by the agent\n"
    ));
    assert!(!worker.workspace().join(".sync-conflicts").exists());
    Ok(())
}

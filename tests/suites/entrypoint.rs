//! `worker-entrypoint` with a healthy store: startup, and the way of changes to the bucket.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use testkit::proxy::Counts;
use testkit::store::{ACCESS_KEY, SECRET_KEY};
use testkit::{
    Bucket, PATIENCE, Proxy, Store, StoreKind, Worker, agent, holds_for, on_store, tree, wait_for,
    wait_until,
};

on_store!(
    embedded,
    Embedded,
    the_runtime_starts_in_a_complete_workspace,
    the_links_that_the_runtime_expects_are_there,
    one_changed_file_costs_one_put,
    an_idle_worker_sends_nothing_and_uses_no_processor_time,
    excluded_paths_wake_nothing,
    what_the_runtime_does_to_files_happens_in_the_bucket,
    a_file_that_keeps_changing_is_sent_at_a_bounded_rate,
    no_secret_is_printed,
);
on_store!(
    minio,
    Minio,
    the_runtime_starts_in_a_complete_workspace,
    one_changed_file_costs_one_put,
    what_the_runtime_does_to_files_happens_in_the_bucket,
);
on_store!(
    seaweed,
    Seaweed,
    one_changed_file_costs_one_put,
    what_the_runtime_does_to_files_happens_in_the_bucket
);

async fn seeded(store: &Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    Ok(bucket)
}

/// A worker behind a proxy, after everything that its start had to send.
async fn behind_a_proxy(store: &Store) -> Result<(Bucket, Proxy, Worker)> {
    let bucket = seeded(store).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    let worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    if store.kind() != StoreKind::Seaweed {
        // A subscription is followed by a listing, which belongs to the start. There is one for each mount.
        wait_until("the streams of events", PATIENCE, || proxy.streams() == 2).await?;
    }
    quiet(&proxy).await?;
    proxy.clear();
    Ok((bucket, proxy, worker))
}

/// Waits until no request came for a while.
async fn quiet(proxy: &Proxy) -> Result<()> {
    let mut last = (std::time::Instant::now(), proxy.requests().len());
    wait_until("a quiet proxy", PATIENCE, || {
        if proxy.requests().len() != last.1 {
            last = (std::time::Instant::now(), proxy.requests().len());
        }
        last.0.elapsed() > Duration::from_millis(1500)
    })
    .await
    .map(drop)
}

async fn arrives(bucket: &Bucket, path: &str, content: &str) -> Result<Duration> {
    wait_for(&format!("{path} in the bucket"), PATIENCE, async || {
        Ok(bucket
            .get(&agent::key(path))
            .await?
            .is_some_and(|found| found == content))
    })
    .await
}

async fn the_runtime_starts_in_a_complete_workspace(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    let (runtime, workspace) = (worker.runtime()?, worker.workspace());
    let inside = |path: &str| Some(workspace.join(path).display().to_string());

    for path in agent::PULLED {
        assert!(
            workspace.join(path).exists(),
            "{path} is there when the runtime starts"
        );
    }
    assert!(tree::holds(
        &worker.root(),
        "shared/knowledge/facts.md",
        "Water is wet.\n"
    ));
    assert!(!workspace.join("credentials").exists());

    assert_eq!(runtime.working_directory(), workspace.display().to_string());
    assert_eq!(
        runtime.variable("HOME"),
        Some(workspace.display().to_string())
    );
    assert_eq!(
        runtime.variable("OPENCLAW_CONFIG_PATH"),
        inside("openclaw.json")
    );
    assert_eq!(runtime.variable("OPENCLAW_STATE_DIR"), inside(".openclaw"));
    assert_eq!(
        runtime.variable("OPENCLAW_NO_RESPAWN").as_deref(),
        Some("1")
    );
    assert_eq!(
        runtime.variable("MCPORTER_CONFIG"),
        inside("config/mcporter.json")
    );
    let host = store.endpoint().trim_start_matches("http://");
    assert_eq!(
        runtime.variable("MC_HOST_hiclaw"),
        Some(format!("http://{ACCESS_KEY}:{SECRET_KEY}@{host}"))
    );
    assert_eq!(
        runtime.variable("HICLAW_STORAGE_PREFIX"),
        Some(format!("hiclaw/{}", bucket.name()))
    );
    Ok(())
}

async fn the_links_that_the_runtime_expects_are_there(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let builder = Worker::builder(&bucket)?;
    tree::write(
        &builder.workspace(),
        ".openclaw/agents/main/sessions/a.jsonl.lock",
        "",
    )?;
    tree::write(&builder.workspace(), ".openclaw/matrix/crypto.db", "old")?;
    let worker = builder.start()?;
    worker.wait_for_runtime().await?;
    let workspace = worker.workspace();
    let resolves = |link: &str, to: &str| -> Result<bool> {
        Ok(
            fs::canonicalize(workspace.join(link)).with_context(|| link.to_owned())?
                == fs::canonicalize(workspace.join(to))?,
        )
    };
    assert!(resolves(".openclaw/openclaw.json", "openclaw.json")?);
    assert!(resolves(".agents/skills", "skills")?);
    assert!(resolves("mcporter-servers.json", "config/mcporter.json")?);
    assert!(
        !workspace
            .join(".openclaw/agents/main/sessions/a.jsonl.lock")
            .exists(),
        "orphaned locks are cleared away"
    );
    assert!(
        !workspace.join(".openclaw/matrix").exists(),
        "the crypto store is renegotiated"
    );
    assert_eq!(
        bucket.get(&agent::key("mcporter-servers.json")).await?,
        None,
        "the link is not pushed"
    );
    Ok(())
}

async fn one_changed_file_costs_one_put(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = behind_a_proxy(store).await?;
    let one_put = Counts {
        put: 1,
        ..Counts::default()
    };
    for (path, content) in [("SOUL.md", "changed\n"), ("notes/a/b/new.md", "created\n")] {
        proxy.clear();
        tree::write(&worker.workspace(), path, content)?;
        let took = arrives(&bucket, path, content).await?;
        quiet(&proxy).await?;
        assert_eq!(proxy.counts(), one_put, "{path}: {:?}", proxy.requests());
        assert!(took < Duration::from_secs(5), "{path} took {took:?}");
    }
    Ok(())
}

async fn an_idle_worker_sends_nothing_and_uses_no_processor_time(
    store: &'static Store,
) -> Result<()> {
    let (_, proxy, worker) = behind_a_proxy(store).await?;
    let before = worker.own_processor_time()?;
    holds_for(
        "no request of an idle worker",
        Duration::from_secs(5),
        || proxy.requests().is_empty(),
    )
    .await?;
    let used = worker.own_processor_time()?.saturating_sub(before);
    assert!(
        used <= Duration::from_millis(50),
        "{used:?} of processor time in 5 s"
    );
    Ok(())
}

async fn excluded_paths_wake_nothing(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = behind_a_proxy(store).await?;
    for number in 0..200 {
        for path in [
            ".cache/blob",
            ".npm/log",
            ".openclaw/matrix/state",
            "credentials/key",
            "work/run.lock",
        ] {
            tree::write(&worker.workspace(), path, format!("{number}"))?;
        }
    }
    // Everything that was written before the marker was looked at when the marker is there.
    tree::write(&worker.workspace(), "marker.md", "end\n")?;
    arrives(&bucket, "marker.md", "end\n").await?;
    quiet(&proxy).await?;
    assert_eq!(
        proxy.counts(),
        Counts {
            put: 1,
            ..Counts::default()
        },
        "{:?}",
        proxy.requests()
    );
    Ok(())
}

async fn what_the_runtime_does_to_files_happens_in_the_bucket(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let worker = Worker::start(&bucket).await?;
    let workspace = worker.workspace();
    for number in 0..30 {
        tree::write(
            &workspace,
            &format!("burst/of/new/{number}.md"),
            format!("{number}"),
        )?;
    }
    tree::write(&workspace, "draft.md", "draft\n")?;
    for number in 0..30 {
        arrives(
            &bucket,
            &format!("burst/of/new/{number}.md"),
            &number.to_string(),
        )
        .await?;
    }
    arrives(&bucket, "draft.md", "draft\n").await?;

    fs::rename(workspace.join("draft.md"), workspace.join("final.md"))?;
    fs::rename(workspace.join("burst"), workspace.join("moved"))?;
    fs::remove_file(workspace.join("HEARTBEAT.md"))?;
    wait_for(
        "the renames and the delete in the bucket",
        PATIENCE,
        async || {
            let names: Vec<_> = bucket.tree(&agent::key("")).await?.into_keys().collect();
            let has = |name: &str| names.iter().any(|found| found == name);
            let moved = names
                .iter()
                .filter(|name| name.starts_with("moved/of/new/"))
                .count();
            let gone = !has("draft.md")
                && !has("HEARTBEAT.md")
                && !names.iter().any(|name| name.starts_with("burst/"));
            Ok(has("final.md") && moved == 30 && gone)
        },
    )
    .await?;
    Ok(())
}

async fn a_file_that_keeps_changing_is_sent_at_a_bounded_rate(store: &'static Store) -> Result<()> {
    let (bucket, proxy, worker) = behind_a_proxy(store).await?;
    let mut content = String::new();
    let mut number = 0;
    holds_for("writing", Duration::from_secs(6), || {
        number += 1;
        content = format!("line {number}\n").repeat(200);
        tree::write(&worker.workspace(), "hot.log", &content).is_ok()
    })
    .await?;
    arrives(&bucket, "hot.log", &content).await?;
    let puts = proxy.counts().put;
    assert!(
        (2..=8).contains(&puts),
        "{puts} PUTs for {number} writes in 6 s"
    );
    Ok(())
}

async fn no_secret_is_printed(store: &'static Store) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut worker = Worker::builder(&bucket)?
        .env("HICLAW_SYNC_LOG", "trace")
        .start()?;
    worker.wait_for_runtime().await?;
    let pid = worker.pid()?.as_raw_nonzero();
    let title = fs::read(format!("/proc/{pid}/cmdline"))?;
    assert!(!String::from_utf8_lossy(&title).contains(SECRET_KEY));
    tree::write(&worker.workspace(), "notes.md", "text\n")?;
    arrives(&bucket, "notes.md", "text\n").await?;
    worker.stop().await?;
    for secret in [SECRET_KEY, agent::MATRIX_PASSWORD, "stale-token"] {
        assert!(!worker.log().contains(secret), "{secret} in the log");
    }
    Ok(())
}

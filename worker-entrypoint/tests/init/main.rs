//! `worker-entrypoint` as process 1 of a PID namespace of its own, as in a container.
//!
//! Needs the right to make namespaces; where that is missing the tests are reported as skipped.

mod container;

use std::{error::Error, time::Duration};

use container::{Container, Host, until};
use rustix::process::Signal;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The host with a store, unless the test can't run here.
async fn host() -> Result<Option<Host>> {
    if let Some(reason) = container::obstacle() {
        container::skip(&reason)?;
        return Ok(None);
    }
    Host::start().await.map(Some)
}

/// Runs until SIGTERM, then says so in the workspace and ends with 5.
const OBEDIENT: &str =
    "trap 'echo last > last-words.md; exit 5' TERM; touch up; while :; do sleep 0.02; done";

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_and_signals_of_the_runtime_become_those_of_the_container() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    for (script, expected) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -11 $$", 139),
    ] {
        let mut container = Container::start(&host, &["--restart", "never"], script)?;
        assert_eq!(
            container.ended().await?,
            expected,
            "{script}\n{}",
            container.log()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_reaches_the_runtime_and_its_last_words_reach_the_bucket() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    let mut container = Container::start(&host, &[], OBEDIENT)?;
    container.runtime_runs().await?;
    container.signal_init(Signal::TERM)?;
    assert_eq!(container.ended().await?, 5, "{}", container.log());
    assert_eq!(
        host.object("last-words.md").await?.as_deref(),
        Some("last\n")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_ignores_sigterm_is_killed_with_everything_it_started() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    let script = "trap '' TERM; sleep 1000 & setsid sh -c \"trap '' TERM; sleep 1000\" & touch up; wait; sleep 1000";
    let mut container = Container::start(&host, &["--stop-grace", "200ms"], script)?;
    container.runtime_runs().await?;
    container.signal_init(Signal::TERM)?;
    assert_eq!(container.ended().await?, 137, "{}", container.log());
    Ok(())
}

/// Counts the zombies that the container sees until there is none; ends with 0 then, and with 9 if it takes too long.
const NO_ZOMBIES: &str = r"
i=0
while [ $i -lt 500 ]; do
  i=$((i + 1))
  if ! grep -l ') Z ' /proc/[0-9]*/stat 2>/dev/null | grep -q .; then exit 0; fi
  sleep 0.02
done
exit 9
";

#[tokio::test(flavor = "multi_thread")]
async fn double_forked_orphans_are_reaped() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    // In the runtime's group, in sessions of their own, and with children of their own.
    let orphans = "for n in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.05 &); (setsid sleep 0.05 &); (setsid sh -c 'sleep 0.02 & exit' &); done; sleep 0.3";
    let mut container = Container::start(
        &host,
        &["--restart", "never"],
        &format!("{orphans}\n{NO_ZOMBIES}"),
    )?;
    assert_eq!(container.ended().await?, 0, "{}", container.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_does_not_outlive_a_killed_engine() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    let mut container = Container::start(&host, &[], OBEDIENT)?;
    container.runtime_runs().await?;
    container.signal_engine(Signal::KILL)?;
    assert_eq!(container.ended().await?, 137, "{}", container.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_at_any_moment_of_the_startup_ends_the_container_soon() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    for milliseconds in (0..480).step_by(30) {
        let mut container = Container::start(&host, &[], OBEDIENT)?;
        container.init_listens().await?;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        container.signal_init(Signal::TERM)?;
        let code = container.ended().await?;
        // A shell that is told before it has set its trap dies of the signal.
        assert!(
            [5, 143].contains(&code),
            "{code} after {milliseconds} ms\n{}",
            container.log()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_pulls_and_is_not_passed_on() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    let script = "trap 'exit 3' HUP; trap 'exit 4' USR1; trap 'exit 6' USR2; touch up; while :; do sleep 0.02; done";
    let mut container = Container::start(&host, &["--restart", "never"], script)?;
    container.runtime_runs().await?;
    host.put("SOUL.md", "changed\n").await?;
    container.signal_init(Signal::HUP)?;
    until("the pull", || {
        container
            .local("SOUL.md")
            .is_ok_and(|text| text == "changed\n")
    })
    .await?;
    container.signal_init(Signal::USR1)?;
    container.signal_init(Signal::USR2)?;
    assert_eq!(container.ended().await?, 6, "{}", container.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_that_is_not_process_1_takes_its_engine_along() -> Result {
    let host = Host::start().await?;
    let mut container = Container::without_namespace(&host, OBEDIENT)?;
    container.runtime_runs().await?;
    container.signal_engine(Signal::KILL)?;
    assert_eq!(container.ended().await?, 137, "{}", container.log());
    until("the end of the runtime", || !container.runtime_lives()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_the_runtime_reads_the_keys_and_ctrl_c_ends_the_worker() -> Result {
    if let Err(error) = std::process::Command::new("script").arg("-V").output() {
        return container::skip(&format!("script: {error}"));
    }
    let host = Host::start().await?;
    // No program at the end: a shell that was about to start one when Ctrl-Z came would wait for it for ever.
    let script = "touch up; read word; echo $word > word; read more";
    let mut container = Container::at_a_terminal(&host, script)?;
    container.runtime_runs().await?;
    container.press("hello\n")?;
    until("the word", || {
        container.local("word").is_ok_and(|word| word == "hello\n")
    })
    .await?;
    // Nobody could ever wake the runtime up after Ctrl-Z: it goes on.
    container.press("\x1a")?;
    container.press("\x03")?;
    assert_eq!(container.ended().await?, 130, "{}", container.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_init_is_small() -> Result {
    let Some(host) = host().await? else {
        return Ok(());
    };
    let container = Container::start(&host, &[], OBEDIENT)?;
    container.runtime_runs().await?;
    let kibibytes = container.init_kibibytes()?;
    // What the loader relocated stays, and a debug build has more of it.
    let limit = if cfg!(debug_assertions) { 4096 } else { 2560 };
    assert!(kibibytes <= limit, "{kibibytes} KiB");
    Ok(())
}

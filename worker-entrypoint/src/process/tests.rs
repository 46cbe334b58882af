//! Codes, groups, orphans: with real processes.

use std::process::Stdio;

use super::*;

fn shell(script: &str) -> Child {
    spawn(Command::new("sh").args(["-c", script]).stdin(Stdio::null())).unwrap()
}

/// Waits for a condition; fails when it does not come true in time.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < limit, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn codes_and_signals_are_told_to_whoever_waits() {
    let mut children: Vec<_> = ["exit 0", "exit 7", "kill -9 $$", "kill -15 $$"]
        .map(shell)
        .into();
    let mut codes = Vec::new();
    for child in &mut children {
        codes.push(child.ended().await.code());
    }
    assert_eq!(codes, [0, 7, 137, 143]);
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_an_error_and_others_are_still_reaped() {
    let error = spawn(&mut Command::new("/no/such/program")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(shell("exit 3").ended().await, Exit::Code(3));
}

#[tokio::test]
async fn many_children_that_end_at_once_are_all_seen() {
    let mut children: Vec<_> = (0..40).map(|code| shell(&format!("exit {code}"))).collect();
    for (code, child) in (0..40).zip(&mut children) {
        assert_eq!(child.ended().await, Exit::Code(code));
    }
}

#[tokio::test]
async fn a_group_dies_with_the_grandchildren_in_it() {
    let mut child = shell("sh -c 'sleep 1000 & sleep 1000' & wait");
    child.group().signal(Signal::KILL).unwrap();
    assert_eq!(child.ended().await, Exit::Signal(9));
    until("the end of the group", || !child.group().exists()).await;
}

#[tokio::test]
async fn a_stopped_child_is_told_and_can_go_on() {
    let mut child = shell("kill -STOP $$; exit 5");
    assert_eq!(child.event().await, ChildEvent::Stopped);
    child.group().signal(Signal::CONT).unwrap();
    assert_eq!(child.ended().await, Exit::Code(5));
}

#[tokio::test]
async fn orphans_are_reaped() {
    become_subreaper().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!(
        "(setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; sleep 0.05' &) ",
        file.display()
    );
    assert_eq!(shell(&script).ended().await, Exit::Code(0));
    until("the orphan's id", || file.exists()).await;
    let id = std::fs::read_to_string(&file).unwrap();
    let entry = std::path::PathBuf::from("/proc").join(id.trim());
    until("the orphan's end", || !entry.exists()).await;
}

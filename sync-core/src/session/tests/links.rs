//! Symbolic links and special files: mirrored as links, reported, never followed.

use super::fixture::{Fixture, fixture};
use crate::report::ProblemKind;

async fn two() -> (Fixture, Fixture) {
    let here = fixture().await;
    let there = here.replica().await;
    (here, there)
}

/// Both pass, each quiet afterwards.
async fn exchange(here: &Fixture, there: &Fixture) {
    here.settle().await;
    there.settle().await;
}

#[tokio::test]
async fn a_link_inside_the_mount_is_made_on_the_other_side_and_goes_there_too() {
    let (here, there) = two().await;
    here.write("lib/v1", "one");
    here.link("bin/tool", "../lib/v1");
    here.link("dangling", "nothing/here");
    exchange(&here, &there).await;
    assert_eq!(here.object("bin/tool").unwrap(), "../lib/v1");
    assert_eq!(here.metadata("bin/tool", "mode").unwrap(), "120777");
    assert_eq!(there.target("bin/tool").unwrap(), "../lib/v1");
    assert_eq!(there.target("dangling").unwrap(), "nothing/here");
    assert_eq!(there.read("bin/tool").unwrap(), "one");

    there.remove("bin/tool");
    there.link("bin/tool", "../lib/v2");
    there.remove("dangling");
    exchange(&there, &here).await;
    assert_eq!(here.target("bin/tool").unwrap(), "../lib/v2");
    assert_eq!(here.target("dangling"), None);
    assert_eq!(
        here.read("lib/v1").unwrap(),
        "one",
        "the link alone was replaced"
    );
}

#[tokio::test]
async fn files_links_and_directories_take_each_others_places() {
    let (here, there) = two().await;
    for path in ["file-link", "file-dir"] {
        here.write(path, "a file");
    }
    here.link("link-file", "file-link");
    here.link("link-dir", "file-link");
    here.write("dir-link/x", "below");
    here.write("dir-file/x", "below");
    exchange(&here, &there).await;

    here.remove("file-link");
    here.link("file-link", "elsewhere");
    here.remove("file-dir");
    here.write("file-dir/x", "below");
    here.remove("link-file");
    here.write("link-file", "a file");
    here.remove("link-dir");
    here.write("link-dir/x", "below");
    std::fs::remove_dir_all(here.full("dir-link")).unwrap();
    here.link("dir-link", "elsewhere");
    std::fs::remove_dir_all(here.full("dir-file")).unwrap();
    here.write("dir-file", "a file");
    exchange(&here, &there).await;

    assert_eq!(there.target("file-link").unwrap(), "elsewhere");
    assert_eq!(there.target("link-file"), None);
    assert_eq!(there.read("link-file").unwrap(), "a file");
    assert_eq!(there.read("file-dir/x").unwrap(), "below");
    assert_eq!(there.target("link-dir"), None);
    assert_eq!(there.read("link-dir/x").unwrap(), "below");
    assert_eq!(there.target("dir-link").unwrap(), "elsewhere");
    assert_eq!(there.read("dir-file").unwrap(), "a file");
    assert!(!there.full(".sync-conflicts").exists());
}

/// The tag of both is the same: only the attributes tell them apart.
#[tokio::test]
async fn a_link_and_a_file_that_holds_its_target_are_different() {
    let (here, there) = two().await;
    here.link("x", "target");
    exchange(&here, &there).await;
    here.remove("x");
    here.write("x", "target");
    exchange(&here, &there).await;
    assert_eq!(there.target("x"), None);
    assert_eq!(there.read("x").unwrap(), "target");
    there.remove("x");
    there.link("x", "target");
    exchange(&there, &here).await;
    assert_eq!(here.target("x").unwrap(), "target");
}

#[tokio::test]
async fn a_link_that_loses_a_conflict_is_kept() {
    let (here, there) = two().await;
    here.link("x", "lib/here");
    here.link("skills/s", "lib/here");
    there.write("x", "there");
    there.write("skills/s", "there");
    there.settle().await;
    let report = here.settle().await;
    assert_eq!(report.conflicts.len(), 2);
    assert_eq!(here.target("x").unwrap(), "lib/here");
    assert_eq!(here.read("skills/s").unwrap(), "there");
    let copy = |path: &str| {
        let found = report.conflicts.iter().find(|found| found.path == path);
        found.unwrap().copy.clone()
    };
    assert_eq!(here.read(&copy("x")).unwrap(), "there");
    assert_eq!(here.target(&copy("skills/s")).unwrap(), "lib/here");
    there.settle().await;
    assert_eq!(there.target(&copy("skills/s")).unwrap(), "lib/here");
    assert_eq!(there.target("x").unwrap(), "lib/here");
}

#[tokio::test]
async fn links_that_lead_outside_are_reported_once_and_stop_nothing() {
    let here = fixture().await;
    here.link("absolute", "/etc/passwd");
    here.link("outside", "../../x");
    here.link("state", ".hiclaw-sync/state.db");
    here.link("secret", "credentials/token");
    here.link("credentials/excluded", "/etc/passwd");
    here.link("pulled/only", "/etc/passwd");
    here.write("fine", "x");
    let report = here.pass(crate::session::Direction::Sync).await;
    let mut paths: Vec<_> = report.problems.iter().map(|found| &*found.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["absolute", "outside", "secret", "state"]);
    for problem in &report.problems {
        assert_eq!(problem.kind, ProblemKind::Unsupported);
        assert!(problem.message.contains("symbolic link"), "{problem:?}");
    }
    assert_eq!(here.store.keys(), ["agents/a/fine"]);
    // What would not be sent anyway is not worth a word.
    let report = here.pass(crate::session::Direction::Pull).await;
    assert!(report.is_quiet(), "{report:?}");
}

#[tokio::test]
async fn objects_that_claim_to_be_links_outside_are_never_made() {
    let here = fixture().await;
    here.write("existing", "mine");
    here.settle().await;
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("x").to_str().unwrap().to_owned();
    for (path, target) in [
        ("a", &*absolute),
        ("b", "../../../etc"),
        ("c", ".hiclaw-sync/state.db"),
        ("d", "credentials"),
        ("e", "x/../../.."),
        ("f", ""),
        ("existing", "/etc/passwd"),
    ] {
        here.insert_with(path, target, &[("mode", "120777")]);
    }
    here.insert_with("long", &"x/".repeat(3000), &[("mode", "41471")]);
    let report = here.pass(crate::session::Direction::Sync).await;
    assert_eq!(report.problems.len(), 8, "{:?}", report.problems);
    for path in ["a", "b", "c", "d", "e", "f", "long"] {
        assert!(
            std::fs::symlink_metadata(here.full(path)).is_err(),
            "{path}"
        );
    }
    assert_eq!(here.read("existing").unwrap(), "mine");
    assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let here = fixture().await;
    let outside = tempfile::tempdir().unwrap();
    here.link("out", outside.path().to_str().unwrap());
    here.link("in", "real");
    here.write("real/y", "mine");
    here.settle_with_problems().await;
    for path in ["out/x", "in/x", "in/y"] {
        here.insert(path, "theirs");
    }
    let report = here.settle_with_problems().await;
    let mut paths: Vec<_> = report.problems.iter().map(|found| &*found.path).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["in", "out"]);
    assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
    assert_eq!(here.read("real/y").unwrap(), "mine");
    assert!(!here.full("real/x").exists());
    assert_eq!(here.object("in/y").unwrap(), "theirs");
    assert_eq!(report.requests.get, 0, "what has no place is not brought");
}

/// A directory that was moved to another disk and linked to is still there for the agent.
#[tokio::test]
async fn what_lies_beyond_a_link_that_is_not_synchronised_is_not_taken_for_deleted() {
    let here = fixture().await;
    here.write("data/one", "1");
    here.write("data/two", "2");
    here.settle().await;
    let disk = tempfile::tempdir().unwrap();
    let moved = disk.path().join("data");
    std::fs::create_dir(&moved).unwrap();
    for name in ["one", "two"] {
        std::fs::rename(here.full("data").join(name), moved.join(name)).unwrap();
    }
    std::fs::remove_dir(here.full("data")).unwrap();
    here.link("data", moved.to_str().unwrap());
    let report = here.settle_with_problems().await;
    assert!(report.deleted_remote.is_empty());
    assert_eq!(here.object("data/one").unwrap(), "1");
    let mount = here.session.mounts()[0].clone();
    let dirty = crate::session::Dirty::Paths(vec![crate::path::RelPath::new("data/one").unwrap()]);
    let progress = super::fixture::progress();
    let (report, _) = here
        .session
        .push_dirty(&mount, dirty, &progress)
        .await
        .unwrap();
    assert_eq!((report.deleted_remote.len(), report.problems.len()), (0, 1));
    assert_eq!(here.object("data/one").unwrap(), "1");
}

#[tokio::test]
async fn fifos_and_sockets_are_reported_by_name_unless_they_are_excluded() {
    let here = fixture().await;
    let fifo = |path: &str| {
        let full = here.full(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            full,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
    };
    fifo("pipe");
    fifo("credentials/pipe");
    fifo("pulled/pipe");
    let _socket = std::os::unix::net::UnixListener::bind(here.full("socket")).unwrap();
    here.write("fine", "x");
    let report = here.settle_with_problems().await;
    let found: Vec<_> = report
        .problems
        .iter()
        .map(|found| {
            (
                &*found.path,
                found.message.contains("FIFO"),
                found.message.contains("socket"),
            )
        })
        .collect();
    assert_eq!(found, [("pipe", true, false), ("socket", false, true)]);
    assert_eq!(here.store.keys(), ["agents/a/fine"]);
}

/// A tag can't tell them apart, and without a baseline nothing else is known: what names something here is looked at.
#[tokio::test]
async fn without_a_baseline_a_link_and_a_file_that_holds_its_target_are_no_agreement() {
    let here = fixture().await;
    here.write("v1", "one");
    here.write("current", "v1");
    here.insert_with("current", "v1", &[("mode", "120777")]);
    let report = here.settle().await;
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!(here.target("current"), None);
    assert_eq!(here.metadata("current", "mode").unwrap(), "100644");
    assert_eq!(here.target(&report.conflicts[0].copy).unwrap(), "v1");
}

/// The content is what it was, and yet it is an edit.
#[tokio::test]
async fn a_link_that_became_a_file_with_its_target_meets_an_edit() {
    let here = fixture().await;
    here.link("x", "target");
    here.settle().await;
    here.remove("x");
    here.write("x", "target");
    here.insert("x", "edited there");
    let report = here.settle().await;
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!(here.read("x").unwrap(), "target");
    assert_eq!(
        here.read(&report.conflicts[0].copy).unwrap(),
        "edited there"
    );
}

//! Nothing leaves the workspace, and nothing is seen half done.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn workspace() -> (tempfile::TempDir, Workspace) {
    let directory = tempfile::tempdir().unwrap();
    let workspace = Workspace::open(directory.path()).unwrap();
    (directory, workspace)
}

#[test]
fn links_lead_to_their_target_from_any_depth() {
    for (at, to, expected) in [
        ("a", "b", "b"),
        (
            "mcporter-servers.json",
            "config/mcporter.json",
            "config/mcporter.json",
        ),
        (
            ".openclaw/openclaw.json",
            "openclaw.json",
            "../openclaw.json",
        ),
        ("a/b/c", "a/d", "../d"),
        ("a/b/c", "x/y", "../../x/y"),
        ("a/b", "a", "../a"),
    ] {
        assert_eq!(
            link_target(&path(at), &path(to)),
            Path::new(expected),
            "{at} -> {to}"
        );
        let (directory, workspace) = workspace();
        std::fs::create_dir_all(directory.path().join(to)).unwrap();
        workspace.link(&path(at), &path(to)).unwrap();
        let led_to = std::fs::canonicalize(directory.path().join(at)).unwrap();
        assert_eq!(
            led_to,
            std::fs::canonicalize(directory.path().join(to)).unwrap()
        );
    }
}

#[test]
fn no_operation_goes_through_a_link() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "x").unwrap();
    let (directory, workspace) = workspace();
    symlink(outside.path(), directory.path().join("out")).unwrap();
    symlink(outside.path().join("file"), directory.path().join("link")).unwrap();
    let inside = path("out/file");
    assert!(workspace.look(&inside).is_err());
    assert!(workspace.read(&inside).is_err());
    assert!(workspace.read(&path("link")).is_err());
    assert!(workspace.publish(&path("out/new"), b"x").is_err());
    assert!(workspace.publish(&path("link"), b"y").is_err());
    assert!(workspace.remove(&inside).is_err());
    assert!(workspace.make_executable(&path("link")).is_err());
    assert!(workspace.link(&path("out/l"), &path("a")).is_err());
    assert!(
        workspace
            .copy_in(outside.path(), &path("out/copy"))
            .is_err()
    );
    workspace.remove(&path("out")).unwrap();
    assert_eq!(
        std::fs::read_to_string(outside.path().join("file")).unwrap(),
        "x"
    );
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_published_file_keeps_its_mode_and_leaves_nothing_behind() {
    let (directory, workspace) = workspace();
    let file = directory.path().join("f");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    workspace.publish(&path("f"), b"new").unwrap();
    assert_eq!(workspace.read(&path("f")).unwrap().unwrap(), b"new");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o664);
    workspace.publish(&path("d/secret"), b"s").unwrap();
    assert_eq!(
        directory
            .path()
            .join("d/secret")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert_eq!(
        std::fs::read_dir(directory.path().join(".hiclaw-sync/tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn trees_are_removed_and_walked_without_following_links() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "x").unwrap();
    let (directory, workspace) = workspace();
    std::fs::create_dir_all(directory.path().join("a/b/c")).unwrap();
    std::fs::create_dir_all(directory.path().join(".hiclaw-sync/tmp")).unwrap();
    std::fs::write(directory.path().join("a/b/f"), "").unwrap();
    symlink(outside.path(), directory.path().join("a/b/out")).unwrap();
    let mut seen = Vec::new();
    workspace
        .walk(None, &mut |path, _| {
            seen.push(path.to_string());
            Descend::Enter
        })
        .unwrap();
    assert_eq!(seen, ["a", "a/b", "a/b/c", "a/b/f", "a/b/out"]);
    workspace.remove(&path("a")).unwrap();
    assert!(!directory.path().join("a").exists());
    assert!(outside.path().join("file").exists());
    workspace.remove(&path("a")).unwrap();
    workspace.remove(&path("x/y")).unwrap();
}

#[test]
fn only_those_who_may_read_may_execute() {
    let (directory, workspace) = workspace();
    let file = directory.path().join("f");
    for (before, after) in [
        (0o644, 0o755),
        (0o600, 0o700),
        (0o640, 0o750),
        (0o755, 0o755),
    ] {
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(before)).unwrap();
        workspace.make_executable(&path("f")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, after);
    }
}

#[test]
fn conflict_copies_do_not_replace_each_other() {
    let (directory, workspace) = workspace();
    let now = "2026-11-21T04:05:06Z".parse().unwrap();
    for content in ["1", "2"] {
        std::fs::write(directory.path().join("f"), content).unwrap();
        workspace.keep_as_conflict(&path("f"), now).unwrap();
    }
    let kept = |name: &str| {
        std::fs::read_to_string(directory.path().join(".sync-conflicts").join(name)).unwrap()
    };
    assert_eq!(kept("f.20261121T040506Z.local"), "1");
    assert_eq!(kept("f.20261121T040506Z-1.local"), "2");
}

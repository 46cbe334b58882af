use super::*;
use crate::baseline::Baseline;
use crate::root::STATE_DIRECTORY;

struct Fixture {
    dir: tempfile::TempDir,
    root: Arc<Root>,
    baseline: Baseline,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::open(dir.path()).unwrap());
    let baseline =
        Baseline::open(&dir.path().join(STATE_DIRECTORY).join("state.db"), "test").unwrap();
    Fixture {
        dir,
        root,
        baseline,
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

impl Fixture {
    fn staged(&self, content: &str) -> Staged {
        let mut writer = StageWriter::create(&self.root).unwrap();
        writer.write(content.as_bytes()).unwrap();
        writer.finish(0o644, None, Durability::Each).unwrap()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn write(&self, path: &str, content: &str) -> Fingerprint {
        std::fs::write(self.dir.path().join(path), content).unwrap();
        Fingerprint::of(&std::fs::metadata(self.dir.path().join(path)).unwrap())
    }

    fn staging_is_empty(&self) -> bool {
        std::fs::read_dir(self.dir.path().join(".hiclaw-sync/tmp"))
            .unwrap()
            .next()
            .is_none()
    }
}

#[test]
fn a_created_file_appears_whole_and_the_fingerprint_is_the_one_a_look_shows() {
    let fixture = fixture();
    let published = fixture.staged("new").create_at(&path("a/b/c")).unwrap();
    let seen = fixture.root.look(&path("a/b/c")).unwrap().unwrap().1;
    assert_eq!(published, Published::Done(seen));
    assert_eq!(fixture.read("a/b/c"), "new");
    assert!(fixture.staging_is_empty());
}

#[test]
fn creating_over_a_file_that_appeared_is_stale_and_leaves_it() {
    let fixture = fixture();
    fixture.write("f", "agent");
    assert_eq!(
        fixture.staged("new").create_at(&path("f")).unwrap(),
        Published::Stale
    );
    assert_eq!(fixture.read("f"), "agent");
    assert!(fixture.staging_is_empty());
}

#[test]
fn replacing_the_expected_version_leaves_nothing_behind() {
    let fixture = fixture();
    let expected = fixture.write("f", "old");
    let published = fixture
        .staged("new")
        .replace(&path("f"), &expected, Fate::Superseded, Surprise::Copy)
        .unwrap();
    assert!(matches!(published, Published::Done(_)));
    assert_eq!(fixture.read("f"), "new");
    assert!(fixture.staging_is_empty());
}

#[test]
fn replacing_a_version_nobody_planned_for_is_stale() {
    let fixture = fixture();
    let expected = fixture.write("f", "old");
    fixture.write("f", "edited meanwhile");
    assert_eq!(
        fixture
            .staged("new")
            .replace(&path("f"), &expected, Fate::Superseded, Surprise::Copy)
            .unwrap(),
        Published::Stale
    );
    assert_eq!(fixture.read("f"), "edited meanwhile");
}

/// Exchanges behind the back of `replace`'s look: what a write between look and exchange amounts to.
fn replace_with_a_write_in_between(fixture: &Fixture, surprise: Surprise) -> Published {
    let expected = fixture.write("f", "old");
    let staged = fixture.staged("new");
    // The same size and mtime, so that the look passes; another inode, so that the exchange finds it out.
    let slipped = fixture.dir.path().join("slipped");
    std::fs::write(&slipped, "in!").unwrap();
    let found = std::fs::File::open(fixture.dir.path().join("f"))
        .unwrap()
        .metadata()
        .unwrap();
    std::fs::File::options()
        .write(true)
        .open(&slipped)
        .unwrap()
        .set_modified(found.modified().unwrap())
        .unwrap();
    staged
        .replace_after(&path("f"), &expected, Fate::Superseded, surprise, || {
            std::fs::rename(&slipped, fixture.dir.path().join("f")).unwrap();
        })
        .unwrap()
}

#[test]
fn a_version_that_slips_in_before_the_exchange_becomes_a_conflict_copy() {
    let fixture = fixture();
    let Published::Displaced { copy, .. } =
        replace_with_a_write_in_between(&fixture, Surprise::Copy)
    else {
        panic!("nothing was displaced")
    };
    assert_eq!(fixture.read("f"), "new");
    assert_eq!(fixture.read(copy.as_str()), "in!");
    assert!(copy.as_str().starts_with(".sync-conflicts/f."));
}

/// A write in place of the same size that puts the time back, after the look: only the content tells.
#[test]
fn a_stealthy_write_before_the_exchange_becomes_a_conflict_copy_too() {
    let fixture = fixture();
    let expected = fixture.write("f", "old");
    let known = crate::digest::ContentHasher::default();
    let digest = |content: &str| {
        let mut hasher = known.clone();
        hasher.update(content.as_bytes());
        Some(hasher.finish().digest)
    };
    let full = fixture.dir.path().join("f");
    let write = || {
        let time = std::fs::metadata(&full).unwrap().modified().unwrap();
        std::fs::write(&full, "in!").unwrap();
        let file = File::options().write(true).open(&full).unwrap();
        file.set_modified(time).unwrap();
    };
    let staged = fixture.staged("new").displacing(digest("old"));
    let published = staged
        .replace_after(
            &path("f"),
            &expected,
            Fate::Superseded,
            Surprise::Copy,
            write,
        )
        .unwrap();
    let Published::Displaced { copy, .. } = published else {
        panic!("the write was not found")
    };
    assert_eq!(fixture.read(copy.as_str()), "in!");
    assert_eq!(fixture.read("f"), "new");

    let expected = fixture.root.look(&path("f")).unwrap().unwrap().1;
    let removed = remove(
        &fixture.root,
        "n",
        &path("f"),
        &expected,
        digest("old").as_ref(),
    );
    assert_eq!(removed.unwrap(), Removed::Stale);
    assert_eq!(fixture.read("f"), "new", "it is where it was");
    let removed = remove(
        &fixture.root,
        "n",
        &path("f"),
        &expected,
        digest("new").as_ref(),
    );
    assert_eq!(removed.unwrap(), Removed::Stale, "its ctime is another now");
    let expected = fixture.root.look(&path("f")).unwrap().unwrap().1;
    let removed = remove(
        &fixture.root,
        "n",
        &path("f"),
        &expected,
        digest("new").as_ref(),
    );
    assert_eq!(removed.unwrap(), Removed::Done);
}

#[test]
fn after_a_crash_the_content_tells_whether_a_displaced_version_is_the_expected_one() {
    let mut fixture = fixture();
    let tmp = fixture.dir.path().join(".hiclaw-sync/tmp");
    std::fs::write(tmp.join("x"), "in!").unwrap();
    let displacement = Displacement {
        staged_name: "x".to_owned(),
        path: path("f"),
        expected: Fingerprint::of(&std::fs::metadata(tmp.join("x")).unwrap()),
        digest: Some(Digest::from_bytes([0; 32])),
        staged_inode: 1,
        fate: Fate::Superseded,
        surprise: Surprise::Copy,
    };
    fixture
        .baseline
        .plan_displacements(&[displacement])
        .unwrap();
    let copies = recover(&fixture.root, &mut fixture.baseline).unwrap();
    assert_eq!(fixture.read(copies[0].as_str()), "in!");
}

#[test]
fn links_are_staged_published_and_replaced_like_files() {
    let fixture = fixture();
    let link = |target: &str| {
        let time = Some(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5));
        Staged::link(&fixture.root, target, time, Durability::Each).unwrap()
    };
    assert!(matches!(
        link("a").create_at(&path("d/l")).unwrap(),
        Published::Done(_)
    ));
    assert_eq!(link("b").create_at(&path("d/l")).unwrap(), Published::Stale);
    let (target, found) = fixture.root.read_link(&path("d/l")).unwrap();
    assert_eq!((&*target, found.kind()), (&b"a"[..], LocalKind::Symlink));
    assert_eq!(found.mtime_nanoseconds, 5_000_000_000);
    let published = link("b").replace(&path("d/l"), &found, Fate::Superseded, Surprise::Copy);
    assert!(matches!(published.unwrap(), Published::Done(_)));
    let (target, found) = fixture.root.read_link(&path("d/l")).unwrap();
    assert_eq!(target, b"b");
    let expected = fixture.root.look(&path("d/l")).unwrap().unwrap().1;
    assert_eq!(expected, found);
    let removed = remove(&fixture.root, "n", &path("d/l"), &expected, None).unwrap();
    assert_eq!(removed, Removed::Done);
    assert!(fixture.staging_is_empty());
}

#[test]
fn a_version_that_slips_in_under_a_merge_goes_back_to_its_place() {
    let fixture = fixture();
    assert_eq!(
        replace_with_a_write_in_between(&fixture, Surprise::PutBack),
        Published::Stale
    );
    assert_eq!(fixture.read("f"), "in!");
    assert!(fixture.staging_is_empty());
    assert!(!fixture.dir.path().join(".sync-conflicts").exists());
}

#[test]
fn removing_takes_the_expected_version_and_its_emptied_directories_only() {
    let fixture = fixture();
    std::fs::create_dir_all(fixture.dir.path().join("a/b")).unwrap();
    fixture.write("a/keep", "");
    let expected = fixture.write("a/b/f", "old");
    assert_eq!(
        remove(&fixture.root, "n1", &path("a/b/f"), &expected, None).unwrap(),
        Removed::Done
    );
    assert!(!fixture.dir.path().join("a/b").exists());
    let expected = fixture.write("g", "old");
    fixture.write("g", "edited");
    assert_eq!(
        remove(&fixture.root, "n2", &path("g"), &expected, None).unwrap(),
        Removed::Stale
    );
    assert_eq!(fixture.read("g"), "edited");
    assert!(fixture.staging_is_empty());
}

#[test]
fn recovery_keeps_an_unexpected_displaced_version_and_sweeps_the_rest() {
    let mut fixture = fixture();
    let expected = fixture.write("f", "old");
    let tmp = fixture.dir.path().join(".hiclaw-sync/tmp");
    // Crash after an exchange that displaced an unknown version, after one that displaced the expected one, before one.
    std::fs::write(tmp.join("unknown"), "somebody's edit").unwrap();
    std::fs::rename(fixture.dir.path().join("f"), tmp.join("expected")).unwrap();
    std::fs::write(tmp.join("ours"), "never published").unwrap();
    std::fs::write(tmp.join("rest"), "half a download").unwrap();
    let ours = Fingerprint::of(&std::fs::metadata(tmp.join("ours")).unwrap()).inode;
    std::fs::write(tmp.join("loser"), "lost a conflict").unwrap();
    let loser = Displacement {
        staged_name: "loser".to_owned(),
        path: path("g"),
        expected: Fingerprint::of(&std::fs::metadata(tmp.join("loser")).unwrap()),
        digest: None,
        staged_inode: 3,
        fate: Fate::Kept,
        surprise: Surprise::Copy,
    };
    let displacement = |name: &str, staged_inode| Displacement {
        staged_name: name.to_owned(),
        path: path("f"),
        expected,
        digest: None,
        staged_inode,
        fate: Fate::Superseded,
        surprise: Surprise::Copy,
    };
    let planned = [
        displacement("unknown", 1),
        displacement("expected", 2),
        displacement("ours", ours),
        loser,
    ];
    fixture.baseline.plan_displacements(&planned).unwrap();
    let copies = recover(&fixture.root, &mut fixture.baseline).unwrap();
    assert_eq!(copies.len(), 2);
    assert_eq!(fixture.read(copies[0].as_str()), "lost a conflict");
    assert_eq!(fixture.read(copies[1].as_str()), "somebody's edit");
    assert!(fixture.staging_is_empty());
    assert!(
        recover(&fixture.root, &mut fixture.baseline)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn recovery_puts_back_what_was_displaced_by_a_merge_or_a_delete_of_another_version() {
    let mut fixture = fixture();
    let tmp = fixture.dir.path().join(".hiclaw-sync/tmp");
    let old = fixture.write("old", "the version that it was decided for");
    let merged = fixture.write("merged", "made of another version").inode;
    let overtaken = fixture.write("overtaken", "newer than anything").inode;
    for name in ["merged", "deleted", "overtaken"] {
        std::fs::write(tmp.join(name), format!("edited {name}")).unwrap();
    }
    let displacement = |name: &str, staged_inode| Displacement {
        staged_name: name.to_owned(),
        path: path(name),
        expected: old,
        digest: None,
        staged_inode,
        fate: Fate::Superseded,
        surprise: Surprise::PutBack,
    };
    let planned = [
        displacement("merged", merged),
        displacement("deleted", 0),
        displacement("overtaken", overtaken + 1),
    ];
    fixture.baseline.plan_displacements(&planned).unwrap();
    let copies = recover(&fixture.root, &mut fixture.baseline).unwrap();
    assert_eq!(fixture.read("merged"), "edited merged");
    assert_eq!(fixture.read("deleted"), "edited deleted");
    assert_eq!(fixture.read("overtaken"), "newer than anything");
    assert_eq!(copies.len(), 1);
    assert_eq!(fixture.read(copies[0].as_str()), "edited overtaken");
    assert!(fixture.staging_is_empty());
}

#[test]
fn an_abandoned_staged_file_is_removed() {
    let fixture = fixture();
    drop(fixture.staged("half"));
    assert!(fixture.staging_is_empty());
}

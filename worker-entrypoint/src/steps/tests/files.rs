//! Links, migrations, deletes, copies, execute bits.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

#[tokio::test]
async fn a_link_is_made_and_mended_and_nothing_is_lost() {
    let bench = Bench::new(FakeEngine::new());
    bench.write("openclaw.json", "{}");
    let at = ".openclaw/openclaw.json";
    let target = Some(PathBuf::from("../openclaw.json"));
    bench.done(link()).await;
    assert_eq!(bench.link_of(at), target);
    // The gateway replaces the link by a file when it writes its configuration.
    for (content, kept) in [("{}", 0), (r#"{"mine":1}"#, 1)] {
        std::fs::remove_file(bench.home().join(at)).unwrap();
        bench.write(at, content);
        bench.done(link()).await;
        assert_eq!(
            (bench.link_of(at), bench.read("openclaw.json")),
            (target.clone(), "{}".into())
        );
        let copies = std::fs::read_dir(bench.home().join(".sync-conflicts/.openclaw"));
        assert_eq!(copies.map_or(0, Iterator::count), kept, "{content}");
    }
    std::fs::remove_file(bench.home().join(at)).unwrap();
    symlink("/elsewhere", bench.home().join(at)).unwrap();
    bench.done(link()).await;
    assert_eq!(bench.link_of(at), target);
    std::fs::remove_file(bench.home().join(at)).unwrap();
    std::fs::create_dir(bench.home().join(at)).unwrap();
    bench.done(link()).await;
}

#[tokio::test]
async fn a_link_that_says_the_whole_path_is_as_good() {
    let bench = Bench::new(FakeEngine::new());
    std::fs::create_dir(bench.home().join(".openclaw")).unwrap();
    symlink(
        bench.home().join("openclaw.json"),
        bench.home().join(".openclaw/openclaw.json"),
    )
    .unwrap();
    assert_eq!(bench.run(link()).await, Ok(Outcome::Nothing));
}

#[tokio::test]
async fn a_directory_with_something_in_it_is_never_replaced() {
    let bench = Bench::new(FakeEngine::new());
    bench.write(".agents/skills/mine/SKILL.md", "x");
    let step = Step::Link {
        at: path(".agents/skills"),
        to: path("skills"),
    };
    assert!(bench.run(step).await.is_err());
    assert_eq!(bench.read(".agents/skills/mine/SKILL.md"), "x");
}

#[tokio::test]
async fn only_circular_links_are_removed() {
    let step = || Step::RemoveCircularLink {
        path: path("skills/skills"),
    };
    for (target, circular) in [
        ("../skills", true),
        (".", true),
        ("..", true),
        ("skills", true),
        ("../other", false),
        ("/absent", false),
    ] {
        let bench = Bench::new(FakeEngine::new());
        bench.write("skills/web/SKILL.md", "");
        bench.write("other/x", "");
        symlink(target, bench.home().join("skills/skills")).unwrap();
        bench.run(step()).await.unwrap();
        assert_eq!(bench.exists("skills/skills"), !circular, "{target}");
        assert!(bench.exists("skills/web/SKILL.md"));
    }
    let bench = Bench::new(FakeEngine::new());
    bench.write("skills/skills/SKILL.md", "");
    assert_eq!(bench.run(step()).await, Ok(Outcome::Nothing));
    assert!(bench.exists("skills/skills/SKILL.md"));
}

#[tokio::test]
async fn the_old_mcporter_file_moves_and_its_name_becomes_a_link() {
    let bench = Bench::new(FakeEngine::new());
    assert_eq!(bench.run(migration()).await, Ok(Outcome::Nothing));
    assert!(!bench.exists("mcporter-servers.json"));
    bench.write("mcporter-servers.json", "old");
    bench.done(migration()).await;
    assert_eq!(bench.read("config/mcporter.json"), "old");
    assert_eq!(
        bench.link_of("mcporter-servers.json"),
        Some("config/mcporter.json".into())
    );
    assert_eq!(bench.conflicts(), [""; 0]);
}

#[tokio::test]
async fn where_both_mcporter_files_are_there_the_new_one_wins_and_the_old_one_is_kept() {
    let bench = Bench::new(FakeEngine::new());
    bench.write("config/mcporter.json", "new");
    bench.done(migration()).await;
    std::fs::remove_file(bench.home().join("mcporter-servers.json")).unwrap();
    bench.write("mcporter-servers.json", "new");
    bench.done(migration()).await;
    assert_eq!(bench.conflicts(), [""; 0]);
    std::fs::remove_file(bench.home().join("mcporter-servers.json")).unwrap();
    bench.write("mcporter-servers.json", "old");
    bench.done(migration()).await;
    assert_eq!(bench.read("mcporter-servers.json"), "new");
    assert_eq!(bench.conflicts(), ["mcporter-servers.json"]);
}

#[tokio::test]
async fn deletes_take_what_matches_and_never_follow_links() {
    let bench = Bench::new(FakeEngine::new());
    let outside = bench.directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("x.jsonl.lock"), "").unwrap();
    bench.write(".openclaw/agents/a/s/1.jsonl.lock", "");
    bench.write(".openclaw/agents/2.jsonl.lock", "");
    bench.write(".openclaw/agents/a/s/1.jsonl", "");
    bench.write(".openclaw/matrix/store/keys", "");
    bench.write("3.jsonl.lock", "");
    symlink(&outside, bench.home().join(".openclaw/agents/out")).unwrap();
    symlink(&outside, bench.home().join(".openclaw/matrix/out")).unwrap();
    bench
        .done(Step::Delete {
            paths: globs(&[
                ".openclaw/agents/**/*.jsonl.lock",
                ".openclaw/matrix",
                "absent/**",
            ]),
        })
        .await;
    assert!(
        !bench.exists(".openclaw/agents/a/s/1.jsonl.lock")
            && !bench.exists(".openclaw/agents/2.jsonl.lock")
    );
    assert!(!bench.exists(".openclaw/matrix"));
    assert!(bench.exists(".openclaw/agents/a/s/1.jsonl") && bench.exists("3.jsonl.lock"));
    assert!(bench.exists(".openclaw/agents/out") && outside.join("x.jsonl.lock").exists());
}

#[tokio::test]
async fn scripts_become_executable() {
    let bench = Bench::new(FakeEngine::new());
    bench.write("skills/web/run.sh", "");
    bench.write("skills/web/SKILL.md", "");
    bench.write("other.sh", "");
    symlink("../../other.sh", bench.home().join("skills/web/link.sh")).unwrap();
    bench
        .run(Step::Executable {
            paths: globs(&["skills/**/*.sh"]),
        })
        .await
        .unwrap();
    let is_executable = |path: &str| {
        bench
            .home()
            .join(path)
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o111
            != 0
    };
    assert!(is_executable("skills/web/run.sh"));
    assert!(!is_executable("skills/web/SKILL.md") && !is_executable("other.sh"));
}

#[tokio::test]
async fn skills_of_the_image_are_copied_unless_the_workspace_has_them() {
    let bench = Bench::new(FakeEngine::new());
    let image = bench.directory.path().join("image");
    std::fs::create_dir_all(image.join("file-sync/scripts")).unwrap();
    std::fs::write(image.join("file-sync/SKILL.md"), "image").unwrap();
    std::fs::write(image.join("file-sync/scripts/run.sh"), "x").unwrap();
    std::fs::set_permissions(
        image.join("file-sync/scripts/run.sh"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    std::fs::create_dir(image.join("web")).unwrap();
    std::fs::write(image.join("web/SKILL.md"), "image").unwrap();
    std::fs::write(image.join("README.md"), "").unwrap();
    let linked = bench.directory.path().join("linked");
    symlink(&image, &linked).unwrap();
    bench.write("skills/web/SKILL.md", "mine");
    let from = |path: &Path| Step::CopySkills {
        from: vec!["/no/such/directory".into(), path.to_owned()],
        to: super::path("skills"),
    };
    assert_eq!(bench.run(from(&linked)).await, Ok(Outcome::Nothing));
    bench.done(from(&image)).await;
    assert_eq!(
        (
            bench.read("skills/web/SKILL.md"),
            bench.read("skills/file-sync/SKILL.md")
        ),
        ("mine".into(), "image".into())
    );
    let mode = bench
        .home()
        .join("skills/file-sync/scripts/run.sh")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(!bench.exists("skills/README.md"));
}

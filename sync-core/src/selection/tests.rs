//! Gitignore's meaning over a tree of ignore files, and what is wrong with them.

use super::*;
use crate::report::ProblemKind;

struct Tree {
    dir: tempfile::TempDir,
    root: Arc<Root>,
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let dir = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::open(dir.path()).unwrap());
    let tree = Tree { dir, root };
    for (path, content) in files {
        tree.write(path, content);
    }
    tree
}

impl Tree {
    fn write(&self, path: &str, content: &str) {
        let full = self.dir.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, content).unwrap();
    }

    fn selection(&self) -> Selection {
        let rules = Arc::new(Rules::new(Vec::new()).unwrap());
        Selection::new(rules, self.root.clone())
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn check(selection: &Selection, ignored: &[&str], others: &[&str]) {
    for text in ignored {
        assert!(selection.ignores(&path(text)), "{text} is ignored");
        assert_eq!(selection.rule_for(&path(text)).sync, SyncMode::None);
    }
    for text in others {
        assert!(!selection.ignores(&path(text)), "{text} is not ignored");
    }
}

#[test]
fn patterns_mean_what_they_mean_to_git() {
    let tree = tree(&[(
        ".hiclawignore",
        "# a comment\n\n*.log\n!keep.log\n/top\nbuild/\na/**/z\n\\#hash\n\\!bang\ntrailing   \nspace\\ \n",
    )]);
    let ignored = [
        "x.log",
        "deep/er/x.log",
        "top",
        "top/below",
        "build/x",
        "deep/build/x",
        "a/z",
        "a/b/c/z",
        "#hash",
        "!bang",
        "trailing",
        "space ",
    ];
    let others = [
        "keep.log",
        "deep/keep.log",
        "deep/top",
        "build",
        "b/a/z",
        "hash",
        "x.logs",
    ];
    check(&tree.selection(), &ignored, &others);
}

#[test]
fn the_nearest_file_decides_and_nothing_comes_back_below_an_ignored_directory() {
    let tree = tree(&[
        (".hiclawignore", "*.tmp\nout/\n"),
        ("a/.hiclawignore", "!*.tmp\n/local\n"),
        ("a/b/.hiclawignore", "x.tmp\n"),
        ("out/.hiclawignore", "!*\n"),
    ]);
    let ignored = [
        "x.tmp",
        "a/b/x.tmp",
        "a/local",
        "out/x",
        "out/.hiclawignore",
        "a/out/x",
    ];
    let others = ["a/x.tmp", "a/b/y.tmp", "a/b/local", "local", "a/c/x.tmp"];
    check(&tree.selection(), &ignored, &others);
}

#[test]
fn both_names_count_and_ours_has_the_last_word() {
    let tree = tree(&[
        (".agentteamsignore", "a\nb\n"),
        (".hiclawignore", "!b\nc\n"),
    ]);
    check(&tree.selection(), &["a", "c"], &["b"]);
}

#[test]
fn ignore_files_travel_whatever_the_patterns_say() {
    let tree = tree(&[(".hiclawignore", "*\n!/keep\n")]);
    let selection = tree.selection();
    check(
        &selection,
        &["x", ".x", "d/keep", "d/.hiclawignore"],
        &[".hiclawignore", ".agentteamsignore", "keep"],
    );
    assert!(
        selection.prunes(&path("d")),
        "nothing below it can come back"
    );
}

#[test]
fn ignored_directories_are_pruned_and_those_with_exceptions_are_not() {
    let tree = tree(&[(".hiclawignore", "node_modules\nlogs/*\n!logs/keep\n")]);
    let selection = tree.selection();
    assert!(selection.prunes(&path("node_modules")));
    assert!(selection.prunes(&path("a/node_modules/deep/er")));
    assert!(!selection.prunes(&path("logs")));
    assert!(selection.prunes(&path("logs/other")));
    assert!(!selection.prunes(&path("logs/keep")));
    check(&selection, &["logs/x"], &["logs/keep", "logs/keep/x"]);
}

#[test]
fn a_conflict_copy_is_ignored_with_its_original() {
    let tree = tree(&[(".hiclawignore", "/secret\n")]);
    check(
        &tree.selection(),
        &[".sync-conflicts/secret.20261121T040506Z.local"],
        &[".sync-conflicts/other.20261121T040506Z.local"],
    );
}

#[test]
fn a_line_that_is_no_pattern_is_told_with_its_number_and_the_rest_holds() {
    let tree = tree(&[("d/.hiclawignore", "a\n[z-\n\nb{\nc\n")]);
    let selection = tree.selection();
    check(&selection, &["d/a", "d/c"], &["d/b", "d/x"]);
    let problems = selection.take_problems();
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| (problem.path.as_str(), problem.kind, &problem.message[..7]))
        .collect();
    assert_eq!(
        lines,
        [
            ("d/.hiclawignore", ProblemKind::Invalid, "line 2:"),
            ("d/.hiclawignore", ProblemKind::Invalid, "line 4:")
        ]
    );
    assert_eq!(selection.take_problems(), []);
}

#[test]
fn one_look_gives_one_answer_and_the_next_one_reads_anew() {
    let tree = tree(&[(".hiclawignore", "a\n")]);
    let before = tree.selection();
    check(&before, &["a"], &["b"]);
    tree.write(".hiclawignore", "b\n");
    check(&before, &["a"], &["b"]);
    check(&tree.selection(), &["b"], &["a"]);
}

#[test]
fn many_directories_are_not_all_remembered_and_answers_stay_the_same() {
    let tree = tree(&[(".hiclawignore", "*.tmp\n"), ("d/.hiclawignore", "x\n")]);
    let selection = tree.selection();
    for number in 0..10_000 {
        check(
            &selection,
            &[&format!("e{number}/a.tmp")],
            &[&format!("e{number}/x")],
        );
    }
    check(&selection, &["d/x"], &["d/y"]);
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let long = "x\n".repeat(600_000);
    let tree = tree(&[("d/.hiclawignore", &long)]);
    let selection = tree.selection();
    check(&selection, &["d/anything"], &["other"]);
    assert_eq!(selection.take_problems()[0].kind, ProblemKind::Incomplete);
}

#[test]
fn links_are_not_followed_and_directories_of_that_name_are_nothing() {
    let tree = tree(&[("list", "a\n"), ("d/.hiclawignore/x", "a\n")]);
    std::os::unix::fs::symlink("list", tree.dir.path().join(".hiclawignore")).unwrap();
    let selection = tree.selection();
    check(&selection, &[], &["a", "d/a"]);
    assert_eq!(selection.take_problems().len(), 1);
}

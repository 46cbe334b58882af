//! Which rule holds for a path, and which directories nothing can travel from.

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// Patterns of a rule, and its mode.
type Own<'a> = (&'a [&'a str], SyncMode);

fn rules(own: &[Own<'_>]) -> Rules {
    Rules::new(
        own.iter()
            .map(|(paths, sync)| Rule::new(globs(paths).unwrap(), *sync))
            .collect(),
    )
    .unwrap()
}

#[test]
fn the_first_rule_that_matches_wins_whatever_comes_later() {
    let rules = rules(&[
        (&["a/x", "a/y/**"], SyncMode::Pull),
        (&["a/**"], SyncMode::None),
        (&["**/*.md"], SyncMode::Push),
    ]);
    for (text, expected) in [
        ("a/x", SyncMode::Pull),
        ("a/y/z.md", SyncMode::Pull),
        ("a/z.md", SyncMode::None),
        ("b/z.md", SyncMode::Push),
        ("b/z", SyncMode::Both),
        ("a", SyncMode::Both),
    ] {
        assert_eq!(rules.rule_for(&path(text)).sync, expected, "{text}");
    }
}

#[test]
fn unknown_paths_travel_both_ways_and_the_local_version_wins() {
    let rules = rules(&[]);
    let rule = rules.rule_for(&path("memory/2026-11-21.md"));
    assert_eq!(
        (rule.sync, rule.prefer, rule.deletes),
        (SyncMode::Both, Side::Local, Deletes::Both)
    );
    assert_eq!(
        (rule.group.as_deref(), rule.executable),
        (None, Executable::AsItIs)
    );
}

#[test]
fn defaults_follow_from_the_mode() {
    for (sync, prefer, deletes) in [
        (SyncMode::Both, Side::Local, Deletes::Both),
        (SyncMode::Pull, Side::Remote, Deletes::Pull),
        (SyncMode::Push, Side::Local, Deletes::Push),
        (SyncMode::Merge, Side::Local, Deletes::None),
        (SyncMode::None, Side::Local, Deletes::None),
    ] {
        let rule = Rule::new(Vec::new(), sync);
        assert_eq!((rule.prefer, rule.deletes), (prefer, deletes), "{sync:?}");
    }
}

#[test]
fn no_layout_can_claim_the_engines_own_paths() {
    let rules = rules(&[
        (&["**"], SyncMode::Both),
        (&[".hiclaw-sync/**", ".hiclaw/**"], SyncMode::Both),
    ]);
    for text in [
        ".hiclaw-sync",
        ".hiclaw-sync/state.db",
        ".hiclaw-sync/tmp/a/b",
        // A mirror into a directory of the mount stages there.
        "sub/.hiclaw-sync/mirror/x",
        ".hiclaw",
        ".hiclaw/lease",
    ] {
        assert_eq!(rules.rule_for(&path(text)).sync, SyncMode::None, "{text}");
    }
    assert_eq!(rules.rule_for(&path("sub/.hiclaw/x")).sync, SyncMode::Both);
    assert!(rules.prunes(&path(".hiclaw-sync")));
    assert!(rules.prunes(&path("sub/.hiclaw-sync")));
    assert!(rules.prunes(&path(".hiclaw/deep")));
}

#[test]
fn conflict_copies_travel_as_far_as_what_they_are_copies_of() {
    let rule = |patterns: &[&str], sync| Rule::new(globs(patterns).unwrap(), sync);
    let kept = Rule {
        deletes: Deletes::Pull,
        ..rule(&["tasks/**"], SyncMode::Both)
    };
    let own = vec![
        kept,
        rule(&["openclaw.json"], SyncMode::Merge),
        rule(&["knowledge/**"], SyncMode::Pull),
    ];
    let rules = Rules::new(own).unwrap();
    for (origin, sync, deletes) in [
        ("SOUL.md", SyncMode::Both, Deletes::Both),
        ("tasks/t/notes.md", SyncMode::Both, Deletes::Pull),
        ("openclaw.json", SyncMode::None, Deletes::None),
        ("knowledge/k", SyncMode::None, Deletes::None),
    ] {
        let copy = path(&format!(".sync-conflicts/{origin}.20261121T040000Z.local"));
        let found = rules.rule_for(&copy);
        assert_eq!((found.sync, found.deletes), (sync, deletes), "{origin}");
    }
}

#[test]
fn a_directory_is_pruned_only_when_nothing_below_it_can_travel() {
    let rules = rules(&[
        (&["skills/**/*.sh"], SyncMode::Both),
        (&["cache/keep/*.txt"], SyncMode::Pull),
        (
            &["cache/**", "**/node_modules/**", "logs", "tmp/*"],
            SyncMode::None,
        ),
        (&["skills/cache/**"], SyncMode::None),
        (&["pulled/**"], SyncMode::Pull),
    ]);
    for (text, expected) in [
        ("cache", false),
        ("cache/keep", false),
        ("cache/keep/deeper", false),
        ("cache/other", true),
        ("cache/other/deeper", true),
        ("node_modules", true),
        ("x/y/node_modules/z", true),
        ("skills/node_modules", false),
        ("skills/cache", false),
        ("logs", false),
        ("tmp", false),
        ("pulled", false),
        ("unknown", false),
    ] {
        assert_eq!(rules.prunes(&path(text)), expected, "{text}");
    }
    assert!(rules.prunes_push(&path("pulled")));
    assert!(rules.prunes_push(&path("cache/keep")));
    assert!(!rules.prunes_push(&path("skills/cache")));
    assert!(!rules.prunes_push(&path("unknown")));
}

#[test]
fn a_mount_that_only_pulls_prunes_pushing_everywhere() {
    let rules = rules(&[(&["**/.keep"], SyncMode::None), (&["**"], SyncMode::Pull)]);
    assert!(rules.prunes_push(&path("anything/at/all")));
    assert!(!rules.prunes(&path("anything/at/all")));
    assert!(rules.prunes_push(&path(".sync-conflicts")));
}

/// Patterns over a small alphabet, so that they meet the paths below.
fn pattern() -> impl Strategy<Value = String> {
    let component = prop_oneof![
        Just("a"),
        Just("b"),
        Just("*"),
        Just("**"),
        Just("a*"),
        Just("{a,b}"),
        Just("?")
    ];
    prop::collection::vec(component, 1..4).prop_map(|components| components.join("/"))
}

fn any_path() -> impl Strategy<Value = String> {
    let component = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("c")];
    prop::collection::vec(component, 1..5).prop_map(|components| components.join("/"))
}

fn mode() -> impl Strategy<Value = SyncMode> {
    prop_oneof![
        Just(SyncMode::None),
        Just(SyncMode::None),
        Just(SyncMode::Pull),
        Just(SyncMode::Both)
    ]
}

proptest! {
    #[test]
    fn nothing_below_a_pruned_directory_has_another_rule(
        own in prop::collection::vec((pattern(), mode()), 1..5),
        directory in any_path(),
        below in any_path(),
    ) {
        let own: Vec<_> = own.iter().map(|(text, sync)| Rule::new(globs(&[text]).unwrap(), *sync)).collect();
        let rules = Rules::new(own).unwrap();
        let directory = path(&directory);
        let inner = directory.join(&below).unwrap();
        if rules.prunes(&directory) {
            prop_assert_eq!(rules.rule_for(&inner).sync, SyncMode::None);
        }
        if rules.prunes_push(&directory) {
            prop_assert!(!rules.rule_for(&inner).sync.pushes());
        }
    }

    #[test]
    fn the_rule_is_that_of_a_search_one_by_one(
        own in prop::collection::vec((pattern(), mode()), 0..5),
        text in any_path(),
    ) {
        let own: Vec<_> = own.iter().map(|(text, sync)| Rule::new(globs(&[text]).unwrap(), *sync)).collect();
        let rules = Rules::new(own).unwrap();
        let found = rules.rules().iter().find(|rule| rule.paths.iter().any(|glob| glob.is_match(&path(&text))));
        prop_assert_eq!(Some(rules.rule_for(&path(&text))), found);
    }
}

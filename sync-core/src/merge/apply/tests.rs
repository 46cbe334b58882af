//! Every row of the contract's table, in both of its columns, and what happens to texts that cannot be merged.

mod texts;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::merge::rules::FieldRule;

fn rules(rest: Side, rows: &[(&str, Take)], protect: &[&str]) -> MergeRules {
    MergeRules {
        fields: rows
            .iter()
            .map(|(field, take)| FieldRule {
                field: field_path(field),
                take: *take,
            })
            .collect(),
        rest,
        protect: protect.iter().map(|field| field_path(field)).collect(),
    }
}

fn field_path(text: &str) -> FieldPath {
    FieldPath::new(text).unwrap()
}

/// The rules of the embedded layout: the contract's current column.
fn local_first() -> MergeRules {
    rules(
        Side::Local,
        &[
            ("models", Take::Remote),
            ("gateway", Take::Remote),
            ("channels.matrix.accessToken", Take::Local),
            ("channels", Take::DeepRemote),
            ("plugins.entries", Take::DeepLocal),
            ("plugins.load.paths", Take::Union),
        ],
        &["gateway.mode"],
    )
}

/// The contract's 1.0.x column.
fn remote_first() -> MergeRules {
    rules(
        Side::Remote,
        &[
            ("channels", Take::DeepRemote),
            ("channels.matrix.accessToken", Take::Local),
            ("plugins.entries", Take::DeepRemote),
            ("plugins.load.paths", Take::Union),
        ],
        &[],
    )
}

#[track_caller]
fn check(rules: &MergeRules, local: &Json, remote: &Json, expected: &Json) {
    let merged = merge(rules, Some(&local.to_string()), Some(&remote.to_string())).unwrap();
    let found: Json = serde_json::from_str(&merged.text).unwrap();
    assert_eq!(&found, expected, "local {local}\nremote {remote}");
    let outcome = if local == expected {
        Outcome::Unchanged
    } else {
        Outcome::Changed
    };
    assert_eq!(merged.outcome, outcome);
}

#[test]
fn the_rules_here_are_those_of_the_embedded_layout() {
    let variables = crate::layout::Variables::new("a", "/r", "/r/agents/a");
    let layout = crate::layout::LayoutSet::embedded()
        .unwrap()
        .resolve("openclaw", &variables)
        .unwrap();
    assert_eq!(layout.merges.values().collect::<Vec<_>>(), [&local_first()]);
}

#[test]
fn models_and_gateway_are_replaced_when_the_remote_has_them() {
    for field in ["models", "gateway"] {
        for (local, remote, expected) in [
            (json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3})),
            (json!({"a": 1}), json!(null), json!({"a": 1})),
            (json!({"a": 1}), json!(false), json!({"a": 1})),
            (json!(null), json!({"a": 1}), json!({"a": 1})),
            (json!({"a": 1}), json!([]), json!([])),
            (json!(5), json!(true), json!(true)),
        ] {
            let (local, remote, expected) = (
                json!({field: local}),
                json!({field: remote}),
                json!({field: expected}),
            );
            check(&local_first(), &local, &remote, &expected);
        }
        check(
            &local_first(),
            &json!({}),
            &json!({field: {"a": 1}}),
            &json!({field: {"a": 1}}),
        );
        check(
            &local_first(),
            &json!({field: 1}),
            &json!({}),
            &json!({field: 1}),
        );
        check(
            &local_first(),
            &json!({}),
            &json!({field: null}),
            &json!({}),
        );
    }
}

#[test]
fn channels_are_merged_deeply_and_the_remote_wins_leaves() {
    for (local, remote, expected) in [
        (
            json!({"matrix": {"homeserver": "old", "mine": 1}, "telegram": {"on": true}}),
            json!({"matrix": {"homeserver": "new", "theirs": 2}}),
            json!({"matrix": {"homeserver": "new", "mine": 1, "theirs": 2}, "telegram": {"on": true}}),
        ),
        (
            json!({"list": [1, 2, 3]}),
            json!({"list": [4]}),
            json!({"list": [4]}),
        ),
        (json!({"a": {"b": 1}}), json!({"a": 2}), json!({"a": 2})),
        (
            json!({"a": 2}),
            json!({"a": {"b": 1}}),
            json!({"a": {"b": 1}}),
        ),
        (json!({"a": 1}), json!({"a": null}), json!({"a": null})),
        (json!(null), json!({"a": 1}), json!({"a": 1})),
        (json!({"a": 1}), json!(null), json!({"a": 1})),
    ] {
        let (local, remote) = (json!({"channels": local}), json!({"channels": remote}));
        check(
            &local_first(),
            &local,
            &remote,
            &json!({"channels": expected}),
        );
        let rest_is_the_remotes = remote_first();
        check(
            &rest_is_the_remotes,
            &local,
            &remote,
            &json!({"channels": expected}),
        );
    }
}

#[test]
fn the_access_token_is_the_local_one_unless_there_is_none() {
    for (local, remote, expected) in [
        (
            json!({"accessToken": "local"}),
            json!({"accessToken": "remote"}),
            json!({"accessToken": "local"}),
        ),
        (
            json!({"accessToken": "local"}),
            json!({}),
            json!({"accessToken": "local"}),
        ),
        (
            json!({"accessToken": null}),
            json!({"accessToken": "remote"}),
            json!({"accessToken": "remote"}),
        ),
        (
            json!({"accessToken": false}),
            json!({"accessToken": "remote"}),
            json!({"accessToken": "remote"}),
        ),
        (
            json!({"accessToken": "local"}),
            json!({"accessToken": null}),
            json!({"accessToken": "local"}),
        ),
        (
            json!({}),
            json!({"accessToken": "remote"}),
            json!({"accessToken": "remote"}),
        ),
        (json!({}), json!({}), json!({})),
        (
            json!(null),
            json!({"accessToken": "remote"}),
            json!({"accessToken": "remote"}),
        ),
    ] {
        let (local, remote) = (
            json!({"channels": {"matrix": local}}),
            json!({"channels": {"matrix": remote}}),
        );
        let expected = json!({"channels": {"matrix": expected}});
        check(&local_first(), &local, &remote, &expected);
        check(&remote_first(), &local, &remote, &expected);
    }
    let local = json!({"channels": {"matrix": {"accessToken": "local", "x": 1}}});
    check(&local_first(), &local, &json!({}), &local);
}

#[test]
fn plugin_entries_are_merged_deeply_and_the_column_says_who_wins() {
    let local = json!({"plugins": {"entries": {"a": {"on": true, "mine": 1}, "b": {}}}});
    let remote = json!({"plugins": {"entries": {"a": {"on": false, "theirs": 2}, "c": {}}}});
    let local_wins = json!({"a": {"on": true, "mine": 1, "theirs": 2}, "b": {}, "c": {}});
    let remote_wins = json!({"a": {"on": false, "mine": 1, "theirs": 2}, "b": {}, "c": {}});
    check(
        &local_first(),
        &local,
        &remote,
        &json!({"plugins": {"entries": local_wins}}),
    );
    check(
        &remote_first(),
        &local,
        &remote,
        &json!({"plugins": {"entries": remote_wins}}),
    );
}

#[test]
fn load_paths_are_the_sorted_union() {
    for (local, remote, expected) in [
        (
            json!(["/b", "/a", "/b"]),
            json!(["/c", "/a"]),
            json!(["/a", "/b", "/c"]),
        ),
        (json!(null), json!(["/b", "/a"]), json!(["/a", "/b"])),
        (json!(["/b", "/a"]), json!(false), json!(["/a", "/b"])),
        (json!([]), json!([]), json!([])),
    ] {
        let (local, remote) = (
            json!({"plugins": {"load": {"paths": local}}}),
            json!({"plugins": {"load": {"paths": remote}}}),
        );
        let expected = json!({"plugins": {"load": {"paths": expected}}});
        check(&local_first(), &local, &remote, &expected);
        check(&remote_first(), &local, &remote, &expected);
    }
    check(
        &local_first(),
        &json!({"plugins": {}}),
        &json!({"plugins": {"load": {}}}),
        &json!({"plugins": {}}),
    );
}

#[test]
fn other_plugin_fields_and_everything_else_belong_to_the_columns_side() {
    let local = json!({"plugins": {"enabled": true, "mine": 1}, "agents": {"a": 1}, "mine": 1, "both": {"x": 1}});
    let remote = json!({"plugins": {"enabled": false, "theirs": 2}, "agents": {"b": 2}, "theirs": 2, "both": {"y": 2}});
    check(&local_first(), &local, &remote, &local);
    check(&remote_first(), &local, &remote, &remote);
    check(
        &local_first(),
        &json!({}),
        &json!({"plugins": {"theirs": 2, "entries": {"a": 1}}}),
        &json!({"plugins": {"entries": {"a": 1}}}),
    );
}

#[test]
fn an_empty_remote_document_changes_nothing() {
    let local = json!({"gateway": {"mode": "local"}, "models": {"a": 1}, "channels": {"matrix": {"accessToken": "t"}}});
    check(&local_first(), &local, &json!({}), &local);
}

#[test]
fn the_more_specific_row_holds_whatever_the_order_and_the_first_of_two_for_one_field() {
    let rows = [
        ("a", Take::Remote),
        ("a.b", Take::Local),
        ("a.b.c", Take::Remote),
        ("a.b", Take::Remote),
    ];
    let mut shuffled = rows;
    shuffled.swap(0, 2);
    for rows in [rows, shuffled] {
        let local = json!({"a": {"b": {"c": 1, "d": 1}, "e": 1}});
        let remote = json!({"a": {"b": {"c": 2, "d": 2}, "e": 2}});
        check(
            &rules(Side::Local, &rows, &[]),
            &local,
            &remote,
            &json!({"a": {"b": {"c": 2, "d": 1}, "e": 2}}),
        );
    }
}

/// Documents over the fields of the rules, so that rows meet them.
fn document() -> impl Strategy<Value = Json> {
    let leaf = || {
        prop_oneof![
            Just(json!(null)),
            Just(json!(false)),
            Just(json!("l")),
            Just(json!("r")),
            Just(json!(1))
        ]
    };
    let object = move || {
        prop_oneof![
            4 => prop::collection::hash_map("[ab]", leaf(), 0..3).prop_map(|map| json!(map)),
            1 => Just(json!(null)),
        ]
    };
    let paths = prop::option::of(prop::collection::vec("/[abc]", 0..4));
    (
        object(),
        object(),
        object(),
        leaf(),
        object(),
        paths,
        leaf(),
    )
        .prop_map(|(models, gateway, telegram, token, entries, paths, rest)| {
            json!({
                "models": models,
                "gateway": gateway,
                "channels": {"telegram": telegram, "matrix": {"accessToken": token}},
                "plugins": {"entries": entries, "load": {"paths": paths}, "rest": rest},
                "rest": rest,
            })
        })
}

proptest! {
    #[test]
    fn merging_again_changes_nothing(local in document(), remote in document()) {
        for rules in [local_first(), remote_first()] {
            let remote = remote.to_string();
            let once = merge(&rules, Some(&local.to_string()), Some(&remote)).unwrap();
            let twice = merge(&rules, Some(&once.text), Some(&remote)).unwrap();
            prop_assert_eq!(&twice.text, &once.text);
            prop_assert_eq!(twice.outcome, Outcome::Unchanged);
        }
    }

    #[test]
    fn a_set_local_token_always_survives(local in document(), remote in document()) {
        let token = |json: &Json| json["channels"]["matrix"]["accessToken"].clone();
        prop_assume!(token(&local).is_string());
        let merged = merge(&local_first(), Some(&local.to_string()), Some(&remote.to_string())).unwrap();
        prop_assert_eq!(token(&serde_json::from_str(&merged.text).unwrap()), token(&local));
    }

    #[test]
    fn no_texts_make_it_panic(local in ".{0,40}", remote in ".{0,40}") {
        drop(merge(&local_first(), Some(&local), Some(&remote)));
        drop(merge(&local_first(), Some(&format!("{{plugins: {local}}}")), Some(&format!("{{channels: {remote}}}"))));
    }
}

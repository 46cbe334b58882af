//! Merged documents: the result is an object, merging it once more changes nothing, and no protected field is lost.

use proptest::prelude::*;
use serde_json::{Map, Value};
use sync_core::{
    merge::{
        self, FieldPath, FieldRule, MergeRules, Outcome, Take, has_field, set_field, text_field,
    },
    report::Side,
};

use super::{fuzz, harness::Checked};

/// Between the local and the remote text of an input.
const SEPARATOR: &str = "\n---\n";
const FIELDS: [&str; 6] = ["a", "b", "c", "a.b", "a.b.c", "c.d"];

fn field(text: &str) -> FieldPath {
    FieldPath::new(text).unwrap()
}

/// Rules of every kind, in two arrangements.
fn rules() -> [MergeRules; 2] {
    let arrangement = |rest, takes: [Take; 5], protect: &[&str]| MergeRules {
        fields: FIELDS[1..]
            .iter()
            .zip(takes)
            .map(|(name, take)| FieldRule {
                field: field(name),
                take,
            })
            .collect(),
        rest,
        protect: protect.iter().map(|name| field(name)).collect(),
    };
    let [remote, local, deep_remote, deep_local, union] = Take::ALL;
    [
        arrangement(
            Side::Local,
            [remote, deep_remote, local, remote, union],
            &["a.b.c", "c"],
        ),
        arrangement(
            Side::Remote,
            [deep_local, union, remote, local, deep_remote],
            &["b"],
        ),
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c\"\\\\\n😀]{0,4}".prop_map(Value::from),
    ];
    let object = |inner| {
        prop::collection::vec(("[a-d]", inner), 0..4).prop_map(|entries| {
            let entries: Map<String, Value> = entries.into_iter().collect();
            Value::Object(entries)
        })
    };
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            3 => object(inner.clone()),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array),
        ]
    })
}

fn pairs() -> impl Strategy<Value = Vec<u8>> {
    let documents = || {
        prop::collection::vec(("[a-d]", json()), 0..4)
            .prop_map(|entries| Value::Object(entries.into_iter().collect()).to_string())
    };
    (documents(), documents())
        .prop_map(|(local, remote)| format!("{local}{SEPARATOR}{remote}").into_bytes())
}

#[test]
fn documents_of_two_writers() {
    let all_rules = rules();
    fuzz("merges", 1, pairs(), move |input| {
        let text = String::from_utf8_lossy(input);
        let (local, remote) = text.split_once(SEPARATOR).unwrap_or((&text, "{}"));
        for document in [local, remote] {
            json_is_json5(document)?;
            single_fields(document)?;
        }
        for rules in &all_rules {
            merged(rules, local, remote)?;
        }
        Ok(())
    });
}

fn merged(rules: &MergeRules, local: &str, remote: &str) -> Checked {
    let Ok(merged) = merge::merge(rules, Some(local), Some(remote)) else {
        return Ok(());
    };
    prop_assert!(merge::value(&merged.text).is_ok_and(|value| value.is_object()));
    match merged.outcome {
        Outcome::Unchanged => prop_assert_eq!(&merged.text, local),
        // Numbers keep their digits, also those that no machine can hold.
        Outcome::Changed => {
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&merged.text).is_ok());
        }
    }
    for field in &rules.protect {
        let had = has_field(local, field).unwrap_or(false);
        prop_assert!(
            !had || has_field(&merged.text, field).unwrap(),
            "lost {field}"
        );
    }
    let again = merge::merge(rules, Some(&merged.text), Some(remote));
    match again {
        Ok(again) => prop_assert_eq!(again.outcome, Outcome::Unchanged, "{}", again.text),
        Err(error) => prop_assert!(false, "the merged text can't be merged again: {error}"),
    }
    Ok(())
}

/// Every document that is JSON is read as the same value.
fn json_is_json5(text: &str) -> Checked {
    let Ok(expected) = serde_json::from_str::<Value>(text) else {
        return Ok(());
    };
    if !expected.is_object() {
        return Ok(());
    }
    let found = merge::value(text);
    prop_assert!(found.is_ok(), "JSON is refused: {:?}", found);
    prop_assert_eq!(found.unwrap(), expected);
    Ok(())
}

fn single_fields(text: &str) -> Checked {
    for name in FIELDS {
        let field = field(name);
        let Ok(set) = set_field(text, &field, &Value::from("new")) else {
            continue;
        };
        prop_assert_eq!(text_field(&set, &field).unwrap(), Some("new".to_owned()));
        prop_assert!(has_field(&set, &field).unwrap());
        let again = set_field(&set, &field, &Value::from("new")).unwrap();
        prop_assert_eq!(again, set);
    }
    Ok(())
}

//! Texts: which are kept byte for byte, how new ones look, and which cannot be merged.

use super::*;

#[test]
fn one_missing_side_leaves_the_other_as_it_is_byte_for_byte() {
    let odd = "// mine\n{a: 1,}\n";
    let taken = merge(&local_first(), None, Some(odd)).unwrap();
    assert_eq!(
        (taken.text.as_str(), taken.outcome),
        (odd, Outcome::Changed)
    );
    let kept = merge(&local_first(), Some("not even { JSON"), None).unwrap();
    assert_eq!(
        (kept.text.as_str(), kept.outcome),
        ("not even { JSON", Outcome::Unchanged)
    );
    assert_eq!(merge(&local_first(), None, None), Err(MergeError::Nothing));
    assert!(matches!(
        merge(&local_first(), None, Some("[]")),
        Err(MergeError::NotAnObject { .. })
    ));
}

#[test]
fn a_text_that_would_get_the_same_values_is_left_as_it_is() {
    let local = "// my notes\n{ gateway: { mode: 'local', port: 1 }, other: [1,], }";
    let remote = r#"{"gateway": {"port": 1, "mode": "local"}, "ignored": true}"#;
    let merged = merge(&local_first(), Some(local), Some(remote)).unwrap();
    assert_eq!(
        (merged.text.as_str(), merged.outcome),
        (local, Outcome::Unchanged)
    );
}

#[test]
fn what_is_written_is_json_in_the_order_of_the_local_keys_with_every_digit() {
    let local = "{z: 1, models: {old: 1}, id: 123456789012345678901, a: 'x'}";
    let remote = "{models: {big: 98765432109876543210987, f: 0.10}, gateway: {mode: \"local\"}}";
    let merged = merge(&local_first(), Some(local), Some(remote)).unwrap();
    let expected = r#"{
  "z": 1,
  "models": {
    "big": 98765432109876543210987,
    "f": 0.10
  },
  "id": 123456789012345678901,
  "a": "x",
  "gateway": {
    "mode": "local"
  }
}
"#;
    assert_eq!(merged.text, expected);
}

#[test]
fn texts_that_cannot_be_merged_name_side_field_and_place_but_no_value() {
    let good = r#"{"plugins": {}, "channels": {}}"#;
    for (local, remote, expected) in [
        (
            "{\n  \"hunter2\" 5}",
            good,
            "the local text is no valid JSON: `:` is expected at line 2, column 13",
        ),
        (
            good,
            "{\"a\": hunter2}",
            "the remote text is no valid JSON: a value is expected at line 1, column 7",
        ),
        (
            good,
            "",
            "the remote text is no valid JSON: a value is missing at line 1, column 1",
        ),
        (
            good,
            "['hunter2']",
            "the remote document is a list, not an object",
        ),
        (
            "'hunter2'",
            good,
            "the local document is a text, not an object",
        ),
        (
            "{\n  plugins: false}",
            good,
            "field `plugins` of the local document, at line 2, column 12, is false; an object is needed there",
        ),
        (
            good,
            "{channels: {matrix: 'hunter2'}}",
            "field `channels.matrix` of the remote document, at line 1, column 21, is a text; an object is needed there",
        ),
        (
            good,
            "{plugins: {entries: ['hunter2']}}",
            "field `plugins.entries` of the remote document, at line 1, column 21, is a list; an object is needed there",
        ),
        (
            "{plugins: {load: {paths: 'hunter2'}}}",
            good,
            "field `plugins.load.paths` of the local document, at line 1, column 26, is a text; a list of texts is needed there",
        ),
        (
            "{plugins: {load: {paths: ['/a', 5]}}}",
            good,
            "field `plugins.load.paths[]` of the local document, at line 1, column 33, is a number; a text is needed there",
        ),
        (
            "{gateway: {mode: 'hunter2'}}",
            "{gateway: {}}",
            "the merged document would lose field `gateway.mode`, which the local one has",
        ),
        (
            "{gateway: {mode: 'hunter2'}}",
            "{gateway: {mode: null}}",
            "the merged document would lose field `gateway.mode`",
        ),
        (
            "{gateway: {mode: 'hunter2'}}",
            "{gateway: 'x'}",
            "the merged document would lose field `gateway.mode`",
        ),
    ] {
        let error = merge(&local_first(), Some(local), Some(remote)).unwrap_err();
        assert!(
            error.to_string().starts_with(expected),
            "{error}\nis not\n{expected}"
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_merged_document_shows_no_values_when_printed_for_debugging() {
    let merged = merge(&local_first(), None, Some("{token: 'hunter2'}")).unwrap();
    assert!(!format!("{merged:?}").contains("hunter2"));
}

//! Single fields are read and set without touching the others.

use serde_json::json;

use super::*;

fn token() -> FieldPath {
    FieldPath::new("channels.matrix.accessToken").unwrap()
}

#[test]
fn a_field_is_set_and_everything_else_kept() {
    for (text, expected) in [
        (
            "{}",
            json!({"channels": {"matrix": {"accessToken": "new"}}}),
        ),
        (
            "{channels: null, a: 1}",
            json!({"channels": {"matrix": {"accessToken": "new"}}, "a": 1}),
        ),
        (
            "{a: 1, channels: {matrix: {accessToken: 'old', homeserver: 'h'}, x: 2}}",
            json!({"a": 1, "channels": {"matrix": {"accessToken": "new", "homeserver": "h"}, "x": 2}}),
        ),
    ] {
        let set = set_field(text, &token(), &json!("new")).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&set).unwrap(),
            expected,
            "{text}"
        );
        assert_eq!(set_field(&set, &token(), &json!("new")).unwrap(), set);
    }
    let same = "// mine\n{channels: {matrix: {accessToken: 'new'}}}";
    assert_eq!(set_field(same, &token(), &json!("new")).unwrap(), same);
    let big = "{\n  \"id\": 123456789012345678901234567890\n}\n";
    assert!(
        set_field(big, &token(), &json!("new"))
            .unwrap()
            .contains("123456789012345678901234567890")
    );
}

#[test]
fn a_value_of_any_kind_can_be_set() {
    let field = FieldPath::new("a").unwrap();
    for value in [
        json!(null),
        json!(true),
        json!(1.5),
        json!("x\n"),
        json!([1, {"b": []}]),
        json!({"c": {"d": null}}),
    ] {
        let set = set_field("{}", &field, &value).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&set).unwrap()["a"],
            value
        );
    }
}

#[test]
fn a_field_that_is_no_place_for_it_is_refused_without_quoting_values() {
    for text in [
        "{channels: {matrix: 'hunter2'}}",
        "{channels: 'hunter2'}",
        "['hunter2']",
        "hunter2",
    ] {
        let error = set_field(text, &token(), &json!("hunter2")).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[test]
fn fields_are_read() {
    let text = "{a: {b: 'text', c: 5, d: false, e: null, big: 123456789012345678901234567890}}";
    let read = |field: &str| text_field(text, &FieldPath::new(field).unwrap()).unwrap();
    assert_eq!(read("a.b").as_deref(), Some("text"));
    for field in ["a", "a.c", "a.x", "a.b.c", "x"] {
        assert_eq!(read(field), None, "{field}");
    }
    let has = |field: &str| has_field(text, &FieldPath::new(field).unwrap()).unwrap();
    assert!(has("a.b") && has("a.c") && has("a"));
    assert!(!has("a.d") && !has("a.e") && !has("a.x"));
    assert_eq!(value(text).unwrap()["a"]["c"], json!(5));
    assert!(text_field("[", &token()).is_err());
}

#[test]
fn names_of_fields_are_keys_joined_by_dots() {
    for text in ["", ".", "a.", ".a", "a..b"] {
        assert!(FieldPath::new(text).is_err(), "{text}");
    }
    assert_eq!(token().keys(), ["channels", "matrix", "accessToken"]);
    assert_eq!(token().to_string(), "channels.matrix.accessToken");
}

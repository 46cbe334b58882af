//! What is JSON5 and what is not, and what comes out as JSON.

use proptest::prelude::*;

use super::*;
use crate::merge::document::to_text;

/// The document as compact JSON.
fn read(text: &str) -> String {
    let json = to_text(&parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}")));
    serde_json::from_str::<serde_json::Value>(&json)
        .unwrap()
        .to_string()
}

#[test]
fn what_json5_allows_comes_out_as_json() {
    for (text, expected) in [
        ("{}", "{}"),
        (" [ ] ", "[]"),
        (
            "{a: 1, $b_2: 'x', 'c d': [1, 2,], \"e\": null,}",
            r#"{"a":1,"$b_2":"x","c d":[1,2],"e":null}"#,
        ),
        (
            "// first\n{/* in */ a /* b */ : /**/ true // end\n}\n/* last */",
            r#"{"a":true}"#,
        ),
        ("{ключ: 1, \\u0061b: 2}", r#"{"ключ":1,"ab":2}"#),
        ("{null: null, true: false}", r#"{"null":null,"true":false}"#),
        (r#"{"a": 1, a: 2}"#, r#"{"a":2}"#),
        (
            r#"['it\'s', "a\
b", '\x41\u00e9\v\0']"#,
            r#"["it's","ab","Aé\u000b\u0000"]"#,
        ),
        (r#"["😀", "\u2028 "]"#, "[\"😀\",\"\u{2028} \"]"),
        ("\u{feff}{\u{a0}a\u{3000}:\u{2028}1}", r#"{"a":1}"#),
        (
            "[0x10, +1, .5, 5., -0.25, 1e3]",
            "[16,1,0.5,5,-0.25,1000.0]",
        ),
        ("'text'", r#""text""#),
        ("\"\u{7f}\u{1}\"", "\"\u{7f}\\u0001\""),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn numbers_keep_every_digit() {
    let text = "{\n  \"id\": 123456789012345678901234567890,\n  \"pi\": 3.141592653589793238462643,\n  \"one\": 1.0\n}\n";
    assert_eq!(to_text(&parse(text).unwrap()), text);
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, offset, reason) in [
        ("", 0, "a value is missing"),
        ("   ", 3, "a value is missing"),
        ("{", 1, "a key is expected"),
        ("{a", 2, "`:` is expected"),
        ("{a:", 3, "a value is missing"),
        ("{a:1", 4, "`,` or `}` is expected"),
        ("{a:1 b:2}", 5, "`,` or `}` is expected"),
        ("{,}", 1, "a key is expected"),
        ("{1a:2}", 1, "a key is expected"),
        (
            "{a\\x62:1}",
            3,
            "a key may only hold escapes of the form \\uXXXX",
        ),
        ("[1 2]", 3, "`,` or `]` is expected"),
        ("[,]", 1, "a value is expected"),
        ("[1,,]", 3, "a value is expected"),
        ("nul", 0, "a value is expected"),
        ("nullx", 0, "a value is expected"),
        ("undefined", 0, "a value is expected"),
        ("{} {}", 3, "text after the end of the document"),
        ("/* x", 0, "comment without an end"),
        ("/", 0, "a value is expected"),
        ("'a", 2, "text without an end"),
        ("'a\nb'", 2, "the line ends within a text"),
        ("'\\u12'", 3, "hexadecimal digits are missing"),
        ("'\\xé0'", 3, "hexadecimal digits are missing"),
        ("'\\ud800'", 3, "half of a surrogate pair"),
        ("'\\ud800\\u0041'", 3, "half of a surrogate pair"),
        ("'\\udc00'", 3, "half of a surrogate pair"),
        ("'\\1'", 2, "invalid escape"),
        ("'\\01'", 2, "invalid escape"),
        ("[01]", 1, "number with a leading zero"),
        ("[1x]", 1, "invalid number"),
        ("[Infinity]", 1, "infinities and NaN have no form in JSON"),
        ("[-NaN]", 1, "infinities and NaN have no form in JSON"),
    ] {
        assert_eq!(
            parse(text).unwrap_err(),
            SyntaxError { offset, reason },
            "{text:?}"
        );
    }
}

#[test]
fn surrogate_pairs_are_put_together() {
    assert_eq!(read(r#""\ud83d\ude00""#), "\"😀\"");
}

#[test]
fn nesting_has_a_limit_so_that_no_text_can_exhaust_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        parse(&nested(MAX_DEPTH + 1)).unwrap_err().reason,
        "lists and objects nest too deeply"
    );
    assert!(parse(&"[{a:".repeat(1_000_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,60}") {
        drop(parse(&text));
    }

    #[test]
    fn no_text_made_of_its_signs_makes_it_panic(text in r#"[\[\]{}:,'"\\/*0-9a-fuxeE+. \n\-é]{0,40}"#) {
        if let Ok(node) = parse(&text) {
            let json = to_text(&node);
            prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok(), "{json}");
            let again = parse(&json).unwrap();
            prop_assert!(again == node);
            prop_assert_eq!(to_text(&again), json);
        }
    }

    #[test]
    fn what_serde_writes_is_read_as_it_was(value in json()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let written = to_text(&parse(&text).unwrap());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        ".*".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::from),
            prop::collection::hash_map(".{0,3}", inner, 0..5)
                .prop_map(|entries| entries.into_iter().collect::<serde_json::Value>()),
        ]
    })
}

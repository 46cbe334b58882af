//! Layouts: a mistake has a place, and what is shown of a right one is the same layout again.

use proptest::{prelude::*, sample::Index};
use sync_core::layout::{EMBEDDED, Layout, LayoutSet, Variables};

use super::{fuzz, harness::Checked};

/// The embedded layout with lines left out, doubled, swapped, and values replaced.
fn layouts() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        Just("\"\"".to_owned()),
        Just("true".to_owned()),
        Just("-1".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("\"{worker}\"".to_owned()),
        Just("\"{nobody}\"".to_owned()),
        Just("\"../x\"".to_owned()),
        Just("\"5s\"".to_owned()),
        "\"[a-z/*{}.0-9]{0,12}\"",
    ];
    let edit = (any::<Index>(), 0..4_u8, any::<Index>(), value);
    prop::collection::vec(edit, 1..5).prop_map(|edits| {
        let (_, text) = EMBEDDED[0];
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, how, other, value) in edits {
            let at = at.index(lines.len());
            let other = other.index(lines.len());
            match how {
                0 => {
                    lines.remove(at);
                }
                1 => lines.insert(other, lines[at].clone()),
                2 => lines.swap(at, other),
                _ => {
                    if let Some((name, _)) = lines[at].split_once('=') {
                        lines[at] = format!("{name}= {value}");
                    }
                }
            }
            if lines.is_empty() {
                break;
            }
        }
        lines.join("\n").into_bytes()
    })
}

#[test]
fn layouts_as_people_write_them() {
    fuzz("layouts", 4, layouts(), |input| {
        let text = String::from_utf8_lossy(input);
        let lines = text.split('\n').count();
        for mistake in Layout::check(&text, "f.toml") {
            prop_assert!(mistake.line() <= lines, "{mistake}");
            prop_assert!(!mistake.message().is_empty());
        }
        match Layout::parse(&text, "f.toml") {
            Ok(layout) => resolves_to_the_same_as_it_shows(layout),
            Err(error) => {
                prop_assert!(!error.mistakes().is_empty());
                Ok(())
            }
        }
    });
}

fn resolves_to_the_same_as_it_shows(layout: Layout) -> Checked {
    let variables = Variables::new("a", "/root", "/root/agents/a");
    let name = layout.name().to_owned();
    let mut set = LayoutSet::embedded().unwrap();
    set.add(layout);
    let Ok(resolved) = set.resolve(&name, &variables) else {
        return Ok(());
    };
    let shown = resolved.to_string();
    let mut again = LayoutSet::default();
    again.add(Layout::parse(&shown, "shown.toml").map_err(|error| {
        TestCaseError::fail(format!("what is shown is no layout: {error}\n{shown}"))
    })?);
    let again = again.resolve(&name, &variables).map_err(|error| {
        TestCaseError::fail(format!("what is shown can't be resolved: {error}\n{shown}"))
    })?;
    prop_assert_eq!(again.to_string(), shown);
    Ok(())
}

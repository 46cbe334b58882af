//! Names: whatever a bucket holds becomes a path below the mount, or nothing.

use std::path::{Component, Path};

use proptest::prelude::*;
use sync_core::{
    conflict,
    layout::Glob,
    path::{ObjectKey, Prefix, RelPath},
    report::Side,
};

use super::{fuzz, harness::Checked};

fn names() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just(String::new()),
        Just(".sync-conflicts".to_owned()),
        "[a-z.é😀 %+#?\\\\]{1,6}",
        "[aé]{120,260}",
    ];
    prop::collection::vec(component, 0..8).prop_map(|components| components.join("/").into_bytes())
}

#[test]
fn keys_and_paths() {
    fuzz("paths", 1, names(), |input| {
        let text = String::from_utf8_lossy(input);
        key(&text)?;
        prefix(&text)?;
        match RelPath::new(&*text) {
            Ok(path) => safe_path(&path, &text),
            Err(error) => {
                prop_assert_eq!(error.text(), &*text);
                Ok(())
            }
        }
    });
}

fn key(text: &str) -> Checked {
    if let Ok(key) = ObjectKey::new(text) {
        prop_assert_eq!(key.as_str(), text);
    }
    Ok(())
}

fn prefix(text: &str) -> Checked {
    let Ok(prefix) = Prefix::new(text) else {
        return Ok(());
    };
    prop_assert!(prefix.as_str().is_empty() || prefix.as_str().ends_with('/'));
    prop_assert_eq!(&Prefix::new(prefix.as_str()).unwrap(), &prefix);
    let path = RelPath::new("a/b").unwrap();
    let key = prefix.key(&path);
    prop_assert_eq!(prefix.rel_path(key.as_str()), Ok(path));
    Ok(())
}

fn safe_path(path: &RelPath, text: &str) -> Checked {
    prop_assert_eq!(path.as_str(), text);
    let joined = Path::new("/mount").join(path.as_str());
    let below = joined.strip_prefix("/mount").unwrap();
    prop_assert!(
        below
            .components()
            .all(|component| matches!(component, Component::Normal(_)))
    );
    let components: Vec<_> = path.components().collect();
    prop_assert_eq!(components.join("/"), text);
    prop_assert!(!text.contains('\0'));
    prop_assert!(components.iter().all(|name| name.len() <= 255));
    let again = path.parent().map_or_else(
        || RelPath::new(path.file_name()),
        |parent| parent.join(path.file_name()),
    );
    prop_assert_eq!(&again.unwrap(), path);
    let prefix = Prefix::new("agents/a").unwrap();
    prop_assert_eq!(&prefix.rel_path(prefix.key(path).as_str()).unwrap(), path);
    let json = serde_json::to_string(path).unwrap();
    prop_assert_eq!(&serde_json::from_str::<RelPath>(&json).unwrap(), path);
    copies(path)
}

/// Every path has a conflict copy, and the copy of what has room for it knows what it is a copy of.
fn copies(path: &RelPath) -> Checked {
    let now = "2026-11-21T04:05:06Z".parse().unwrap();
    let mut copies = conflict::copy_paths(path, Side::Remote, now);
    let first = copies.next().unwrap();
    prop_assert!(conflict::is_copy(&first));
    prop_assert_ne!(Some(first.clone()), copies.next());
    let has_room = path.file_name().len() < 200 && path.as_str().len() < 900;
    if has_room && !conflict::is_copy(path) {
        let origin = conflict::origin(&first);
        prop_assert_eq!(origin.as_ref(), Some(path));
    }
    Ok(())
}

fn patterns() -> impl Strategy<Value = Vec<u8>> {
    "[a-c*?/{},!\\[\\]\\\\.-]{0,24}\n[a-c/.]{0,16}".prop_map(String::into_bytes)
}

/// The first line is a pattern of a layout, the second a path.
#[test]
fn patterns_of_layouts() {
    fuzz("globs", 2, patterns(), |input| {
        let text = String::from_utf8_lossy(input);
        let (pattern, path) = text.split_once('\n').unwrap_or((&text, "a/b"));
        let Ok(glob) = Glob::new(pattern) else {
            return Ok(());
        };
        prop_assert_eq!(glob.as_str(), pattern);
        if let Some(literal) = glob.literal() {
            prop_assert!(glob.is_match(&literal), "{literal} doesn't match itself");
        }
        if let Ok(path) = RelPath::new(path) {
            let matches = glob.is_match(&path);
            if let (true, Some(literal)) = (matches, glob.literal()) {
                prop_assert_eq!(path, literal);
            }
        }
        Ok(())
    });
}

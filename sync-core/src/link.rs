//! Which symbolic links may travel: relative ones that stay inside their mount.
//!
//! Pure: looks at texts, never at files. A link travels as an object whose content is its target. What is refused here
//! is reported and neither sent nor made, whoever wrote it.
//!
//! - `..` is taken at the beginning only, and never above the mount. After a name it would be resolved through whatever
//!   that name leads to, so that two harmless links could lead outside together.
//! - A link never leads to what the rules exclude, nor to what belongs to the engine.

use crate::{
    conflict,
    layout::{Rules, SyncMode},
    path::RelPath,
};

/// Longest target, in bytes: more is no path on Linux, and no object that claims to be a link needs to be read further.
pub const MAX_TARGET_BYTES: usize = 4095;

/// Why a link does not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkRefusal {
    /// Its target begins with `/`.
    #[error("its target is absolute")]
    Absolute,
    /// Its target leads above the mount.
    #[error("its target lies outside the mount")]
    Outside,
    /// Its target has a `..` after a name.
    #[error("its target goes back up after a name, so that where it leads depends on other links")]
    Winding,
    /// Its target belongs to the engine or never travels.
    #[error("its target is excluded from synchronisation")]
    Excluded,
    /// Its target is no text, empty, too long, or holds NUL.
    #[error("its target is no path")]
    NoPath,
}

/// The text of a target that may travel for the link at `path`, or why it may not.
pub fn check<'a>(path: &RelPath, target: &'a [u8], rules: &Rules) -> Result<&'a str, LinkRefusal> {
    let text = std::str::from_utf8(target).map_err(|_| LinkRefusal::NoPath)?;
    if text.is_empty() || text.len() > MAX_TARGET_BYTES || text.contains('\0') {
        return Err(LinkRefusal::NoPath);
    }
    // The copy of a link that lost a conflict keeps its target.
    let origin = conflict::origin(path).filter(|_| conflict::is_copy(path));
    match destination(origin.as_ref().unwrap_or(path), text)? {
        Some(place) if is_excluded(&place, rules) => Err(LinkRefusal::Excluded),
        _ => Ok(text),
    }
}

/// Where a link at `path` with this target leads in its mount, if it may travel; `None` also for the mount itself.
#[must_use]
pub fn leads_to(path: &RelPath, target: &[u8], rules: &Rules) -> Option<RelPath> {
    let text = check(path, target, rules).ok()?;
    destination(path, text).ok()?
}

fn is_excluded(place: &RelPath, rules: &Rules) -> bool {
    rules.rule_for(place).sync == SyncMode::None || rules.prunes(place)
}

/// Where the target leads; `None` for the mount's own directory.
fn destination(path: &RelPath, target: &str) -> Result<Option<RelPath>, LinkRefusal> {
    if target.starts_with('/') {
        return Err(LinkRefusal::Absolute);
    }
    let mut place: Vec<&str> = path.components().collect();
    place.pop();
    let mut named = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if named => return Err(LinkRefusal::Winding),
            ".." => {
                place.pop().ok_or(LinkRefusal::Outside)?;
            }
            name => {
                named = true;
                place.push(name);
            }
        }
    }
    if place.is_empty() {
        return Ok(None);
    }
    RelPath::new(place.join("/"))
        .map(Some)
        .map_err(|_| LinkRefusal::NoPath)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Glob, Rule};

    fn rules() -> Rules {
        let secret = Rule::new(
            vec![
                Glob::new("credentials/**").unwrap(),
                Glob::new("*.lock").unwrap(),
            ],
            SyncMode::None,
        );
        Rules::new(vec![secret]).unwrap()
    }

    fn refused(path: &str, target: &[u8]) -> Option<LinkRefusal> {
        check(&RelPath::new(path).unwrap(), target, &rules()).err()
    }

    #[test]
    fn links_inside_the_mount_travel() {
        for (path, target) in [
            ("a", "b"),
            ("a", "./b/c/"),
            ("d/e/a", "../../b"),
            ("d/e/a", "../.."),
            ("a", "dangling/nothing"),
            ("node_modules/.bin/tool", "../tool/cli.js"),
            ("a", ".sync-conflicts/x"),
            ("a", "grüße 😀\n"),
            // Its place has one directory more than what it is a copy of.
            (".sync-conflicts/d/a.20261121T040506Z.local", "../b"),
        ] {
            assert_eq!(refused(path, target.as_bytes()), None, "{path} -> {target}");
        }
    }

    #[test]
    fn links_that_lead_anywhere_else_do_not() {
        use LinkRefusal::{Absolute, Excluded, NoPath, Outside, Winding};
        for (path, target, refusal) in [
            ("a", "/etc/passwd", Absolute),
            ("a", "../outside", Outside),
            ("d/a", "../../outside", Outside),
            ("d/a", "../..", Outside),
            ("a", "b/../../etc", Winding),
            ("a", "b/../c", Winding),
            ("a", ".hiclaw-sync/state.db", Excluded),
            ("a", ".hiclaw-sync", Excluded),
            ("a", "credentials", Excluded),
            ("d/a", "../credentials/matrix", Excluded),
            ("a", "b.lock", Excluded),
            ("a", "", NoPath),
            ("a", "b\0c", NoPath),
            (".sync-conflicts/a.20261121T040506Z.local", "../b", Outside),
        ] {
            assert_eq!(
                refused(path, target.as_bytes()),
                Some(refusal),
                "{path} -> {target:?}"
            );
        }
        assert_eq!(refused("a", b"b\xff"), Some(NoPath));
        assert_eq!(refused("a", &[b'b'; MAX_TARGET_BYTES + 1]), Some(NoPath));
        assert_eq!(refused("a", &[b'b'; 256]), Some(NoPath));
    }
}

//! The mounts of the model: their rules, and the paths that histories use.
//!
//! A path of the second mount is written with [`SHARED`] before it, wherever the model speaks of paths.

use std::{collections::BTreeMap, path::Path, sync::LazyLock};

use sync_core::{
    layout::{Deletes, Glob, Mount, Rule, Rules, SyncMode},
    merge::{FieldPath, FieldRule, MergeRules, Take},
    path::{Prefix, RelPath},
    report::Side,
};

use super::history::{Mounts, PathName};

/// What paths of the second mount begin with in the model.
pub(crate) const SHARED: &str = "@shared/";
/// Prefixes of the keys of the first and of the second mount.
const PREFIXES: [&str; 2] = ["agents/a/", "shared/"];
/// Local directories of the mounts.
pub(crate) const DIRECTORIES: [&str; 2] = ["mount", "shared"];

/// The file that is merged field by field.
pub(crate) const MERGED: PathName = "merged.json";
/// The local writer's field in it, and the other users'.
pub(crate) const OURS: &str = "ours";
pub(crate) const THEIRS: &str = "theirs";

/// A path that is read from an older key where its own is absent, and that key, which is a path of the pool by itself.
pub(crate) const RENAMED: PathName = "config/new";
pub(crate) const OLD_NAME: PathName = "config-old";

/// How many files the directory of many files has.
pub(crate) const MASS: usize = 60;

/// The paths by rule. Only in groups with a `t` is a path a directory of another one: there files become directories.
const GROUPS: [&[PathName]; 14] = [
    &["a", "b", "d/x", "d-x", "d/deep/y"],
    &["remote/a", "remote/b"],
    &["pull/a", "pull/b"],
    &["pullkeep/a", "pullkeep/b"],
    &["push/a", "push/b"],
    &["pushkeep/a", "pushkeep/b"],
    &["keep/a", "keep/b"],
    &["delpull/a", "delpull/b"],
    &["delpush/a", "delpush/b"],
    &["none/a", "none/b"],
    &[RENAMED, OLD_NAME],
    &["t", "t/x", "t/x/y", "t/z"],
    &["remote/t", "remote/t/x", "remote/t/z"],
    &["pull/t", "pull/t/x"],
];
/// The paths of the second mount.
const SHARED_GROUPS: [&[PathName]; 2] = [
    &["@shared/a", "@shared/d/x"],
    &["@shared/pull/a", "@shared/pull/b"],
];

/// What the writers ignore in the first mount is named here.
pub(crate) const IGNORE_FILE: PathName = ".hiclawignore";

/// The paths that lie above or below a path, and itself.
pub(crate) fn related(path: PathName) -> Vec<PathName> {
    let all = GROUPS.iter().copied().flatten().copied();
    let others = all.filter(|other| is_under(other, path) || is_under(path, other));
    others
        .filter(|other| *other != path)
        .chain([path])
        .collect()
}

/// True for the directory itself and what lies below it.
pub(crate) fn is_under(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The groups of paths that a history over these mounts may use.
pub(crate) fn groups(mounts: Mounts) -> Vec<&'static [PathName]> {
    let shared: &[_] = match mounts {
        Mounts::One => &[],
        Mounts::Two => &SHARED_GROUPS,
    };
    GROUPS.iter().chain(shared).copied().collect()
}

static MASS_BEFORE: LazyLock<Vec<PathName>> = LazyLock::new(|| many("mass"));
static MASS_AFTER: LazyLock<Vec<PathName>> = LazyLock::new(|| many("moved"));

fn many(directory: &str) -> Vec<PathName> {
    let names = (0..MASS).map(|number| format!("{directory}/{number:02}"));
    names.map(|name| &*name.leak()).collect()
}

/// The files of the directory of many files, under its first and its second name.
pub(crate) fn mass() -> [&'static [PathName]; 2] {
    [&MASS_BEFORE, &MASS_AFTER]
}

/// The mount that a path of the model is in, and the path in that mount.
pub(crate) fn locate(path: &str) -> (usize, &str) {
    match path.strip_prefix(SHARED) {
        Some(path) => (1, path),
        None => (0, path),
    }
}

/// The key of a path of the model.
pub(crate) fn key(path: &str) -> String {
    let (mount, path) = locate(path);
    key_in(mount, path)
}

/// The key of a path in a mount.
pub(crate) fn key_in(mount: usize, path: &str) -> String {
    format!("{}{path}", PREFIXES[mount])
}

/// The path of the model that a key stands for.
pub(crate) fn path_of(key: &str) -> Option<String> {
    let shared = || Some(format!("{SHARED}{}", key.strip_prefix(PREFIXES[1])?));
    let own = key.strip_prefix(PREFIXES[0]).map(str::to_owned);
    own.or_else(shared)
}

/// Keys that must never become files.
pub(crate) const UNSAFE_KEYS: [&str; 8] = [
    "../outside",
    "d/../../outside",
    "/abs",
    "d//x",
    "d/./x",
    "nul\0",
    "marker/",
    ".hiclaw-sync/state.db",
];

fn rule(pattern: &str, sync: SyncMode) -> Rule {
    Rule::new(vec![Glob::new(pattern).unwrap()], sync)
}

fn with_deletes(pattern: &str, sync: SyncMode, deletes: Deletes) -> Rule {
    Rule {
        deletes,
        ..rule(pattern, sync)
    }
}

/// Made once: compiling patterns takes longer than a pass.
static RULES: [LazyLock<Rules>; 2] = [LazyLock::new(rules), LazyLock::new(shared_rules)];

fn shared_rules() -> Rules {
    let without_deletes = with_deletes("a", SyncMode::Both, Deletes::Pull);
    Rules::new(vec![without_deletes, rule("pull/**", SyncMode::Pull)]).unwrap()
}

fn rules() -> Rules {
    let prefer_remote = Rule {
        prefer: Side::Remote,
        ..rule("remote/**", SyncMode::Both)
    };
    let own = vec![
        prefer_remote,
        rule("pull/**", SyncMode::Pull),
        with_deletes("pullkeep/**", SyncMode::Pull, Deletes::None),
        rule("push/**", SyncMode::Push),
        with_deletes("pushkeep/**", SyncMode::Push, Deletes::None),
        with_deletes("keep/**", SyncMode::Both, Deletes::None),
        with_deletes("delpull/**", SyncMode::Both, Deletes::Pull),
        with_deletes("delpush/**", SyncMode::Both, Deletes::Push),
        rule("none/**", SyncMode::None),
        rule(MERGED, SyncMode::Merge),
        Rule {
            legacy_key: Some(RelPath::new(OLD_NAME).unwrap()),
            ..rule(RENAMED, SyncMode::Pull)
        },
        rule(OLD_NAME, SyncMode::None),
    ];
    Rules::new(own).unwrap()
}

/// The mounts below a directory.
pub(crate) fn mounts(mounts: Mounts, below: &Path) -> Vec<Mount> {
    let count = match mounts {
        Mounts::One => 1,
        Mounts::Two => 2,
    };
    let mount = |at: usize| Mount {
        name: DIRECTORIES[at].to_owned(),
        prefix: Prefix::new(PREFIXES[at].trim_end_matches('/')).unwrap(),
        local: below.join(DIRECTORIES[at]),
        rules: RULES[at].clone(),
    };
    (0..count).map(mount).collect()
}

/// Who owns which field of the merged file.
pub(crate) fn merges() -> BTreeMap<RelPath, MergeRules> {
    let theirs = FieldRule {
        field: FieldPath::new(THEIRS).unwrap(),
        take: Take::Remote,
    };
    let rules = MergeRules {
        fields: vec![theirs],
        rest: Side::Local,
        protect: vec![FieldPath::new(OURS).unwrap()],
    };
    BTreeMap::from([(RelPath::new(MERGED).unwrap(), rules)])
}

/// The rule that holds for a path of the model.
pub(crate) fn rule_for(path: &str) -> &'static Rule {
    let (mount, path) = locate(path);
    RULES[mount].rule_for(&RelPath::new(path).unwrap())
}

//! The mount of the model: its rules, and the paths that histories use.

use std::{path::Path, sync::LazyLock};

use sync_core::{
    layout::{Deletes, Glob, Mount, Rule, Rules, SyncMode},
    path::{Prefix, RelPath},
    report::Side,
};

use super::history::PathName;

pub(crate) const PREFIX: &str = "agents/a/";

/// The paths by rule. No path is a directory of another one.
pub(crate) const POOL: [&[PathName]; 10] = [
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
];

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
static RULES: LazyLock<Rules> = LazyLock::new(rules);

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
    ];
    Rules::new(own).unwrap()
}

pub(crate) fn mount(local: &Path) -> Mount {
    Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new(PREFIX.trim_end_matches('/')).unwrap(),
        local: local.to_owned(),
        rules: RULES.clone(),
    }
}

/// The rule that holds for a path of the mount.
pub(crate) fn rule_for(path: &str) -> &'static Rule {
    RULES.rule_for(&RelPath::new(path).unwrap())
}

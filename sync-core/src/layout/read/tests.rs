//! Every mistake is told with its line, its column and what to write instead.

use super::*;
use crate::layout::{Layout, LayoutSet};

/// The smallest whole layout.
const SMALL: &str = "name = \"small\"\n\n[[mount]]\nname = \"m\"\nprefix = \"p/\"\npath = \"/m\"\n\n[runtime]\ncommand = [\"x\"]\n";

fn messages(text: &str) -> Vec<String> {
    Layout::check(text, "f.toml")
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The mistakes of the small layout with `text` after it.
fn added(text: &str) -> Vec<String> {
    messages(&format!("{SMALL}\n{text}"))
}

#[test]
fn the_smallest_layout_and_the_embedded_ones_have_no_mistakes() {
    assert_eq!(messages(SMALL), [""; 0]);
    for (name, text) in crate::layout::EMBEDDED {
        assert_eq!(messages(text), [""; 0], "{name}");
    }
}

#[test]
fn text_that_is_no_toml_is_told_by_its_line() {
    assert_eq!(
        messages("name = \"x\"\n[[mount]\npath = \"/x\"\n"),
        ["f.toml:2:9: unclosed array table, expected `]`"]
    );
    let found = messages("name = \npath = \"x\nother = 1\n");
    assert!(found[0].starts_with("f.toml:1:"), "{found:?}");
    assert!(found[1].starts_with("f.toml:2:"), "{found:?}");
    assert!(!messages("name = \"a\"\nname = \"b\"\n").is_empty());
    assert!(!messages("name = \"a").is_empty());
}

#[test]
fn what_is_missing_is_told() {
    assert_eq!(
        messages(""),
        [
            "f.toml:1:1: the layout has no `name`",
            "f.toml:1:1: the layout has no `[[mount]]`",
            "f.toml:1:1: the layout has no `[runtime]`",
        ]
    );
    assert_eq!(
        messages("name = \"x\"\n[[mount]]\nname = \"m\"\n[[mount]]\n[runtime]\n"),
        [
            "f.toml:2:1: [[mount]] has no `prefix`",
            "f.toml:2:1: [[mount]] has no `path`",
            "f.toml:4:1: [[mount]] has no `name`",
            "f.toml:4:1: [[mount]] has no `prefix`",
            "f.toml:4:1: [[mount]] has no `path`",
            "f.toml:5:1: [runtime] has no `command`",
        ]
    );
}

#[test]
fn several_mistakes_are_told_together_in_the_order_of_the_text() {
    let text = r#"name = "x"
colour = "red"

[[mount]]
name = "m"
prefix = "agents/{wroker}/"
path = "relative"

[[mount.rule]]
paths = ["/etc/**", "ok", "dir/"]
sync = "bidirectional"
exclude = true

[[step]]
do = "danse"

[runtime]
command = []
stop_grace = "20"
"#;
    let found = messages(text);
    let expected = [
        "f.toml:2:1: the layout has no field `colour`; it takes `carry`, `description`, `extends`, `merge`,",
        "f.toml:6:10: unknown variable `{wroker}`; known are worker, workspace, root,",
        "f.toml:7:8: `path` is \"relative\", not an absolute path without `..`",
        "f.toml:10:10: `/etc/**` is no path pattern: it is absolute; paths are relative to the mount",
        "f.toml:10:27: `dir/` is no path pattern: it ends in `/`; write `dir/**` for everything below the directory",
        "f.toml:11:8: `sync` is \"bidirectional\"; it must be one of `both`, `pull`, `push`, `merge`, `none`",
        "f.toml:12:1: [[mount.rule]] has no field `exclude`; it takes `deletes`,",
        "f.toml:15:6: `do` is \"danse\"; it must be one of `timezone`, `pull`,",
        "f.toml:18:11: `command` must be a list of a program and its arguments",
        "f.toml:19:14: `stop_grace` is no duration; write a number and ms, s, m or h, like \"5s\"",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

/// What is added to the small layout, and what the one mistake then says.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[[mount]]\nname = \"m\"\nprefix = \"q/\"\npath = \"/q\"",
        "there are two mounts `m`",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = \"../q\"\npath = \"/q\"",
        "`prefix` is \"../q\", which is no safe prefix: it has a component",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = \"q\"\npath = \"/m/inner\"",
        "the directory of mount `n` lies in that of mount `m`",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = \"q\"\npath = \"/m\"",
        "the directory of mount `n` lies in that of mount `m`",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = \"q\"\npath = \"/a/../m\"",
        "not an absolute path without `..`",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = \"q\"\npath = \"/q\"\nwhen = \"leader\"",
        "`when` is \"leader\"; it must be one of `team-leader`, `never`",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = 5\npath = \"/q\"",
        "`prefix` must be a text, not a number",
    ),
    (
        "[[mount.rule]]\nsync = \"pull\"",
        "[[mount.rule]] has no `paths`",
    ),
    (
        "[[merge]]\npath = \"x\"\nfields = [{ field = \"a..b\", take = \"remote\" }]",
        "`a..b` names no field",
    ),
    (
        "[[merge]]\npath = \"x\"\nfields = [{ field = \"a\", take = \"theirs\" }]",
        "`take` is \"theirs\"; it must be one of `remote`",
    ),
    (
        "[[merge]]\npath = \"x\"\nfields = [{ field = \"a\" }]",
        "a row of `fields` has no `take`",
    ),
    ("[[merge]]\nfields = []", "[[merge]] has no `path`"),
    (
        "[[merge]]\npath = \"x\"\n[[merge]]\npath = \"x\"",
        "there are two [[merge]] for `x`",
    ),
    (
        "[[step]]\nmounts = [\"m\"]",
        "[[step]] has no `do`; it is one of `timezone`",
    ),
    ("[[step]]\ndo = \"pull\"", "step `pull` has no `mounts`"),
    (
        "[[step]]\ndo = \"pull\"\nmounts = [\"n\"]",
        "there is no mount `n`; there are `m`",
    ),
    (
        "[[step]]\ndo = \"pull\"\nmounts = [\"m\"]\nretries = -1",
        "`retries` is out of range",
    ),
    (
        "[[step]]\ndo = \"pull\"\nmounts = [\"m\"]\nretries = \"6\"",
        "`retries` must be a number, not a text",
    ),
    (
        "[[step]]\ndo = \"pull\"\nmounts = [\"m\"]\noptional = \"yes\"",
        "`optional` must be `true` or `false`, not a text",
    ),
    (
        "[[step]]\ndo = \"pull\"\nmounts = \"m\"",
        "`mounts` must be a list, not a text",
    ),
    (
        "[[step]]\ndo = \"pull\"\nmounts = [5]",
        "every item of `mounts` must be a text, not a number",
    ),
    (
        "[[step]]\ndo = \"link\"\nat = \"../x\"\nto = \"y\"",
        "`at` must be a path in the workspace: it has a component `.` or `..`",
    ),
    (
        "[[step]]\ndo = \"link\"\nat = \"x\"",
        "step `link` has no `to`",
    ),
    (
        "[[step]]\ndo = \"mirror\"\nwhen = \"now\"",
        "this step has no field `when`; it takes `do`",
    ),
    (
        "[[step]]\ndo = \"delete\"\npaths = []",
        "step `delete` has no `paths`",
    ),
    ("[[step]]\ndo = \"run\"", "step `run` has no `command`"),
    (
        "[[step]]\ndo = \"copy-skills\"\nfrom = [\"skills\"]\nto = \"s\"",
        "`from` is \"skills\", not an absolute path",
    ),
    (
        "[ready]\ninterval = \"1s\"",
        "[ready] needs `command`, `http` or `file`",
    ),
    (
        "[ready]\nfile = \"x\"",
        "[ready] with `file` needs `contains` or `line_starts_with`",
    ),
    (
        "[ready]\nfile = \"x\"\ncontains = \"a\"\nline_starts_with = \"b\"",
        "[ready] takes `contains` or `line_starts_with`, not both",
    ),
    ("[[carry]]\nto = \"a\"", "[[carry]] has no `from`"),
    ("[[carry]]\nfrom = [\"a\"]", "[[carry]] has no `to`"),
    ("[[carry]]\nfrom = [\"/a\"]\nto = \"b\"", "is absolute"),
    (
        "[[carry]]\nfrom = [\"in\"]\nto = \"out\"",
        "`in` is carried to `out` and would travel itself as well; give it a rule with `sync = \"none\"`",
    ),
    (
        "[[carry]]\nmount = \"n\"\nfrom = [\"in\"]\nto = \"out\"",
        "there is no mount `n`; there are `m`",
    ),
    (
        "[reload.config]\naction = \"exec\"\ncommand = [\"x\", \"{fs_secret_key}\"]",
        "`{fs_secret_key}` is filled in only when the runtime is started; it can stand in `command` and `env` of [runtime]",
    ),
    (
        "[[mount]]\nname = \"n\"\nprefix = \"{fs_access_key}\"\npath = \"/q\"",
        "`{fs_access_key}` is filled in only when the runtime is started",
    ),
    (
        "[[step]]\ndo = \"run\"\ncommand = [\"x\", \"{fs_secret_key}\"]",
        "`{fs_secret_key}` is filled in only when the runtime is started",
    ),
    (
        "[runtime.default_env]\nA = true",
        "`A` must be a text, not a boolean",
    ),
    (
        "[ready]\nhttp = \"http://x\"\nstatus = 70000",
        "`status` is out of range",
    ),
    (
        "[reload.config]\naction = \"signal\"",
        "this [reload] action needs `signal`",
    ),
    (
        "[reload.config]\naction = \"signal\"\nsignal = \"SIGKILL\"",
        "`signal` is \"SIGKILL\"; it must be one of `SIGHUP`",
    ),
    (
        "[reload.config]\naction = \"watched\"\nurl = \"x\"",
        "[reload] has no field `url`",
    ),
    ("[reload.config]\n", "this [reload] action needs `action`"),
    (
        "[reload]\nconfig = \"watched\"",
        "`config` must be a table: write [reload.config]",
    ),
    (
        "[runtime.env]\nPORT = 5",
        "`PORT` must be a text, not a number",
    ),
    ("[runtime.env]\nA = \"{nope}\"", "unknown variable `{nope}`"),
    (
        "[runtime.env]\n\"A=B\" = \"x\"",
        "is no name of an environment variable",
    ),
];

#[test]
fn each_mistake_has_its_message() {
    for (text, expected) in MISTAKES {
        let found = added(text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{text}\n{found:#?}"
        );
    }
}

#[test]
fn fields_of_a_rule_that_contradict_each_other_are_told() {
    for (rule, expected) in [
        (
            "sync = \"pull\"\ndeletes = \"both\"",
            "with `sync = \"pull\"`, `deletes` must be \"pull\" or \"none\", not \"both\"",
        ),
        (
            "sync = \"push\"\ndeletes = \"pull\"",
            "with `sync = \"push\"`, `deletes` must be \"push\" or \"none\", not \"pull\"",
        ),
        (
            "sync = \"none\"\nprefer = \"local\"",
            "`prefer` has no meaning with `sync = \"none\"`",
        ),
        (
            "sync = \"none\"\nexecutable = true",
            "`executable` has no meaning with `sync = \"none\"`",
        ),
        (
            "sync = \"push\"\nlegacy_key = \"old\"",
            "`legacy_key` needs a rule with one path without wildcards that is pulled",
        ),
        (
            "sync = \"merge\"",
            "`x` has `sync = \"merge\"` but there is no [[merge]] for it",
        ),
        (
            "group = \"config\"",
            "there is no [reload.config] for `group`; there is none",
        ),
    ] {
        let text = SMALL.replace(
            "[runtime]",
            &format!("[[mount.rule]]\npaths = [\"x\"]\n{rule}\n\n[runtime]"),
        );
        let found = messages(&text);
        assert!(
            found.len() == 1 && found[0].contains(expected),
            "{rule}\n{found:#?}"
        );
    }
    let wild = SMALL.replace(
        "[runtime]",
        "[[mount.rule]]\npaths = [\"*.json\"]\nsync = \"merge\"\n\n[runtime]",
    );
    assert!(
        messages(&wild)[0]
            .contains("`*.json` has a wildcard; paths to be merged are named one by one")
    );
}

#[test]
fn a_mount_may_lie_in_another_that_leaves_it_alone() {
    let text = SMALL.replace(
        "[runtime]",
        "[[mount.rule]]\npaths = [\"inner/**\"]\nsync = \"none\"\n\n[runtime]",
    );
    let inner = "[[mount]]\nname = \"n\"\nprefix = \"q/\"\npath = \"/m/inner\"\n";
    assert_eq!(messages(&format!("{text}\n{inner}")), [""; 0]);
}

#[test]
fn what_is_carried_must_go_somewhere_and_once() {
    let with = |rules: &str, carries: &str| {
        let text = SMALL.replace("[runtime]", &format!("{rules}\n[runtime]"));
        messages(&format!("{text}\n{carries}"))
    };
    let inner = "[[mount.rule]]\npaths = [\"in\", \"in2\"]\nsync = \"none\"\n";
    let carry = |from: &str| format!("[[carry]]\nfrom = [\"{from}\"]\nto = \"out\"\n");
    assert_eq!(with(inner, &carry("in")), [""; 0]);
    let pulled = format!("{inner}[[mount.rule]]\npaths = [\"out\"]\nsync = \"pull\"\n");
    let found = with(&pulled, &carry("in"));
    assert_eq!(
        found,
        [
            "f.toml:20:6: what is carried to `out` would go nowhere: it has `sync = \"pull\"`, and must be pushed"
        ]
    );
    let found = with(inner, &format!("{}{}", carry("in"), carry("in2")));
    assert_eq!(found, ["f.toml:20:6: there are two [[carry]] to `out`"]);
}

#[test]
fn a_child_takes_out_what_it_does_not_want() {
    let text = "name = \"x\"\nextends = \"openclaw\"\nready = false\n\
        [[mount]]\nname = \"global-shared\"\nwhen = \"never\"\n\
        [runtime.env]\nHOME = false\nMINE = \"1\"\n";
    assert_eq!(messages(text), [""; 0]);
    let mut set = LayoutSet::embedded().unwrap();
    set.add(Layout::parse(text, "x.toml").unwrap());
    let layout = set.resolve("x", &Variables::made_up()).unwrap();
    assert!(layout.ready.is_none());
    assert!(layout.mount("global-shared").is_none() && layout.mount("shared").is_some());
    assert!(!layout.runtime.env.contains_key("HOME"));
    assert_eq!(layout.runtime.env["MINE"], "1");
    assert!(layout.runtime.env.contains_key("OPENCLAW_STATE_DIR"));
    let found = messages(&format!("ready = true\n{SMALL}"));
    assert_eq!(
        found,
        ["f.toml:1:9: `ready` must be a table, not a boolean"]
    );
}

#[test]
fn a_part_is_checked_as_far_as_it_goes_and_then_with_its_parent() {
    let part = |rest: &str| messages(&format!("name = \"x\"\nextends = \"openclaw\"\n{rest}"));
    assert_eq!(part(""), [""; 0]);
    assert_eq!(part("[[mount]]\nname = \"workspace\"\n"), [""; 0]);
    assert_eq!(part("[[mount]]\nname = \"new\"\n").len(), 2);
    assert_eq!(
        part("[[mount]]\nname = \"workspace\"\npaht = \"/x\"\n").len(),
        1
    );
    let found = part("[[step]]\ndo = \"pull\"\nmounts = [\"nope\"]\n");
    assert!(found[0].starts_with("f.toml:5:11: there is no mount `nope`; there are `global-shared`, `shared`, `workspace`"), "{found:?}");
    let found = part(
        "[[mount]]\nname = \"workspace\"\n[[mount.rule]]\npaths = [\"x\"]\ngroup = \"nope\"\n",
    );
    assert!(
        found[0].contains("there is no [reload.nope] for `group`; there are `config`, `skills`"),
        "{found:?}"
    );
}

#[test]
fn a_variable_without_a_value_is_a_mistake_only_where_it_is_needed() {
    let text = SMALL.replace("\"p/\"", "\"p/\"\nteam_prefix = \"t/{team}/\"");
    let mut set = LayoutSet::default();
    set.add(Layout::parse(&text, "f.toml").unwrap());
    let alone = Variables::new("a", "/r", "/r/agents/a");
    assert_eq!(
        set.resolve("small", &alone).unwrap().mounts[0]
            .prefix
            .as_str(),
        "p/"
    );
    let text = SMALL.replace("\"p/\"", "\"t/{team}/\"");
    set.add(Layout::parse(&text, "f.toml").unwrap());
    let error = set.resolve("small", &alone).unwrap_err().to_string();
    assert_eq!(error, "f.toml:5:10: `{team}` has no value for this worker");
}

#[test]
fn columns_are_counted_in_characters() {
    let text = SMALL.replace("\"p/\"", "'é{nope}'");
    assert!(messages(&text)[0].starts_with("f.toml:5:10: "));
    let text = format!("{SMALL}[ready]\nfile = \"é\" ; x\n");
    assert!(
        messages(&text)[0].starts_with("f.toml:11:12: "),
        "{:?}",
        messages(&text)
    );
}

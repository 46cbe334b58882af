//! The embedded layout against the contract, inheritance, and the round trip through `layouts show`.

use std::time::Duration;

use super::*;
use crate::{
    layout::{
        Deletes, Executable, Need, ReadyCheck, ReloadAction, Restart, Rule, Step, SyncMode, Team,
        TeamRole, Variable,
    },
    merge::Take,
    path::RelPath,
    report::Side,
};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn alice() -> Variables {
    Variables::new("alice", "/root/hiclaw-fs", "/root/hiclaw-fs/agents/alice")
}

fn team(role: TeamRole) -> Variables {
    alice().with_team(&Team {
        name: Some("blue".into()),
        role,
    })
}

fn openclaw(variables: &Variables) -> ResolvedLayout {
    LayoutSet::embedded()
        .unwrap()
        .resolve("openclaw", variables)
        .unwrap()
}

fn child(text: &str) -> Result<ResolvedLayout, LayoutError> {
    let mut set = LayoutSet::embedded().unwrap();
    set.add(Layout::parse(text, "child.toml")?);
    set.resolve("child", &alice())
}

fn rule<'l>(layout: &'l ResolvedLayout, mount: &str, text: &str) -> &'l Rule {
    layout.mount(mount).unwrap().rules.rule_for(&path(text))
}

#[test]
fn every_path_of_the_contract_has_its_rule_in_the_workspace() {
    let layout = openclaw(&alice());
    for (text, sync, prefer, deletes, group) in [
        (
            "openclaw.json",
            SyncMode::Merge,
            Side::Local,
            Deletes::None,
            Some("config"),
        ),
        (
            "config/mcporter.json",
            SyncMode::Pull,
            Side::Remote,
            Deletes::Pull,
            Some("config"),
        ),
        (
            "skills/web/SKILL.md",
            SyncMode::Both,
            Side::Remote,
            Deletes::Both,
            Some("skills"),
        ),
        (
            "skills/web/bin/run.sh",
            SyncMode::Both,
            Side::Remote,
            Deletes::Both,
            Some("skills"),
        ),
        (
            "runtime/runtime.yaml",
            SyncMode::Pull,
            Side::Remote,
            Deletes::Pull,
            None,
        ),
        ("SOUL.md", SyncMode::Both, Side::Local, Deletes::Both, None),
        (
            "AGENTS.md",
            SyncMode::Both,
            Side::Local,
            Deletes::Both,
            None,
        ),
        (
            "HEARTBEAT.md",
            SyncMode::Both,
            Side::Local,
            Deletes::Both,
            None,
        ),
        (
            "memory/today.md",
            SyncMode::Both,
            Side::Local,
            Deletes::Both,
            None,
        ),
        (
            ".openclaw/agents/main/sessions/1.jsonl",
            SyncMode::Both,
            Side::Local,
            Deletes::Both,
            None,
        ),
        (
            ".openclaw/state/openclaw.sqlite",
            SyncMode::Both,
            Side::Local,
            Deletes::Both,
            None,
        ),
    ] {
        let rule = rule(&layout, "workspace", text);
        assert_eq!(
            (rule.sync, rule.prefer, rule.deletes),
            (sync, prefer, deletes),
            "{text}"
        );
        assert_eq!(rule.group.as_deref(), group, "{text}");
    }
    assert_eq!(
        rule(&layout, "workspace", "skills/web/bin/run.sh").executable,
        Executable::Always
    );
    assert_eq!(
        rule(&layout, "workspace", "skills/web/SKILL.md").executable,
        Executable::AsItIs
    );
    assert_eq!(
        rule(&layout, "workspace", "config/mcporter.json").legacy_key,
        Some(path("mcporter-servers.json"))
    );
}

#[test]
fn what_the_contract_excludes_never_travels_and_its_directories_are_not_entered() {
    let layout = openclaw(&alice());
    let rules = &layout.mount("workspace").unwrap().rules;
    for text in [
        "credentials/matrix/password",
        ".agentteams-keep",
        ".keep",
        "a/b/.gitkeep",
        ".openclaw/matrix/store/x",
        ".openclaw/canvas/index.html",
        ".openclaw/openclaw.json",
        ".agents/skills/x",
        ".cache/x",
        ".npm/_cacache/x",
        ".local/share/x",
        ".mc/config.json",
        "gateway.lock",
        ".openclaw/agents/main/sessions/1.jsonl.lock",
        "skills/web/install.sh.lock",
        "skills/.keep",
        ".last-pull",
        "mcporter-servers.json",
        "openclaw.json.last-good",
        "openclaw.json.bak",
        "openclaw.json.bak.2",
        ".openclaw/state/openclaw.sqlite-wal",
        "memory/x.db-journal",
        "memory/x.sqlite3-shm",
    ] {
        assert_eq!(rules.rule_for(&path(text)).sync, SyncMode::None, "{text}");
    }
    for text in [
        "credentials",
        ".cache",
        ".npm/x",
        ".openclaw/matrix",
        ".openclaw/canvas/deep",
        ".agents",
        ".local",
        ".mc",
    ] {
        assert!(rules.prunes(&path(text)), "{text}");
    }
    for text in [
        "skills",
        ".openclaw",
        ".openclaw/agents",
        "memory",
        "config",
    ] {
        assert!(!rules.prunes(&path(text)), "{text}");
    }
}

#[test]
fn tasks_are_pushed_back_but_what_others_own_is_not() {
    let layout = openclaw(&alice());
    for (text, sync, deletes) in [
        ("tasks/7/result.md", SyncMode::Both, Deletes::Pull),
        ("tasks/7/spec.md", SyncMode::Pull, Deletes::Pull),
        ("tasks/7/base/data.csv", SyncMode::Pull, Deletes::Pull),
        ("tasks/7/notes/spec.md", SyncMode::Both, Deletes::Pull),
        ("projects/p/plan.md", SyncMode::Pull, Deletes::Pull),
        ("knowledge/k.md", SyncMode::Pull, Deletes::Pull),
        ("other/x", SyncMode::Pull, Deletes::Pull),
        ("tasks/7/.keep", SyncMode::None, Deletes::None),
        ("tasks/7/uv.lock", SyncMode::Both, Deletes::Pull),
    ] {
        let rule = rule(&layout, "shared", text);
        assert_eq!((rule.sync, rule.deletes), (sync, deletes), "{text}");
    }
}

#[test]
fn the_team_decides_what_is_shared() {
    let places = |variables: &Variables| -> Vec<(String, String, String)> {
        let place = |mount: &crate::layout::Mount| {
            (
                mount.name.clone(),
                mount.prefix.to_string(),
                mount.local.to_string_lossy().into_owned(),
            )
        };
        openclaw(variables).mounts.iter().map(place).collect()
    };
    let row = |name: &str, prefix: &str, local: &str| {
        (name.to_owned(), prefix.to_owned(), local.to_owned())
    };
    let workspace = row("workspace", "agents/alice/", "/root/hiclaw-fs/agents/alice");
    let blue = row("shared", "teams/blue/shared/", "/root/hiclaw-fs/shared");
    let global = row("global-shared", "shared/", "/root/hiclaw-fs/global-shared");
    assert_eq!(
        places(&alice()),
        [
            workspace.clone(),
            row("shared", "shared/", "/root/hiclaw-fs/shared")
        ]
    );
    assert_eq!(
        places(&team(TeamRole::Member)),
        [workspace.clone(), blue.clone()]
    );
    assert_eq!(places(&team(TeamRole::Leader)), [workspace, blue, global]);
    let layout = openclaw(&team(TeamRole::Leader));
    let global = &layout.mount("global-shared").unwrap().rules;
    assert!(global.prunes_push(&path("tasks")));
    assert_eq!(
        global.rule_for(&path(".sync-conflicts/x")).sync,
        SyncMode::None
    );
}

#[test]
fn the_steps_are_those_of_the_contract_in_its_order() {
    let layout = openclaw(&alice());
    let names: Vec<_> = layout.steps.iter().map(Step::name).collect();
    assert_eq!(
        names,
        [
            "timezone",
            "pull",
            "pull",
            "copy-skills",
            "link",
            "remove-circular-link",
            "link",
            "run",
            "executable",
            "move-and-link",
            "mirror",
            "delete",
            "delete",
            "matrix-login",
        ]
    );
    let Step::Pull(pull) = &layout.steps[1] else {
        panic!("{:?}", layout.steps[1])
    };
    assert_eq!(pull.mounts, ["workspace"]);
    assert_eq!(
        pull.require,
        [path("openclaw.json"), path("SOUL.md"), path("AGENTS.md")]
    );
    assert_eq!(
        (pull.retries, pull.retry_delay, pull.need),
        (6, Duration::from_secs(5), Need::Required)
    );
    assert!(
        pull.missing
            .as_ref()
            .unwrap()
            .starts_with("openclaw.json, SOUL.md or AGENTS.md not found after retries.")
    );
    let Step::Pull(shared) = &layout.steps[2] else {
        panic!("{:?}", layout.steps[2])
    };
    assert_eq!(
        (shared.mounts.as_slice(), shared.need),
        (["shared".to_owned()].as_slice(), Need::Optional)
    );
    let Some(Step::MatrixLogin { password_key, .. }) = layout.steps.last() else {
        panic!("no login")
    };
    assert_eq!(
        password_key.as_str(),
        "agents/alice/credentials/matrix/password"
    );
}

#[test]
fn the_runtime_is_started_with_config_and_state_set_together() {
    let layout = openclaw(&alice());
    assert_eq!(
        layout.runtime.command,
        ["openclaw", "gateway", "run", "--verbose", "--force"]
    );
    assert_eq!(
        (layout.runtime.restart, layout.runtime.stop_grace),
        (Restart::OnFailure, Duration::from_secs(20))
    );
    assert_eq!(
        layout.runtime.env["OPENCLAW_CONFIG_PATH"],
        "/root/hiclaw-fs/agents/alice/openclaw.json"
    );
    assert_eq!(
        layout.runtime.env["OPENCLAW_STATE_DIR"],
        "/root/hiclaw-fs/agents/alice/.openclaw"
    );
    assert_eq!(layout.runtime.env["OPENCLAW_NO_RESPAWN"], "1");
    assert_eq!(layout.reload["config"].action, ReloadAction::Watched);
    let merge = layout.merge_rules(&path("openclaw.json")).unwrap();
    assert_eq!((merge.rest, merge.fields.len()), (Side::Local, 6));
    assert_eq!(
        merge
            .protect
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["gateway.mode"]
    );
}

#[test]
fn readiness_is_asked_by_http_when_the_port_is_known() {
    let check = |variables: &Variables| openclaw(variables).ready.unwrap().check;
    assert!(matches!(check(&alice()), ReadyCheck::Command { .. }));
    let url = "http://127.0.0.1:18789/readyz".to_owned();
    assert_eq!(
        check(&alice().with(Variable::GatewayPort, "18789")),
        ReadyCheck::Http { url, status: 200 }
    );
}

#[test]
fn a_child_replaces_and_adds_as_documented() {
    let layout = child(
        r#"
name = "child"
extends = "openclaw"

[[mount]]
name = "workspace"
[[mount.rule]]
paths = ["skills/private/**"]
sync = "none"

[[mount]]
name = "extra"
prefix = "extra/{worker}/"
path = "{root}/extra"

[[merge]]
path = "openclaw.json"
protect = ["models"]
fields = [{ field = "models", take = "local" }]

[[step]]
do = "mirror"

[runtime]
stop_grace = "500ms"
[runtime.env]
MORE = "{worker}"
OPENCLAW_NO_RESPAWN = "0"

[reload.skills]
action = "signal"
signal = "SIGUSR2"
"#,
    )
    .unwrap();
    assert_eq!(layout.name, "child");
    let names: Vec<_> = layout
        .mounts
        .iter()
        .map(|mount| mount.name.as_str())
        .collect();
    assert_eq!(names, ["workspace", "shared", "extra"]);
    assert_eq!(
        layout.mount("workspace").unwrap().prefix.as_str(),
        "agents/alice/"
    );
    assert_eq!(
        rule(&layout, "workspace", "skills/private/x.sh").sync,
        SyncMode::None
    );
    assert_eq!(
        rule(&layout, "workspace", "skills/public/x.sh").sync,
        SyncMode::Both
    );
    assert_eq!(
        layout.mount("extra").unwrap().prefix.as_str(),
        "extra/alice/"
    );
    let merge = layout.merge_rules(&path("openclaw.json")).unwrap();
    assert_eq!(
        (merge.fields[0].take, merge.fields[1].take),
        (Take::Local, Take::Remote)
    );
    assert_eq!(merge.protect.len(), 2);
    assert_eq!(layout.steps, [Step::Mirror]);
    assert_eq!(layout.runtime.command[0], "openclaw");
    assert_eq!(layout.runtime.stop_grace, Duration::from_millis(500));
    assert_eq!(
        (
            &*layout.runtime.env["MORE"],
            &*layout.runtime.env["OPENCLAW_NO_RESPAWN"]
        ),
        ("alice", "0")
    );
    assert!(layout.runtime.env.contains_key("OPENCLAW_STATE_DIR"));
    assert!(matches!(
        layout.reload["skills"].action,
        ReloadAction::Signal(_)
    ));
    assert_eq!(layout.reload["config"].action, ReloadAction::Watched);
}

#[test]
fn what_is_shown_is_a_layout_that_means_the_same() {
    for variables in [
        alice(),
        team(TeamRole::Leader),
        alice().with(Variable::GatewayPort, "18789"),
    ] {
        let shown = openclaw(&variables).to_string();
        let mut set = LayoutSet::default();
        set.add(
            Layout::parse(&shown, "shown.toml").unwrap_or_else(|error| panic!("{error}\n{shown}")),
        );
        let again = set.resolve("openclaw", &variables).unwrap();
        assert_eq!(again.to_string(), shown);
        let all = |layout: &ResolvedLayout| format!("{layout:?}");
        assert_eq!(all(&again), all(&openclaw(&variables)));
    }
}

#[test]
fn a_layout_may_extend_the_one_it_hides() {
    let mut set = LayoutSet::embedded().unwrap();
    for grace in ["1s", "2s"] {
        let text = format!(
            "name = \"openclaw\"\nextends = \"openclaw\"\n[runtime]\nstop_grace = \"{grace}\"\n"
        );
        set.add(Layout::parse(&text, "mine.toml").unwrap());
    }
    let layout = set.resolve("openclaw", &alice()).unwrap();
    assert_eq!(layout.runtime.stop_grace, Duration::from_secs(2));
    assert_eq!(layout.runtime.command[0], "openclaw");
    assert_eq!(set.names().len(), EMBEDDED.len());
}

#[test]
fn circles_and_unknown_parents_are_told_by_their_line() {
    let mut set = LayoutSet::default();
    set.add(Layout::parse("name = \"a\"\nextends = \"b\"\n", "a.toml").unwrap());
    set.add(Layout::parse("name = \"b\"\nextends = \"a\"\n", "b.toml").unwrap());
    let error = set.resolve("a", &alice()).unwrap_err().to_string();
    assert_eq!(
        error,
        "b.toml:2:11: `a` extends this layout in turn: they go round in a circle"
    );
    let error = child("name = \"child\"\nextends = \"opencalw\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "child.toml:2:11: there is no layout `opencalw` to extend; known are child, clawmatrix,"
        ),
        "{error}"
    );
    let error = set.resolve("c", &alice()).unwrap_err().to_string();
    assert_eq!(error, "there is no layout `c`; known are a, b");
}

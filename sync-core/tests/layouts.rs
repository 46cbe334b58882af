//! Every layout of the family against the contract: whose paths travel, how the runtime is started, known to be ready and
//! reloaded, and what a member, a leader and a worker without a team have mounted.
#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test that fails fails the test"
)]

#[path = "layouts/lists.rs"]
mod lists;

use std::collections::BTreeMap;

use sync_core::{
    layout::{
        EMBEDDED, FileText, LayoutSet, ReadyCheck, ReloadAction, ResolvedLayout, Step, SyncMode,
        Team, TeamRole, Variable, Variables,
    },
    merge::{MergeError, merge},
    path::RelPath,
};

use self::lists::{ALWAYS, COPAW_ALWAYS, COPAW_NEVER, HERMES_ALWAYS, HERMES_NEVER, NEVER};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn alice() -> Variables {
    Variables::new("alice", "/root/fs", "/root/fs/agents/alice")
        .with(Variable::FsEndpoint, "http://minio:9000")
        .with(Variable::Bucket, "hiclaw-storage")
        .with(Variable::ConsolePort, "8088")
        .with(Variable::WorkerCr, "cr-alice")
}

fn in_team(role: TeamRole) -> Variables {
    alice().with_team(&Team {
        name: Some("blue".into()),
        role,
    })
}

fn resolve(name: &str, variables: &Variables) -> ResolvedLayout {
    let set = LayoutSet::embedded().unwrap();
    set.resolve(name, variables).unwrap()
}

fn sync(layout: &ResolvedLayout, text: &str) -> SyncMode {
    let rules = &layout.mount("workspace").unwrap().rules;
    rules.rule_for(&path(text)).sync
}

#[test]
fn exclusions_are_those_of_the_contract_in_both_directions() {
    let table: &[(&str, &[&str], &[&str])] = &[
        (
            "openclaw",
            &[],
            &[".openclaw/agents/main/x.jsonl", "logs/x", "a.pyc"],
        ),
        ("copaw", COPAW_NEVER, COPAW_ALWAYS),
        ("qwenpaw", COPAW_NEVER, COPAW_ALWAYS),
        ("hermes", HERMES_NEVER, HERMES_ALWAYS),
        (
            "openhuman",
            &["config.toml", "agent-config/SOUL.md"],
            &["logs/x", "a/config.toml"],
        ),
        ("manager", &[".initialized"], &["workers.json", "logs/x"]),
        (
            "openclaw-runner",
            &[".runtime/runner.env", ".env", "logs/x"],
            &["tasks.db", "events.db"],
        ),
        (
            "clawster",
            &["config/secrets.json", "logs/node.log"],
            &["start-node.sh", "config/peers.json"],
        ),
        (
            "clawmatrix",
            &[],
            &["Bootstrap.md", "llms.txt", "llms-full.txt"],
        ),
    ];
    assert_eq!(table.len(), EMBEDDED.len(), "every layout is in the table");
    for (name, never, always) in table {
        let layout = resolve(name, &alice());
        for text in NEVER.iter().chain(*never) {
            assert_eq!(sync(&layout, text), SyncMode::None, "{name}: {text}");
        }
        for text in ALWAYS.iter().chain(*always) {
            assert_eq!(sync(&layout, text), SyncMode::Both, "{name}: {text}");
        }
        assert_eq!(sync(&layout, "openclaw.json"), SyncMode::Merge, "{name}");
        assert_eq!(
            sync(&layout, "runtime/runtime.yaml"),
            SyncMode::Pull,
            "{name}"
        );
        assert_eq!(
            sync(&layout, "config/mcporter.json"),
            SyncMode::Pull,
            "{name}"
        );
    }
}

#[test]
fn what_belongs_to_the_agent_is_pruned_by_no_exclusion() {
    for (name, _) in EMBEDDED {
        let layout = resolve(name, &alice());
        let rules = &layout.mount("workspace").unwrap().rules;
        for carry in rules.carries() {
            for inner in &carry.from {
                let mut above = inner.parent();
                while let Some(directory) = above {
                    assert!(
                        !rules.hides(&directory),
                        "{name}: {directory} is not watched"
                    );
                    above = directory.parent();
                }
                assert!(rules.notices(inner));
            }
        }
    }
}

#[test]
fn members_leaders_and_workers_without_a_team_see_what_they_may() {
    let mounts = |name: &str, variables: &Variables| -> BTreeMap<String, (String, String)> {
        let layout = resolve(name, variables);
        let mounts = layout.mounts.iter().map(|mount| {
            let local = mount.local.to_str().unwrap().to_owned();
            (
                mount.name.clone(),
                (mount.prefix.as_str().to_owned(), local),
            )
        });
        mounts.collect()
    };
    let at = |prefix: &str, local: &str| (prefix.to_owned(), local.to_owned());
    for (name, _) in EMBEDDED.iter().filter(|(name, _)| *name != "manager") {
        let own = (
            "workspace".to_owned(),
            at("agents/alice/", "/root/fs/agents/alice"),
        );
        let global = ("shared".to_owned(), at("shared/", "/root/fs/shared"));
        let team = (
            "shared".to_owned(),
            at("teams/blue/shared/", "/root/fs/shared"),
        );
        let leader = (
            "global-shared".to_owned(),
            at("shared/", "/root/fs/global-shared"),
        );
        assert_eq!(
            mounts(name, &alice()),
            [own.clone(), global].into(),
            "{name}"
        );
        let member = in_team(TeamRole::Member);
        assert_eq!(
            mounts(name, &member),
            [own.clone(), team.clone()].into(),
            "{name}"
        );
        let leads = in_team(TeamRole::Leader);
        assert_eq!(mounts(name, &leads), [own, team, leader].into(), "{name}");
    }
    for variables in [
        alice(),
        in_team(TeamRole::Member),
        in_team(TeamRole::Leader),
    ] {
        let expected = [
            (
                "workspace".to_owned(),
                at("manager/", "/root/fs/agents/alice"),
            ),
            ("shared".to_owned(), at("shared/", "/root/fs/shared")),
            (
                "config".to_owned(),
                at("hiclaw-config/", "/root/fs/hiclaw-config"),
            ),
            (
                "config-agentteams".to_owned(),
                at("agentteams-config/", "/root/fs/agentteams-config"),
            ),
        ];
        assert_eq!(mounts("manager", &variables), expected.into());
    }
}

#[test]
fn commands_and_their_environments_are_those_of_the_contract() {
    let common = "--name alice --fs http://minio:9000 --fs-key {fs_access_key} --fs-secret {fs_secret_key} \
        --fs-bucket hiclaw-storage --install-dir /root/fs/agents";
    let qwenpaw = common.replace("--name alice", "--name alice --cr-name cr-alice");
    let workspace = "/root/fs/agents/alice";
    for (name, command, env) in [
        (
            "openclaw",
            "openclaw gateway run --verbose --force".to_owned(),
            vec![("OPENCLAW_NO_RESPAWN", "1".to_owned())],
        ),
        (
            "copaw",
            format!("/opt/venv/copaw/bin/copaw-worker {common} --console-port 8088"),
            vec![("COPAW_WORKING_DIR", format!("{workspace}/.copaw"))],
        ),
        (
            "qwenpaw",
            format!("/opt/venv/qwenpaw/bin/qwenpaw-worker {qwenpaw} --console-port 8088"),
            vec![
                ("QWENPAW_WORKING_DIR", format!("{workspace}/.qwenpaw")),
                (
                    "AGENT_WORKSPACE",
                    format!("{workspace}/.qwenpaw/workspaces/default"),
                ),
            ],
        ),
        (
            "hermes",
            format!("/opt/venv/hermes/bin/hermes-worker {common}"),
            vec![
                ("HERMES_HOME", format!("{workspace}/.hermes")),
                ("HERMES_YOLO_MODE", "1".to_owned()),
                ("MATRIX_HOME_CHANNEL", "disabled".to_owned()),
            ],
        ),
        (
            "manager",
            "openclaw gateway run --verbose --force".to_owned(),
            vec![],
        ),
        (
            "openclaw-runner",
            "node /opt/openclaw-runner/worker.js".to_owned(),
            vec![
                ("WORKER_TASK_DB", format!("{workspace}/tasks.db")),
                ("WORKER_EVENT_DB", format!("{workspace}/events.db")),
                (
                    "RUNNER_SESSION_CACHE_FILE",
                    format!("{workspace}/session-cache.json"),
                ),
            ],
        ),
        (
            "clawster",
            format!("{workspace}/start-node.sh alice {workspace}/config/config.json"),
            vec![],
        ),
        (
            "clawmatrix",
            "openclaw gateway run --verbose --force".to_owned(),
            vec![],
        ),
    ] {
        let runtime = resolve(name, &alice()).runtime;
        assert_eq!(runtime.command.join(" "), command, "{name}");
        assert_eq!(
            runtime.env.get("HOME").map(String::as_str),
            Some(workspace),
            "{name}"
        );
        for (variable, value) in env {
            assert_eq!(
                runtime.env.get(variable),
                Some(&value),
                "{name}: {variable}"
            );
        }
        let gateway = command.starts_with("openclaw ");
        assert_eq!(
            runtime.env.contains_key("OPENCLAW_CONFIG_PATH"),
            gateway,
            "{name}"
        );
    }
    let runner = resolve("openclaw-runner", &alice()).runtime;
    assert_eq!(runner.default_env["WORKER_URL"], "http://127.0.0.1:3456");
    assert!(
        !format!("{runner:?}").contains("WORKER_TOKEN"),
        "a secret of the environment"
    );
    let openhuman = resolve("openhuman", &alice()).runtime;
    assert!(openhuman.command[2].contains("exec openhuman-core serve"));
}

#[test]
fn each_runtime_is_known_to_be_ready_and_reloaded_in_its_way() {
    let http = |url: &str| {
        Some(ReadyCheck::Http {
            url: url.to_owned(),
            status: 200,
        })
    };
    let file = |at: &str, text| {
        Some(ReadyCheck::File {
            path: path(at),
            text,
        })
    };
    let gateway = Some(ReadyCheck::Command {
        command: ["openclaw", "gateway", "health", "--json"]
            .map(str::to_owned)
            .to_vec(),
    });
    let starts = FileText::LineStartsWith("matrix:".to_owned());
    let holds = FileText::Contains("\"channels\"".to_owned());
    for (name, ready, config, skills) in [
        ("openclaw", gateway.clone(), "watched", "watched"),
        (
            "copaw",
            file(".copaw/config.json", holds),
            "restart",
            "watched",
        ),
        (
            "qwenpaw",
            http("http://127.0.0.1:8088/api/version"),
            "restart",
            "exec",
        ),
        (
            "hermes",
            file(".hermes/config.yaml", starts),
            "restart",
            "exec",
        ),
        (
            "openhuman",
            http("http://127.0.0.1:7788/health"),
            "restart",
            "watched",
        ),
        ("manager", gateway.clone(), "watched", "watched"),
        ("openclaw-runner", None, "restart", "watched"),
        ("clawster", None, "restart", "watched"),
        ("clawmatrix", gateway, "watched", "watched"),
    ] {
        let layout = resolve(name, &alice());
        assert_eq!(
            layout.ready.as_ref().map(|probe| probe.check.clone()),
            ready,
            "{name}"
        );
        for (group, expected) in [("config", config), ("skills", skills)] {
            let action = match &layout.reload[group].action {
                ReloadAction::Watched => "watched",
                ReloadAction::Restart => "restart",
                ReloadAction::Exec { .. } => "exec",
                ReloadAction::Signal(_) => "signal",
                ReloadAction::Http { .. } => "http",
            };
            assert_eq!(action, expected, "{name}: {group}");
        }
        let mirrors = layout
            .steps
            .iter()
            .filter(|step| **step == Step::Mirror)
            .count();
        assert_eq!(mirrors, 1, "{name}");
    }
}

#[test]
fn what_an_agent_edits_inside_is_carried_outside() {
    let carries = |name: &str| -> Vec<String> {
        let layout = resolve(name, &alice());
        let rules = &layout.mount("workspace").unwrap().rules;
        let text = |carry: &sync_core::layout::Carry| {
            let from: Vec<_> = carry.from.iter().map(RelPath::as_str).collect();
            format!("{} -> {}", from.join(" "), carry.to)
        };
        rules.carries().iter().map(text).collect()
    };
    assert_eq!(carries("openclaw"), [""; 0]);
    let copaw = carries("copaw");
    assert_eq!(
        copaw[0],
        ".qwenpaw/AGENTS.md .copaw/workspaces/default/AGENTS.md .copaw/AGENTS.md -> AGENTS.md"
    );
    assert_eq!(copaw.len(), 3);
    let qwenpaw = carries("qwenpaw");
    assert!(
        qwenpaw.contains(&".qwenpaw/AGENTS.md .copaw/AGENTS.md -> AGENTS.md".to_owned()),
        "{qwenpaw:?}"
    );
    assert!(
        qwenpaw.contains(&".qwenpaw/SOUL.md .copaw/SOUL.md -> SOUL.md".to_owned()),
        "{qwenpaw:?}"
    );
    assert_eq!(
        carries("hermes"),
        [
            ".hermes/AGENTS.md -> AGENTS.md",
            ".hermes/SOUL.md -> SOUL.md"
        ]
    );
}

#[test]
fn what_is_shown_of_any_layout_is_a_layout_that_means_the_same() {
    for (name, _) in EMBEDDED {
        for variables in [alice(), in_team(TeamRole::Leader)] {
            let layout = resolve(name, &variables);
            let shown = layout.to_string();
            let mut set = LayoutSet::default();
            let read = sync_core::layout::Layout::parse(&shown, "shown.toml");
            set.add(read.unwrap_or_else(|error| panic!("{error}\n{shown}")));
            let again = set.resolve(name, &variables).unwrap();
            assert_eq!(format!("{again:?}"), format!("{layout:?}"), "{name}");
        }
    }
}

/// The mesh plugin's entry, with its fields directly in it or in its `config`.
fn mesh(config: &str) -> [String; 2] {
    let direct = format!(
        r#"{{"gateway": {{"mode": "local"}}, "plugins": {{"entries": {{"clawmatrix": {{"enabled": true, {config}}}}}}}}}"#
    );
    let nested = direct.replace(config, &format!("\"config\": {{{config}}}"));
    [direct, nested]
}

#[test]
fn a_member_of_the_mesh_keeps_its_secret_its_peers_and_its_proxy_whatever_comes() {
    let layout = resolve("clawmatrix", &alice());
    let rules = layout.merge_rules(&path("openclaw.json")).unwrap();
    let mine = mesh(
        r#""secret": "mine", "peers": [{"id": "b"}], "toolProxy": {"enabled": true, "allow": ["x"]}"#,
    );
    let others = [
        mesh(
            r#""secret": "theirs", "peers": [], "toolProxy": {"enabled": false, "deny": ["y"]}, "port": 5"#,
        ),
        mesh(r#""secret": null, "peers": {}, "toolProxy": false"#),
        [
            r#"{"gateway": {"mode": "local"}}"#.to_owned(),
            r#"{"plugins": {"entries": {}}}"#.to_owned(),
        ],
        [
            r#"{"plugins": {"entries": {"clawmatrix": null}}}"#.to_owned(),
            r#"{"plugins": null}"#.to_owned(),
        ],
    ];
    for local in &mine {
        for remote in others.iter().flatten() {
            let merged = merge(rules, Some(local), Some(remote)).unwrap();
            let merged: serde_json::Value = serde_json::from_str(&merged.text).unwrap();
            let before: serde_json::Value = serde_json::from_str(local).unwrap();
            let entry = "/plugins/entries/clawmatrix";
            for field in ["secret", "peers", "toolProxy"] {
                for place in [
                    format!("{entry}/{field}"),
                    format!("{entry}/config/{field}"),
                ] {
                    if let Some(kept) = before.pointer(&place) {
                        assert_eq!(
                            merged.pointer(&place),
                            Some(kept),
                            "{place}\n{local}\n{remote}"
                        );
                    }
                }
            }
        }
    }
    let clash = merge(rules, Some(&mine[0]), Some(r#"{"plugins": false}"#));
    assert!(clash.is_err(), "{clash:?}");
}

#[test]
fn a_merge_that_would_take_a_member_out_of_the_mesh_is_refused() {
    // A layout of later rules may give the whole of `plugins` to the bucket: the entry must not go with it.
    let mut set = LayoutSet::embedded().unwrap();
    let text = "name = \"x\"\nextends = \"clawmatrix\"\n[[merge]]\npath = \"openclaw.json\"\nrest = \"remote\"\nfields = [\n\
        { field = \"plugins.entries\", take = \"remote\" },\n\
        { field = \"plugins.entries.clawmatrix\", take = \"remote\" },\n\
        { field = \"plugins.entries.clawmatrix.secret\", take = \"remote\" }]\n";
    set.add(sync_core::layout::Layout::parse(text, "x.toml").unwrap());
    let layout = set.resolve("x", &alice()).unwrap();
    let rules = layout.merge_rules(&path("openclaw.json")).unwrap();
    let remote = r#"{"gateway": {"mode": "local"}, "plugins": {"entries": {"clawmatrix": {"enabled": true}}}}"#;
    let found = merge(rules, Some(&mesh(r#""secret": "mine""#)[0]), Some(remote));
    // The local side's secret stands when the bucket has none, or the merge is refused; it is never lost.
    match found {
        Ok(merged) => assert!(merged.text.contains("mine"), "{}", merged.text),
        Err(error) => assert!(matches!(error, MergeError::Protected { .. }), "{error}"),
    }
}

//! What wins over what, which defaults hold, and that every mistake is named at once and no secret shown.

mod sources;

mod mistakes;

use std::{collections::BTreeMap, ffi::OsString, num::NonZeroUsize};

use sync_core::layout::TeamRole;

use super::*;
use crate::settings::{CredentialSource, Overlay, PathStyle, Provider};

/// An environment of these variables, with a current directory.
struct Fake(BTreeMap<String, OsString>);

impl Environment for Fake {
    fn variable(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }

    fn current_directory(&self) -> Option<PathBuf> {
        Some(PathBuf::from("/current"))
    }
}

fn environment(variables: &[(&str, &str)]) -> Fake {
    Fake(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect(),
    )
}

/// What every worker of a HiClaw deployment is given, and more.
fn usual(more: &[(&str, &str)]) -> Fake {
    let mut usual = environment(&[
        ("HICLAW_WORKER_NAME", "alice"),
        ("HICLAW_FS_ENDPOINT", "http://minio:9000"),
        ("HICLAW_FS_ACCESS_KEY", "access-hunter2"),
        ("HICLAW_FS_SECRET_KEY", "secret-hunter2"),
    ]);
    usual.0.extend(environment(more).0);
    usual
}

fn resolve(options: &GlobalOptions, environment: &Fake) -> Settings {
    Settings::resolve(options, environment).unwrap_or_else(|error| panic!("{error}"))
}

fn with(more: &[(&str, &str)]) -> Settings {
    resolve(&GlobalOptions::default(), &usual(more))
}

#[test]
fn the_usual_variables_are_enough() {
    let settings = with(&[]);
    assert_eq!(settings.worker, "alice");
    assert_eq!(
        settings.store.endpoint.as_deref(),
        Some("http://minio:9000")
    );
    let CredentialSource::Static {
        access_key,
        secret_key,
        session_token: None,
    } = &settings.store.credentials
    else {
        panic!("{:?}", settings.store.credentials)
    };
    assert_eq!(
        (access_key.expose(), secret_key.expose()),
        ("access-hunter2", "secret-hunter2")
    );
    assert_eq!(settings.store.bucket, "hiclaw-storage");
    assert_eq!(
        (settings.alias.as_str(), settings.storage_prefix.as_str()),
        ("hiclaw", "hiclaw/hiclaw-storage")
    );
    assert_eq!(settings.root, Path::new("/root/hiclaw-fs"));
    assert_eq!(
        settings.workspace,
        Path::new("/root/hiclaw-fs/agents/alice")
    );
    assert_eq!(settings.layout, LayoutChoice::Named("openclaw".into()));
    assert_eq!(
        (settings.deployment, settings.store.provider),
        (None, Provider::Minio)
    );
    assert_eq!(
        (&settings.controller, &settings.env_mount, &settings.traces),
        (&None, &None, &None)
    );
    assert_eq!(settings.matrix_url, "http://127.0.0.1:6167");
    assert_eq!(settings.ai_gateway_url, "http://aigw-local.hiclaw.io:8080");
    assert_eq!(
        (settings.console_port, settings.time_zone.clone()),
        (8088, None)
    );
    assert_eq!(
        (settings.matrix_debug, settings.store.path_style),
        (Toggle::Off, PathStyle::Auto)
    );
    assert_eq!(settings.generation, Generation::HiClaw);
}

#[test]
fn the_new_names_alone_bring_the_new_defaults() {
    let settings = resolve(
        &GlobalOptions::default(),
        &environment(&[
            ("AGENTTEAMS_WORKER_NAME", "bob"),
            ("AGENTTEAMS_FS_ENDPOINT", "store"),
            ("AGENTTEAMS_FS_ACCESS_KEY", "a"),
            ("AGENTTEAMS_FS_SECRET_KEY", "s"),
        ]),
    );
    assert_eq!(settings.generation, Generation::AgentTeams);
    assert_eq!(
        settings.workspace,
        Path::new("/root/agentteams-fs/agents/bob")
    );
    assert_eq!(settings.storage_prefix, "agentteams/hiclaw-storage");
    assert_eq!(settings.store.endpoint.as_deref(), Some("http://store"));
    assert_eq!(
        with(&[("AGENTTEAMS_CONSOLE_PORT", "1")]).generation,
        Generation::HiClaw
    );
    let of_an_image = resolve(
        &GlobalOptions {
            worker: Some("bob".to_owned()),
            ..GlobalOptions::default()
        },
        &environment(&[
            ("AGENTTEAMS_HEALTH_LISTEN", "127.0.0.1:8089"),
            ("AGENTTEAMS_ROOT", "/var/lib/hiclaw"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_ENDPOINT_URL", "http://store"),
        ]),
    );
    assert_eq!(of_an_image.generation, Generation::HiClaw);
}

#[test]
fn a_flag_wins_over_the_old_name_and_that_over_the_new_one() {
    let bucket = |flag: Option<&str>, variables: &[(&str, &str)]| {
        let options = GlobalOptions {
            bucket: flag.map(str::to_owned),
            ..GlobalOptions::default()
        };
        resolve(&options, &usual(variables)).store.bucket
    };
    let old = ("HICLAW_FS_BUCKET", "old");
    let new = ("AGENTTEAMS_FS_BUCKET", "new");
    let oss = ("HICLAW_OSS_BUCKET", "oss");
    let prefix = ("HICLAW_STORAGE_PREFIX", "alias/from-prefix");
    for (flag, variables, expected) in [
        (Some("flag"), vec![old, new, oss, prefix], "flag"),
        (None, vec![old, new, oss, prefix], "old"),
        (None, vec![new, oss, prefix], "new"),
        (None, vec![oss, prefix], "oss"),
        (None, vec![prefix], "from-prefix"),
        (None, vec![], "hiclaw-storage"),
        (None, vec![("HICLAW_FS_BUCKET", ""), new], "new"),
    ] {
        assert_eq!(bucket(flag, &variables), expected, "{flag:?} {variables:?}");
    }
}

type Get = fn(&Settings) -> String;

/// A variable without its beginning, a value, a setting, and what it then is.
const VARIABLES: &[(&str, &str, Get, &str)] = &[
    (
        "WORKER_NAME",
        "carol",
        |settings| settings.worker.clone(),
        "carol",
    ),
    (
        "FS_ENDPOINT",
        "https://s3:1",
        |settings| settings.store.endpoint.clone().unwrap(),
        "https://s3:1",
    ),
    (
        "FS_BUCKET",
        "b-1",
        |settings| settings.store.bucket.clone(),
        "b-1",
    ),
    (
        "STORAGE_PREFIX",
        "x/y",
        |settings| settings.storage_prefix.clone(),
        "x/y",
    ),
    (
        "STORAGE_PREFIX",
        "x/y",
        |settings| settings.alias.clone(),
        "x",
    ),
    (
        "RUNTIME",
        "k8s",
        |settings| settings.deployment.unwrap().to_string(),
        "k8s",
    ),
    (
        "WORKER_RUNTIME",
        "hermes",
        |settings| settings.layout.to_string(),
        "hermes",
    ),
    (
        "CONTROLLER_URL",
        "controller:8090/",
        |settings| settings.controller.clone().unwrap().url,
        "http://controller:8090",
    ),
    (
        "MATRIX_URL",
        "matrix",
        |settings| settings.matrix_url.clone(),
        "http://matrix",
    ),
    (
        "MATRIX_DOMAIN",
        "m.example",
        |settings| settings.matrix_domain.clone().unwrap(),
        "m.example",
    ),
    (
        "AI_GATEWAY_URL",
        "gw:1",
        |settings| settings.ai_gateway_url.clone(),
        "http://gw:1",
    ),
    (
        "WORKER_ENV_MOUNT_DIR",
        "/env",
        |settings| format!("{:?}", settings.env_mount.clone().unwrap().timeout),
        "300s",
    ),
    (
        "CONSOLE_PORT",
        "9",
        |settings| settings.console_port.to_string(),
        "9",
    ),
    (
        "MATRIX_DEBUG",
        "1",
        |settings| format!("{:?}", settings.matrix_debug),
        "On",
    ),
    (
        "CMS_TRACES_ENABLED",
        "true",
        |settings| format!("{}", settings.traces.is_some()),
        "true",
    ),
];

#[test]
fn every_variable_of_the_contract_arrives_under_both_names() {
    for (suffix, value, get, expected) in VARIABLES {
        for prefix in ["HICLAW_", "AGENTTEAMS_"] {
            let mut environment = usual(&[]);
            environment.0.remove(&format!("HICLAW_{suffix}"));
            environment
                .0
                .insert(format!("{prefix}{suffix}"), value.into());
            let settings = resolve(&GlobalOptions::default(), &environment);
            assert_eq!(get(&settings), *expected, "{prefix}{suffix}");
        }
    }
    assert_eq!(
        with(&[("HICLAW_MATRIX_SERVER", "http://seed")]).matrix_url,
        "http://seed"
    );
    assert_eq!(
        with(&[("HICLAW_AI_GATEWAY", "http://seed")]).ai_gateway_url,
        "http://seed"
    );
    assert_eq!(
        with(&[("TZ", "Asia/Shanghai")]).time_zone.as_deref(),
        Some("Asia/Shanghai")
    );
}

#[test]
fn every_flag_wins_over_its_variable() {
    let options = GlobalOptions {
        layout: Some("own.toml".into()),
        worker: Some("flag".into()),
        root: Some("root".into()),
        endpoint: Some("flag:9".into()),
        access_key: Some(Secret::new("fa")),
        secret_key: Some(Secret::new("fs")),
        region: Some("eu-1".into()),
        path_style: Some(PathStyle::Never),
        ca_cert: Some("ca.pem".into()),
        concurrency: NonZeroUsize::new(3),
        ..GlobalOptions::default()
    };
    let variables = [
        ("AWS_REGION", "us-2"),
        ("HICLAW_WORKER_RUNTIME", "hermes"),
        ("HICLAW_STORAGE_PROVIDER", "oss"),
    ];
    let mut environment = usual(&variables);
    environment
        .0
        .insert("HICLAW_CONTROLLER_URL".into(), "http://c".into());
    let settings = resolve(&options, &environment);
    assert_eq!(settings.worker, "flag");
    assert_eq!(
        settings.layout,
        LayoutChoice::File("/current/own.toml".into())
    );
    assert_eq!(settings.workspace, Path::new("/current/root/agents/flag"));
    let config = settings.store.s3_config();
    assert_eq!(config.endpoint.as_deref(), Some("http://flag:9"));
    assert_eq!(config.region.as_deref(), Some("eu-1"));
    let keys = config.keys.unwrap();
    assert_eq!(
        (keys.access_key.as_str(), keys.secret_key.expose()),
        ("fa", "fs")
    );
    assert_eq!(
        config.ca_certificate.as_deref(),
        Some(Path::new("/current/ca.pem"))
    );
    assert_eq!(settings.store.concurrency.get(), 3);
}

#[test]
fn a_file_of_variables_lies_over_the_environment() {
    let file = [
        ("HICLAW_WORKER_NAME".to_owned(), "dora".to_owned()),
        ("HICLAW_AUTH_TOKEN".to_owned(), "t".to_owned()),
    ];
    let settings =
        Settings::resolve(&GlobalOptions::default(), &Overlay::new(file, usual(&[]))).unwrap();
    assert_eq!(
        (settings.worker.as_str(), settings.store.bucket.as_str()),
        ("dora", "hiclaw-storage")
    );
}

#[test]
fn the_layouts_variables_are_filled_from_the_settings() {
    let settings = with(&[("HICLAW_CONTROLLER_URL", "http://c")]);
    let team = Team {
        name: Some("blue".into()),
        role: TeamRole::Leader,
    };
    let variables = settings.variables(&team);
    for (variable, expected) in [
        (Variable::Worker, Some("alice")),
        (Variable::Workspace, Some("/root/hiclaw-fs/agents/alice")),
        (Variable::Home, Some("/root/hiclaw-fs/agents/alice")),
        (Variable::Root, Some("/root/hiclaw-fs")),
        (Variable::Team, Some("blue")),
        (Variable::ConsolePort, Some("8088")),
        (Variable::FsEndpoint, Some("http://minio:9000")),
        (Variable::Bucket, Some("hiclaw-storage")),
        (Variable::StoragePrefix, Some("hiclaw/hiclaw-storage")),
        (Variable::ControllerUrl, Some("http://c")),
        (Variable::GatewayPort, None),
    ] {
        assert_eq!(variables.get(variable), expected, "{variable:?}");
    }
    assert_eq!(variables.role(), TeamRole::Leader);
    assert_eq!(settings.load_layout(&team).unwrap().mounts.len(), 3);
}

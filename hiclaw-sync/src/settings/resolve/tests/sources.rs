//! Where directories, keys and tokens come from.

use super::*;

#[test]
fn root_and_workspace_follow_from_each_other() {
    let places = |root: Option<&str>, workspace: Option<&str>, home: &str| {
        let options = GlobalOptions {
            root: root.map(PathBuf::from),
            workspace: workspace.map(PathBuf::from),
            ..GlobalOptions::default()
        };
        let settings = resolve(&options, &usual(&[("HOME", home)]));
        (
            settings.root.to_str().unwrap().to_owned(),
            settings.workspace.to_str().unwrap().to_owned(),
        )
    };
    for (root, workspace, home, expected) in [
        (
            None,
            None,
            "/root",
            ("/root/hiclaw-fs", "/root/hiclaw-fs/agents/alice"),
        ),
        (
            None,
            None,
            "",
            ("/root/hiclaw-fs", "/root/hiclaw-fs/agents/alice"),
        ),
        (
            None,
            None,
            "/data/agents/alice",
            ("/data", "/data/agents/alice"),
        ),
        (
            None,
            None,
            "/data/agents/alice/",
            ("/data", "/data/agents/alice"),
        ),
        (
            None,
            None,
            "/data/agents/bob",
            ("/root/hiclaw-fs", "/root/hiclaw-fs/agents/alice"),
        ),
        (
            None,
            None,
            "data/agents/alice",
            ("/root/hiclaw-fs", "/root/hiclaw-fs/agents/alice"),
        ),
        (
            Some("/r"),
            None,
            "/data/agents/alice",
            ("/r", "/r/agents/alice"),
        ),
        (
            None,
            Some("/w"),
            "/data/agents/alice",
            ("/root/hiclaw-fs", "/w"),
        ),
        (
            None,
            Some("/w/agents/alice"),
            "/data/agents/alice",
            ("/w", "/w/agents/alice"),
        ),
        (
            Some("/r"),
            Some("/w/agents/alice"),
            "",
            ("/r", "/w/agents/alice"),
        ),
        (
            Some("./a/../b/"),
            None,
            "",
            ("/current/b", "/current/b/agents/alice"),
        ),
    ] {
        let expected = (expected.0.to_owned(), expected.1.to_owned());
        assert_eq!(
            places(root, workspace, home),
            expected,
            "{root:?} {workspace:?} {home}"
        );
    }
}

#[test]
fn the_variable_of_the_root_is_the_option() {
    let root = |flag: Option<&str>, variables: &[(&str, &str)]| {
        let options = GlobalOptions {
            root: flag.map(PathBuf::from),
            ..GlobalOptions::default()
        };
        let settings = resolve(&options, &usual(variables));
        (settings.root, settings.workspace)
    };
    let expected = |root: &str| (root.into(), Path::new(root).join("agents/alice"));
    let home = ("HOME", "/data/agents/alice");
    let (old, new) = (("HICLAW_ROOT", "/old"), ("AGENTTEAMS_ROOT", "/new"));
    assert_eq!(root(None, &[home, new]), expected("/new"));
    assert_eq!(root(None, &[old, new]), expected("/old"));
    assert_eq!(root(Some("/r"), &[old]), expected("/r"));
}

#[test]
fn keys_come_from_where_the_settings_say() {
    let source = |variables: &[(&str, &str)]| {
        let mut environment = environment(&[
            ("HICLAW_WORKER_NAME", "alice"),
            ("HICLAW_FS_ENDPOINT", "http://s"),
        ]);
        environment.0.extend(self::environment(variables).0);
        resolve(&GlobalOptions::default(), &environment)
            .store
            .credentials
    };
    let controller = ("HICLAW_CONTROLLER_URL", "http://c");
    assert_eq!(source(&[("AWS_PROFILE", "dev")]), CredentialSource::Aws);
    assert_eq!(
        source(&[("AWS_ACCESS_KEY_ID", "x"), controller]),
        CredentialSource::Aws
    );
    assert_eq!(source(&[controller]), CredentialSource::Controller);
    assert_eq!(
        source(&[
            controller,
            ("HICLAW_RUNTIME", "aliyun"),
            ("AWS_REGION", "r")
        ]),
        CredentialSource::Controller
    );
    let keys = [("HICLAW_FS_ACCESS_KEY", "a"), ("HICLAW_FS_SECRET_KEY", "s")];
    assert!(matches!(
        source(&[keys[0], keys[1], controller]),
        CredentialSource::Static { .. }
    ));
    assert_eq!(
        source(&[
            keys[0],
            keys[1],
            controller,
            ("HICLAW_STORAGE_PROVIDER", "oss")
        ]),
        CredentialSource::Controller
    );
    let settings = resolve(
        &GlobalOptions::default(),
        &environment(&[
            ("HICLAW_WORKER_NAME", "a"),
            ("AWS_REGION", "r"),
            ("AWS_ENDPOINT_URL", "http://aws/"),
        ]),
    );
    assert_eq!(settings.store.endpoint.as_deref(), Some("http://aws"));
    assert_eq!(
        (settings.store.region.as_deref(), settings.store.credentials),
        (Some("r"), CredentialSource::Aws)
    );
}

#[test]
fn the_controllers_token_sources_are_in_the_contracts_order() {
    let settings = with(&[
        ("HICLAW_CONTROLLER_URL", "http://c"),
        ("HICLAW_WORKER_API_KEY", "third"),
        ("AGENTTEAMS_AUTH_TOKEN_FILE", "/token"),
        ("HICLAW_AUTH_TOKEN", "first"),
        ("HICLAW_WORKER_CR_NAME", "cr"),
    ]);
    let value = |text: &str| TokenSource::Value(Secret::new(text));
    let tokens = vec![
        value("first"),
        TokenSource::File("/token".into()),
        value("third"),
    ];
    let expected = Controller {
        url: "http://c".into(),
        worker: "cr".into(),
        tokens,
    };
    assert_eq!(settings.controller, Some(expected));
    assert_eq!(
        with(&[("HICLAW_CONTROLLER_URL", "http://c")])
            .controller
            .unwrap()
            .worker,
        "alice"
    );
}

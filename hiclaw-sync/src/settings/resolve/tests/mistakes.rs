//! All mistakes are named at once, and no secret is shown.

use super::*;

fn mistakes(options: &GlobalOptions, environment: &Fake) -> Vec<String> {
    let error = Settings::resolve(options, environment).unwrap_err();
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
    error.mistakes().iter().map(ToString::to_string).collect()
}

#[test]
fn all_that_is_missing_is_named_in_one_message() {
    assert_eq!(
        mistakes(&GlobalOptions::default(), &environment(&[])),
        [
            "HICLAW_WORKER_NAME or --worker: is missing: the agent's name",
            "HICLAW_FS_ENDPOINT or --endpoint: is missing: the URL of the store",
            "HICLAW_FS_ACCESS_KEY or --access-key: is missing (or set AWS_PROFILE or another AWS variable to use the standard AWS sources)",
            "HICLAW_FS_SECRET_KEY or --secret-key: is missing",
        ]
    );
    let half = environment(&[
        ("HICLAW_WORKER_NAME", "a"),
        ("HICLAW_FS_ENDPOINT", "s"),
        ("HICLAW_FS_ACCESS_KEY", "hunter2"),
    ]);
    assert_eq!(
        mistakes(&GlobalOptions::default(), &half),
        ["HICLAW_FS_SECRET_KEY or --secret-key: is missing, but the access key is set"]
    );
}

#[test]
fn all_that_is_malformed_is_named_in_one_message() {
    let environment = usual(&[
        ("HICLAW_WORKER_NAME", "a/b"),
        ("AGENTTEAMS_STORAGE_PROVIDER", "azure"),
        ("HICLAW_FS_ENDPOINT", "http://me:hunter2@minio"),
        ("HICLAW_FS_BUCKET", "a b"),
        ("HICLAW_STORAGE_PREFIX", "no-slash"),
        ("HICLAW_RUNTIME", "vm"),
        ("HICLAW_CONTROLLER_URL", "ftp://c"),
        ("HICLAW_MATRIX_URL", "http://"),
        ("HICLAW_CONSOLE_PORT", "0"),
        ("HICLAW_MATRIX_DEBUG", "maybe"),
        ("HICLAW_WORKER_ENV_MOUNT_DIR", "/env"),
        ("HICLAW_WORKER_ENV_MOUNT_TIMEOUT_SECONDS", "long"),
        ("HICLAW_WORKER_ENV_MOUNT_REQUIRED", "si"),
    ]);
    let found = mistakes(&GlobalOptions::default(), &environment);
    let names: Vec<_> = found
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "HICLAW_WORKER_NAME",
            "HICLAW_CONTROLLER_URL",
            "AGENTTEAMS_STORAGE_PROVIDER",
            "HICLAW_FS_ENDPOINT",
            "HICLAW_FS_BUCKET",
            "HICLAW_STORAGE_PREFIX",
            "HICLAW_RUNTIME",
            "HICLAW_MATRIX_URL",
            "HICLAW_MATRIX_DEBUG",
            "HICLAW_WORKER_ENV_MOUNT_REQUIRED",
            "HICLAW_WORKER_ENV_MOUNT_TIMEOUT_SECONDS",
            "HICLAW_CONSOLE_PORT",
        ]
    );
    for name in ["..", ".", "a\u{0}b", "../x", &"x".repeat(256)] {
        let options = GlobalOptions {
            worker: Some(name.to_owned()),
            ..GlobalOptions::default()
        };
        assert!(
            mistakes(&options, &usual(&[]))[0].starts_with("--worker: "),
            "{name}"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_utf_8_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut environment = usual(&[]);
    environment
        .0
        .insert("HICLAW_FS_BUCKET".into(), OsString::from_vec(vec![0xff]));
    assert_eq!(
        mistakes(&GlobalOptions::default(), &environment),
        ["HICLAW_FS_BUCKET: is no valid UTF-8"]
    );
}

#[test]
fn a_relative_path_needs_a_current_directory() {
    let nowhere = |name: &str| usual(&[]).variable(name);
    let options = GlobalOptions {
        root: Some("here".into()),
        ..GlobalOptions::default()
    };
    let error = Settings::resolve(&options, &nowhere)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "--root: must be an absolute path");
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let settings = with(&[
        ("HICLAW_CONTROLLER_URL", "http://c"),
        ("HICLAW_AUTH_TOKEN", "hunter2"),
        ("HICLAW_WORKER_API_KEY", "hunter2"),
        ("HICLAW_FS_SESSION_TOKEN", "hunter2"),
        ("HICLAW_CMS_TRACES_ENABLED", "true"),
        ("HICLAW_CMS_LICENSE_KEY", "hunter2"),
        ("HICLAW_CMS_ENDPOINT", "http://traces"),
    ]);
    let json = settings.redacted();
    let all = format!("{settings} {settings:?} {json}");
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(json["credentials"]["secret_key"], "[redacted]");
    assert_eq!(json["credentials"]["session_token"], "[redacted]");
    assert_eq!(json["traces"]["license_key"], "[redacted]");
    assert_eq!(json["traces"]["endpoint"], "http://traces");
    assert!(
        settings.to_string().contains("credentials.secret_key  "),
        "{settings}"
    );
    assert_eq!(
        with(&[]).redacted()["credentials"]["session_token"],
        serde_json::Value::Null
    );
}

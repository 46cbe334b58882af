//! The environment of the runtime and of the commands beside it.
//!
//! Owns which variables are added: what the agent's own skills need to reach the bucket with `mc`, where the runtime sends
//! traces, and what the layout says.
//! Never changes the environment of this process.

mod traces;

use std::{collections::BTreeMap, ffi::OsString};

use hiclaw_sync::settings::{CredentialSource, Settings, Toggle};
use sync_core::{
    layout::{RuntimeSpec, StoreKeys},
    secret::Secret,
};

/// A whole environment.
pub type Variables = BTreeMap<OsString, OsString>;

/// Prefixes of the family's variables; agents' scripts read either.
const PREFIXES: [&str; 2] = ["HICLAW_", "AGENTTEAMS_"];

/// What a runtime is told that wants keys of the store although others are used, which expire or are found elsewhere: the
/// programs of the family take them from `MC_HOST_…` then, but insist on being given some.
const NO_KEYS: &str = "unused";

/// What `inherited` becomes for the runtime: the family's variables are added, and the layout's win over everything but
/// for its defaults, which win over nothing.
#[must_use]
pub fn of_runtime(inherited: Variables, settings: &Settings, layout: &RuntimeSpec) -> Variables {
    let mut variables = inherited;
    for prefix in PREFIXES {
        variables.insert(
            format!("{prefix}STORAGE_PREFIX").into(),
            settings.storage_prefix.clone().into(),
        );
    }
    if let Some((name, value)) = mc_host(settings) {
        variables.insert(name.into(), value.expose().into());
    }
    if settings.matrix_debug == Toggle::On {
        variables.insert("OPENCLAW_MATRIX_DEBUG".into(), "1".into());
    }
    if let Some(traces) = &settings.traces {
        variables.extend(traces::variables(traces, settings));
    }
    let keys = store_keys(settings);
    let filled = |(name, value): (&String, &String)| {
        let value = keys.fill(value).expose().to_owned();
        (OsString::from(name), OsString::from(value))
    };
    variables.extend(layout.env.iter().map(filled));
    for (name, value) in layout.default_env.iter().map(filled) {
        let there = variables.entry(name).or_default();
        if there.is_empty() {
            *there = value;
        }
    }
    variables
}

/// The keys for a runtime that wants them.
#[must_use]
pub fn store_keys(settings: &Settings) -> StoreKeys {
    match &settings.store.credentials {
        CredentialSource::Static {
            access_key,
            secret_key,
            session_token: _,
        } => StoreKeys::new(access_key.clone(), secret_key.clone()),
        CredentialSource::Controller | CredentialSource::Aws => {
            StoreKeys::new(Secret::new(NO_KEYS), Secret::new(NO_KEYS))
        }
    }
}

/// The store as `mc` takes it from its environment. Keys stand in it as they are: `mc` splits at the last `@` and decodes
/// nothing.
fn mc_host(settings: &Settings) -> Option<(String, Secret)> {
    let CredentialSource::Static {
        access_key,
        secret_key,
        session_token,
    } = &settings.store.credentials
    else {
        return None;
    };
    let (scheme, host) = settings.store.endpoint.as_deref()?.split_once("://")?;
    let token = session_token
        .as_ref()
        .map(|token| format!(":{}", token.expose()))
        .unwrap_or_default();
    let url = format!(
        "{scheme}://{}:{}{token}@{host}",
        access_key.expose(),
        secret_key.expose()
    );
    Some((format!("MC_HOST_{}", settings.alias), Secret::new(url)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hiclaw_sync::settings::GlobalOptions;
    use sync_core::layout::Restart;

    use super::*;

    fn settings(more: &[(&str, &str)]) -> Settings {
        let mut given = BTreeMap::from([
            ("HICLAW_WORKER_NAME", "alice"),
            ("HICLAW_FS_ENDPOINT", "http://minio:9000"),
            ("HICLAW_FS_ACCESS_KEY", "AK/+="),
            ("HICLAW_FS_SECRET_KEY", "s@cr%et"),
        ]);
        given.extend(more.iter().copied());
        let lookup = move |name: &str| given.get(name).map(OsString::from);
        Settings::resolve(&GlobalOptions::default(), &lookup).unwrap()
    }

    /// A runtime with these variables and these defaults.
    fn runtime(env: &[(&str, &str)], default_env: &[(&str, &str)]) -> RuntimeSpec {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().copied();
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        RuntimeSpec {
            command: vec!["x".to_owned()],
            cwd: "/".into(),
            env: map(env),
            default_env: map(default_env),
            restart: Restart::Never,
            stop_grace: Duration::ZERO,
            crash_limit: None,
        }
    }

    fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
        variables
            .get(&OsString::from(name))
            .map(|value| value.to_str().unwrap())
    }

    #[test]
    fn agents_reach_the_bucket_with_mc() {
        let variables = of_runtime(Variables::new(), &settings(&[]), &runtime(&[], &[]));
        assert_eq!(
            value(&variables, "MC_HOST_hiclaw"),
            Some("http://AK/+=:s@cr%et@minio:9000")
        );
        for name in ["HICLAW_STORAGE_PREFIX", "AGENTTEAMS_STORAGE_PREFIX"] {
            assert_eq!(value(&variables, name), Some("hiclaw/hiclaw-storage"));
        }
        assert_eq!(value(&variables, "OPENCLAW_MATRIX_DEBUG"), None);
    }

    #[test]
    fn the_layout_wins_and_the_rest_is_inherited() {
        let inherited =
            Variables::from([("HOME".into(), "/root".into()), ("LANG".into(), "C".into())]);
        let variables = of_runtime(
            inherited,
            &settings(&[("HICLAW_MATRIX_DEBUG", "1")]),
            &runtime(&[("HOME", "/work")], &[]),
        );
        assert_eq!(value(&variables, "HOME"), Some("/work"));
        assert_eq!(value(&variables, "LANG"), Some("C"));
        assert_eq!(value(&variables, "OPENCLAW_MATRIX_DEBUG"), Some("1"));
    }

    #[test]
    fn defaults_are_for_variables_that_are_absent_or_empty() {
        let inherited = Variables::from([("SET".into(), "x".into()), ("EMPTY".into(), "".into())]);
        let defaults = [("SET", "d"), ("EMPTY", "d"), ("ABSENT", "d"), ("BOTH", "d")];
        let runtime = runtime(&[("BOTH", "layout")], &defaults);
        let variables = of_runtime(inherited, &settings(&[]), &runtime);
        for (name, expected) in [
            ("SET", "x"),
            ("EMPTY", "d"),
            ("ABSENT", "d"),
            ("BOTH", "layout"),
        ] {
            assert_eq!(value(&variables, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn keys_are_put_in_where_the_layout_names_them() {
        let runtime = runtime(&[("KEYS", "{fs_access_key}:{fs_secret_key}")], &[]);
        let inherited = Variables::from([("MINE".into(), "{fs_secret_key}".into())]);
        let variables = of_runtime(inherited.clone(), &settings(&[]), &runtime);
        assert_eq!(value(&variables, "KEYS"), Some("AK/+=:s@cr%et"));
        assert_eq!(
            value(&variables, "MINE"),
            Some("{fs_secret_key}"),
            "not the layout's"
        );

        let aws = [
            ("HICLAW_FS_ACCESS_KEY", ""),
            ("HICLAW_FS_SECRET_KEY", ""),
            ("AWS_PROFILE", "p"),
        ];
        let variables = of_runtime(inherited, &settings(&aws), &runtime);
        assert_eq!(value(&variables, "KEYS"), Some("unused:unused"));
    }
}

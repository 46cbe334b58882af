//! The environment of the runtime and of the commands beside it.
//!
//! Owns which variables are added: what the agent's own skills need to reach the bucket with `mc`, and what the layout says.
//! Never changes the environment of this process.

use std::{collections::BTreeMap, ffi::OsString};

use hiclaw_sync::settings::{CredentialSource, Settings, Toggle};
use sync_core::secret::Secret;

/// A whole environment.
pub type Variables = BTreeMap<OsString, OsString>;

/// Prefixes of the family's variables; agents' scripts read either.
const PREFIXES: [&str; 2] = ["HICLAW_", "AGENTTEAMS_"];

/// What `inherited` becomes for the runtime: the family's variables are added, and the layout's win over everything.
#[must_use]
pub fn of_runtime(
    inherited: Variables,
    settings: &Settings,
    layout: &BTreeMap<String, String>,
) -> Variables {
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
    variables.extend(
        layout
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    variables
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
    use hiclaw_sync::settings::GlobalOptions;

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

    fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
        variables
            .get(&OsString::from(name))
            .map(|value| value.to_str().unwrap())
    }

    #[test]
    fn agents_reach_the_bucket_with_mc() {
        let variables = of_runtime(Variables::new(), &settings(&[]), &BTreeMap::new());
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
        let layout = BTreeMap::from([("HOME".to_owned(), "/work".to_owned())]);
        let variables = of_runtime(
            inherited,
            &settings(&[("HICLAW_MATRIX_DEBUG", "1")]),
            &layout,
        );
        assert_eq!(value(&variables, "HOME"), Some("/work"));
        assert_eq!(value(&variables, "LANG"), Some("C"));
        assert_eq!(value(&variables, "OPENCLAW_MATRIX_DEBUG"), Some("1"));
    }
}

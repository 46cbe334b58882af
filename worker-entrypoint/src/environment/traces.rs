//! Where the runtime sends its traces, in the variables of OpenTelemetry.
//!
//! Owns their form. The licence key is a secret and goes into the runtime's environment only.

use std::ffi::OsString;

use hiclaw_sync::settings::{Settings, Traces};

/// Makes the family's Python images load their exporter, quietly.
const PYTHON_BOOTSTRAP: [(&str, &str); 2] = [
    ("LOONGSUITE_PYTHON_SITE_BOOTSTRAP", "true"),
    ("LOONGSUITE_PYTHON_SITE_BOOTSTRAP_LOG_SUCCESS", "false"),
];

/// The variables; none, and a warning, when nobody says where traces go.
pub(super) fn variables(traces: &Traces, settings: &Settings) -> Vec<(OsString, OsString)> {
    let Some(endpoint) = &traces.endpoint else {
        tracing::warn!("traces are switched on, but no CMS_ENDPOINT is set; none are sent");
        return Vec::new();
    };
    let service = traces
        .service_name
        .clone()
        .unwrap_or_else(|| format!("{}-worker-{}", settings.generation.alias(), settings.worker));
    let own = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.clone()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers(traces)),
        ("OTEL_SERVICE_NAME", service),
    ];
    let bootstrap = PYTHON_BOOTSTRAP.map(|(name, value)| (name, value.to_owned()));
    let variables = own.into_iter().chain(bootstrap);
    variables
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// `name=value` joined by commas, for what is set.
fn headers(traces: &Traces) -> String {
    let values = [
        (
            "x-arms-license-key",
            traces
                .license_key
                .as_ref()
                .map(sync_core::secret::Secret::expose),
        ),
        ("x-arms-project", traces.project.as_deref()),
        ("x-cms-workspace", traces.workspace.as_deref()),
    ];
    let set = values
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value?))));
    set.collect::<Vec<_>>().join(",")
}

/// A value that can't be taken for the end of itself: exporters decode percent signs.
fn encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            ',' => encoded.push_str("%2C"),
            '%' => encoded.push_str("%25"),
            other => encoded.push(other),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hiclaw_sync::settings::GlobalOptions;

    use super::*;

    fn of(more: &[(&'static str, &'static str)]) -> BTreeMap<String, String> {
        let mut given = BTreeMap::from([
            ("HICLAW_WORKER_NAME", "alice"),
            ("HICLAW_FS_ENDPOINT", "http://minio:9000"),
            ("HICLAW_FS_ACCESS_KEY", "a"),
            ("HICLAW_FS_SECRET_KEY", "s"),
            ("HICLAW_CMS_TRACES_ENABLED", "true"),
        ]);
        given.extend(more.iter().copied());
        let lookup = move |name: &str| given.get(name).map(OsString::from);
        let settings = Settings::resolve(&GlobalOptions::default(), &lookup).unwrap();
        let variables = variables(settings.traces.as_ref().unwrap(), &settings);
        let text = |value: OsString| value.into_string().unwrap();
        variables
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn traces_go_where_the_settings_say() {
        let found = of(&[
            ("HICLAW_CMS_ENDPOINT", "http://collector:4318"),
            ("HICLAW_CMS_LICENSE_KEY", "k@1,2%"),
            ("HICLAW_CMS_PROJECT", "p"),
            ("HICLAW_CMS_WORKSPACE", "w"),
            ("HICLAW_CMS_SERVICE_NAME", "s"),
        ]);
        assert_eq!(
            found["OTEL_EXPORTER_OTLP_ENDPOINT"],
            "http://collector:4318"
        );
        assert_eq!(found["OTEL_EXPORTER_OTLP_PROTOCOL"], "http/protobuf");
        assert_eq!(
            found["OTEL_EXPORTER_OTLP_HEADERS"],
            "x-arms-license-key=k@1%2C2%25,x-arms-project=p,x-cms-workspace=w"
        );
        assert_eq!(found["OTEL_SERVICE_NAME"], "s");
        assert_eq!(found["LOONGSUITE_PYTHON_SITE_BOOTSTRAP"], "true");
    }

    #[test]
    fn what_is_not_set_is_left_out_and_the_service_has_a_name_of_its_own() {
        let found = of(&[("HICLAW_CMS_ENDPOINT", "http://collector:4318")]);
        assert_eq!(found["OTEL_SERVICE_NAME"], "hiclaw-worker-alice");
        assert!(
            !found.contains_key("OTEL_EXPORTER_OTLP_HEADERS"),
            "{found:?}"
        );
        assert!(of(&[]).is_empty());
    }
}

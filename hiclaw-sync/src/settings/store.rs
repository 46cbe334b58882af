//! The settings that reach the store; enough for commands that need no worker.
//!
//! Owns where the bucket is and which credentials are used. Never opens a connection.

use std::{num::NonZeroUsize, path::PathBuf};

use sync_core::{
    secret::Secret,
    store::s3::{Addressing, Keys, S3Config},
};

use super::{
    environment::Environment,
    lookup::{Lookup, SettingsError},
    options::{GlobalOptions, PathStyle},
    values::{Deployment, Provider, base_url},
};

/// Transfers at the same time where nothing says how many: small files are waited for one round trip each, so a distant
/// store gives as many files per round trip.
const DEFAULT_CONCURRENCY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);
const DEFAULT_BUCKET: &str = "hiclaw-storage";
/// Variables that tell that the standard AWS sources are meant to be used.
const AWS_VARIABLES: [&str; 10] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];

/// Where the bucket is and how to get in.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Base URL without a `/` at the end; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// Whether it was named, or is the default that a controller's answer replaces.
    pub bucket_origin: Origin,
    /// The region to sign for, if one is named.
    pub region: Option<String>,
    /// Whose keys are used.
    pub credentials: CredentialSource,
    /// Whether the bucket is part of the URL's path.
    pub path_style: PathStyle,
    /// PEM file of certificates to trust beside the system's.
    pub ca_certificate: Option<PathBuf>,
    /// Transfers at the same time.
    pub concurrency: NonZeroUsize,
    /// What kind of store it is.
    pub provider: Provider,
}

/// Whether a setting was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By an option or a variable.
    Given,
    /// It is the default.
    Default,
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// From the settings.
    Static {
        /// Access key.
        access_key: Secret,
        /// Secret key.
        secret_key: Secret,
        /// Session token of temporary keys.
        session_token: Option<Secret>,
    },
    /// From the controller; they expire.
    Controller,
    /// From the standard AWS variables, profiles and services.
    Aws,
}

impl StoreSettings {
    /// Resolves the settings of the store alone: `mirror`, `ls` and the like need no worker. All mistakes in one error.
    pub fn resolve(
        options: &GlobalOptions,
        environment: &dyn Environment,
    ) -> Result<Self, SettingsError> {
        let lookup = Lookup::new(environment);
        let controller = lookup.text("CONTROLLER_URL").is_some();
        let store = store(&lookup, options, controller);
        lookup.finish()?;
        Ok(store)
    }

    /// The same in the engine's words. Keys of the controller are put in by [`Worker::connect`](crate::worker::Worker::connect).
    #[must_use]
    pub fn s3_config(&self) -> S3Config {
        let keys = match &self.credentials {
            CredentialSource::Static {
                access_key,
                secret_key,
                session_token,
            } => Some(Keys {
                access_key: access_key.expose().to_owned(),
                secret_key: secret_key.clone(),
                session_token: session_token.clone(),
            }),
            CredentialSource::Controller | CredentialSource::Aws => None,
        };
        let addressing = match self.path_style {
            PathStyle::Auto => Addressing::Auto,
            PathStyle::Always => Addressing::Path,
            PathStyle::Never => Addressing::VirtualHost,
        };
        S3Config {
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            keys,
            key_source: None,
            addressing,
            ca_certificate: self.ca_certificate.clone(),
        }
    }
}

/// Reads everything about the store; mistakes are noted in `lookup`. `controller` tells whether there is one.
pub(super) fn store(
    lookup: &Lookup<'_>,
    options: &GlobalOptions,
    controller: bool,
) -> StoreSettings {
    let provider = provider(lookup);
    let endpoint = endpoint(lookup, options);
    let region = options.region.clone().or_else(|| {
        let found = lookup.plain("AWS_REGION");
        let found = found.or_else(|| lookup.plain("AWS_DEFAULT_REGION"));
        found.map(|found| found.value)
    });
    let ca_certificate = options
        .ca_cert
        .as_ref()
        .and_then(|path| lookup.absolute("--ca-cert", path));
    let given = Circumstances {
        provider,
        controller,
        endpoint: endpoint.is_some(),
    };
    let bucket = bucket(lookup, options);
    StoreSettings {
        credentials: credentials(lookup, options, &given),
        bucket_origin: if bucket.is_some() {
            Origin::Given
        } else {
            Origin::Default
        },
        bucket: bucket.unwrap_or_else(|| DEFAULT_BUCKET.to_owned()),
        endpoint,
        region,
        path_style: options.path_style.unwrap_or_default(),
        ca_certificate,
        concurrency: options.concurrency.unwrap_or(DEFAULT_CONCURRENCY),
        provider,
    }
}

fn provider(lookup: &Lookup<'_>) -> Provider {
    let provider = lookup.parsed(lookup.prefixed("STORAGE_PROVIDER"), |text| match text {
        "minio" => Ok(Provider::Minio),
        "oss" => Ok(Provider::Oss),
        _ => Err(format!("is \"{text}\"; it must be `minio` or `oss`")),
    });
    provider.unwrap_or(Provider::Minio)
}

/// Where the deployment runs, if it says so.
pub(super) fn deployment(lookup: &Lookup<'_>) -> Option<Deployment> {
    lookup.parsed(lookup.prefixed("RUNTIME"), |text| match text {
        "docker" => Ok(Deployment::Docker),
        "k8s" => Ok(Deployment::Kubernetes),
        "aliyun" => Ok(Deployment::Aliyun),
        "none" => Ok(Deployment::None),
        _ => Err(format!(
            "is \"{text}\"; it must be `docker`, `k8s`, `aliyun` or `none`"
        )),
    })
}

fn endpoint(lookup: &Lookup<'_>, options: &GlobalOptions) -> Option<String> {
    if let Some(text) = &options.endpoint {
        return base_url(text, "http")
            .map_err(|message| lookup.mistake("--endpoint", message))
            .ok();
    }
    let aws = || {
        lookup
            .plain("AWS_ENDPOINT_URL_S3")
            .or_else(|| lookup.plain("AWS_ENDPOINT_URL"))
    };
    lookup.parsed(lookup.prefixed("FS_ENDPOINT").or_else(aws), |text| {
        base_url(text, "http")
    })
}

fn bucket(lookup: &Lookup<'_>, options: &GlobalOptions) -> Option<String> {
    if let Some(bucket) = &options.bucket {
        check_bucket(bucket).unwrap_or_else(|message| lookup.mistake("--bucket", message));
        return Some(bucket.clone());
    }
    let own = lookup
        .prefixed("FS_BUCKET")
        .or_else(|| lookup.plain("HICLAW_OSS_BUCKET"));
    let own = lookup.parsed(own, |text| check_bucket(text).map(|()| text.to_owned()));
    own.or_else(|| storage_prefix(lookup).map(|prefix| prefix.bucket))
}

fn check_bucket(text: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !text.is_empty() && text.len() <= 63 && text.bytes().all(good) {
        return Ok(());
    }
    Err(format!(
        "is \"{text}\", which is no name of a bucket: up to 63 letters, digits, `-` and `.`"
    ))
}

/// `P_STORAGE_PREFIX`, taken apart.
pub(super) struct StoragePrefix {
    pub(super) whole: String,
    pub(super) alias: String,
    pub(super) bucket: String,
}

/// Reads `P_STORAGE_PREFIX`.
pub(super) fn storage_prefix(lookup: &Lookup<'_>) -> Option<StoragePrefix> {
    lookup.parsed(lookup.prefixed("STORAGE_PREFIX"), parse_storage_prefix)
}

fn parse_storage_prefix(text: &str) -> Result<StoragePrefix, String> {
    let whole = text.trim_end_matches('/');
    let parts: Vec<_> = whole.split('/').collect();
    match (parts.first(), parts.last()) {
        (Some(alias), Some(bucket))
            if parts.len() >= 2 && !alias.is_empty() && check_bucket(bucket).is_ok() =>
        {
            Ok(StoragePrefix {
                whole: whole.to_owned(),
                alias: (*alias).to_owned(),
                bucket: (*bucket).to_owned(),
            })
        }
        _ => Err(format!(
            "is \"{text}\"; it must be <alias>/<bucket>, as `mc` takes it"
        )),
    }
}

/// What decides where keys may come from.
struct Circumstances {
    provider: Provider,
    controller: bool,
    endpoint: bool,
}

/// Keys on the command line win over everything, then come the controller's where they are mandatory, keys of the
/// environment, and whatever else there is a hint of.
fn credentials(
    lookup: &Lookup<'_>,
    options: &GlobalOptions,
    given: &Circumstances,
) -> CredentialSource {
    let flags = options.access_key.is_some() && options.secret_key.is_some();
    if given.provider == Provider::Oss && !flags {
        if !given.controller {
            let message = "is missing: with storage provider `oss` keys come from the controller";
            lookup.mistake("HICLAW_CONTROLLER_URL", message);
        }
        return CredentialSource::Controller;
    }
    let access_key = options.access_key.clone();
    let secret_key = options.secret_key.clone();
    match (
        access_key.or_else(|| lookup.secret("FS_ACCESS_KEY")),
        secret_key.or_else(|| lookup.secret("FS_SECRET_KEY")),
    ) {
        (Some(access_key), Some(secret_key)) => {
            let hint = |name: &&str| lookup.plain(name).is_some();
            let absent = options.endpoint.is_none() && lookup.text("FS_ENDPOINT").is_none();
            if absent
                && !given.endpoint
                && options.region.is_none()
                && !AWS_VARIABLES.iter().any(hint)
            {
                lookup.mistake(
                    "HICLAW_FS_ENDPOINT or --endpoint",
                    "is missing: the store's URL",
                );
            }
            CredentialSource::Static {
                access_key,
                secret_key,
                // A token belongs to the keys that it came with.
                session_token: lookup.secret("FS_SESSION_TOKEN").filter(|_| !flags),
            }
        }
        (None, None) => without_keys(lookup, options, given),
        (access_key, _) => {
            let (name, other) = match access_key {
                Some(_) => ("HICLAW_FS_SECRET_KEY or --secret-key", "the access key"),
                None => ("HICLAW_FS_ACCESS_KEY or --access-key", "the secret key"),
            };
            lookup.mistake(name, format!("is missing, but {other} is set"));
            CredentialSource::Aws
        }
    }
}

/// Where keys come from when the settings hold none.
fn without_keys(
    lookup: &Lookup<'_>,
    options: &GlobalOptions,
    given: &Circumstances,
) -> CredentialSource {
    let hint = |name: &&str| lookup.plain(name).is_some();
    let aws = options.region.is_some() || AWS_VARIABLES.iter().any(hint);
    let cloud = deployment(lookup) == Some(Deployment::Aliyun);
    if given.controller && (cloud || !aws) {
        return CredentialSource::Controller;
    }
    if !aws {
        nothing_tells(lookup, given);
    }
    CredentialSource::Aws
}

/// No keys and no hint where they might be: asking the instance's metadata service would only make the error late.
fn nothing_tells(lookup: &Lookup<'_>, given: &Circumstances) {
    if !given.endpoint {
        lookup.mistake(
            "HICLAW_FS_ENDPOINT or --endpoint",
            "is missing: the URL of the store",
        );
    }
    let otherwise = "(or set AWS_PROFILE or another AWS variable to use the standard AWS sources)";
    lookup.mistake(
        "HICLAW_FS_ACCESS_KEY or --access-key",
        format!("is missing {otherwise}"),
    );
    lookup.mistake("HICLAW_FS_SECRET_KEY or --secret-key", "is missing");
}

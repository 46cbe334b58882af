//! How to reach a store: endpoint, keys, addressing, certificates, time limits.

use std::{path::PathBuf, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{
        IdentityCache, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
        StalledStreamProtectionConfig,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};

use super::{
    clock::SharedClock,
    keys::{FreshKeys, KeySource},
};
use crate::{
    secret::Secret,
    store::{StoreError, StoreErrorKind},
};

/// Long enough for a distant store, short enough that a dead one is noticed before a person gives up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may wait for its answer to begin.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How buckets are addressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addressing {
    /// Path style, but for AWS and Aliyun endpoints, which want virtual hosts.
    #[default]
    Auto,
    /// `https://host/bucket/key`.
    Path,
    /// `https://bucket.host/key`.
    VirtualHost,
}

/// Where a bucket is and how to get in.
#[derive(Debug, Clone, Default)]
pub struct S3Config {
    /// Base URL with scheme; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// Bucket name.
    pub bucket: String,
    /// Region to sign for; the SDK's sources, then `us-east-1`, when absent.
    pub region: Option<String>,
    /// Access key, secret key, session token. Absent: the standard AWS variables and profiles.
    pub keys: Option<Keys>,
    /// Where temporary keys come from; wins over `keys`.
    pub key_source: Option<Arc<dyn KeySource>>,
    /// Path or virtual-host style.
    pub addressing: Addressing,
    /// PEM file of certificates to trust beside the system's.
    pub ca_certificate: Option<PathBuf>,
}

/// Static credentials.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
}

impl S3Config {
    /// True when nobody else has to be asked for keys.
    fn has_keys(&self) -> bool {
        self.keys.is_some() || self.key_source.is_some()
    }

    fn wants_path_style(&self) -> bool {
        match self.addressing {
            Addressing::Path => true,
            Addressing::VirtualHost => false,
            Addressing::Auto => self.endpoint.as_deref().is_some_and(|endpoint| {
                !["amazonaws.com", "aliyuncs.com"]
                    .iter()
                    .any(|domain| endpoint.contains(domain))
            }),
        }
    }
}

/// The SDK's clients; they share their connections.
pub(super) struct Clients {
    /// For everything whose answer begins soon.
    pub(super) requests: Client,
    /// For uploads: the SDK counts the time that sending takes as waiting for the answer, so each of them brings a limit of
    /// its own ([`upload_limit`]).
    pub(super) uploads: Client,
    /// For the stream of events, which is quiet for most of the time: whoever reads it has deadlines and retries.
    pub(super) listens: Client,
    /// What the answers to both say of the store's clock.
    pub(super) clock: SharedClock,
}

/// Slower than this nothing is sent any more, in bytes a second.
const SLOWEST_UPLOAD: u64 = 32 * 1024;

/// How long one try of sending so many bytes may take until it is answered. The SDK's protection against stalled streams ends
/// with the last byte: a store that takes a body and never answers would hold up everything behind it.
pub(super) fn upload_limit(size_bytes: u64) -> aws_sdk_s3::config::Builder {
    let limit = READ_TIMEOUT + Duration::from_secs(size_bytes / SLOWEST_UPLOAD);
    aws_sdk_s3::config::Builder::new().timeout_config(
        TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(limit)
            .build(),
    )
}

/// Makes the SDK's clients.
pub(super) async fn clients(config: &S3Config) -> Result<Clients, StoreError> {
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).http_client(http_client(config)?);
    let fresh = config.key_source.clone().map(FreshKeys::new);
    // With credentials and region given the SDK reads neither profiles nor instance metadata.
    if let Some(fresh) = &fresh {
        loader = loader
            .credentials_provider(fresh.clone())
            .identity_cache(IdentityCache::no_cache());
    } else if let Some(keys) = &config.keys {
        loader = loader.credentials_provider(keys.clone().into_credentials("settings"));
    }
    if config.has_keys() || config.region.is_some() {
        let region = config
            .region
            .clone()
            .unwrap_or_else(|| "us-east-1".to_owned());
        loader = loader.region(Region::new(region));
    }
    let shared = loader.load().await;
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(config.wants_path_style())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(3)
                .with_max_backoff(Duration::from_secs(5)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .build(),
        );
    if let Some(fresh) = fresh {
        builder = builder.retry_classifier(fresh);
    }
    if shared.region().is_none() {
        builder = builder.region(Region::new("us-east-1"));
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    let clock = SharedClock::default();
    builder = builder.interceptor(clock.clone());
    let uploads = builder.clone().timeout_config(
        TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build(),
    );
    let listens = uploads
        .clone()
        // Once, for keys that are over: the next try takes new ones.
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Ok(Clients {
        requests: Client::from_conf(builder.build()),
        uploads: Client::from_conf(uploads.build()),
        listens: Client::from_conf(listens.build()),
        clock,
    })
}

/// Plain HTTP where the endpoint says so: reading the system's certificates takes longer than a small pull.
fn http_client(config: &S3Config) -> Result<SharedHttpClient, StoreError> {
    if config
        .endpoint
        .as_deref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"))
        // Without keys the same client asks for them, and those who issue keys speak TLS.
        && config.has_keys()
    {
        return Ok(Builder::new().pool_max_idle_per_host(64).build_http());
    }
    let mut trusted = TrustStore::empty().with_native_roots(true);
    if let Some(path) = &config.ca_certificate {
        let pem = std::fs::read(path).map_err(|error| certificate_error(path, error.into()))?;
        trusted = trusted.with_pem_certificate(pem);
    }
    let context = TlsContext::builder()
        .with_trust_store(trusted)
        .build()
        .map_err(|error| match &config.ca_certificate {
            Some(path) => certificate_error(path, error.into()),
            None => StoreError::new("TLS", "", StoreErrorKind::Other, error.to_string()),
        })?;
    Ok(Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}

fn certificate_error(
    path: &std::path::Path,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> StoreError {
    let mut error = StoreError::new(
        "read certificates",
        &path.display().to_string(),
        StoreErrorKind::Other,
        "check --ca-cert",
    );
    error.source = Some(source);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_aws_and_aliyun_are_addressed_by_host_and_all_others_by_path() {
        let wants = |endpoint: &str| {
            S3Config {
                endpoint: Some(endpoint.to_owned()),
                ..S3Config::default()
            }
            .wants_path_style()
        };
        assert!(wants("http://127.0.0.1:9000"));
        assert!(!wants("https://oss-cn-hangzhou.aliyuncs.com"));
        assert!(!wants("https://s3.eu-west-1.amazonaws.com"));
        assert!(!S3Config::default().wants_path_style());
    }

    #[test]
    fn the_limit_of_an_upload_grows_with_its_size() {
        let limit = |size_bytes| {
            let config = upload_limit(size_bytes).build();
            config
                .timeout_config()
                .and_then(TimeoutConfig::operation_attempt_timeout)
                .unwrap()
        };
        assert_eq!(limit(0), READ_TIMEOUT);
        assert_eq!(limit(32 * 1024 * 60), READ_TIMEOUT + Duration::from_mins(1));
    }
}

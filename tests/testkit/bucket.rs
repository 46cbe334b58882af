//! A bucket as a test sees it: through the plain SDK client, sharing nothing with the engine.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::{Client, Config};
use bytes::Bytes;

/// One bucket of a store, existing or not.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
    endpoint: String,
    access_key: String,
    secret_key: String,
}

/// What is known of an object without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The `ETag`, with its quotes.
    pub etag: String,
    /// Size of the content.
    pub size_bytes: u64,
    /// User metadata, without `x-amz-meta-`.
    pub metadata: HashMap<String, String>,
}

impl Bucket {
    /// A client of the bucket `name` behind `endpoint`. Sends nothing.
    #[must_use]
    pub fn new(endpoint: &str, name: &str, access_key: &str, secret_key: &str) -> Self {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
            .force_path_style(true)
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }

    /// The same bucket behind another endpoint, such as a proxy's.
    #[must_use]
    pub fn via(&self, endpoint: &str) -> Self {
        Self::new(endpoint, &self.name, &self.access_key, &self.secret_key)
    }

    /// The same bucket with other keys.
    #[must_use]
    pub fn with_keys(&self, access_key: &str, secret_key: &str) -> Self {
        Self::new(&self.endpoint, &self.name, access_key, secret_key)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The endpoint that this client uses.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The access key that this client uses.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret key that this client uses.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The same client without the SDK's protection against streams that say nothing for a while.
    #[must_use]
    pub(crate) fn patient_client(&self) -> Client {
        let config = self.client.config().to_builder();
        let patient = StalledStreamProtectionConfig::disabled();
        Client::from_conf(config.stalled_stream_protection(patient).build())
    }

    /// The client, for what has no method here.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates it; one that exists already is fine.
    pub async fn create(&self) -> Result<()> {
        match self.client.create_bucket().bucket(&self.name).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .raw_response()
                    .is_some_and(|answer| answer.status().as_u16() == 409) =>
            {
                Ok(())
            }
            Err(error) => Err(explain("create bucket", &self.name, &error)),
        }
    }

    /// Writes an object and returns its `ETag`.
    pub async fn put(&self, key: &str, content: impl Into<Bytes>) -> Result<String> {
        self.put_with_metadata(key, content, &[]).await
    }

    /// Writes an object with user metadata and returns its `ETag`.
    pub async fn put_with_metadata(
        &self,
        key: &str,
        content: impl Into<Bytes>,
        metadata: &[(&str, &str)],
    ) -> Result<String> {
        let mut request = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .body(ByteStream::from(content.into()));
        for (name, value) in metadata {
            request = request.metadata(*name, *value);
        }
        let output = request
            .send()
            .await
            .map_err(|error| explain("put", key, &error))?;
        output.e_tag.context("an answer to PUT without ETag")
    }

    /// Writes several objects.
    pub async fn put_all<'a>(
        &self,
        objects: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<()> {
        for (key, content) in objects {
            self.put(key, content.to_owned()).await?;
        }
        Ok(())
    }

    /// The content of an object; `None` when there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
        {
            Ok(output) => Ok(Some(collect(output).await?)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(explain("get", key, &error)),
        }
    }

    /// The content of an object that must exist and be text.
    pub async fn text(&self, key: &str) -> Result<String> {
        let content = self
            .get(key)
            .await?
            .with_context(|| format!("no object {key}"))?;
        Ok(String::from_utf8(content.into())?)
    }

    /// What is known of an object; `None` when there is none.
    pub async fn head(&self, key: &str) -> Result<Option<Head>> {
        match self
            .client
            .head_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
        {
            Ok(output) => Ok(Some(Head {
                etag: output.e_tag.context("an answer to HEAD without ETag")?,
                size_bytes: u64::try_from(output.content_length.unwrap_or_default())?,
                metadata: output.metadata.unwrap_or_default(),
            })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(explain("head", key, &error)),
        }
    }

    /// Removes an object; one that is not there is fine.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.client
            .delete_object()
            .bucket(&self.name)
            .key(key)
            .send()
            .await
            .map_err(|error| explain("delete", key, &error))?;
        Ok(())
    }

    /// All keys under a prefix, in byte order.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut token = None;
        loop {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.name)
                .prefix(prefix)
                .set_continuation_token(token);
            let page = request
                .send()
                .await
                .map_err(|error| explain("list", prefix, &error))?;
            keys.extend(
                page.contents
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|object| object.key),
            );
            token = page.next_continuation_token;
            if token.is_none() {
                keys.sort();
                return Ok(keys);
            }
        }
    }

    /// All objects under a prefix, with the prefix cut off their keys. The engine's own bookkeeping (`.hiclaw/`) is
    /// left out.
    pub async fn tree(&self, prefix: &str) -> Result<BTreeMap<String, Bytes>> {
        let mut tree = BTreeMap::new();
        for key in self.keys(prefix).await? {
            let name = key.strip_prefix(prefix).unwrap_or(&key).to_owned();
            if name.starts_with(".hiclaw/") {
                continue;
            }
            if let Some(content) = self.get(&key).await? {
                tree.insert(name, content);
            }
        }
        Ok(tree)
    }
}

async fn collect(output: GetObjectOutput) -> Result<Bytes> {
    Ok(output.body.collect().await?.into_bytes())
}

fn is_absent<E>(error: &SdkError<E>) -> bool {
    error
        .raw_response()
        .is_some_and(|answer| answer.status().as_u16() == 404)
}

fn explain<E: std::error::Error + 'static>(
    operation: &str,
    key: &str,
    error: &SdkError<E>,
) -> anyhow::Error {
    anyhow!("{operation} {key}: {}", DisplayErrorContext(error))
}

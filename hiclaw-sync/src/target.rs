//! What the command line calls places: `s3://bucket/key`, keys in the bucket of the settings, directories.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sync_core::store::s3::S3Store;

use crate::{
    exit::{Decided, Exit},
    settings::{CredentialSource, GlobalOptions, ProcessEnvironment, Settings, StoreSettings},
    worker::store_config,
};

const SCHEME: &str = "s3://";

/// A key or prefix and the bucket it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket; absent for that of the settings.
    pub bucket: Option<String>,
    /// What follows the bucket's `/`; may be empty.
    pub key: String,
}

/// One end of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// In a bucket.
    Bucket(Target),
    /// Here.
    Directory(PathBuf),
}

impl Target {
    /// Reads `s3://bucket/key` or a bare key.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return match text {
                "" => Err(usage("an empty key names nothing")),
                key => Ok(Self {
                    bucket: None,
                    key: key.to_owned(),
                }),
            };
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(usage(format!("{text}: no bucket; write s3://BUCKET/KEY")));
        }
        Ok(Self {
            bucket: Some(bucket.to_owned()),
            key: key.to_owned(),
        })
    }

    /// The store that it is in.
    pub async fn connect(&self, options: &GlobalOptions) -> anyhow::Result<Place> {
        let mut options = options.clone();
        if let Some(bucket) = &self.bucket {
            options.bucket = Some(bucket.clone());
        }
        let mut settings = StoreSettings::resolve(&options, &ProcessEnvironment)?;
        let config = if settings.credentials == CredentialSource::Controller {
            // It issues keys to workers.
            let mut worker = Settings::resolve(&options, &ProcessEnvironment)?;
            let config = store_config(&mut worker).await?;
            settings = worker.store;
            config
        } else {
            settings.s3_config()
        };
        let store = S3Store::connect(&config).await?;
        Ok(Place { settings, store })
    }
}

impl End {
    /// Reads one end of a mirror.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.starts_with(SCHEME) {
            return Target::parse(text).map(Self::Bucket);
        }
        if text.is_empty() {
            return Err(usage("an empty path names no directory"));
        }
        let path = std::path::absolute(Path::new(text))
            .with_context(|| format!("can't make {text} an absolute path"))?;
        Ok(Self::Directory(path))
    }
}

/// A bucket that was connected to.
pub struct Place {
    /// How it is reached.
    pub settings: StoreSettings,
    /// Its store.
    pub store: S3Store,
}

impl Place {
    /// The bucket in words, for errors.
    #[must_use]
    pub fn name(&self) -> String {
        let endpoint = self.settings.endpoint.as_deref().unwrap_or("AWS S3");
        format!("bucket {} at {endpoint}", self.settings.bucket)
    }

    /// A key as people write it.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        format!("{SCHEME}{}/{key}", self.settings.bucket)
    }
}

/// A mistake of whoever wrote the command line.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Decided(Exit::Usage)).context(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_as_they_are() {
        for (text, bucket, key) in [
            ("s3://b/a/b c%2F+#?", Some("b"), "a/b c%2F+#?"),
            ("s3://b/", Some("b"), ""),
            ("s3://b", Some("b"), ""),
            ("s3://b//x", Some("b"), "/x"),
            ("agents/alice/SOUL.md", None, "agents/alice/SOUL.md"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(
                (target.bucket.as_deref(), &*target.key),
                (bucket, key),
                "{text}"
            );
        }
        for text in ["s3://", "s3:///x", ""] {
            let error = Target::parse(text).unwrap_err();
            assert_eq!(Exit::of_error(&error), Exit::Usage, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_a_directory() {
        assert!(matches!(End::parse("s3://b/p").unwrap(), End::Bucket(_)));
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            End::parse("x/../y").unwrap(),
            End::Directory(here.join("x/../y"))
        );
    }
}

//! Where a mirror remembers what it found equal: outside of both trees, and never needed.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sync_core::{digest::ContentHasher, path::Prefix};

use crate::settings::{Environment as _, ProcessEnvironment};

/// Hexadecimal digits of the name that a pair's directory has.
const NAME_DIGITS: usize = 24;

/// A directory for one pair of source and destination.
pub(super) struct Cache {
    directory: PathBuf,
    lifetime: Lifetime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    Kept,
    ThisRun,
}

impl Cache {
    /// The cache of this pair; one for this run alone where none can be kept.
    pub(super) fn of(store: &str, prefix: &Prefix, directory: &Path) -> anyhow::Result<Self> {
        let mut hasher = ContentHasher::default();
        for part in [
            store.as_bytes(),
            prefix.as_str().as_bytes(),
            directory.as_os_str().as_encoded_bytes(),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut name = hasher.finish().digest.to_hex();
        name.truncate(NAME_DIGITS);
        let Some(base) = base() else {
            tracing::info!("neither XDG_CACHE_HOME nor HOME is set; nothing is remembered");
            return Self::none();
        };
        let directory = base.join("hiclaw-sync/mirror").join(name);
        match create_private(&directory) {
            Ok(()) => Ok(Self {
                directory,
                lifetime: Lifetime::Kept,
            }),
            Err(error) => {
                tracing::info!(directory = %directory.display(), %error, "no cache here; nothing is remembered");
                Self::none()
            }
        }
    }

    /// A cache for this run alone.
    pub(super) fn none() -> anyhow::Result<Self> {
        let name = format!("hiclaw-sync-mirror-{:016x}", fastrand::u64(..));
        let directory = std::env::temp_dir().join(name);
        create_private(&directory)
            .with_context(|| format!("can't create {}", directory.display()))?;
        Ok(Self {
            directory,
            lifetime: Lifetime::ThisRun,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::ThisRun
            && let Err(error) = std::fs::remove_dir_all(&self.directory)
        {
            tracing::debug!(directory = %self.directory.display(), %error, "can't be removed");
        }
    }
}

/// `$XDG_CACHE_HOME`, else `$HOME/.cache`.
fn base() -> Option<PathBuf> {
    let variable = |name: &str| {
        let value = PathBuf::from(ProcessEnvironment.variable(name)?);
        // The specification has relative ones ignored.
        value.is_absolute().then_some(value)
    };
    variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
}

/// Names of files are nobody else's business.
fn create_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

//! A bucket, a directory `src` and a directory `dst`.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use testkit::cli::Ran;
use testkit::{Bucket, Cli, Store, tree};

pub(crate) struct Fixture {
    pub(crate) bucket: Bucket,
    pub(crate) cli: Cli,
}

pub(crate) async fn at(store: &Store) -> Result<Fixture> {
    let bucket = store.create_bucket().await?;
    let cli = Cli::new(&bucket)?.without_env("HICLAW_WORKER_NAME");
    fs::create_dir(cli.scratch().join("src"))?;
    Ok(Fixture { bucket, cli })
}

impl Fixture {
    pub(crate) fn source(&self) -> PathBuf {
        self.cli.scratch().join("src")
    }

    pub(crate) fn copy(&self) -> PathBuf {
        self.cli.scratch().join("dst")
    }

    pub(crate) fn url(&self) -> String {
        format!("s3://{}/p/", self.bucket.name())
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> Result<()> {
        tree::write(&self.source(), path, content)
    }

    pub(crate) async fn up(&self, options: &[&str]) -> Result<Ran> {
        let url = self.url();
        let arguments = [&["mirror", "--json"], options, &["src", &url]].concat();
        self.cli.run(&arguments).await
    }

    pub(crate) async fn down(&self, options: &[&str]) -> Result<Ran> {
        let url = self.url();
        let arguments = [&["mirror", "--json"], options, &[&url, "dst"]].concat();
        self.cli.run(&arguments).await
    }

    /// Everything below `dst`, the engine's own directory included.
    pub(crate) fn left_in_copy(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.copy())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

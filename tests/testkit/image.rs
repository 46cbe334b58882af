//! Images of `container/Containerfile`, built by buildah without an engine, a registry or the network.
//!
//! Owns a store of images of its own, which goes with the value. The programs inside are those under test: the directory
//! that `HICLAW_SYNC_IMAGE_BINARIES` names (what `container/build-binaries` made), else the build beside the test.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::tools::{self, Tool};

/// Everything in the layer that turns a worker image into ours, by its path in the image.
pub const PROGRAMS: [&str; 3] = [
    "usr/local/bin/agentteams-sync",
    "usr/local/bin/hiclaw-sync",
    "usr/local/bin/worker-entrypoint",
];

/// A place for images.
pub struct Images {
    dir: TempDir,
    buildah: PathBuf,
}

/// A built image.
#[derive(Debug)]
pub struct Image {
    name: String,
    config: Value,
    layers: Vec<Layer>,
}

/// One layer of an image.
#[derive(Debug)]
pub struct Layer {
    /// Size of its archive, not compressed.
    pub bytes: u64,
    /// The files and links in it, sorted; no directories.
    pub names: Vec<String>,
}

impl Images {
    /// An empty place, or `None` where images can't be built or started; then the running test is recorded as skipped.
    pub async fn or_skip() -> Result<Option<Self>> {
        let Some(buildah) = Tool::Buildah.path_or_skip()? else {
            return Ok(None);
        };
        if !rustix::process::geteuid().is_root() {
            return tools::skip("images are built and started by root").map(|()| None);
        }
        let dir = tempfile::Builder::new()
            .prefix("hiclaw-sync-test-images-")
            .tempdir()?;
        fs::create_dir(dir.path().join("context"))?;
        let images = Self { dir, buildah };
        images.gather_binaries().await?;
        Ok(Some(images))
    }

    /// The directory that takes the place of the stage `binaries`.
    #[must_use]
    pub fn binaries(&self) -> PathBuf {
        self.dir.path().join("binaries")
    }

    async fn gather_binaries(&self) -> Result<()> {
        let binaries = self.binaries();
        fs::create_dir(&binaries)?;
        let program = binaries.join("worker-entrypoint");
        if let Some(built) = std::env::var_os("HICLAW_SYNC_IMAGE_BINARIES") {
            fs::copy(Path::new(&built).join("worker-entrypoint"), &program)?;
        } else {
            // Without what only a debugger needs: every layer is a copy of it.
            let built = tools::worker_entrypoint()?;
            run(Command::new("strip").arg("-o").args([&program, &built])).await?;
        }
        for client in ["hiclaw-sync", "agentteams-sync"] {
            symlink("worker-entrypoint", binaries.join(client))?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.buildah);
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.dir.path().join("root"))
            .arg("--runroot")
            .arg(self.dir.path().join("runroot"))
            .env("BUILDAH_ISOLATION", "chroot");
        command
    }

    /// An image `FROM scratch` with what is in `root`.
    pub async fn from_directory(&self, name: &str, root: &Path) -> Result<String> {
        let recipe = self.dir.path().join("directory.Containerfile");
        fs::write(&recipe, "FROM scratch\nCOPY . /\nCMD [\"/bin/sh\"]\n")?;
        let name = format!("localhost/{name}:test");
        let mut command = self.command();
        command.args(["build", "--quiet", "--format", "docker", "--tag", &name]);
        run(command.arg("--file").arg(recipe).arg(root)).await?;
        Ok(name)
    }

    /// Builds a target of `container/Containerfile`.
    pub async fn build(&self, target: &str, arguments: &[(&str, &str)]) -> Result<Image> {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../container/Containerfile");
        let name = format!("localhost/{target}:test");
        let mut command = self.command();
        // HEALTHCHECK is no part of the other format.
        command.args(["build", "--quiet", "--format", "docker"]);
        command.args(["--target", target, "--tag", &name]);
        for (context, directory) in [
            ("binaries", self.binaries()),
            ("skeleton", self.skeleton()?),
        ] {
            let given = format!("{context}={}", directory.display());
            command.args(["--build-context", &given]);
        }
        for (argument, value) in arguments {
            command.args(["--build-arg", &format!("{argument}={value}")]);
        }
        command.arg("--file").arg(recipe);
        run(command.arg(self.dir.path().join("context"))).await?;
        self.inspect(name).await
    }

    /// What takes the place of the stage `skeleton`: nothing to trust, but all the places.
    fn skeleton(&self) -> Result<PathBuf> {
        let skeleton = self.dir.path().join("skeleton");
        for directory in ["data", "etc/ssl/certs", "tmp", "var/lib/hiclaw"] {
            fs::create_dir_all(skeleton.join(directory))?;
        }
        let user = "worker:x:10001:10001:worker:/var/lib/hiclaw:/sbin/nologin\n";
        fs::write(skeleton.join("etc/passwd"), user)?;
        Ok(skeleton)
    }

    async fn inspect(&self, name: String) -> Result<Image> {
        let text = run(self.command().args(["inspect", "--type", "image", &name])).await?;
        let described: Value = serde_json::from_str(&text)?;
        let archive = self.dir.path().join("archive");
        let target = format!("dir:{}", archive.display());
        run(self
            .command()
            .args(["push", "--quiet", "-D", &name, &target]))
        .await?;
        let manifest: Value = serde_json::from_slice(&fs::read(archive.join("manifest.json"))?)?;
        let mut layers = Vec::new();
        let described_layers = manifest.get("layers").and_then(Value::as_array);
        for layer in described_layers.context("layers")? {
            let digest = layer.get("digest").and_then(Value::as_str);
            let digest = digest.context("a digest")?;
            let blob = archive.join(digest.trim_start_matches("sha256:"));
            layers.push(Layer {
                bytes: fs::metadata(&blob)?.len(),
                names: names_in(&blob).await?,
            });
        }
        fs::remove_dir_all(&archive)?;
        Ok(Image {
            name,
            config: described
                .pointer("/Docker/config")
                .context("a configuration")?
                .clone(),
            layers,
        })
    }

    /// A file system of its own with what is in the image, as a container gets it.
    pub async fn mount(&self, image: &Image) -> Result<PathBuf> {
        let container = run(self.command().args(["from", &image.name])).await?;
        let root = run(self.command().args(["mount", container.trim()])).await?;
        let root = PathBuf::from(root.trim());
        // An engine writes it.
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        // What the images carry is static; the build beside the test may be not, and then needs these.
        for library in libraries(&self.binaries().join("worker-entrypoint")).await? {
            let place = root.join(library.strip_prefix("/")?);
            if !place.exists() {
                fs::create_dir_all(place.parent().context("a directory")?)?;
                fs::copy(&library, place)?;
            }
        }
        Ok(root)
    }
}

impl Image {
    /// Whether the programs are those that are shipped, not the build beside the test.
    #[must_use]
    pub fn is_shipped() -> bool {
        std::env::var_os("HICLAW_SYNC_IMAGE_BINARIES").is_some()
    }

    /// Its configuration, as `docker inspect` shows it.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// Whom its processes belong to; empty where nobody is named.
    #[must_use]
    pub fn user(&self) -> &str {
        let user = self.config.get("User").and_then(Value::as_str);
        user.unwrap_or_default()
    }

    /// The strings of a list of its configuration, such as `Entrypoint`.
    #[must_use]
    pub fn list(&self, field: &str) -> Vec<String> {
        let texts = |value: &Value| value.as_str().map(str::to_owned);
        let list = self.config.get(field).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(texts).collect())
            .unwrap_or_default()
    }

    /// A label.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        let labels = self.config.get("Labels");
        let label = labels.and_then(|labels| labels.get(name)?.as_str());
        label.unwrap_or_default()
    }

    /// Its layers, the oldest first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
}

/// The shared libraries of a program; none for a static one.
async fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

async fn names_in(archive: &Path) -> Result<Vec<String>> {
    let text = run(Command::new("tar").arg("-tf").arg(archive)).await?;
    let files = text.lines().filter(|name| !name.ends_with('/'));
    let mut names: Vec<String> = files.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Runs a command that must succeed; its standard output.
async fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| command.as_std().get_program().display().to_string())?;
    let shown = || {
        let arguments: Vec<&OsStr> = command.as_std().get_args().collect();
        format!("{arguments:?}")
    };
    ensure!(
        output.status.success(),
        "{}: {}\n{}{}",
        shown(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

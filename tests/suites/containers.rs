//! The images of `container/Containerfile`, built and started; the manifests beside it, checked and carried out.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use testkit::container::{Builder, Container};
use testkit::image::{Image, Images, PROGRAMS};
use testkit::store::{ACCESS_KEY, SECRET_KEY};
use testkit::tools::Tool;
use testkit::{Bucket, PATIENCE, Store, Worker, agent, on_store, tree, wait_for, wait_until};
use tokio::process::Command;

on_store!(
    embedded,
    Embedded,
    an_existing_worker_image_becomes_ours_by_one_layer,
    the_stand_alone_image_mirrors_for_a_runtime_beside_it,
);
on_store!(
    minio,
    Minio,
    what_compose_sets_up_is_enough_for_a_worker_and_no_more
);

/// What the layer on top of an existing worker image may take.
const LAYER_LIMIT_BYTES: u64 = 20_000_000;
/// What it may take beside the program: names of directories, the archive's own blocks.
const LAYER_OVERHEAD_BYTES: u64 = 64 * 1024;

/// The runtime of the stand-in for an existing worker image. It tells who it is, and has the last word.
const RUNTIME: &str = r#"#!/bin/sh
[ "$1 $2" = "gateway run" ] || { echo '{"ok": true}'; exit 0; }
trap 'cp notes.md last-words.md; exit 7' TERM
cat SOUL.md skills/*/SKILL.md >report.md
id -u >>report.md
while :; do sleep 0.1 & wait $!; done
"#;

fn container_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../container")
}

/// An existing worker image: a shell, a runtime, and scripts under the names that ours have too.
async fn worker_image(images: &Images) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let root = dir.path();
    for directory in ["bin", "etc", "root", "tmp", "usr/local/bin"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::copy(
        Tool::Busybox.path().map_err(anyhow::Error::msg)?,
        root.join("bin/busybox"),
    )?;
    for applet in ["cat", "chown", "cp", "id", "mkdir", "sh", "sleep"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    tree::write(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    tree::write(
        root,
        "opt/hiclaw/scripts/hiclaw-sync.sh",
        "#!/bin/sh\nexit 9\n",
    )?;
    symlink(
        "/opt/hiclaw/scripts/hiclaw-sync.sh",
        root.join("usr/local/bin/hiclaw-sync"),
    )?;
    tree::write(root, "usr/local/bin/openclaw", RUNTIME)?;
    for program in [
        "usr/local/bin/openclaw",
        "opt/hiclaw/scripts/hiclaw-sync.sh",
    ] {
        fs::set_permissions(root.join(program), fs::Permissions::from_mode(0o755))?;
    }
    images.from_directory("existing-worker", root).await
}

/// Who the agent is, as variables.
fn identity(bucket: &Bucket) -> [(&'static str, &str); 3] {
    [
        ("HICLAW_WORKER_NAME", agent::NAME),
        ("HICLAW_FS_ACCESS_KEY", bucket.access_key()),
        ("HICLAW_FS_SECRET_KEY", bucket.secret_key()),
    ]
}

/// A container of an image beside the store of `bucket`, which it knows by a name. It still needs an [`identity`].
fn container<'i>(images: &'i Images, image: &'i Image, bucket: &Bucket) -> Result<Builder<'i>> {
    // The image's own choice of a port may be taken: the network is the machine's.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let endpoint = bucket.endpoint().replace("127.0.0.1", "localhost");
    Ok(Builder::new(images, image)
        .env("HICLAW_FS_ENDPOINT", &endpoint)
        .env("HICLAW_FS_BUCKET", bucket.name())
        .env("HICLAW_PULL_INTERVAL", "3600s")
        .env("HICLAW_HEALTH_LISTEN", &free.to_string()))
}

async fn seeded(store: &'static Store) -> Result<Bucket> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    // Without the port of a gateway that the stand-in doesn't open.
    let config = r#"{"gateway": {"mode": "local"}}"#;
    bucket.put(&agent::key("openclaw.json"), config).await?;
    Ok(bucket)
}

fn check_description(image: &Image, user: &str) {
    assert_eq!(image.list("Entrypoint"), ["worker-entrypoint"]);
    assert_eq!(image.user(), user);
    assert_eq!(image.config()["StopSignal"], "SIGTERM");
    let test = ["CMD", "worker-entrypoint", "healthcheck"];
    assert_eq!(
        image.config().pointer("/Healthcheck/Test"),
        Some(&serde_json::json!(test))
    );
    assert!(
        image
            .list("Env")
            .contains(&"AGENTTEAMS_HEALTH_LISTEN=127.0.0.1:8089".to_owned())
    );
    let label = |name: &str| {
        image
            .label(&format!("org.opencontainers.image.{name}"))
            .to_owned()
    };
    assert!(label("title").starts_with("hiclaw-sync"));
    assert_eq!(label("licenses"), "Apache-2.0");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("revision"), "unknown");
}

/// The one layer that the programs came with is small and holds nothing but them and `others`.
fn check_layer(images: &Images, image: &Image, others: &[&str]) -> Result<()> {
    let layer = image.layers().last().context("a layer")?;
    let names: Vec<&str> = layer.names.iter().map(String::as_str).collect();
    assert_eq!(names, [others, &PROGRAMS].concat());
    let program = fs::metadata(images.binaries().join("worker-entrypoint"))?.len();
    assert!(
        layer.bytes <= program + LAYER_OVERHEAD_BYTES,
        "{} bytes for a program of {program}",
        layer.bytes
    );
    if Image::is_shipped() {
        writeln!(std::io::stderr(), "the layer takes {} bytes", layer.bytes)?;
        assert!(layer.bytes <= LAYER_LIMIT_BYTES, "{} bytes", layer.bytes);
    }
    Ok(())
}

async fn wait_until_healthy(container: &Container) -> Result<()> {
    let check = ["worker-entrypoint", "healthcheck"];
    let healthy = async || {
        let ran = container.exec(&check).await?;
        ensure!(ran.code <= 1, "{ran:?}");
        Ok(ran.code == 0)
    };
    let waited = wait_for("a healthy container", PATIENCE, healthy).await;
    waited.map(drop).with_context(|| container.log())
}

async fn wait_for_object(bucket: &Bucket, path: &str, container: &Container) -> Result<String> {
    let key = agent::key(path);
    let there = async || Ok(bucket.get(&key).await?.is_some());
    let waited = wait_for(&key, PATIENCE, there).await;
    waited.with_context(|| container.log())?;
    bucket.text(&key).await
}

async fn an_existing_worker_image_becomes_ours_by_one_layer(store: &'static Store) -> Result<()> {
    let Some(images) = Images::or_skip().await? else {
        return Ok(());
    };
    let base = worker_image(&images).await?;
    let base_of = [("BASE_IMAGE", base.as_str())];
    let overlay = images.build("overlay", &base_of).await?;
    check_description(&overlay, "root");
    assert_eq!(overlay.label("org.opencontainers.image.base.name"), base);
    assert_eq!(
        overlay.layers().len(),
        2,
        "the existing image and one layer"
    );
    check_layer(&images, &overlay, &[])?;
    works(&images, &overlay, store, "/root/hiclaw-fs", 0).await?;

    let restricted = images.build("overlay-nonroot", &base_of).await?;
    check_description(&restricted, "10001:10001");
    works(&images, &restricted, store, "/var/lib/hiclaw", 10001).await
}

/// The whole life of a worker in a container of `image`, where its files lie below `root` and belong to `user`.
async fn works(
    images: &Images,
    image: &Image,
    store: &'static Store,
    root: &str,
    user: u32,
) -> Result<()> {
    let bucket = seeded(store).await?;
    let mut container = identity(&bucket)
        .into_iter()
        .fold(
            container(images, image, &bucket)?,
            |container, (name, value)| container.env(name, value),
        )
        .start()
        .await?;
    let report = wait_for_object(&bucket, "report.md", &container).await?;
    assert!(report.starts_with("# Alice\n"), "{report}");
    assert!(report.contains("name: greet"), "{report}");
    assert!(report.ends_with(&format!("\n{user}\n")), "{report}");
    wait_until_healthy(&container).await?;
    let unheard = [
        "worker-entrypoint",
        "--health-listen",
        "127.0.0.1:1",
        "healthcheck",
    ];
    assert_eq!(container.exec(&unheard).await?.code, 1);

    // From the bucket, by the name that agents' skills use.
    let workspace = format!("{root}/agents/{}", agent::NAME);
    bucket
        .put(&agent::key("skills/new/SKILL.md"), "new\n")
        .await?;
    let pulled = container.exec(&["agentteams-sync"]).await?;
    assert_eq!(pulled.code, 0, "{pulled:?}");
    let skill = container.path(&format!("{workspace}/skills/new/SKILL.md"));
    assert_eq!(fs::read_to_string(&skill)?, "new\n");
    assert_eq!(fs::metadata(&skill)?.uid(), user);

    // And to it.
    let write = format!("echo mine >{workspace}/notes.md");
    assert_eq!(container.exec(&["sh", "-c", &write]).await?.code, 0);
    assert_eq!(
        wait_for_object(&bucket, "notes.md", &container).await?,
        "mine\n"
    );

    assert_eq!(container.stop(PATIENCE).await?, 7, "{}", container.log());
    assert_eq!(bucket.text(&agent::key("last-words.md")).await?, "mine\n");
    Ok(())
}

async fn the_stand_alone_image_mirrors_for_a_runtime_beside_it(
    store: &'static Store,
) -> Result<()> {
    let Some(images) = Images::or_skip().await? else {
        return Ok(());
    };
    let image = images.build("standalone", &[]).await?;
    check_description(&image, "10001:10001");
    check_layer(&images, &image, &["etc/passwd"])?;
    let bucket = seeded(store).await?;
    let mut container = container(&images, &image, &bucket)?
        .env("HICLAW_WORKER_ENV_MOUNT_DIR", "/data")
        .env("HICLAW_WORKER_ENV_MOUNT_REQUIRED", "true")
        .read_only_but(&["data", "tmp", "var/lib/hiclaw"])
        .start()
        .await?;
    // Created first, told who it is later.
    wait_until("the wait for the variables", PATIENCE, || {
        container
            .log()
            .contains("waiting for the worker's variables")
    })
    .await
    .with_context(|| container.log())?;
    let ran = container
        .exec(&["worker-entrypoint", "healthcheck"])
        .await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("HICLAW_WORKER_NAME"), "{ran:?}");
    let mut variables = String::from("HICLAW_AUTH_TOKEN=unused\n");
    for (name, value) in identity(&bucket) {
        variables.extend([name, "=", value, "\n"]);
    }
    tree::write(&container.path("/data"), "env", variables)?;
    wait_until_healthy(&container).await?;
    let workspace = container.path("/var/lib/hiclaw/agents/alice");
    assert_eq!(
        fs::read_to_string(workspace.join("SOUL.md"))?,
        "# Alice\nA careful agent.\n"
    );
    // What another container of the pod writes, by another user.
    tree::write(&workspace, "notes.md", "from beside\n")?;
    assert_eq!(
        wait_for_object(&bucket, "notes.md", &container).await?,
        "from beside\n"
    );
    tree::write(&workspace, "last-words.md", "at the very end\n")?;
    assert_eq!(container.stop(PATIENCE).await?, 0, "{}", container.log());
    assert_eq!(
        bucket.text(&agent::key("last-words.md")).await?,
        "at the very end\n"
    );

    let image = images.build("store", &[]).await?;
    let mut container = Builder::new(&images, &image)
        .env("HICLAW_FS_ACCESS_KEY", ACCESS_KEY)
        .env("HICLAW_FS_SECRET_KEY", SECRET_KEY)
        .arguments(&["--bucket", "hiclaw-storage"])
        .read_only_but(&["data", "tmp"])
        .own_network()
        .start()
        .await?;
    wait_until("the store", PATIENCE, || {
        container.log().contains("listening on http://0.0.0.0:9000")
    })
    .await
    .with_context(|| container.log())?;
    assert_eq!(container.stop(PATIENCE).await?, 0, "{}", container.log());
    Ok(())
}

async fn what_compose_sets_up_is_enough_for_a_worker_and_no_more(
    store: &'static Store,
) -> Result<()> {
    let Some(mc) = Tool::Mc.path_or_skip()? else {
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    symlink(mc, dir.path().join("mc"))?;
    let bucket = format!("compose-{}", std::process::id());
    let (worker, secret) = ("compose-worker", "composeSecret0123456789");
    let directory = container_directory();
    // Again and again: compose starts it with every `up`.
    for _ in 0..2 {
        let output = Command::new("/bin/sh")
            .arg(directory.join("compose-setup.sh"))
            .arg(directory.join("worker-policy.json"))
            .env_clear()
            .env("PATH", dir.path())
            .env("HOME", dir.path())
            .env("MC_CONFIG_DIR", dir.path().join("config"))
            .env("STORE", store.endpoint())
            .env("MINIO_ROOT_USER", ACCESS_KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET_KEY)
            .env("BUCKET", &bucket)
            .env("WORKER", worker)
            .env("WORKER_SECRET_KEY", secret)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let admin = Bucket::new(store.endpoint(), &bucket, ACCESS_KEY, SECRET_KEY);
    let user = admin.with_keys(worker, secret);
    admin.put("agents/bob/SOUL.md", "Bob's\n").await?;
    assert!(
        user.get("agents/bob/SOUL.md").await.is_err(),
        "another agent's file"
    );
    assert!(user.keys("").await.is_err(), "the bucket's root");
    let mut running = Worker::builder(&user)?
        .env("HICLAW_WORKER_NAME", worker)
        .start()?;
    running.wait_for_runtime().await?;
    let workspace = running.root().join("agents").join(worker);
    assert_eq!(tree::text(&workspace, "SOUL.md")?, "# compose-worker\n");
    tree::write(&workspace, "notes.md", "mine\n")?;
    assert_eq!(running.stop().await?, 0, "{}", running.log());
    assert_eq!(
        admin.text(&format!("agents/{worker}/notes.md")).await?,
        "mine\n"
    );
    Ok(())
}

#[tokio::test]
async fn the_manifests_are_what_their_readers_take() -> Result<()> {
    let Some(python) = Tool::Manifests.path_or_skip()? else {
        return Ok(());
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/manifests.py");
    let output = Command::new(python)
        .arg(script)
        .arg(container_directory())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let checked: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ok ")?.split(':').next())
        .collect();
    assert_eq!(
        checked,
        HashSet::from(["compose.yaml", "sidecar.yaml", "worker.yaml"])
    );
    Ok(())
}

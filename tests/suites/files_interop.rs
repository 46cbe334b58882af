//! Modes, times and links as rclone and mc keep them: theirs are read, and ours are restored by them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use testkit::tools::Tool;
use testkit::{Bucket, Cli, Store, agent, on_store, tree};
use tokio::process::Command;

on_store!(
    embedded,
    Embedded,
    what_rclone_kept_is_restored_and_rclone_restores_ours,
    what_mc_kept_is_restored_and_mc_restores_ours,
);
on_store!(
    minio,
    Minio,
    what_rclone_kept_is_restored_and_rclone_restores_ours,
    what_mc_kept_is_restored_and_mc_restores_ours,
);

const MODES: [(&str, u32); 3] = [("plain", 0o640), ("program", 0o755), ("private", 0o600)];

fn time() -> SystemTime {
    UNIX_EPOCH + Duration::new(1_580_702_706, 123_456_789)
}

fn write_all(root: &Path, directory: &str) -> Result<()> {
    for (name, mode) in MODES {
        let path = format!("{directory}/{name}");
        tree::write(root, &path, name)?;
        let file = fs::File::options().write(true).open(root.join(&path))?;
        file.set_modified(time())?;
        fs::set_permissions(root.join(&path), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn check_all(root: &Path) -> Result<()> {
    for (name, mode) in MODES {
        let found = fs::metadata(root.join(name))?;
        ensure!(found.mode() & 0o7777 == mode, "{name}: {:o}", found.mode());
        ensure!(
            found.modified()? == time(),
            "{name}: {:?}",
            found.modified()
        );
        assert_eq!(tree::text(root, name)?, name);
    }
    Ok(())
}

async fn run(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {errors}");
    Ok(())
}

async fn rclone(program: &Path, bucket: &Bucket, arguments: &[&str]) -> Result<()> {
    let remote = [
        ("RCLONE_CONFIG", "/dev/null"),
        ("RCLONE_CONFIG_S_TYPE", "s3"),
        ("RCLONE_CONFIG_S_PROVIDER", "Minio"),
        ("RCLONE_CONFIG_S_ENDPOINT", bucket.endpoint()),
        ("RCLONE_CONFIG_S_ACCESS_KEY_ID", bucket.access_key()),
        ("RCLONE_CONFIG_S_SECRET_ACCESS_KEY", bucket.secret_key()),
    ];
    run(program, arguments, &remote).await
}

async fn mc(program: &Path, bucket: &Bucket, home: &Path, arguments: &[&str]) -> Result<()> {
    let rest = bucket.endpoint().trim_start_matches("http://");
    let alias = format!(
        "http://{}:{}@{rest}",
        bucket.access_key(),
        bucket.secret_key()
    );
    let home = home.display().to_string();
    let environment = [("MC_HOST_s", &*alias), ("MC_CONFIG_DIR", &*home)];
    run(program, arguments, &environment).await
}

struct Scene {
    bucket: Bucket,
    cli: Cli,
    /// A directory of the other tool.
    theirs: PathBuf,
}

async fn scene(store: &Store) -> Result<Scene> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let cli = Cli::new(&bucket)?;
    cli.ok(&["pull"]).await?;
    let theirs = cli.scratch().join("theirs");
    fs::create_dir(&theirs)?;
    Ok(Scene {
        bucket,
        cli,
        theirs,
    })
}

async fn what_rclone_kept_is_restored_and_rclone_restores_ours(
    store: &'static Store,
) -> Result<()> {
    let Some(program) = Tool::Rclone.path_or_skip()? else {
        return Ok(());
    };
    let Scene {
        bucket,
        cli,
        theirs,
    } = scene(store).await?;
    write_all(&theirs, "up")?;
    symlink("plain", theirs.join("up/link"))?;
    let up = theirs.join("up").display().to_string();
    let remote = format!("s:{}/{}", bucket.name(), agent::key("from-rclone"));
    rclone(
        &program,
        &bucket,
        &["copy", "--metadata", "--links", &up, &remote],
    )
    .await?;
    cli.ok(&["pull"]).await?;
    check_all(&cli.workspace().join("from-rclone"))?;
    // Its way of keeping links is a file under another name, and stays one.
    let link = cli.workspace().join("from-rclone/link.rclonelink");
    assert_eq!(fs::read_to_string(&link)?, "plain");
    assert!(fs::symlink_metadata(&link)?.is_file());

    write_all(&cli.workspace(), "ours")?;
    cli.ok(&["push"]).await?;
    let remote = format!("s:{}/{}", bucket.name(), agent::key("ours"));
    let down = theirs.join("down").display().to_string();
    rclone(&program, &bucket, &["copy", "--metadata", &remote, &down]).await?;
    check_all(&theirs.join("down"))?;
    // What it finds equal it leaves alone, and we do.
    let check = ["copy", "--metadata", "--dry-run", "-v", &remote, &down];
    rclone(&program, &bucket, &check).await?;
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(ran.paths("downloaded")?, [""; 0]);
    Ok(())
}

async fn what_mc_kept_is_restored_and_mc_restores_ours(store: &'static Store) -> Result<()> {
    let Some(program) = Tool::Mc.path_or_skip()? else {
        return Ok(());
    };
    let Scene {
        bucket,
        cli,
        theirs,
    } = scene(store).await?;
    let home = cli.scratch().join("mc");
    write_all(&theirs, "up")?;
    let up = theirs.join("up").display().to_string();
    let remote = format!("s/{}/{}", bucket.name(), agent::key("from-mc"));
    mc(
        &program,
        &bucket,
        &home,
        &["mirror", "--preserve", &up, &remote],
    )
    .await?;
    cli.ok(&["pull"]).await?;
    check_all(&cli.workspace().join("from-mc"))?;

    write_all(&cli.workspace(), "ours")?;
    cli.ok(&["push"]).await?;
    let remote = format!("s/{}/{}/", bucket.name(), agent::key("ours"));
    let down = format!("{}/", theirs.join("down").display());
    fs::create_dir(&down)?;
    let copy = ["cp", "--recursive", "--preserve", &remote, &down];
    mc(&program, &bucket, &home, &copy).await?;
    check_all(&theirs.join("down"))
}

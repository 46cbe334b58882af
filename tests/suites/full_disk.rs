//! A disk that is too small for what is in the bucket: what fits comes, the rest is named, and nothing else suffers.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use testkit::{Cli, Store, agent, on_store, tools};

on_store!(
    embedded,
    Embedded,
    what_fits_comes_and_the_rest_when_there_is_room
);

const MIB: usize = 1024 * 1024;

/// Mounts a file system of 8 MiB on the root that nobody else sees, fills it, pulls, makes room, pulls again. What the
/// steps leave is copied out, because the mount ends with the shell.
const SCRIPT: &str = r#"
root=$1 out=$2; shift 2
mount -t tmpfs -o size=8m tmpfs "$root" || exit 90
mkdir -p "$root/agents/alice"
printf 'mine\n' >"$root/agents/alice/mine.md"
head -c 6200000 /dev/zero >"$root/ballast" || exit 91
"$@" >"$out/first.json" 2>"$out/first.log"
echo $? >"$out/first.code"
ls -A "$root/agents/alice/.hiclaw-sync/tmp" >"$out/first.staged"
cp -r "$root/agents/alice" "$out/first"
rm "$root/ballast"
"$@" >"$out/second.json" 2>"$out/second.log"
echo $? >"$out/second.code"
ls -A "$root/agents/alice/.hiclaw-sync/tmp" >"$out/second.staged"
cp -r "$root/agents/alice" "$out/second"
"#;

/// As root the mount namespace is enough; anybody else needs a user namespace too.
const NAMESPACES: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// How a private mount can be made here, or why not.
fn namespace() -> std::result::Result<&'static [&'static str], String> {
    let mut reason = String::new();
    for flags in NAMESPACES {
        let mount = "mount -t tmpfs -o size=1m tmpfs /tmp";
        let mut unshare = Command::new("unshare");
        let tried = unshare.args(flags).args(["sh", "-c", mount]).output();
        reason = match tried {
            Ok(output) if output.status.success() => return Ok(flags),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("unshare: {error}"),
        };
    }
    Err(format!("no private mount can be made: {reason}"))
}

async fn what_fits_comes_and_the_rest_when_there_is_room(store: &'static Store) -> Result<()> {
    let flags = match namespace() {
        Ok(flags) => flags,
        Err(reason) => return tools::skip(&reason),
    };
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    bucket.put(&agent::key("big.bin"), vec![7; 5 * MIB]).await?;
    bucket.put(&agent::key("small.md"), "small\n").await?;
    let cli = Cli::new(&bucket)?;
    let out = cli.scratch().join("out");
    fs::create_dir(&out)?;

    let mut words = vec!["unshare".to_owned()];
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    words.extend(["sh", "-c", SCRIPT, "sh"].map(str::to_owned));
    words.extend([cli.root(), out.clone()].map(|path| path.display().to_string()));
    words.extend(cli.words(&["pull", "--json"])?);
    let ran = testkit::cli::finish(cli.spawn_words(&words)?).await?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);

    let text = |name: &str| {
        fs::read_to_string(out.join(name))
            .with_context(|| format!("what the script left as {name}"))
    };
    assert_eq!(text("first.code")?, "3\n", "{}", text("first.log")?);
    let report: Value = serde_json::from_str(&text("first.json")?)?;
    let problems = report.get("problems").and_then(Value::as_array);
    let [problem] = problems.map(Vec::as_slice).unwrap_or_default() else {
        bail!("one problem is expected: {report}");
    };
    let told = |name| {
        problem
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    assert_eq!(told("path"), "big.bin");
    let message = told("message");
    assert!(message.contains("No space left on device"), "{message}");
    assert_eq!(text("first.staged")?, "", "what was staged is gone");
    assert_eq!(text("first/small.md")?, "small\n");
    assert_eq!(text("first/mine.md")?, "mine\n");
    assert!(!out.join("first/big.bin").exists());
    everything_small_is_there(&out.join("first"));

    assert_eq!(text("second.code")?, "0\n", "{}", text("second.log")?);
    assert_eq!(fs::read(out.join("second/big.bin"))?, vec![7; 5 * MIB]);
    assert_eq!(text("second/mine.md")?, "mine\n");
    assert_eq!(text("second.staged")?, "");
    everything_small_is_there(&out.join("second"));
    Ok(())
}

fn everything_small_is_there(workspace: &Path) {
    for path in agent::PULLED {
        assert!(workspace.join(path).is_file(), "{path} did not come");
    }
}

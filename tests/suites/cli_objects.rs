//! `ls`, `cat`, `stat`, `put`, `rm`: single objects, by their keys, without a worker.

use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testkit::proxy::{Fault, Rule};
use testkit::store::SECRET_KEY;
use testkit::{Bucket, Cli, Proxy, Store, on_every_store, on_store, tree};

on_every_store!(
    what_is_put_is_what_is_shown_and_read,
    a_listing_has_levels,
    conditions_are_kept,
    single_objects_and_whole_prefixes_are_removed,
    what_is_not_there_is_an_error_with_its_name,
);
on_store!(
    alone,
    Embedded,
    standard_input_is_an_object_as_a_whole,
    an_answer_that_breaks_off_is_continued,
    a_reader_that_has_seen_enough_is_no_failure,
    names_do_nothing_to_a_terminal,
    a_worker_is_needed_for_nothing_and_gives_the_bucket,
);

/// A field of a document, by its JSON pointer; null where there is none.
fn field<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or(&Value::Null)
}

async fn at(store: &Store) -> Result<(Bucket, Cli)> {
    let bucket = store.create_bucket().await?;
    let cli = Cli::new(&bucket)?.without_env("HICLAW_WORKER_NAME");
    Ok((bucket, cli))
}

fn url(bucket: &Bucket, key: &str) -> String {
    format!("s3://{}/{key}", bucket.name())
}

/// The `key` fields of a listing.
fn keys(listing: &Value) -> Result<Vec<&str>> {
    let entries = listing.as_array().context("no array")?;
    Ok(entries
        .iter()
        .filter_map(|entry| entry.get("key")?.as_str())
        .collect())
}

async fn what_is_put_is_what_is_shown_and_read(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    let name = "dir/ü +%2F#?.md";
    tree::write(cli.scratch(), "file.md", "content\n")?;
    let put = cli
        .ok(&["put", "--json", "file.md", &url(&bucket, name)])
        .await?;
    let written = put.json()?;
    assert_eq!(bucket.text(name).await?, "content\n");
    let shown = cli
        .ok(&["stat", "--json", &url(&bucket, name)])
        .await?
        .json()?;
    assert_eq!(field(&shown, "/etag"), field(&written, "/etag"));
    assert_eq!(
        (field(&shown, "/size"), field(&shown, "/key")),
        (&json!(8), &json!(name))
    );
    assert_eq!(
        field(&shown, "/metadata/sha256"),
        field(&written, "/sha256")
    );
    assert!(field(&shown, "/metadata/mtime").is_string(), "{shown}");
    let read = cli.ok(&["cat", &url(&bucket, name)]).await?;
    assert_eq!(read.stdout, "content\n");
    // A key that ends in a slash takes the file's name.
    cli.ok(&["put", "file.md", &url(&bucket, "dir/")]).await?;
    let both = [&*url(&bucket, "dir/file.md"), &*url(&bucket, name)];
    let read = cli.ok(&["cat", both[0], both[1]]).await?;
    assert_eq!(read.stdout, "content\ncontent\n");
    Ok(())
}

async fn a_listing_has_levels(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    bucket
        .put_all([
            ("a/b/c", "1"),
            ("a/b/d", "22"),
            ("a/x", "333"),
            ("ab", "4"),
            ("z/y", "5"),
        ])
        .await?;
    for (target, options, expected) in [
        ("", "", vec!["a/", "ab", "z/"]),
        ("a/", "", vec!["a/b/", "a/x"]),
        ("a", "", vec!["a/b/", "a/x"]),
        ("ab", "", vec!["ab"]),
        ("a/b/c", "", vec!["a/b/c"]),
        ("a", "-r", vec!["a/b/c", "a/b/d", "a/x"]),
    ] {
        let target = url(&bucket, target);
        let mut arguments = vec!["ls", "--json", &target];
        arguments.extend((!options.is_empty()).then_some(options));
        let listing = cli.ok(&arguments).await?.json()?;
        let mut listed = keys(&listing)?;
        listed.sort_unstable();
        assert_eq!(listed, expected, "{target} {options}");
    }
    let listing = cli.ok(&["ls", "--json", &url(&bucket, "a/x")]).await?;
    let listing = listing.json()?;
    assert_eq!(
        (field(&listing, "/0/size"), field(&listing, "/0/type")),
        (&json!(3), &json!("object"))
    );
    assert!(field(&listing, "/0/modified").is_string() && field(&listing, "/0/etag").is_string());
    let shown = cli.ok(&["ls", &url(&bucket, "")]).await?.stdout;
    assert!(
        shown.lines().any(|line| line.ends_with("DIR a/")),
        "{shown}"
    );
    let empty = store.create_bucket().await?;
    let listing = cli.ok(&["ls", "--json", &url(&empty, "")]).await?;
    assert_eq!(listing.json()?, json!([]));
    Ok(())
}

async fn conditions_are_kept(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    let target = url(&bucket, "lock");
    tree::write(cli.scratch(), "one", "1")?;
    tree::write(cli.scratch(), "two", "2")?;
    cli.ok(&["put", "--if-none-match", "one", &target]).await?;
    let second = cli.run(&["put", "--if-none-match", "two", &target]).await?;
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains(&target), "{}", second.stderr);
    assert_eq!(bucket.text("lock").await?, "1");
    let etag = bucket.head("lock").await?.context("no lock")?.etag;
    cli.ok(&["put", "--if-match", &etag, "two", &target])
        .await?;
    let stale = cli
        .run(&["put", "--if-match", &etag, "one", &target])
        .await?;
    assert_eq!(stale.code, 1, "{}", stale.stderr);
    assert_eq!(bucket.text("lock").await?, "2");
    let absent = cli
        .run(&["put", "--if-match", &etag, "one", &url(&bucket, "absent")])
        .await?;
    assert_eq!((absent.code, bucket.get("absent").await?), (1, None));
    Ok(())
}

async fn single_objects_and_whole_prefixes_are_removed(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    bucket
        .put_all([
            ("a", "1"),
            ("b", "2"),
            ("dir/x", "3"),
            ("dir/deep/y", "4"),
            ("dirt", "5"),
        ])
        .await?;
    let ran = cli
        .run(&["rm", &url(&bucket, "a"), &url(&bucket, "never")])
        .await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("never"), "{}", ran.stderr);
    let asked = cli.run(&["rm", "-r", &url(&bucket, "dir")]).await?;
    assert_eq!(asked.code, 2, "{}", asked.stderr);
    assert!(asked.stdout.contains("dir/deep/y") && asked.stderr.contains("--yes"));
    assert_eq!(bucket.keys("").await?, ["b", "dir/deep/y", "dir/x", "dirt"]);
    let ran = cli
        .ok(&["rm", "-r", "--yes", "--json", &url(&bucket, "dir")])
        .await?;
    let removed = field(&ran.json()?, "/removed").as_array().map(Vec::len);
    assert_eq!(removed, Some(2), "{}", ran.stdout);
    assert_eq!(bucket.keys("").await?, ["b", "dirt"]);
    let whole = cli.run(&["rm", "-r", "--yes", &url(&bucket, "")]).await?;
    assert_eq!(whole.code, 2, "{}", whole.stderr);
    assert_eq!(bucket.keys("").await?, ["b", "dirt"]);
    Ok(())
}

async fn what_is_not_there_is_an_error_with_its_name(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    let target = url(&bucket, "never/was");
    for command in [
        &["cat", &target][..],
        &["stat", &target],
        &["ls", &target],
        &["rm", &target],
        &["rm", "-r", "--yes", &target],
        &["put", "no-such-file", &target],
    ] {
        let ran = cli.run(command).await?;
        assert_eq!(ran.code, 1, "{command:?}: {}", ran.stderr);
        let named = ran.stderr.contains("never/was") || ran.stderr.contains("no-such-file");
        assert!(named, "{command:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{command:?}");
        assert!(!ran.says(SECRET_KEY));
    }
    Ok(())
}

async fn standard_input_is_an_object_as_a_whole(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    // More than is kept in memory.
    let large: Vec<_> = (0..=250_u8).cycle().take((9 << 20) + 7).collect();
    for content in [&b""[..], b"text", &large] {
        let ran = cli
            .feed(&["put", "-", &url(&bucket, "stdin")], content)
            .await?;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let found = bucket.get("stdin").await?.context("no object")?;
        assert!(found == content, "{} bytes came", found.len());
    }
    let ran = cli.feed(&["put", "-", &url(&bucket, "dir/")], b"x").await?;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    Ok(())
}

async fn an_answer_that_breaks_off_is_continued(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    let lines: Vec<_> = (0..40_000).map(|line| format!("line {line}\n")).collect();
    let content = lines.concat();
    bucket.put("long", content.clone()).await?;
    let proxy = Proxy::start(store.endpoint()).await?;
    proxy.add(Rule::new("GET", "/long", Fault::TruncateAnswer(100_000)).times(2));
    let cli = cli.env("HICLAW_FS_ENDPOINT", &proxy.endpoint());
    let ran = cli.ok(&["cat", &url(&bucket, "long")]).await?;
    assert!(ran.stdout == content, "{} bytes came", ran.stdout.len());
    proxy.add(Rule::new("GET", "/long", Fault::TruncateAnswer(1000)));
    let ran = cli.run(&["cat", &url(&bucket, "long")]).await?;
    assert_eq!(ran.code, 75, "{}", ran.stderr);
    assert!(ran.stderr.contains("long") && content.starts_with(&ran.stdout));
    Ok(())
}

async fn a_reader_that_has_seen_enough_is_no_failure(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    bucket.put("long", vec![b'x'; 4 << 20]).await?;
    let mut child = cli.spawn(&["cat", &url(&bucket, "long")])?;
    drop(child.stdout.take());
    let ran = testkit::cli::finish(child).await?;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    Ok(())
}

async fn names_do_nothing_to_a_terminal(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    let name = "red\u{1b}[31m\nsecond line";
    bucket.put(name, "content").await?;
    for command in [
        &["ls", "-r", &url(&bucket, "")][..],
        &["stat", &url(&bucket, name)],
        &["rm", &url(&bucket, name)],
        &["cat", &url(&bucket, name)],
    ] {
        let ran = cli.run(command).await?;
        let shown = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!shown.contains('\u{1b}'), "{command:?}: {shown:?}");
        assert!(!shown.contains("\nsecond line"), "{command:?}: {shown:?}");
        assert!(shown.contains("red"), "{command:?}: {shown:?}");
    }
    Ok(())
}

async fn a_worker_is_needed_for_nothing_and_gives_the_bucket(store: &'static Store) -> Result<()> {
    let (bucket, cli) = at(store).await?;
    bucket.put("agents/alice/SOUL.md", "soul").await?;
    // A bare key is one in the bucket of the settings.
    let read = cli.ok(&["cat", "agents/alice/SOUL.md"]).await?;
    assert_eq!(read.stdout, "soul");
    let nobody = cli.run(&["ls"]).await?;
    assert_eq!(nobody.code, 2, "{}", nobody.stderr);
    let cli = cli.env("HICLAW_WORKER_NAME", "alice");
    let listing = cli.ok(&["ls", "--json"]).await?.json()?;
    assert_eq!(keys(&listing)?, ["agents/alice/SOUL.md"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_code_75_and_named() -> Result<()> {
    // Closed again at once: connections to it are refused.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let endpoint = format!("http://{address}");
    let cli = Cli::new(&Bucket::new(&endpoint, "bucket", "key", SECRET_KEY))?;
    tree::write(cli.scratch(), "file", "content")?;
    for command in [
        &["ls", "s3://bucket/x"][..],
        &["cat", "s3://bucket/x"],
        &["stat", "s3://bucket/x"],
        &["put", "file", "s3://bucket/x"],
        &["rm", "s3://bucket/x"],
    ] {
        let ran = cli.run(command).await?;
        assert_eq!(ran.code, 75, "{command:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(&endpoint), "{}", ran.stderr);
        assert!(!ran.says(SECRET_KEY));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_the_command_line_are_code_2() -> Result<()> {
    let cli = Cli::new(&Bucket::new(
        "http://127.0.0.1:1",
        "bucket",
        "key",
        SECRET_KEY,
    ))?;
    tree::write(cli.scratch(), "file", "content")?;
    for command in [
        &["cat"][..],
        &["cat", "s3://"],
        &["cat", "s3://bucket"],
        &["stat", "s3:///x"],
        &["put", "file"],
        &["put", ".", "s3://bucket/x"],
        &[
            "put",
            "--if-none-match",
            "--if-match",
            "x",
            "file",
            "s3://bucket/x",
        ],
        &["rm", "--yes", "s3://bucket/x"],
        &["ls", "s3://no bucket/x"],
    ] {
        let ran = cli.run(command).await?;
        assert_eq!(ran.code, 2, "{command:?}: {}", ran.stderr);
    }
    let help = std::process::Command::new(testkit::tools::hiclaw_sync()?)
        .args(["mirror", "--help"])
        .stdin(Stdio::null())
        .output()?;
    assert!(String::from_utf8_lossy(&help.stdout).contains("Examples:"));
    Ok(())
}

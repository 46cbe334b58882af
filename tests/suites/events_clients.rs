//! The stream of events as clients of the store see it: the same on MinIO and on the embedded store.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::events::{Event, Events};
use testkit::tools::{self, Tool};
use testkit::{Bucket, PATIENCE, Store, on_store, wait_until};
use tokio::process::Command;

on_store!(
    embedded,
    Embedded,
    every_kind_of_change_is_told_with_its_key_as_it_is,
    somebody_is_there_every_second_and_at_once,
    only_who_signs_is_told,
    the_minio_client_watches,
);
on_store!(
    minio,
    Minio,
    every_kind_of_change_is_told_with_its_key_as_it_is,
    only_who_signs_is_told,
    the_minio_client_watches,
);

async fn every_kind_of_change_is_told_with_its_key_as_it_is(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    let other = store.create_bucket().await?;
    // The head comes with the first ping on MinIO; what happens before that is told too.
    let mut heard = Events::listen(&bucket, "agents/a/").await?;
    let odd = "agents/a/x + y%2F\"<é😀\n.md";
    let etag = bucket.put(odd, "hello").await?;
    other.put("agents/a/elsewhere", "x").await?;
    bucket.put("agents/b/elsewhere", "x").await?;
    bucket.put("agents/a/empty", "").await?;
    let client = bucket.client();
    client
        .copy_object()
        .bucket(bucket.name())
        .key("agents/a/copy")
        .copy_source(format!("{}/agents/a/empty", bucket.name()))
        .send()
        .await?;
    let parts = in_parts(&bucket, "agents/a/parts").await?;
    bucket.delete("agents/a/empty").await?;
    let created = |how: &str, key: &str, etag: Option<&str>| Event {
        name: format!("s3:ObjectCreated:{how}"),
        key: key.to_owned(),
        etag: etag.map(|etag| etag.trim_matches('"').to_owned()),
    };
    let empty = Some("d41d8cd98f00b204e9800998ecf8427e");
    let expected = [
        created("Put", odd, Some(&etag)),
        created("Put", "agents/a/empty", empty),
        created("Copy", "agents/a/copy", empty),
        created("CompleteMultipartUpload", "agents/a/parts", Some(&parts)),
        Event {
            name: "s3:ObjectRemoved:Delete".to_owned(),
            key: "agents/a/empty".to_owned(),
            etag: None,
        },
    ];
    for expected in expected {
        assert_eq!(heard.next().await?, expected);
    }
    Ok(())
}

async fn in_parts(bucket: &Bucket, key: &str) -> Result<String> {
    let client = bucket.client();
    let created = client
        .create_multipart_upload()
        .bucket(bucket.name())
        .key(key)
        .send()
        .await?;
    let upload = created.upload_id().context("no upload id")?;
    let part = client
        .upload_part()
        .bucket(bucket.name())
        .key(key)
        .upload_id(upload)
        .part_number(1)
        .body(ByteStream::from_static(b"part"))
        .send()
        .await?;
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(part.e_tag)
        .build();
    let completed = client
        .complete_multipart_upload()
        .bucket(bucket.name())
        .key(key)
        .upload_id(upload)
        .multipart_upload(CompletedMultipartUpload::builder().parts(part).build())
        .send()
        .await?;
    completed.e_tag.context("no ETag")
}

async fn somebody_is_there_every_second_and_at_once(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    let mut heard = Events::listen(&bucket, "").await?;
    let started = Instant::now();
    for _ in 0..2 {
        assert_eq!(heard.line().await?, Some(json!({"Records": Value::Null})));
    }
    assert!(started.elapsed() > Duration::from_millis(1500));
    Ok(())
}

async fn only_who_signs_is_told(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    for (wrong, says) in [
        (
            bucket.with_keys(bucket.access_key(), "wrong"),
            "SignatureDoesNotMatch",
        ),
        (bucket.with_keys("nobody", "wrong"), "InvalidAccessKeyId"),
        (
            store.bucket_named("there-is-no-such-bucket"),
            "NoSuchBucket",
        ),
    ] {
        let refused = Events::listen(&wrong, "").await.err();
        let refused = refused.with_context(|| format!("{says} expected"))?;
        assert!(refused.to_string().contains(says), "{refused:#}");
    }
    Ok(())
}

async fn the_minio_client_watches(store: &'static Store) -> Result<()> {
    let Some(program) = Tool::Mc.path_or_skip()? else {
        return Ok(());
    };
    let bucket = store.create_bucket().await?;
    let dir = tempfile::tempdir()?;
    let output = dir.path().join("output");
    let host = bucket.endpoint().trim_start_matches("http://");
    let keys = (bucket.access_key(), bucket.secret_key());
    let mut watching = Command::new(program)
        .args([
            "watch",
            "--json",
            "--prefix",
            "agents/a/",
            &format!("test/{}", bucket.name()),
        ])
        .env("MC_CONFIG_DIR", dir.path())
        .env(
            "MC_HOST_test",
            format!("http://{}:{}@{host}", keys.0, keys.1),
        )
        .stdin(Stdio::null())
        .stdout(fs::File::create(&output)?)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let text = || fs::read_to_string(&output).unwrap_or_default();
    // It says nothing when it is subscribed: the same is written until it is told of.
    let deadline = Instant::now() + PATIENCE;
    while !(text().contains("s3:ObjectCreated:Put") && text().contains("agents/a/watched.md")) {
        ensure!(Instant::now() < deadline, "mc printed {:?}", text());
        bucket.put("agents/a/watched.md", "seen").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bucket.delete("agents/a/watched.md").await?;
    wait_until("mc to be told of the delete", PATIENCE, || {
        text().contains("s3:ObjectRemoved:Delete")
    })
    .await
    .with_context(text)?;
    assert!(watching.try_wait()?.is_none(), "it goes on watching");
    Ok(watching.kill().await?)
}

/// Streams never end by themselves; a stop must not wait for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_ends_its_streams() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("log");
    let mut server = Command::new(tools::hiclaw_sync()?)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--bucket",
            "bucket",
            "--data",
        ])
        .arg(dir.path().join("objects"))
        .args(["--access-key", "key", "--secret-key", "secret"])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log)?)
        .stderr(fs::File::create(dir.path().join("errors"))?)
        .kill_on_drop(true)
        .spawn()?;
    let printed = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("the server", PATIENCE, || {
        printed().contains("listening on ")
    })
    .await?;
    let text = printed();
    let address = text
        .split("listening on ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let bucket = Bucket::new(address.context("no address")?, "bucket", "key", "secret");
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(Events::listen(&bucket, "").await?);
    }
    let pid = server
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    kill_process(pid.context("no process")?, Signal::TERM)?;
    let stopped = Instant::now();
    for stream in &mut streams {
        while stream.line().await?.is_some() {}
    }
    let status = tokio::time::timeout(PATIENCE, server.wait()).await??;
    assert!(status.success(), "{status}");
    // Requests under way have five seconds.
    if stopped.elapsed() > Duration::from_secs(4) {
        return Err(anyhow!("it took {:?}", stopped.elapsed()));
    }
    Ok(())
}

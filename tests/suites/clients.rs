//! Other people's S3 clients on the embedded store: boto3, rclone and s5cmd.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, ensure};
use testkit::tools::Tool;
use testkit::{Bucket, Store, on_store, tree};
use tokio::process::Command;

on_store!(
    embedded,
    Embedded,
    boto3_does_what_it_does_elsewhere,
    rclone_mirrors_a_tree,
    s5cmd_mirrors_a_tree
);

/// Each line is a claim about the store, tried with boto3.
const BOTO3: &str = r#"
import boto3, hashlib, sys
from botocore.config import Config
from botocore.exceptions import ClientError
endpoint, bucket, access, secret = sys.argv[1:5]
def client(secret=secret):
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access,
                        aws_secret_access_key=secret, config=Config(s3={"addressing_style": "path"}))
s3 = client()
def code(call, **arguments):
    try:
        return call(Bucket=bucket, **arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
def get(key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()

body = b"hello" * 1000
put = s3.put_object(Bucket=bucket, Key="dir/a b+%41.txt", Body=body, Metadata={"colour": "red"})
assert put["ETag"] == '"%s"' % hashlib.md5(body).hexdigest(), put
head = s3.head_object(Bucket=bucket, Key="dir/a b+%41.txt")
assert head["ContentLength"] == 5000 and head["Metadata"] == {"colour": "red"}, head
assert get("dir/a b+%41.txt", Range="bytes=5-9") == b"hello"
for algorithm in ["CRC32", "SHA1", "SHA256"]:
    assert code(s3.put_object, Key="sum/" + algorithm, Body=body, ChecksumAlgorithm=algorithm) == 200
assert code(s3.put_object, Key="bad", Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==") == 400
assert code(s3.head_object, Key="bad") == 404

assert code(s3.put_object, Key="dir/a b+%41.txt", Body=b"", IfNoneMatch="*") == 412
assert code(s3.put_object, Key="once", Body=b"1", IfNoneMatch="*") == 200
etag = s3.head_object(Bucket=bucket, Key="once")["ETag"]
assert code(s3.put_object, Key="once", Body=b"2", IfMatch='"%s"' % ("0" * 32)) == 412
assert code(s3.put_object, Key="once", Body=b"2", IfMatch=etag) == 200
assert code(s3.get_object, Key="once", IfNoneMatch=s3.head_object(Bucket=bucket, Key="once")["ETag"]) == 304

parts = [b"a" * (5 << 20), b"b" * 1000]
upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
done = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=bucket, Key="big", UploadId=upload, PartNumber=n, Body=part)["ETag"]}
        for n, part in enumerate(parts, 1)]
assert code(s3.head_object, Key="big") == 404
s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": done})
assert get("big") == b"".join(parts)
assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-2"')

s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/a b+%41.txt"})
assert get("copy") == body

names = ["l/a", "l/a-b", "l/a.b", "l/a/b", "l/b/c", "l/é", "l/\U0001f600", "l/" + "x" * 255, "l/with\nnewline"]
for name in names:
    s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
found, token = [], None
while True:
    page = s3.list_objects_v2(Bucket=bucket, Prefix="l/", MaxKeys=2, **({"ContinuationToken": token} if token else {}))
    found += [item["Key"] for item in page["Contents"]]
    token = page.get("NextContinuationToken")
    if not token:
        break
assert found == sorted(names, key=lambda name: name.encode()), found
assert all(get(name) == name.encode() for name in names)
page = s3.list_objects_v2(Bucket=bucket, Prefix="l/", Delimiter="/")
assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["l/a/", "l/b/"], page

gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "once"}, {"Key": "never"}]})
assert sorted(item["Key"] for item in gone["Deleted"]) == ["never", "once"], gone
assert code(s3.head_object, Key="once") == 404
s3 = client("wrong")
assert code(s3.get_object, Key="big") == 403
"#;

async fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?}\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

fn make_tree(root: &Path) -> Result<()> {
    for number in 0..40 {
        tree::write(
            root,
            &format!("dir {}/file+{number}.txt", number % 5),
            format!("{number}\n").repeat(number),
        )?;
    }
    tree::write(root, "large.bin", vec![7; 20_000_000])
}

async fn boto3_does_what_it_does_elsewhere(store: &'static Store) -> Result<()> {
    let Some(python) = Tool::Boto3.path_or_skip()? else {
        return Ok(());
    };
    let bucket = store.create_bucket().await?;
    let arguments = [
        bucket.endpoint(),
        bucket.name(),
        bucket.access_key(),
        bucket.secret_key(),
    ];
    run(Command::new(python).args(["-c", BOTO3]).args(arguments)).await?;
    Ok(())
}

async fn rclone_mirrors_a_tree(store: &'static Store) -> Result<()> {
    let Some(rclone) = Tool::Rclone.path_or_skip()? else {
        return Ok(());
    };
    let bucket = store.create_bucket().await?;
    let call = |arguments: &[&str]| {
        let mut command = Command::new(&rclone);
        command
            .args(arguments)
            .env("RCLONE_CONFIG", "/dev/null")
            .env("RCLONE_CONFIG_STORE_TYPE", "s3")
            .env("RCLONE_CONFIG_STORE_PROVIDER", "Other")
            .env("RCLONE_CONFIG_STORE_ENDPOINT", bucket.endpoint())
            .env("RCLONE_CONFIG_STORE_ACCESS_KEY_ID", bucket.access_key())
            .env("RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY", bucket.secret_key());
        command
    };
    mirrors(
        &bucket,
        async |source, target| {
            run(&mut call(&["sync", "--checksum", source, target])).await?;
            run(&mut call(&["check", source, target])).await?;
            Ok(())
        },
        &format!("STORE:{}/tree", bucket.name()),
    )
    .await
}

async fn s5cmd_mirrors_a_tree(store: &'static Store) -> Result<()> {
    let Some(s5cmd) = Tool::S5cmd.path_or_skip()? else {
        return Ok(());
    };
    let bucket = store.create_bucket().await?;
    mirrors(
        &bucket,
        async |source, target| {
            let both = [source, target].map(|side| format!("{side}/"));
            let source = if both[0].starts_with("s3:") {
                format!("{}*", both[0])
            } else {
                both[0].clone()
            };
            let mut command = Command::new(&s5cmd);
            command
                .args(["sync", "--delete", &source, &both[1]])
                .env("S3_ENDPOINT_URL", bucket.endpoint())
                .env("AWS_ACCESS_KEY_ID", bucket.access_key())
                .env("AWS_SECRET_ACCESS_KEY", bucket.secret_key())
                .env("AWS_REGION", "us-east-1");
            run(&mut command).await.map(drop)
        },
        &format!("s3://{}/tree", bucket.name()),
    )
    .await
}

/// A tree goes up, changes, goes up again, and comes down the same.
async fn mirrors(
    bucket: &Bucket,
    mirror: impl AsyncFn(&str, &str) -> Result<()>,
    remote: &str,
) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (up, down) = (dir.path().join("up"), dir.path().join("down"));
    make_tree(&up)?;
    mirror(&up.display().to_string(), remote).await?;
    assert_eq!(bucket.tree("tree/").await?, tree::read(&up)?);

    tree::write(&up, "dir 1/file+1.txt", "changed, and longer than before\n")?;
    std::fs::remove_file(up.join("dir 2/file+2.txt"))?;
    mirror(&up.display().to_string(), remote).await?;
    assert_eq!(bucket.tree("tree/").await?, tree::read(&up)?);

    std::fs::create_dir(&down)?;
    mirror(remote, &down.display().to_string()).await?;
    assert_eq!(tree::read(&down)?, tree::read(&up)?);
    Ok(())
}

//! Large files: up in parts, down in stretches, over connections that break, killed in the middle, and never torn.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use testkit::proxy::{Fault, Rule, Seen};
use testkit::{Bucket, Cli, PATIENCE, Proxy, Store, agent, cli, on_every_store, tree, wait_until};

on_every_store!(
    sizes_around_every_limit_arrive_whole,
    parts_that_break_are_sent_again,
    a_killed_upload_goes_on_where_it_was,
    an_upload_of_a_version_that_is_no_more_is_given_up,
    a_file_that_changes_while_its_parts_go_up_is_never_torn,
    a_writer_that_was_first_is_not_overwritten_and_no_part_is_sent_twice,
    a_part_that_is_refused_leaves_nothing_in_the_bucket,
    a_lost_answer_to_the_last_request_is_no_conflict_and_no_download,
    stretches_that_break_go_on_where_they_broke,
    a_version_that_is_replaced_while_it_comes_down_comes_whole,
    a_killed_download_leaves_nothing_behind,
);

const MIB: usize = 1024 * 1024;
/// What goes up in one request at most.
const THRESHOLD: usize = 32 * MIB;
const PART: usize = 16 * MIB;
/// A file of five parts.
const LARGE: usize = 4 * PART + 1;
const NAME: &str = "large.bin";

/// Bytes that repeat at no length that could hide a part in the wrong place.
fn content(length: usize, seed: u64) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Assertions on megabytes must not print them.
fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "length of {what}");
    let differs = found
        .iter()
        .zip(expected)
        .position(|(left, right)| left != right);
    assert_eq!(differs, None, "where {what} differs");
}

async fn object(bucket: &Bucket, path: &str) -> Result<Bytes> {
    let object = bucket.get(&agent::key(path)).await?;
    object.with_context(|| format!("no object {path}"))
}

async fn unfinished(bucket: &Bucket) -> Result<usize> {
    let listed = bucket
        .client()
        .list_multipart_uploads()
        .bucket(bucket.name())
        .prefix(agent::key(NAME))
        .send()
        .await?;
    Ok(listed.uploads().len())
}

struct Setup {
    bucket: Bucket,
    proxy: Proxy,
    cli: Cli,
}

/// One transfer at a time, so that the order of requests is known.
async fn setup(store: &Store) -> Result<Setup> {
    let proxy = Proxy::start(store.endpoint()).await?;
    let bucket = store.create_bucket().await?;
    let cli = Cli::new(&bucket.via(&proxy.endpoint()))?.option("--concurrency", "1");
    // What the store can do is asked for once, and not to be counted.
    tree::write(&cli.workspace(), "first.md", "first\n")?;
    cli.ok(&["sync"]).await?;
    proxy.clear();
    Ok(Setup { bucket, proxy, cli })
}

impl Setup {
    fn parts_sent(&self) -> usize {
        let requests = self.proxy.requests();
        requests.iter().filter(|seen| is_part(seen)).count()
    }

    async fn wait_for_part(&self, number: usize) -> Result<()> {
        let wanted = format!("partNumber={number}");
        wait_until("a part at the proxy", PATIENCE, || {
            let requests = self.proxy.requests();
            requests
                .iter()
                .any(|seen| is_part(seen) && names(seen, &wanted))
        })
        .await?;
        Ok(())
    }
}

fn is_part(seen: &Seen) -> bool {
    seen.method == "PUT" && seen.query.contains("partNumber=")
}

fn names(seen: &Seen, pair: &str) -> bool {
    seen.query.split('&').any(|found| found == pair)
}

fn reads_of<'a>(requests: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    let of_name =
        |seen: &&Seen| seen.path.ends_with(name) && ["GET", "HEAD"].contains(&&*seen.method);
    requests.iter().filter(of_name).collect()
}

async fn sizes_around_every_limit_arrive_whole(store: &'static Store) -> Result<()> {
    let Setup { bucket, proxy, cli } = setup(store).await?;
    let sizes = [
        0,
        1,
        MIB,
        MIB + 1,
        THRESHOLD - 1,
        THRESHOLD,
        THRESHOLD + 1,
        LARGE,
    ];
    let name = |size: usize| format!("data/{size}.bin");
    for size in sizes {
        tree::write(&cli.workspace(), &name(size), content(size, 1))?;
    }
    cli.ok(&["push"]).await?;
    let requests = proxy.requests();
    for size in sizes {
        let path = name(size);
        let writes = requests
            .iter()
            .filter(|seen| seen.path.ends_with(&path) && ["PUT", "POST"].contains(&&*seen.method));
        // Begin, the parts, complete.
        let expected = if size > THRESHOLD {
            2 + size.div_ceil(PART)
        } else {
            1
        };
        assert_eq!(writes.count(), expected, "requests for {size} bytes");
        assert_same(&object(&bucket, &path).await?, &content(size, 1), &path);
        let head = bucket
            .head(&agent::key(&path))
            .await?
            .context("an object")?;
        assert_eq!(head.metadata.get("sha256").map(String::len), Some(64));
    }
    let other = Cli::new(&bucket.via(&proxy.endpoint()))?;
    proxy.clear();
    other.ok(&["pull"]).await?;
    let requests = proxy.requests();
    for size in sizes {
        let path = name(size);
        let found = std::fs::read(other.workspace().join(&path))?;
        assert_same(&found, &content(size, 1), &path);
        let expected = if size > THRESHOLD {
            size.div_ceil(PART)
        } else {
            1
        };
        let reads = reads_of(&requests, &path);
        assert_eq!(reads.len(), expected, "requests for {size} bytes");
        assert!(reads.iter().all(|seen| seen.method == "GET"));
    }
    let again = other.ok(&["sync", "--json"]).await?;
    assert_eq!(again.paths("uploaded")?, [""; 0]);
    assert_eq!(again.paths("downloaded")?, [""; 0]);
    Ok(())
}

async fn parts_that_break_are_sent_again(store: &'static Store) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    tree::write(&cli.workspace(), NAME, content(LARGE, 2))?;
    for (part, fault) in [
        (1, Fault::LoseRequest),
        (2, Fault::LoseAnswer),
        (3, Fault::Status(500)),
        (4, Fault::CutRequest(MIB)),
    ] {
        let text = format!("partNumber={part}&");
        proxy.add(Rule::new("PUT", &text, fault).times(1));
    }
    cli.ok(&["push"]).await?;
    assert_same(&object(bucket, NAME).await?, &content(LARGE, 2), NAME);
    assert_eq!(
        setup.parts_sent(),
        5 + 4,
        "nothing but what broke is sent again"
    );
    assert_eq!(unfinished(bucket).await?, 0);
    Ok(())
}

/// Pushes until a part is on its way, then kills the process.
async fn killed_at_part(setup: &Setup, number: usize) -> Result<()> {
    let part = format!("partNumber={number}&");
    setup.proxy.clear();
    setup.proxy.add(Rule::new("PUT", &part, Fault::Hold));
    let mut push = setup.cli.spawn(&["push"])?;
    setup.wait_for_part(number).await?;
    push.kill().await?;
    setup.proxy.heal();
    setup.proxy.clear();
    Ok(())
}

async fn a_killed_upload_goes_on_where_it_was(store: &'static Store) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    tree::write(&cli.workspace(), NAME, content(LARGE, 3))?;
    killed_at_part(&setup, 4).await?;
    assert_eq!(bucket.get(&agent::key(NAME)).await?, None);
    assert_eq!(unfinished(bucket).await?, 1);
    // Killed again, further on.
    killed_at_part(&setup, 5).await?;
    let ran = cli.ok(&["push", "--json"]).await?;
    assert_eq!(ran.paths("uploaded")?, [NAME]);
    assert_same(&object(bucket, NAME).await?, &content(LARGE, 3), NAME);
    // The part that was under way may have arrived or not.
    assert!(setup.parts_sent() <= 1, "{:?}", proxy.requests());
    assert_eq!(unfinished(bucket).await?, 0);
    Ok(())
}

async fn an_upload_of_a_version_that_is_no_more_is_given_up(store: &'static Store) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    let theirs = bucket
        .client()
        .create_multipart_upload()
        .bucket(bucket.name())
        .key(agent::key(NAME))
        .send()
        .await?;
    tree::write(&cli.workspace(), NAME, content(LARGE, 4))?;
    killed_at_part(&setup, 3).await?;
    assert_eq!(unfinished(bucket).await?, 2);
    tree::write(&cli.workspace(), NAME, content(LARGE, 5))?;
    cli.ok(&["push"]).await?;
    assert_same(&object(bucket, NAME).await?, &content(LARGE, 5), NAME);
    assert_eq!(setup.parts_sent(), 5);
    assert_eq!(
        unfinished(bucket).await?,
        1,
        "somebody else's is left alone"
    );

    // One whose file is gone.
    tree::write(&cli.workspace(), NAME, content(LARGE, 6))?;
    killed_at_part(&setup, 2).await?;
    assert_eq!(unfinished(bucket).await?, 2);
    std::fs::remove_file(cli.workspace().join(NAME))?;
    proxy.clear();
    cli.ok(&["push"]).await?;
    let left = bucket
        .client()
        .list_multipart_uploads()
        .bucket(bucket.name())
        .prefix(agent::key(NAME))
        .send()
        .await?;
    let left: Vec<_> = left
        .uploads()
        .iter()
        .map(|upload| upload.upload_id())
        .collect();
    assert_eq!(left, [theirs.upload_id()]);
    Ok(())
}

async fn a_file_that_changes_while_its_parts_go_up_is_never_torn(
    store: &'static Store,
) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    tree::write(&cli.workspace(), NAME, content(LARGE, 7))?;
    proxy.add(Rule::new("PUT", "partNumber=2&", Fault::Hold).times(1));
    let push = cli.spawn(&["push", "--json"])?;
    setup.wait_for_part(2).await?;
    // In place, in a part that is still to be sent.
    edit(&cli.workspace().join(NAME), 3 * PART as u64 + 5)?;
    proxy.heal();
    let ran = cli::finish(push).await?;
    let expected = std::fs::read(cli.workspace().join(NAME))?;
    if ran.code != 0 {
        // It kept its word that a file is sent when it is quiet.
        assert_eq!(bucket.get(&agent::key(NAME)).await?, None);
        cli.ok(&["push"]).await?;
    }
    assert_same(&object(bucket, NAME).await?, &expected, NAME);
    assert_eq!(unfinished(bucket).await?, 0);
    Ok(())
}

fn edit(file: &Path, offset: u64) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(file)?;
    Ok(file.write_all_at(b"edited", offset)?)
}

async fn a_writer_that_was_first_is_not_overwritten_and_no_part_is_sent_twice(
    store: &'static Store,
) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    tree::write(&cli.workspace(), NAME, content(LARGE, 8))?;
    proxy.add(Rule::new("PUT", "partNumber=5&", Fault::Hold).times(1));
    let push = cli.spawn(&["sync", "--json"])?;
    setup.wait_for_part(5).await?;
    bucket.put(&agent::key(NAME), "theirs\n").await?;
    proxy.heal();
    let ran = cli::finish(push).await?;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    // This path is the agent's, so its version wins and the other one becomes a copy.
    assert_same(&object(bucket, NAME).await?, &content(LARGE, 8), NAME);
    let files = tree::read(&cli.workspace())?;
    assert!(
        files
            .iter()
            .any(|(name, found)| name.contains(NAME) && found == "theirs\n"),
        "the other version is lost"
    );
    assert_eq!(setup.parts_sent(), 5);
    assert_eq!(unfinished(bucket).await?, 0);
    Ok(())
}

async fn a_part_that_is_refused_leaves_nothing_in_the_bucket(store: &'static Store) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    tree::write(&cli.workspace(), NAME, content(LARGE, 9))?;
    tree::write(&cli.workspace(), "small.md", "small\n")?;
    proxy.add(Rule::new("PUT", "partNumber=3&", Fault::Status(403)));
    let ran = cli.run(&["push", "--json"]).await?;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(ran.paths("problems")?, [NAME]);
    assert_eq!(bucket.get(&agent::key(NAME)).await?, None);
    assert_eq!(unfinished(bucket).await?, 0);
    assert_eq!(bucket.text(&agent::key("small.md")).await?, "small\n");
    proxy.heal();
    cli.ok(&["push"]).await?;
    assert_same(&object(bucket, NAME).await?, &content(LARGE, 9), NAME);
    Ok(())
}

async fn a_lost_answer_to_the_last_request_is_no_conflict_and_no_download(
    store: &'static Store,
) -> Result<()> {
    let setup = setup(store).await?;
    let Setup { bucket, proxy, cli } = &setup;
    tree::write(&cli.workspace(), NAME, content(LARGE, 10))?;
    let key = format!("/{NAME}?uploadId=");
    proxy.add(Rule::new("POST", &key, Fault::LoseAnswer).times(1));
    let ran = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(ran.paths("conflicts")?, [""; 0], "{}", ran.stdout);
    assert_same(&object(bucket, NAME).await?, &content(LARGE, 10), NAME);
    let requests = proxy.requests();
    let reads = reads_of(&requests, NAME);
    assert!(
        reads.iter().all(|seen| seen.method == "HEAD"),
        "its digest tells that it is ours: {reads:?}"
    );
    assert_eq!(setup.parts_sent(), 5);
    let again = cli.ok(&["sync", "--json"]).await?;
    assert_eq!(again.paths("uploaded")?, [""; 0]);
    assert_eq!(again.paths("downloaded")?, [""; 0]);
    Ok(())
}

async fn stretches_that_break_go_on_where_they_broke(store: &'static Store) -> Result<()> {
    let Setup { bucket, proxy, cli } = setup(store).await?;
    bucket.put(&agent::key(NAME), content(LARGE, 11)).await?;
    bucket
        .put(&agent::key("medium.bin"), content(3 * MIB, 12))
        .await?;
    let large = Rule::new("GET", &format!("/{NAME}"), Fault::TruncateAnswer(5 * MIB));
    proxy.add(large.times(2));
    let medium = Rule::new("GET", "/medium.bin", Fault::TruncateAnswer(2 * MIB));
    proxy.add(medium.times(1));
    cli.ok(&["pull"]).await?;
    let requests = proxy.requests();
    for (name, length, seed, reads) in [(NAME, LARGE, 11, 5 + 2), ("medium.bin", 3 * MIB, 12, 2)] {
        let found = std::fs::read(cli.workspace().join(name))?;
        assert_same(&found, &content(length, seed), name);
        assert_eq!(reads_of(&requests, name).len(), reads, "{name}");
    }
    assert_eq!(tree::staged(&cli.workspace()), [""; 0]);
    Ok(())
}

async fn a_version_that_is_replaced_while_it_comes_down_comes_whole(
    store: &'static Store,
) -> Result<()> {
    let Setup { bucket, proxy, cli } = setup(store).await?;
    bucket.put(&agent::key(NAME), content(LARGE, 13)).await?;
    let hold = Rule::new("GET", &format!("/{NAME}"), Fault::Hold);
    proxy.add(hold.after(2).times(1));
    let pull = cli.spawn(&["pull"])?;
    wait_until("the third stretch at the proxy", PATIENCE, || {
        reads_of(&proxy.requests(), NAME).len() == 3
    })
    .await?;
    bucket.put(&agent::key(NAME), content(LARGE, 14)).await?;
    proxy.heal();
    let ran = cli::finish(pull).await?;
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let found = std::fs::read(cli.workspace().join(NAME))?;
    assert_same(&found, &content(LARGE, 14), NAME);
    Ok(())
}

async fn a_killed_download_leaves_nothing_behind(store: &'static Store) -> Result<()> {
    let Setup { bucket, proxy, cli } = setup(store).await?;
    bucket.put(&agent::key(NAME), content(LARGE, 15)).await?;
    let hold = Rule::new("GET", &format!("/{NAME}"), Fault::Hold);
    proxy.add(hold.after(3));
    let mut pull = cli.spawn(&["pull"])?;
    wait_until("the fourth stretch at the proxy", PATIENCE, || {
        reads_of(&proxy.requests(), NAME).len() == 4
    })
    .await?;
    pull.kill().await?;
    proxy.heal();
    assert!(!cli.workspace().join(NAME).exists());
    cli.ok(&["pull"]).await?;
    let found = std::fs::read(cli.workspace().join(NAME))?;
    assert_same(&found, &content(LARGE, 15), NAME);
    assert_eq!(tree::staged(&cli.workspace()), [""; 0]);
    Ok(())
}

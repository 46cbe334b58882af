//! How many requests a changed file costs: `tests/run --release bench_requests`, a minute on each store; `tests/run
//! --release bench_requests -- 300` for the five minutes of the promise. Prints counts with the load of the machine, and
//! judges nothing but that both sides hold the same at the end. The promise: one PUT for each changed file, and no
//! listing outside of pulls.
//!
//! A random workload, of which the seed is printed: files are made, written over at once or in bursts, replaced as
//! editors do it, renamed and deleted, about ten changes a second. No file is changed twice within three seconds: that
//! would be a hot file. Requests are counted by a proxy between the worker and the store.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testkit::proxy::{Kind, Seen};
use testkit::{Bucket, PATIENCE, Proxy, Store, StoreKind, Worker, agent, measure, tree, wait_for};

const STANDARD: Duration = Duration::from_mins(1);
const FILES: usize = 300;
/// Between two changes of one file.
const REST: Duration = Duration::from_secs(3);
/// Between two changes, on average.
const BETWEEN: Duration = Duration::from_millis(100);

fn main() -> Result<()> {
    let span = measure::seconds_or(STANDARD)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            for kind in [StoreKind::Embedded, StoreKind::Minio] {
                if let Some(store) = Store::shared(kind).await? {
                    measure_on(store, span).await?;
                }
            }
            Ok(())
        })
}

async fn measure_on(store: &'static Store, span: Duration) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let proxy = Proxy::start(bucket.endpoint()).await?;
    let worker = Worker::start(&bucket.via(&proxy.endpoint())).await?;
    worker
        .wait_for_log("the store tells of changes in the bucket")
        .await?;
    let mut work = Work::new(worker.workspace().join("work"));
    for _ in 0..FILES {
        work.make()?;
    }
    until_equal(&bucket, &work).await?;
    proxy.until_quiet(measure::START_IS_OVER).await?;
    proxy.clear();
    work.did = Did::default();
    let started = Instant::now();
    while started.elapsed() < span {
        work.change().await?;
        tokio::time::sleep(BETWEEN.mul_f64(2.0 * work.random.part())).await;
    }
    until_equal(&bucket, &work).await?;
    // What an event of our own writes might still cause.
    tokio::time::sleep(REST).await;
    say(store, &proxy, &work, span)
}

/// Both sides hold the same.
async fn until_equal(bucket: &Bucket, work: &Work) -> Result<()> {
    wait_for("both sides to hold the same", PATIENCE, async || {
        let here = tree::read(&work.root)?;
        Ok(bucket.tree(&agent::key("work/")).await? == here)
    })
    .await?;
    Ok(())
}

/// What was done to the files.
#[derive(Debug, Default)]
struct Did {
    /// Files with a new content or a new name.
    changed: usize,
    /// Names that went, by a delete or by a rename.
    gone: usize,
    /// Writes, of which several may make one change.
    writes: usize,
}

/// The files, and who changes them.
struct Work {
    root: PathBuf,
    random: Random,
    seed: u64,
    next: usize,
    /// Each file with the time of its last change.
    files: Vec<(String, Instant)>,
    did: Did,
}

impl Work {
    fn new(root: PathBuf) -> Self {
        let seed = std::time::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_secs();
        Self {
            root,
            random: Random(seed),
            seed,
            next: 0,
            files: Vec::new(),
            did: Did::default(),
        }
    }

    /// One change of a file that has been left alone for long enough.
    async fn change(&mut self) -> Result<()> {
        let rested = |(_, at): &(String, Instant)| at.elapsed() >= REST;
        let Some(first) = self.files.iter().position(rested) else {
            return self.make();
        };
        let kind = self.random.below(100);
        if kind < 15 || self.files.len() < FILES / 2 {
            return self.make();
        }
        let chosen = self.random.below(self.files.len());
        let chosen = if self.files.get(chosen).is_some_and(rested) {
            chosen
        } else {
            first
        };
        let (path, _) = self.files.swap_remove(chosen);
        match kind {
            ..50 => self.write(&path)?,
            50..65 => self.burst(&path).await?,
            65..80 => self.replace(&path)?,
            80..90 => return self.rename(&path),
            _ => return self.delete(&path),
        }
        self.did.changed += 1;
        self.files.push((path, Instant::now()));
        Ok(())
    }

    fn content(&mut self) -> String {
        self.did.writes += 1;
        let size = 1 + self.random.below(200);
        format!("write {}\n", self.did.writes).repeat(size) + &self.random.next().to_string()
    }

    fn new_path(&mut self) -> String {
        self.next += 1;
        format!("{:02}/{}.md", self.random.below(20), self.next)
    }

    fn make(&mut self) -> Result<()> {
        let path = self.new_path();
        self.write(&path)?;
        self.did.changed += 1;
        self.files.push((path, Instant::now()));
        Ok(())
    }

    fn write(&mut self, path: &str) -> Result<()> {
        let content = self.content();
        tree::write(&self.root, path, content)
    }

    /// Five writes, one after the other.
    async fn burst(&mut self, path: &str) -> Result<()> {
        for _ in 0..5 {
            self.write(path)?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A new file that is renamed over the old one.
    fn replace(&mut self, path: &str) -> Result<()> {
        let beside = format!("{path}.new");
        self.write(&beside)?;
        fs::rename(self.root.join(beside), self.root.join(path)).context("replace a file")
    }

    fn rename(&mut self, path: &str) -> Result<()> {
        let to = self.new_path();
        let target = self.root.join(&to);
        fs::create_dir_all(target.parent().context("a path has a directory")?)?;
        fs::rename(self.root.join(path), target)?;
        self.did.changed += 1;
        self.did.gone += 1;
        self.files.push((to, Instant::now()));
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<()> {
        fs::remove_file(self.root.join(path))?;
        self.did.gone += 1;
        Ok(())
    }
}

/// Numbers that nobody foresees and everybody can repeat: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

fn say(store: &Store, proxy: &Proxy, work: &Work, span: Duration) -> Result<()> {
    let requests = proxy.requests();
    let of = |kind| {
        requests
            .iter()
            .filter(|seen| Seen::kind(seen) == kind)
            .count()
    };
    let did = &work.did;
    ensure!(did.changed > 0, "nothing was changed");
    let hundredths = (of(Kind::Put) * 1000 / did.changed + 5) / 10;
    writeln!(
        std::io::stdout(),
        "{:<9} {:.0} s, seed {}: {} files changed by {} writes, {} names gone: {} PUT ({}.{:02} per changed file), \
         {} DELETE, {} LIST, {} HEAD, {} GET; {}",
        format!("{:?}", store.kind()),
        span.as_secs_f64(),
        work.seed,
        did.changed,
        did.writes,
        did.gone,
        of(Kind::Put),
        hundredths / 100,
        hundredths % 100,
        of(Kind::Delete),
        of(Kind::List),
        of(Kind::Head),
        of(Kind::Get),
        measure::load()?,
    )?;
    // Nothing but writes and deletes is expected; what else there was tells why.
    let expected = [Kind::Put, Kind::Delete, Kind::Head];
    for seen in requests
        .iter()
        .filter(|seen| !expected.contains(&seen.kind()))
    {
        writeln!(std::io::stdout(), "          {seen:?}")?;
    }
    Ok(())
}

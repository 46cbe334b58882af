//! How fast a tree goes up, is found unchanged, and comes down, side by side with `s5cmd` and `rclone`.
//!
//! Owns the comparison: one SeaweedFS server, the same data, tool after tool within each round, medians over the rounds,
//! client CPU time and peak memory beside the time. Asserts nothing about time: it prints ratios for people to judge.
//!
//! `cargo build --release --bins && cargo bench -p tests --bench peers`.
//! `HICLAW_BENCH_ROUNDS` (3) and `HICLAW_BENCH_STORE` (`seaweed`, `minio`, `embedded`) change what is run.

#![allow(
    clippy::print_stdout,
    reason = "what a benchmark finds is printed, that is all it does"
)]

mod measure;
mod tools;

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use testkit::{Bucket, Store, StoreKind};
use walkdir::WalkDir;

use self::{
    measure::{Figures, median},
    tools::{Peer, Step},
};

const MIB: usize = 1024 * 1024;

/// What is transferred.
struct Data {
    name: &'static str,
    files: usize,
    least_bytes: usize,
    most_bytes: usize,
}

const DATA: [Data; 2] = [
    Data {
        name: "5,000 files of 1-8 KiB",
        files: 5000,
        least_bytes: 1024,
        most_bytes: 8 * 1024,
    },
    Data {
        name: "20 files of 16 MiB",
        files: 20,
        least_bytes: 16 * MIB,
        most_bytes: 16 * MIB,
    },
];

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<()> {
    let kind = match std::env::var("HICLAW_BENCH_STORE").as_deref() {
        Ok("minio") => StoreKind::Minio,
        Ok("embedded") => StoreKind::Embedded,
        _ => StoreKind::Seaweed,
    };
    let peers = Peer::all();
    let Some(store) = Store::shared(kind).await? else {
        return Ok(());
    };
    let bucket = store.create_bucket().await?;
    warm_up(&bucket).await?;
    let rounds: usize = match std::env::var("HICLAW_BENCH_ROUNDS") {
        Ok(text) => text.parse().context("HICLAW_BENCH_ROUNDS")?,
        Err(_) => 3,
    };
    println!("{kind:?}, {rounds} rounds, medians; times in seconds, memory in MiB");
    for data in DATA {
        compare(&bucket, &peers, &data, rounds).await?;
    }
    Ok(())
}

/// The first writes make a store allocate its volumes.
async fn warm_up(bucket: &Bucket) -> Result<()> {
    for number in 0..50 {
        bucket
            .put(&format!("warm-up/{number}"), vec![1; MIB])
            .await?;
    }
    Ok(())
}

async fn compare(bucket: &Bucket, peers: &[Peer], data: &Data, rounds: usize) -> Result<()> {
    let directory = tempfile::Builder::new()
        .prefix("hiclaw-sync-bench-")
        .tempdir()?;
    let source = directory.path().join("source/data");
    let bytes = make(&source, data)?;
    let mut found: Vec<Vec<(Step, Figures)>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (peer, figures) in peers.iter().zip(&mut found) {
            let target = directory.path().join(format!("{}-{round}", peer.name()));
            let work = tools::Work {
                bucket,
                prefix: format!("{}-{}-{round}", peer.name(), data.files),
                source: source.parent().context("a parent")?.to_owned(),
                target: target.clone(),
                scratch: directory.path().to_owned(),
            };
            for step in Step::ALL {
                if let Some(command) = peer.command(step, &work)? {
                    // What earlier steps left unwritten is not to be paid for by this one.
                    rustix::fs::sync();
                    figures.push((step, measure::run(command).await?));
                }
            }
            check(&target, data.files, bytes)?;
            // Many small ones stay to the end: making files where many were just deleted is slow on ext4.
            if data.most_bytes >= MIB {
                fs::remove_dir_all(&target)?;
            }
        }
    }
    print(data.name, peers, &found);
    Ok(())
}

/// Files with content that no store can compress or recognise; gives their bytes together.
fn make(directory: &Path, data: &Data) -> Result<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut total = 0;
    for number in 0..data.files {
        let span = u64::try_from(data.most_bytes - data.least_bytes)? + 1;
        let size = data.least_bytes + usize::try_from(next() % span)?;
        let mut content = Vec::with_capacity(size + 8);
        while content.len() < size {
            content.extend_from_slice(&next().to_le_bytes());
        }
        content.truncate(size);
        let path = directory.join(format!("{:02}/{number:04}.bin", number % 50));
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, &content)?;
        total += size as u64;
    }
    Ok(total)
}

/// Everything has come down, or the times mean nothing.
fn check(target: &Path, files: usize, bytes: u64) -> Result<()> {
    let (mut found, mut found_bytes) = (0, 0);
    for entry in WalkDir::new(target) {
        let entry = entry?;
        if entry.file_type().is_file() && entry.path().extension().is_some_and(|it| it == "bin") {
            found += 1;
            found_bytes += entry.metadata()?.len();
        }
    }
    ensure!(
        (found, found_bytes) == (files, bytes),
        "{} of {files} files and {found_bytes} of {bytes} bytes came down to {}",
        found,
        target.display()
    );
    Ok(())
}

fn print(name: &str, peers: &[Peer], found: &[Vec<(Step, Figures)>]) {
    println!(
        "\n{name}\n  {:<12} {:<7} {:>8} {:>8} {:>9}",
        "tool", "step", "time", "CPU", "peak RSS"
    );
    for step in Step::ALL {
        let mut ours = None;
        let mut best: Option<(&str, f64)> = None;
        for (peer, figures) in peers.iter().zip(found) {
            let figures: Vec<_> = figures
                .iter()
                .filter(|(of, _)| *of == step)
                .map(|(_, figures)| *figures)
                .collect();
            let Some(middle) = median(&figures) else {
                continue;
            };
            println!(
                "  {:<12} {:<7} {:>8.2} {:>8.2} {:>9.0}",
                peer.name(),
                step.name(),
                middle.seconds,
                middle.cpu_seconds,
                middle.peak_mebibytes
            );
            if *peer == Peer::Ours {
                ours = Some(middle.seconds);
            } else if best.is_none_or(|(_, seconds)| middle.seconds < seconds) {
                best = Some((peer.name(), middle.seconds));
            }
        }
        if let (Some(ours), Some((name, best))) = (ours, best) {
            println!(
                "  => {}: {:.2} of the time of {name}, the fastest peer",
                step.name(),
                ours / best
            );
        }
    }
}

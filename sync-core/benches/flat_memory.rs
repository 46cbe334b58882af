//! What a pass over a huge prefix takes: peak memory, requests, time.
//!
//! ```text
//!   cargo bench -p sync-core --bench flat_memory                     a million objects, all shapes and orders
//!   cargo bench -p sync-core --bench flat_memory -- 100000 nested    fewer; only scenarios whose name contains the word
//! ```
//!
//! Every scenario is measured in a process of its own. `again` is a pass that finds nothing to do and whose session
//! knows how the store lists: what runs every few minutes. `first` is the same in a new session that doesn't. `pull`
//! brings everything into an empty directory. The promise: `again` stays under 60 MB, asks for each page once and for
//! nothing else; the benchmark fails when it is broken.

#[path = "flat_memory/ground.rs"]
mod ground;
#[path = "flat_memory/shape.rs"]
mod shape;
#[path = "flat_memory/store.rs"]
mod store;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Instant,
};

use sync_core::{
    progress::{Progress, Silent},
    session::{Direction, PassRequest},
};

use self::{
    ground::Outcome,
    shape::Shape,
    store::{Listing, PAGE_OBJECTS, SimulatedStore},
};

const FILES: u64 = 1_000_000;
/// Files of the scenario that brings everything: each is written and made durable.
const PULLED_PART: u64 = 10;
const PROMISED_BYTES: u64 = 60_000_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prepare", local, shape, files] => prepare(local, shape, files),
        ["measure", local, shape, listing, files, what] => {
            measure(local, shape, listing, files, what)
        }
        _ => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(std::io::stderr(), "flat_memory: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Runs all scenarios, each in processes of its own.
fn run(arguments: &[String]) -> Outcome<()> {
    let files = arguments.iter().find_map(|argument| argument.parse().ok());
    let files: u64 = files.unwrap_or(FILES);
    let wanted = arguments
        .iter()
        .find(|argument| !argument.starts_with("--") && argument.parse::<u64>().is_err());
    let wants = |name: &str| wanted.is_none_or(|word| name.contains(word.as_str()));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:22} {:>8} {:>6} {:>5} {:>8} {:>8} {:>9} {:>10}",
        "scenario", "files", "LIST", "HEAD", "GET", "seconds", "files/s", "peak RSS"
    )?;
    for shape in Shape::ALL {
        let names: Vec<_> = Listing::ALL
            .map(|listing| (listing, format!("{}-{}", shape.name(), listing.name())))
            .into_iter()
            .filter(|(_, name)| wants(name))
            .collect();
        if names.is_empty() {
            continue;
        }
        let directory = ground::directory()?;
        let local = directory.path().to_string_lossy().into_owned();
        child(&["prepare", &local, shape.name(), &files.to_string()])?;
        for (listing, _) in names {
            for what in ["first", "again"] {
                let count = files.to_string();
                child(&[
                    "measure",
                    &local,
                    shape.name(),
                    listing.name(),
                    &count,
                    what,
                ])?;
            }
        }
    }
    if wants("pull") {
        let directory = ground::directory()?;
        let local = directory.path().to_string_lossy().into_owned();
        let count = (files / PULLED_PART).to_string();
        child(&["measure", &local, "nested", "bytes", &count, "pull"])?;
    }
    Ok(())
}

fn child(arguments: &[&str]) -> Outcome<()> {
    let status = Command::new(std::env::current_exe()?)
        .args(arguments)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} failed: {status}", arguments.join(" ")).into())
    }
}

fn prepare(local: &str, shape: &str, files: &str) -> Outcome<()> {
    ground::prepare(Path::new(local), shape_of(shape)?, files.parse()?)
}

fn shape_of(name: &str) -> Outcome<Shape> {
    let shape = Shape::ALL.into_iter().find(|shape| shape.name() == name);
    Ok(shape.ok_or("no such shape")?)
}

fn listing_of(name: &str) -> Outcome<Listing> {
    let listing = Listing::ALL
        .into_iter()
        .find(|listing| listing.name() == name);
    Ok(listing.ok_or("no such order")?)
}

fn measure(local: &str, shape: &str, listing: &str, files: &str, what: &str) -> Outcome<()> {
    let (shape_name, listing_name) = (shape, listing);
    let (shape, listing, files): (_, _, u64) =
        (shape_of(shape)?, listing_of(listing)?, files.parse()?);
    let store = Arc::new(SimulatedStore::new(shape, listing, files));
    let runtime = tokio::runtime::Runtime::new()?;
    let (report, seconds) = runtime.block_on(async {
        let session = ground::open(Path::new(local), store).await?;
        let started = Instant::now();
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let request = PassRequest::everything(Direction::Sync);
        let report = session.pass(&request, &progress).await?;
        Outcome::Ok((report, started.elapsed().as_secs_f64()))
    })?;
    let peak_bytes = peak_bytes()?;
    let requests = report.requests;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = files as f64 / seconds;
    writeln!(
        std::io::stdout(),
        "{:22} {files:>8} {:>6} {:>5} {:>8} {seconds:>8.2} {rate:>9.0} {:>7.1} MB",
        format!("{shape_name}-{listing_name}-{what}"),
        requests.list,
        requests.head,
        requests.get,
        f64::from(u32::try_from(peak_bytes / 1000)?) / 1000.0
    )?;
    let pages = files.div_ceil(PAGE_OBJECTS);
    match what {
        "pull" if report.downloaded.len() as u64 == files => Ok(()),
        "first" | "again" if !report.is_quiet() => Err("the pass found something to do".into()),
        "again" if (requests.list, requests.head, requests.get) != (pages, 0, 0) => {
            Err(format!("{pages} pages, but {requests:?}").into())
        }
        "first" | "again" if peak_bytes > PROMISED_BYTES => {
            Err(format!("{peak_bytes} bytes, more than {PROMISED_BYTES}").into())
        }
        "first" | "again" => Ok(()),
        _ => Err("not everything came".into()),
    }
}

/// The most memory that this process ever had resident.
fn peak_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = number.ok_or("no VmHWM")?.parse()?;
    Ok(kibibytes * 1024)
}

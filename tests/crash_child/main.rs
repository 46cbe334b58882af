//! The process that the suite `crash_points` lets be killed: a session over one directory and one prefix that ends by
//! SIGKILL at a given moment.
//!
//! `crash-child DIR ENDPOINT BUCKET ACCESS_KEY SECRET_KEY MODE [POINT NUMBER]`: MODE is `pass` (one pass both ways; its
//! report goes to the output as JSON), `interfered` (the same, with edits by somebody else at the moments where they hurt
//! most) or `resident` (the engine with its watcher, and an edit). Without POINT the process goes on to its end. Never used outside of tests.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use sync_core::{
    debounce::MountIndex,
    events::{EventSettings, Listen},
    failpoint::{self, Hook, Point, Then},
    layout::{Glob, Mount, Rule, Rules, SyncMode},
    merge::{FieldPath, FieldRule, MergeRules, Take},
    path::{Prefix, RelPath},
    progress::{Progress, Silent},
    report::Side,
    resident::{Resident, ResidentSettings},
    secret::Secret,
    session::{Direction, PassRequest, Session},
    store::s3::{Keys, S3Config, S3Store},
    watch::{WatchedMount, Watcher},
};
use tokio::sync::mpsc;

/// The edits of the mode `interfered`: the moment, which time it is reached, path and content.
const EDITS: [(Point, usize, &str, &str); 3] = [
    (Point::BeforeExchange, 1, "in/changed", "edited in/changed"),
    (
        Point::BeforeExchange,
        2,
        "merged.json",
        r#"{"ours": 3, "theirs": 1, "edited": "meanwhile"}"#,
    ),
    (
        Point::BeforeMovedAway,
        1,
        "in/gone/deep/file",
        "edited in/gone/deep/file",
    ),
];

/// Kills the process at one moment, and edits files at others.
struct Killer {
    directory: PathBuf,
    at: Option<(Point, usize)>,
    /// How often each moment was reached.
    reached: Mutex<BTreeMap<Point, usize>>,
    interferes: bool,
}

impl Hook for Killer {
    fn reached(&self, point: Point, _place: &Path) -> Then {
        let number = {
            let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
            let number = reached.entry(point).or_default();
            *number += 1;
            *number
        };
        for (at, which, path, content) in EDITS {
            if self.interferes && (at, which) == (point, number) {
                self.edit(path, content);
            }
        }
        if self.at == Some((point, number)) {
            kill();
        }
        Then::GoOn
    }

    fn has_ended(&self, _place: &Path) -> bool {
        false
    }
}

impl Killer {
    /// Whole, as an editor writes; where the directory is gone there is nothing to edit.
    fn edit(&self, path: &str, content: &str) {
        let temporary = self.directory.with_extension("edit");
        if fs::write(&temporary, content).is_ok() {
            fs::rename(temporary, self.directory.join(path)).ok();
        }
    }
}

/// SIGKILL, and no instruction more on this thread.
fn kill() -> ! {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
    loop {
        std::thread::park();
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [
        directory,
        endpoint,
        bucket,
        access_key,
        secret_key,
        mode,
        rest @ ..,
    ] = arguments.as_slice()
    else {
        bail!("usage: crash-child DIR ENDPOINT BUCKET ACCESS_KEY SECRET_KEY MODE [POINT NUMBER]");
    };
    let directory = PathBuf::from(directory);
    let at = match rest {
        [point, number] => Some((find(point)?, number.parse()?)),
        _ => None,
    };
    let killer = Killer {
        directory: directory.clone(),
        at,
        reached: Mutex::default(),
        interferes: mode == "interfered",
    };
    ensure!(
        failpoint::install(Box::new(killer)),
        "this build has no failpoints; build with the feature sync-core/failpoints"
    );
    let store = S3Store::connect(&S3Config {
        endpoint: Some(endpoint.clone()),
        bucket: bucket.clone(),
        keys: Some(Keys {
            access_key: access_key.clone(),
            secret_key: Secret::new(secret_key.clone()),
            session_token: None,
        }),
        ..S3Config::default()
    })
    .await?;
    // One after the other where edits have to meet their moment.
    let concurrency = if mode == "interfered" { 1 } else { 4 };
    let mounts = vec![mount(&directory)?];
    let session = Session::with_mounts(mounts, merges()?, Arc::new(store), concurrency)
        .await
        .context("open the session")?;
    match mode.as_str() {
        "resident" => resident(&directory, session).await,
        _ => pass(&session).await,
    }
}

fn find(name: &str) -> Result<Point> {
    let mut points = Point::ALL.iter().copied();
    points
        .find(|point| point.name() == name)
        .with_context(|| format!("there is no point {name}"))
}

fn mount(directory: &Path) -> Result<Mount> {
    let prefer_remote = Rule {
        prefer: Side::Remote,
        ..Rule::new(vec![Glob::new("remote/**")?], SyncMode::Both)
    };
    let merged = Rule::new(vec![Glob::new("merged.json")?], SyncMode::Merge);
    Ok(Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a")?,
        local: directory.to_owned(),
        rules: Rules::new(vec![prefer_remote, merged])?,
    })
}

fn merges() -> Result<BTreeMap<RelPath, MergeRules>> {
    let theirs = FieldRule {
        field: FieldPath::new("theirs")?,
        take: Take::Remote,
    };
    let rules = MergeRules {
        fields: vec![theirs],
        rest: Side::Local,
        protect: vec![FieldPath::new("ours")?],
    };
    Ok(BTreeMap::from([(RelPath::new("merged.json")?, rules)]))
}

async fn pass(session: &Session) -> Result<()> {
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let request = PassRequest::everything(Direction::Sync);
    let report = session
        .pass(&request, &progress)
        .await
        .map_err(|error| error.source)
        .context("the pass")?;
    serde_json::to_writer(std::io::stdout(), &report)?;
    std::io::stdout().flush()?;
    Ok(())
}

/// The engine with its watcher; an edit, and everything sent at the end.
async fn resident(directory: &Path, session: Session) -> Result<()> {
    let (sender, news) = mpsc::channel(64);
    let mount = session.mounts().first().context("a mount")?;
    let watched = WatchedMount::of(MountIndex(0), mount);
    let _watcher = Watcher::start(vec![watched], sender)?;
    // The first pass is that of the edit.
    let settings = ResidentSettings {
        events: EventSettings {
            listen: Listen::Never,
            ..EventSettings::default()
        },
        ..ResidentSettings::default()
    };
    let resident = Resident::start(Arc::new(session), settings, Some(news));
    let mut events = resident.subscribe();
    fs::write(directory.join("edited"), "while the engine ran")?;
    events.recv().await?;
    resident.stop().await?.map_err(|error| error.source)?;
    Ok(())
}

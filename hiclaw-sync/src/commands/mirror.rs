//! `mirror`: a one-way copy between a directory and a bucket.

mod cache;
mod watch;

use std::{io, path::Path, sync::Arc};

use anyhow::Context as _;
use sync_core::{
    guard::Approval,
    mirror::{self, Extras, MirrorPolicy},
    path::Prefix,
    report::Side,
    session::{Direction, MirrorSpec, PassRequest, Session},
    store::ObjectStore,
};
use tokio::signal::unix::{SignalKind, signal};

use self::cache::Cache;
use super::form;
use crate::{
    cli::MirrorArguments,
    exit::{Decided, Exit},
    output::{self, Mood},
    progress,
    settings::GlobalOptions,
    target::{End, Target, usage},
};

pub(super) async fn run(
    global: &GlobalOptions,
    arguments: MirrorArguments,
) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    let ended = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let mut ended = std::pin::pin!(ended);
    let opened = tokio::select! {
        opened = open(global, &arguments) => opened?,
        () = &mut ended => return Ok(Exit::Interrupted),
    };
    if arguments.watch {
        return watch::run(global, &arguments, &opened, ended).await;
    }
    tokio::select! {
        exit = once(global, &arguments, &opened) => exit,
        () = &mut ended => {
            let message = "interrupted; what was copied is complete, run it again to go on";
            Err(anyhow::Error::new(Decided(Exit::Interrupted)).context(message))
        }
    }
}

/// A mirror that is ready to copy.
struct Opened {
    session: Arc<Session>,
    source: Side,
    place: String,
    /// Removed with the value where nothing is to be remembered.
    _cache: Cache,
}

async fn open(global: &GlobalOptions, arguments: &MirrorArguments) -> anyhow::Result<Opened> {
    let (directory, target, source) = ends(arguments)?;
    let rules = mirror::rules(&arguments.exclude).map_err(|error| usage(error.to_string()))?;
    let prefix = Prefix::new(&target.key).map_err(|error| usage(error.to_string()))?;
    let directory = settle(&directory, source)?;
    let place = target.connect(global).await?;
    let extras = if arguments.delete {
        Extras::Delete
    } else {
        Extras::Keep
    };
    let approval = if arguments.approve {
        Approval::Given
    } else {
        Approval::None
    };
    let cache = if arguments.no_cache {
        Cache::none()?
    } else {
        Cache::of(&place.store.identity(), &prefix, &directory)?
    };
    let name = place.name();
    let spec = MirrorSpec {
        local: directory,
        prefix,
        policy: MirrorPolicy {
            source,
            extras,
            approval,
        },
        rules,
        state: cache.directory().to_owned(),
    };
    let concurrency = place.settings.concurrency.get();
    let session = Session::mirror(spec, Arc::new(place.store), concurrency).await?;
    Ok(Opened {
        session: Arc::new(session),
        source,
        place: name,
        _cache: cache,
    })
}

/// Which end is where.
fn ends(arguments: &MirrorArguments) -> anyhow::Result<(std::path::PathBuf, Target, Side)> {
    let source = End::parse(&arguments.source)?;
    let destination = End::parse(&arguments.destination)?;
    match (source, destination) {
        (End::Directory(directory), End::Bucket(target)) => Ok((directory, target, Side::Local)),
        (End::Bucket(target), End::Directory(directory)) => Ok((directory, target, Side::Remote)),
        (End::Bucket(_), End::Bucket(_)) => Err(usage(
            "mirror copies between a directory and a bucket; from bucket to bucket go through a directory",
        )),
        (End::Directory(_), End::Directory(_)) => Err(usage(
            "mirror copies between a directory and a bucket; write the bucket as s3://BUCKET/PREFIX/",
        )),
    }
}

/// The directory by its real name, so that its cache is found again whatever it is called.
fn settle(directory: &Path, source: Side) -> anyhow::Result<std::path::PathBuf> {
    match (std::fs::metadata(directory), source) {
        (Ok(metadata), _) if metadata.is_dir() => directory
            .canonicalize()
            .with_context(|| format!("can't look at {}", directory.display())),
        (Ok(_), Side::Local) => Err(usage(format!(
            "{} is no directory; `hiclaw-sync put` sends a single file",
            directory.display()
        ))),
        (Ok(_), Side::Remote) => Err(usage(format!("{} is no directory", directory.display()))),
        (Err(error), Side::Remote) if error.kind() == io::ErrorKind::NotFound => {
            Ok(directory.to_owned())
        }
        (Err(error), _) => {
            Err(anyhow::Error::new(error).context(format!("can't read {}", directory.display())))
        }
    }
}

fn request() -> PassRequest {
    PassRequest::everything(Direction::Sync)
}

async fn once(
    global: &GlobalOptions,
    arguments: &MirrorArguments,
    opened: &Opened,
) -> anyhow::Result<Exit> {
    let progress = progress::start(global);
    let result = if arguments.dry_run {
        opened.session.plan(&request(), &progress).await
    } else {
        opened.session.pass(&request(), &progress).await
    };
    drop(progress);
    let report = result.map_err(|error| super::pass::stopped(error, opened.place.clone()))?;
    let mood = if arguments.dry_run {
        Mood::Planned
    } else {
        Mood::Done
    };
    output::report(&mut io::stdout().lock(), form(global), mood, &report)
        .context("can't write the result")?;
    Ok(Exit::of_report(&report))
}

//! The local side: a real tree of files, and a baseline that knows all of them.
//!
//! The files are links to few inodes, so that a million of them cost names only.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use sync_core::{
    baseline::{Baseline, LocalVersion, RemoteVersion, Row, RowChange, Written},
    digest::{ContentHasher, Digest},
    layout::{Mount, Rules},
    local::Fingerprint,
    order::KeyOrder,
    path::{Prefix, RelPath},
    root::Root,
    session::Session,
    store::ObjectStore,
};

use super::{
    shape::Shape,
    store::{CONTENT, PREFIX, tag},
};

/// Links that any file system lets an inode have.
const LINKS: u64 = 30_000;
/// Rows written at once.
const ROWS: usize = 10_000;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A directory in memory where there is one: a million names are made and scanned faster there, and the disk is left alone.
pub(crate) fn directory() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
}

/// Opens a session over a mount at `local`, without rules of its own.
pub(crate) async fn open(local: &Path, store: Arc<dyn ObjectStore>) -> Outcome<Session> {
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new(PREFIX)?,
        local: local.to_owned(),
        rules: Rules::new(Vec::new())?,
    };
    Ok(Session::with_mounts(vec![mount], BTreeMap::new(), store, 16).await?)
}

/// Makes the files, and a baseline that holds them as agreed with the objects of a simulated store of the same shape.
pub(crate) fn prepare(local: &Path, shape: Shape, files: u64) -> Outcome<()> {
    let root = Root::open(local)?;
    let sources = link(local, shape, files)?;
    // The binding that a mount gives its baseline.
    let binding = format!("simulated {PREFIX} {}", root.identity()?);
    let mut baseline = Baseline::open(&local.join(".hiclaw-sync/state.db"), &binding)?;
    let mut hasher = ContentHasher::default();
    hasher.update(CONTENT);
    let digest = hasher.finish().digest;
    let mut changes = Vec::new();
    for place in 0..files {
        let source = usize::try_from(place / LINKS)?;
        let fingerprint = *sources.get(source).ok_or("a file without a source")?;
        changes.push(RowChange::Record(row(shape, place, fingerprint, digest)?));
        if changes.len() == ROWS {
            baseline.apply(&std::mem::take(&mut changes))?;
        }
    }
    Ok(baseline.apply(&changes)?)
}

/// Makes the links; gives what a look at each inode shows when all of them are there.
fn link(local: &Path, shape: Shape, files: u64) -> Outcome<Vec<Fingerprint>> {
    let mut sources: Vec<PathBuf> = Vec::new();
    let mut last_parent = PathBuf::new();
    for place in 0..files {
        let path = local.join(shape.path(KeyOrder::Bytes, place));
        let parent = path.parent().ok_or("a path without a directory")?;
        if parent != last_parent {
            fs::create_dir_all(parent)?;
            parent.clone_into(&mut last_parent);
        }
        if place % LINKS == 0 {
            fs::write(&path, CONTENT)?;
            let long_ago = SystemTime::now() - Duration::from_hours(1);
            File::options()
                .write(true)
                .open(&path)?
                .set_modified(long_ago)?;
            sources.push(path);
        } else {
            fs::hard_link(sources.last().ok_or("no file to link to")?, path)?;
        }
    }
    let look = |path: &PathBuf| Ok(Fingerprint::of(&fs::metadata(path)?));
    sources.iter().map(look).collect()
}

fn row(shape: Shape, place: u64, fingerprint: Fingerprint, digest: Digest) -> Outcome<Row> {
    Ok(Row {
        path: RelPath::new(shape.path(KeyOrder::Bytes, place))?,
        local: Some(LocalVersion::seen(fingerprint, SystemTime::now())),
        remote: Some(RemoteVersion {
            etag: tag(),
            size_bytes: CONTENT.len() as u64,
            written: Written::At(SystemTime::UNIX_EPOCH),
        }),
        digest,
    })
}

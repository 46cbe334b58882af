//! The two writers and what they know: the directory, the bucket, and every version that was ever written.
//!
//! A version is superseded when a writer overwrites or deletes it on a side where it stands: that writer saw it. All
//! other versions must stand somewhere, always.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use sync_core::store::{memory::MemoryStore, parts::PartLimits};

use super::{
    history::{History, HowToWrite, LocalOp, PathName, RemoteOp, Size, Step},
    links::{LINK_MODE, content_of_link},
    merged::Merged,
    rules::{DIRECTORIES, IGNORE_FILE, MERGED, groups, key, locate, mass, related},
};

/// Large versions take four parts.
const PARTS: PartLimits = PartLimits {
    threshold_bytes: 1024 * 1024,
    part_bytes: 300 * 1024,
    most_parts: 10_000,
    step_bytes: 1024,
};

/// What links out of the mount lead to: a directory that must stay empty and a file that must stay as it is.
pub(crate) const ELSEWHERE: &str = "elsewhere";
pub(crate) const VICTIM: &str = "victim";

pub(crate) struct World {
    _directory: tempfile::TempDir,
    pub(crate) outside: PathBuf,
    /// The paths that this history may use.
    pub(crate) pool: Vec<PathName>,
    pub(crate) bucket: MemoryStore,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) versions: Vec<Version>,
    /// What the local writer changed since the last push of dirty paths.
    pub(crate) dirty: BTreeSet<PathName>,
    /// Who touched a path since both sides were last seen to agree in peace.
    pub(crate) touched: BTreeMap<PathName, Touched>,
    /// What the local writer left at its paths.
    pub(crate) left_here: BTreeMap<PathName, Bytes>,
    /// What the remote writer left at its keys.
    pub(crate) left_there: BTreeMap<PathName, Bytes>,
    /// The file that is merged field by field; its versions are none of `versions`.
    pub(crate) merged: Merged,
    /// What stands where files or their directories should be.
    pub(crate) obstacles: Vec<PathBuf>,
    /// What was ignored at some time: deletes of that time were not to travel.
    pub(crate) ignored: BTreeSet<PathName>,
    /// Paths whose object's mode was changed there.
    pub(crate) modes_changed_there: BTreeSet<PathName>,
    /// Something happened after which the engine can't know who wrote last.
    pub(crate) disturbed: bool,
    /// Both writers touched the same path since the sides last agreed on it.
    pub(crate) met: bool,
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
}

pub(crate) struct Version {
    pub(crate) content: Bytes,
    pub(crate) written: String,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Current,
    Superseded,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) local: bool,
    pub(crate) remote: bool,
}

impl World {
    pub(crate) fn new(history: &History) -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
        .unwrap();
        for mount in DIRECTORIES {
            fs::create_dir(directory.path().join(mount)).unwrap();
        }
        fs::create_dir(directory.path().join(ELSEWHERE)).unwrap();
        fs::write(directory.path().join(VICTIM), VICTIM).unwrap();
        Self {
            outside: directory.path().to_owned(),
            _directory: directory,
            pool: pool(history),
            bucket: MemoryStore::with_parts(PARTS),
            state: Mutex::default(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn note(&self, line: impl Into<String>) {
        self.state().trace.push(line.into());
    }

    pub(crate) fn violation(&self, line: impl Into<String>) {
        self.state().violations.push(line.into());
    }

    /// The directory of a mount.
    pub(crate) fn mount(&self, at: usize) -> PathBuf {
        self.outside.join(DIRECTORIES[at])
    }

    /// Where the file of a path is.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        let (mount, path) = locate(path);
        self.mount(mount).join(path)
    }

    pub(crate) fn local_content(&self, path: &str) -> Option<Bytes> {
        if self.is_obstructed(path) {
            return None;
        }
        let full = self.file(path);
        content_of_link(&full).or_else(|| fs::read(full).ok().map(Bytes::from))
    }

    pub(crate) fn remote_content(&self, path: &str) -> Option<Bytes> {
        self.bucket.content(&key(path))
    }

    pub(crate) fn apply_local(&self, op: LocalOp) {
        let mut state = self.state();
        state.trace.push(format!("    local writer: {op:?}"));
        if let LocalOp::Become(path, _) = op {
            self.make_room(&mut state, path);
        }
        if op.paths().iter().any(|path| self.is_obstructed(path)) {
            return;
        }
        match op {
            LocalOp::Write(path, how, size) => self.write(&mut state, path, how, size),
            LocalOp::Delete(path) => {
                if let Some(old) = self.local_content(path) {
                    state.supersede(&old);
                    fs::remove_file(self.file(path)).unwrap();
                    state.changed_locally(path, None);
                }
            }
            LocalOp::Become(path, size) => {
                self.write(&mut state, path, HowToWrite::Replace, size);
            }
            LocalOp::Rename(from, to) => {
                let Some(content) = self.local_content(from).filter(|_| from != to) else {
                    return;
                };
                if let Some(old) = self.local_content(to) {
                    state.supersede(&old);
                }
                self.make_parent(to);
                fs::rename(self.file(from), self.file(to)).unwrap();
                state.changed_locally(from, None);
                state.changed_locally(to, Some(content));
            }
            LocalOp::Touch(path) => {
                if let Ok(file) = File::options().write(true).open(self.file(path)) {
                    let time = SystemTime::now() - Duration::from_hours(1);
                    file.set_modified(time).unwrap();
                    state.dirty.insert(path);
                }
            }
            LocalOp::Rewrite(path) => {
                if let Some(content) = self.local_content(path) {
                    let was_link = self.is_link(path);
                    self.replace(path, &content);
                    state.dirty.insert(path);
                    // A file that holds what was the target.
                    if was_link {
                        state.changed_locally(path, Some(content));
                    }
                }
            }
            LocalOp::Chmod(path, mode) => {
                let full = self.file(path);
                if full.exists() {
                    fs::set_permissions(full, fs::Permissions::from_mode(mode)).unwrap();
                    state.dirty.insert(path);
                }
            }
            LocalOp::Link(path) => self.link_here(&mut state, path),
            LocalOp::CopyFromRemote(path) => {
                let Some(content) = self.remote_content(path) else {
                    return;
                };
                if let Some(old) = self.local_content(path).filter(|old| *old != content) {
                    state.supersede(&old);
                }
                self.make_parent(path);
                if self.is_remote_link(path) {
                    self.replace_by_link(path, &content);
                } else {
                    self.replace(path, &content);
                }
                state.changed_locally(path, Some(content));
            }
            LocalOp::Ignore(path) => {
                state.ignore(path);
                let (_, pattern) = locate(path);
                self.replace(IGNORE_FILE, format!("/{pattern}\n").as_bytes());
                state.dirty.insert(IGNORE_FILE);
            }
            LocalOp::IgnoreNothing => {
                fs::remove_file(self.file(IGNORE_FILE)).ok();
                state.dirty.insert(IGNORE_FILE);
            }
            LocalOp::Obstruct(path, obstacle) => self.obstruct(&mut state, path, obstacle),
            LocalOp::SetField => self.set_field_here(&mut state),
            LocalOp::BreakMerged => self.break_merged_here(&mut state),
        }
    }

    pub(crate) fn write(&self, state: &mut State, path: PathName, how: HowToWrite, size: Size) {
        let full = self.file(path);
        let mut old = self.local_content(path);
        if let Some(old) = &old {
            state.supersede(old);
        }
        if self.is_link(path) {
            fs::remove_file(&full).unwrap();
            old = None;
        }
        let size = match (how, &old) {
            (HowToWrite::Stealthy, Some(old)) => old.len(),
            _ => bytes_of(size),
        };
        let content = state.new_version(size, format!("here as {path}"));
        self.make_parent(path);
        match (how, old) {
            (HowToWrite::InPlace, _) | (HowToWrite::Stealthy, None) => {
                fs::write(&full, &content).unwrap();
            }
            (HowToWrite::Replace, _) => self.replace(path, &content),
            (HowToWrite::Stealthy, Some(_)) => {
                let before = fs::metadata(&full).unwrap().modified().unwrap();
                fs::write(&full, &content).unwrap();
                let file = File::options().write(true).open(&full).unwrap();
                file.set_modified(before).unwrap();
            }
        }
        state.changed_locally(path, Some(content));
    }

    /// Removes the files above and below a path, and what directories they leave.
    fn make_room(&self, state: &mut State, path: PathName) {
        for other in related(path).into_iter().filter(|other| *other != path) {
            if let Some(old) = self.local_content(other) {
                state.supersede(&old);
                fs::remove_file(self.file(other)).unwrap();
                state.changed_locally(other, None);
            }
        }
        self.remove_empty_directories(path);
    }

    /// Removes empty directories that stand where files of the pool may be.
    pub(crate) fn remove_empty_directories(&self, path: PathName) {
        let mut below = related(path);
        below.sort_unstable_by_key(|other| std::cmp::Reverse(other.len()));
        for other in below {
            fs::remove_dir(self.file(other)).ok();
        }
    }

    pub(crate) fn make_parent(&self, path: &str) {
        fs::create_dir_all(self.file(path).parent().unwrap()).unwrap();
    }

    pub(crate) fn replace(&self, path: &str, content: &[u8]) {
        let temporary = self.outside.join("writer");
        fs::write(&temporary, content).unwrap();
        fs::rename(temporary, self.file(path)).unwrap();
    }

    pub(crate) fn apply_remote(&self, op: RemoteOp) {
        let mut state = self.state();
        state.trace.push(format!("    remote writer: {op:?}"));
        match op {
            RemoteOp::Put(path, size) => {
                let content = state.new_version(bytes_of(size), format!("there as {path}"));
                self.put(&mut state, path, content);
            }
            RemoteOp::PutLink(path) => self.link_there(&mut state, path),
            RemoteOp::PutHostileLink => self.hostile_link_there(),
            RemoteOp::Chmod(path, mode) => self.chmod_there(&mut state, path, mode),
            RemoteOp::Delete(path) => {
                if let Some(old) = self.remote_content(path) {
                    state.supersede(&old);
                    self.bucket.remove(&key(path));
                    state.changed_remotely(path, None);
                }
            }
            RemoteOp::Become(path, size) => {
                for other in related(path).into_iter().filter(|other| *other != path) {
                    if let Some(old) = self.remote_content(other) {
                        state.supersede(&old);
                        self.bucket.remove(&key(other));
                        state.changed_remotely(other, None);
                    }
                }
                let content = state.new_version(bytes_of(size), format!("there as {path}"));
                self.put(&mut state, path, content);
            }
            RemoteOp::CopyFromLocal(path) => {
                let Some(content) = self.local_content(path) else {
                    return;
                };
                if self.is_link(path) {
                    self.put_with(&mut state, path, content, LINK_MODE);
                } else {
                    self.put(&mut state, path, content);
                }
            }
            RemoteOp::Ignore(path) => {
                state.ignore(path);
                let (_, pattern) = locate(path);
                self.bucket
                    .insert(&key(IGNORE_FILE), format!("/{pattern}\n"));
            }
            RemoteOp::IgnoreNothing => self.bucket.remove(&key(IGNORE_FILE)),
            RemoteOp::PutUnsafe(unsafe_key) => {
                self.bucket.insert(&key(unsafe_key), "unsafe");
            }
            RemoteOp::SetField => self.set_field_there(&mut state),
            RemoteOp::BreakMerged => self.break_merged_there(&mut state),
        }
    }

    pub(crate) fn put(&self, state: &mut State, path: PathName, content: Bytes) {
        if let Some(old) = self.remote_content(path).filter(|old| *old != content) {
            state.supersede(&old);
        }
        self.bucket.insert(&key(path), content.clone());
        state.changed_remotely(path, Some(content));
    }
}

impl State {
    pub(crate) fn new_version(&mut self, size_bytes: usize, written: String) -> Bytes {
        self.add_version(size_bytes, '\n', written)
    }

    /// The target of a link of its own, which no text of a file equals.
    pub(crate) fn new_target(&mut self, written: String) -> Bytes {
        self.add_version(16, '.', written)
    }

    fn add_version(&mut self, size_bytes: usize, end: char, written: String) -> Bytes {
        let mut content = format!("{:06}:", self.versions.len());
        let dots = size_bytes.saturating_sub(content.len() + 1);
        content.extend(std::iter::repeat_n('.', dots));
        content.push(end);
        let content = Bytes::from(content);
        self.versions.push(Version {
            content: content.clone(),
            written,
            fate: Fate::Current,
        });
        content
    }

    /// What happens to the path from now on has no meaning for the other side, now or when it is ignored no more.
    fn ignore(&mut self, path: PathName) {
        self.ignored.extend(related(path));
        self.disturbed = true;
        self.met = true;
    }

    /// The number of a version; `None` for content that nobody ever wrote.
    pub(crate) fn version_of(&self, content: &[u8]) -> Option<usize> {
        let number = std::str::from_utf8(content.get(..6)?)
            .ok()?
            .parse::<usize>()
            .ok()?;
        (self.versions.get(number)?.content == content).then_some(number)
    }

    pub(crate) fn supersede(&mut self, content: &[u8]) {
        if let Some(number) = self.version_of(content) {
            self.versions[number].fate = Fate::Superseded;
        }
    }

    pub(crate) fn changed_locally(&mut self, path: PathName, content: Option<Bytes>) {
        self.dirty.insert(path);
        if path == MERGED && content.is_none() {
            self.merged.deleted_here();
        }
        for path in related(path) {
            let touched = self.touched.entry(path).or_default();
            touched.local = true;
            self.met |= touched.remote;
        }
        match content {
            Some(content) => self.left_here.insert(path, content),
            None => self.left_here.remove(path),
        };
    }

    pub(crate) fn changed_remotely(&mut self, path: PathName, content: Option<Bytes>) {
        if path == MERGED {
            self.merged.there.clone_from(&content);
        }
        for path in related(path) {
            let touched = self.touched.entry(path).or_default();
            touched.remote = true;
            self.met |= touched.local;
        }
        match content {
            Some(content) => self.left_there.insert(path, content),
            None => self.left_there.remove(path),
        };
    }
}

/// The paths that a history may use.
fn pool(history: &History) -> Vec<PathName> {
    let uses_mass = history
        .steps
        .iter()
        .any(|step| matches!(step, Step::Mass(_)));
    let many: &[_] = if uses_mass { &mass() } else { &[] };
    let groups = groups(history.mounts);
    groups
        .into_iter()
        .chain(many.iter().copied())
        .flatten()
        .copied()
        .collect()
}

pub(crate) fn bytes_of(size: Size) -> usize {
    match size {
        Size::Small => 16,
        Size::Odd(bytes) => 8 + usize::from(bytes),
        Size::Large => 1024 * 1024 + 7,
    }
}

impl LocalOp {
    pub(crate) fn paths(&self) -> Vec<PathName> {
        match self {
            Self::Rename(from, to) => vec![from, to],
            Self::Write(path, ..)
            | Self::Delete(path)
            | Self::Become(path, _)
            | Self::Touch(path)
            | Self::Rewrite(path)
            | Self::Chmod(path, _)
            | Self::Link(path)
            | Self::CopyFromRemote(path)
            | Self::Obstruct(path, _) => vec![path],
            Self::Ignore(_) | Self::IgnoreNothing => Vec::new(),
            Self::SetField | Self::BreakMerged => vec![MERGED],
        }
    }
}

//! The walk below a scan: every entry of a tree, directory by directory, in a key order.
//!
//! Holds the names of the directories above the entry that it stands at, as bytes; names of a huge directory are sorted
//! through files. Never follows a link, never enters another file system.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::Metadata,
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::{
    local::{Fingerprint, LocalKind},
    order::KeyOrder,
    root::{Root, kind_of},
    spill::{Sorted, Sorter},
};

/// Names of one directory that are held in memory, in bytes; the names of about 40,000 files.
const NAMES_BYTES: usize = 1024 * 1024;

/// Logs of databases in one directory that are remembered; where there are more, each file is asked about.
const LOGS: usize = 4096;
/// How the name of a database's log ends.
const LOG_SUFFIX: &[u8] = b"-wal";

/// Whether a database's log may stand beside a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    None,
    Possible,
}

/// The files of a directory that have a log beside them, by their names.
enum Logs {
    Of(HashSet<Vec<u8>>),
    TooMany,
}

impl Logs {
    fn note(&mut self, name: &[u8]) {
        let Some(main) = name.strip_suffix(LOG_SUFFIX) else {
            return;
        };
        match self {
            Self::Of(names) if names.len() < LOGS => drop(names.insert(main.to_vec())),
            Self::Of(_) | Self::TooMany => *self = Self::TooMany,
        }
    }

    fn beside(&self, name: &[u8]) -> Log {
        match self {
            Self::Of(names) if !names.contains(name) => Log::None,
            Self::Of(_) | Self::TooMany => Log::Possible,
        }
    }
}

/// What is found at a path.
#[derive(Debug)]
pub(super) struct DirEntry {
    path: PathBuf,
    kind: LocalKind,
    /// Known where it was looked at already.
    metadata: Option<Metadata>,
    log: Log,
}

impl DirEntry {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn kind(&self) -> LocalKind {
        self.kind
    }

    /// The fingerprint, that of a log beside a file included.
    pub(super) fn fingerprint(&self) -> Result<Fingerprint, WalkError> {
        let fingerprint = Fingerprint::of(&self.metadata()?);
        if self.kind != LocalKind::File || self.log == Log::None {
            return Ok(fingerprint);
        }
        let mut log = self.path.clone().into_os_string();
        log.push(OsStr::from_bytes(LOG_SUFFIX));
        let found = std::fs::symlink_metadata(&log);
        Ok(fingerprint.with_wal(found.map_or(0, |found| Fingerprint::wal_of(&found))))
    }

    /// The stat; never that of what a link leads to.
    pub(super) fn metadata(&self) -> Result<Metadata, WalkError> {
        match &self.metadata {
            Some(metadata) => Ok(metadata.clone()),
            None => std::fs::symlink_metadata(&self.path).map_err(failed(&self.path)),
        }
    }
}

/// A path that could not be looked at, or a directory that could not be read.
#[derive(Debug)]
pub(super) struct WalkError {
    pub(super) path: PathBuf,
    pub(super) error: io::Error,
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> WalkError {
    let path = path.to_owned();
    move |error| WalkError { path, error }
}

/// Iterator over the entries at and below a path; a directory comes before what is in it.
pub(super) struct Walk<'a, F> {
    root: &'a Root,
    order: KeyOrder,
    start: Option<PathBuf>,
    /// The file system to stay on; any, where it is not known.
    device: Option<u64>,
    levels: Vec<Level>,
    enters: F,
}

/// A directory that is being walked through.
struct Level {
    path: PathBuf,
    names: Sorted,
    logs: Logs,
    last: Vec<u8>,
}

impl<'a, F: Fn(&DirEntry) -> bool> Walk<'a, F> {
    /// Walks what is at and below `start` on the file system `device`, but for directories that `enters` refuses.
    pub(super) fn new(
        root: &'a Root,
        start: PathBuf,
        device: Option<u64>,
        order: KeyOrder,
        enters: F,
    ) -> Self {
        Self {
            root,
            order,
            start: Some(start),
            device,
            levels: Vec::new(),
            enters,
        }
    }

    /// The mount itself may be reached through a link; nothing below it is.
    fn first(&mut self, path: PathBuf) -> Option<Result<DirEntry, WalkError>> {
        let looked = if path == self.root.path() {
            std::fs::metadata(&path)
        } else {
            std::fs::symlink_metadata(&path)
        };
        let metadata = match looked {
            Ok(metadata) => metadata,
            Err(error) => return Some(Err(WalkError { path, error })),
        };
        let kind = kind_of(metadata.file_type());
        self.enter(path, kind, Some(metadata), Log::Possible)
    }

    /// Gives the entry and, for a directory, makes its content come next.
    fn enter(
        &mut self,
        path: PathBuf,
        kind: LocalKind,
        metadata: Option<Metadata>,
        log: Log,
    ) -> Option<Result<DirEntry, WalkError>> {
        let mut entry = DirEntry {
            path,
            kind,
            metadata,
            log,
        };
        if kind != LocalKind::Directory {
            return Some(Ok(entry));
        }
        if !(self.enters)(&entry) {
            return None;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Some(Err(error)),
        };
        let stays = self.device.is_none_or(|device| device == metadata.dev());
        entry.metadata = Some(metadata);
        if !stays {
            return Some(Ok(entry));
        }
        match self.names(&entry.path) {
            Ok((names, logs)) => {
                self.levels.push(Level {
                    path: entry.path.clone(),
                    names,
                    logs,
                    last: Vec::new(),
                });
                Some(Ok(entry))
            }
            Err(error) => Some(Err(failed(&entry.path)(error))),
        }
    }

    /// The names in a directory, that of a directory with `/` at its end, and which of them have a log beside them.
    fn names(&self, directory: &Path) -> io::Result<(Sorted, Logs)> {
        let mut logs = Logs::Of(HashSet::new());
        let mut names = Sorter::new(self.order, NAMES_BYTES, self.root.spill()?);
        let mut name = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(file_type) => kind_of(file_type),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            name.clear();
            name.extend_from_slice(entry.file_name().as_bytes());
            if kind == LocalKind::Directory {
                name.push(b'/');
            }
            logs.note(&name);
            names.push(&name, &[code(kind)])?;
        }
        Ok((names.finish()?, logs))
    }

    fn step(&mut self) -> Option<Result<DirEntry, WalkError>> {
        let level = self.levels.last_mut()?;
        let record = match level.names.next() {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.levels.pop();
                return None;
            }
            Err(error) => {
                let error = failed(&level.path)(error);
                self.levels.pop();
                return Some(Err(error));
            }
        };
        // A name that came and went while the directory was read may be given twice.
        if record.key == level.last {
            return None;
        }
        let name = record.key.strip_suffix(b"/").unwrap_or(&record.key);
        let path = level.path.join(OsStr::from_bytes(name));
        let log = level.logs.beside(name);
        let kind = record
            .payload
            .first()
            .copied()
            .map_or(LocalKind::Special, kind);
        level.last = record.key;
        self.enter(path, kind, None, log)
    }
}

impl<F: Fn(&DirEntry) -> bool> Iterator for Walk<'_, F> {
    type Item = Result<DirEntry, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(start) = self.start.take()
            && let Some(first) = self.first(start)
        {
            return Some(first);
        }
        while !self.levels.is_empty() {
            if let Some(item) = self.step() {
                return Some(item);
            }
        }
        None
    }
}

fn code(kind: LocalKind) -> u8 {
    match kind {
        LocalKind::File => b'f',
        LocalKind::Symlink => b'l',
        LocalKind::Directory => b'd',
        LocalKind::Special => b's',
    }
}

fn kind(code: u8) -> LocalKind {
    match code {
        b'f' => LocalKind::File,
        b'l' => LocalKind::Symlink,
        b'd' => LocalKind::Directory,
        _ => LocalKind::Special,
    }
}

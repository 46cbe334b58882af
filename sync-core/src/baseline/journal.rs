//! The journal of displacements: `displaced` beside `state.db`, one JSON document per line.
//!
//! Not a table: what stands displaced may be the only copy of an edit, so the note of it must be on disk before the
//! move (the database's own writes need not be, and a sync for each would be dear), and must survive a damaged or lost
//! database. A line that is torn was never followed by a move: the write is synced before it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::displacement::{Displacement, Fate, Surprise};
use crate::{digest::Digest, local::Fingerprint, path::RelPath};

/// The open journal and what is noted in it.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    pending: BTreeMap<String, Displacement>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    staged: String,
    path: RelPath,
    size: u64,
    mtime: i64,
    ctime: i64,
    inode: u64,
    mode: u32,
    #[serde(default)]
    wal: i64,
    ours: u64,
    kept: bool,
    back: bool,
    /// In base64, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

impl Journal {
    /// Opens or creates it and reads what a crash has left.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        // The first note is to be found after a power failure, so the name of its file has to be.
        if content.is_empty()
            && let Some(directory) = path.parent()
        {
            File::open(directory)?.sync_all()?;
        }
        let lines = content.split(|byte| *byte == b'\n');
        let pending = lines
            .filter_map(|line| serde_json::from_slice::<Line>(line).ok())
            .filter(|line| is_staging_name(&line.staged))
            .map(|line| (line.staged.clone(), line.into()))
            .collect();
        Ok(Self { file, pending })
    }

    /// Notes displacements; they are on disk when this returns.
    pub(super) fn note(&mut self, displacements: &[Displacement]) -> io::Result<()> {
        // After a torn line: an end of line before anything else keeps it from spoiling the next one.
        let mut text = vec![b'\n'];
        for displacement in displacements {
            serde_json::to_writer(&mut text, &Line::from(displacement))?;
            text.push(b'\n');
        }
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        let noted = displacements.iter().cloned();
        self.pending
            .extend(noted.map(|displacement| (displacement.staged_name.clone(), displacement)));
        Ok(())
    }

    /// What is noted and not settled. After a crash also what was settled just before: nothing is staged under its name.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Displacement> {
        self.pending.values()
    }

    /// Forgets what was dealt with. The file is emptied when nothing is left; until then settled lines do no harm.
    pub(super) fn settle(&mut self, staged_names: &[String]) -> io::Result<()> {
        for name in staged_names {
            self.pending.remove(name);
        }
        if self.pending.is_empty() {
            self.file.set_len(0)?;
        }
        Ok(())
    }
}

/// A name that leads nowhere else.
fn is_staging_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl From<&Displacement> for Line {
    fn from(displacement: &Displacement) -> Self {
        let Fingerprint {
            size_bytes,
            mtime_nanoseconds,
            ctime_nanoseconds,
            inode,
            mode,
            wal_nanoseconds,
        } = displacement.expected;
        Self {
            staged: displacement.staged_name.clone(),
            path: displacement.path.clone(),
            size: size_bytes,
            mtime: mtime_nanoseconds,
            ctime: ctime_nanoseconds,
            inode,
            mode,
            wal: wal_nanoseconds,
            ours: displacement.staged_inode,
            kept: displacement.fate == Fate::Kept,
            back: displacement.surprise == Surprise::PutBack,
            digest: displacement.digest.as_ref().map(Digest::to_base64),
        }
    }
}

impl From<Line> for Displacement {
    fn from(line: Line) -> Self {
        Self {
            staged_name: line.staged,
            path: line.path,
            expected: Fingerprint {
                size_bytes: line.size,
                mtime_nanoseconds: line.mtime,
                ctime_nanoseconds: line.ctime,
                inode: line.inode,
                mode: line.mode,
                wal_nanoseconds: line.wal,
            },
            digest: line.digest.as_deref().and_then(Digest::from_base64),
            staged_inode: line.ours,
            fate: if line.kept {
                Fate::Kept
            } else {
                Fate::Superseded
            },
            surprise: if line.back {
                Surprise::PutBack
            } else {
                Surprise::Copy
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn displacement(name: &str) -> Displacement {
        Displacement {
            staged_name: name.to_owned(),
            path: RelPath::new("new\nline/\"é").unwrap(),
            expected: Fingerprint {
                size_bytes: u64::MAX,
                mtime_nanoseconds: i64::MIN,
                ctime_nanoseconds: -1,
                inode: u64::MAX,
                mode: 0o7777,
                wal_nanoseconds: 9,
            },
            digest: (name == "b").then(|| Digest::from_bytes([7; 32])),
            staged_inode: 3,
            fate: Fate::Kept,
            surprise: Surprise::PutBack,
        }
    }

    #[test]
    fn what_is_noted_is_read_back_until_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("displaced");
        let mut journal = Journal::open(&path).unwrap();
        journal
            .note(&[displacement("a"), displacement("b")])
            .unwrap();
        journal.settle(&["a".to_owned()]).unwrap();
        let mut again = Journal::open(&path).unwrap();
        // The line of `a` is still there: nothing is staged under that name.
        assert_eq!(again.pending().count(), 2);
        assert!(again.pending().any(|found| *found == displacement("b")));
        again.settle(&["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn a_torn_line_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("displaced");
        Journal::open(&path)
            .unwrap()
            .note(&[displacement("a"), displacement("torn")])
            .unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            journal.note(&[displacement("after")]).unwrap();
            let names: Vec<_> = Journal::open(&path)
                .unwrap()
                .pending()
                .map(|found| found.staged_name.clone())
                .collect();
            assert!(names.contains(&"after".to_owned()), "cut at {length}");
        }
    }
}

//! What the local side shows of a file: its kind and its fingerprint.

use std::os::unix::fs::MetadataExt as _;

use crate::path::RelPath;

/// Timestamps this close to the moment of a look may belong to a write that comes after it: the coarsest clock of
/// Linux file systems in use ticks every 10 ms, and a write within the same tick leaves the stat as it was.
const RACY_WINDOW_NANOSECONDS: i128 = 20_000_000;

/// What a stat tells of a file. Equal fingerprints mean an unchanged file, but for [`Fingerprint::is_racy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Size of the content.
    pub size_bytes: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_nanoseconds: i64,
    /// Time of the last change of content or inode, nanoseconds since the epoch. Programs can't set it.
    pub ctime_nanoseconds: i64,
    /// Inode number.
    pub inode: u64,
    /// Permission bits, without the file type.
    pub mode: u32,
}

impl Fingerprint {
    /// Reads it from a stat.
    #[must_use]
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            size_bytes: metadata.size(),
            mtime_nanoseconds: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_nanoseconds: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            mode: metadata.mode() & 0o7777,
        }
    }

    /// The fingerprint of no file at all: whatever is there, or isn't, differs from it.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self {
            size_bytes: 0,
            mtime_nanoseconds: 0,
            ctime_nanoseconds: 0,
            inode: 0,
            mode: 0,
        }
    }

    /// True when both are the same file with the same content as far as a rename leaves it visible: a rename changes the
    /// ctime and nothing else.
    #[must_use]
    pub fn is_same_but_renamed(&self, other: &Self) -> bool {
        (self.size_bytes, self.mtime_nanoseconds, self.inode)
            == (other.size_bytes, other.mtime_nanoseconds, other.inode)
    }

    /// True when a write right after the look at `now` could have left this very fingerprint: it would have the same
    /// modification time.
    #[must_use]
    pub fn is_racy(&self, now: std::time::SystemTime) -> bool {
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos();
        i128::try_from(now)
            .is_ok_and(|now| now - i128::from(self.mtime_nanoseconds) < RACY_WINDOW_NANOSECONDS)
    }

    /// True when anybody may execute the file.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalKind {
    /// A regular file.
    File,
    /// A symbolic link; never followed.
    Symlink,
    /// A socket, FIFO or device.
    Special,
    /// A directory, seen only when one path is looked at: a scan reports what is in it instead.
    Directory,
}

/// One path as the local side shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEntry {
    /// Where, relative to the mount.
    pub path: RelPath,
    /// What lies there.
    pub kind: LocalKind,
    /// Its stat.
    pub fingerprint: Fingerprint,
}

//! What the local side shows of a file: its kind and its fingerprint.

use std::{
    os::unix::fs::MetadataExt as _,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::path::RelPath;

/// Timestamps this close to the moment of a look may belong to a write that comes after it: the coarsest clock of
/// Linux file systems in use ticks every 10 ms, and a write within the same tick leaves the stat as it was.
const RACY_WINDOW_NANOSECONDS: i128 = 20_000_000;
/// The same for file systems that keep whole or even seconds only.
const COARSE_WINDOW_NANOSECONDS: i128 = 2_020_000_000;
/// A file server's clock may be ahead of ours by this much. Times further ahead were set, or come from a clock that was
/// wrong, and no write to come repeats them.
const SKEW_NANOSECONDS: i128 = 60_000_000_000;

/// The file type in `st_mode`, and its values.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_FIFO: u32 = 0o010_000;
const TYPE_SOCKET: u32 = 0o140_000;

/// What a stat tells of a file. Equal fingerprints mean an unchanged file, but for [`Fingerprint::is_racy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint {
    /// Size of the content.
    pub size_bytes: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_nanoseconds: i64,
    /// Time of the last change of content or inode, nanoseconds since the epoch. Programs can't set it.
    pub ctime_nanoseconds: i64,
    /// Inode number.
    pub inode: u64,
    /// File type and permission bits as `st_mode` has them; without a type it is a file.
    pub mode: u32,
    /// The mtime of a write-ahead log with content that stands beside the file, nanoseconds since the epoch; 0 for none.
    /// Commits to a database change it and leave the file alone. Not the ctime, which a reader changes: SQLite gives a
    /// log that it opens as root to the owner of the database. Only a look below a root knows it.
    pub wal_nanoseconds: i64,
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
            mode: metadata.mode() & (TYPE_BITS | 0o7777),
            wal_nanoseconds: 0,
        }
    }

    /// What a look at the log beside a file adds to the file's fingerprint; see [`Fingerprint::wal_nanoseconds`].
    #[must_use]
    pub fn wal_of(metadata: &std::fs::Metadata) -> i64 {
        if metadata.is_file() && metadata.size() > 0 {
            nanoseconds(metadata.mtime(), metadata.mtime_nsec())
        } else {
            0
        }
    }

    /// This fingerprint beside another write-ahead log.
    #[must_use]
    pub fn with_wal(self, wal_nanoseconds: i64) -> Self {
        Self {
            wal_nanoseconds,
            ..self
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
            wal_nanoseconds: 0,
        }
    }

    /// True when both are the same file, untouched in between; the permissions may be those of another time, as what the
    /// baseline knows may be.
    #[must_use]
    pub fn is_same_version(&self, other: &Self) -> bool {
        self.with_permissions(0) == other.with_permissions(0)
    }

    /// True when both are the same file with the same content as far as a rename leaves it visible: a rename changes the
    /// ctime and nothing else.
    #[must_use]
    pub fn is_same_but_renamed(&self, other: &Self) -> bool {
        (self.size_bytes, self.mtime_nanoseconds, self.inode)
            == (other.size_bytes, other.mtime_nanoseconds, other.inode)
    }

    /// True when a write right after the look at `now` could have left this very fingerprint: it would have the same
    /// ctime, which nobody can set, or on file systems without a real one the same mtime.
    #[must_use]
    pub fn is_racy(&self, now: SystemTime) -> bool {
        self.is_close(self.ctime_nanoseconds, now)
            || self.is_close(self.mtime_nanoseconds, now)
            || (self.wal_nanoseconds != 0 && self.is_close(self.wal_nanoseconds, now))
    }

    /// The same for a file that we put in place at `now`: the rename gave it its ctime, so only the mtime counts.
    ///
    /// RACE: a write that follows the rename within the same tick of the clock, keeps the size and puts our mtime back
    /// goes unseen until the next write. Hashing every file once more that came would cost more than it finds.
    #[must_use]
    pub fn is_racy_as_published(&self, now: SystemTime) -> bool {
        self.is_close(self.mtime_nanoseconds, now)
    }

    fn is_close(&self, time_nanoseconds: i64, now: SystemTime) -> bool {
        let whole = |nanoseconds: i64| nanoseconds % 1_000_000_000 == 0;
        let window = if whole(self.mtime_nanoseconds) && whole(self.ctime_nanoseconds) {
            COARSE_WINDOW_NANOSECONDS
        } else {
            RACY_WINDOW_NANOSECONDS
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let age =
            i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - i128::from(time_nanoseconds);
        (-SKEW_NANOSECONDS..window).contains(&age)
    }

    /// What it is a fingerprint of.
    #[must_use]
    pub fn kind(&self) -> LocalKind {
        match self.mode & TYPE_BITS {
            0 | TYPE_FILE => LocalKind::File,
            TYPE_LINK => LocalKind::Symlink,
            TYPE_DIRECTORY => LocalKind::Directory,
            _ => LocalKind::Special,
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match (self.kind(), self.mode & TYPE_BITS) {
            (LocalKind::File, _) => "a file",
            (LocalKind::Symlink, _) => "a symbolic link",
            (LocalKind::Directory, _) => "a directory",
            (LocalKind::Special, TYPE_FIFO) => "a FIFO",
            (LocalKind::Special, TYPE_SOCKET) => "a socket",
            (LocalKind::Special, _) => "a device",
        }
    }

    /// The permission bits; never set-user-id and the like.
    #[must_use]
    pub fn permissions(&self) -> u32 {
        self.mode & 0o777
    }

    /// This fingerprint with other permission bits.
    #[must_use]
    pub fn with_permissions(self, permissions: u32) -> Self {
        let mode = self.mode & !0o777 | permissions & 0o777;
        Self { mode, ..self }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(mtime_nanoseconds: i64, ctime_nanoseconds: i64) -> Fingerprint {
        Fingerprint {
            mtime_nanoseconds,
            ctime_nanoseconds,
            ..Fingerprint::of_nothing()
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000)
    }

    #[test]
    fn a_look_within_the_clocks_tick_proves_nothing() {
        let tick = 1_000 * SECOND - 4_000_000;
        let old = 5 * SECOND + 1;
        assert!(at(tick, tick).is_racy(now()));
        assert!(at(old, tick).is_racy(now()), "its mtime was put back");
        assert!(at(tick, old).is_racy(now()), "no real ctime");
        assert!(!at(old, old).is_racy(now()));
        assert!(!at(old, 1_000 * SECOND - 20_000_000).is_racy(now()));
        assert!(!at(old, tick).is_racy_as_published(now()));
        assert!(at(tick, tick).is_racy_as_published(now()));
    }

    #[test]
    fn times_in_whole_seconds_have_a_window_of_seconds() {
        assert!(at(999 * SECOND, 998 * SECOND).is_racy(now()));
        assert!(!at(999 * SECOND, 998 * SECOND + 1).is_racy(now()));
        assert!(!at(997 * SECOND, 997 * SECOND).is_racy(now()));
    }

    #[test]
    fn a_clock_that_jumped_does_not_keep_files_in_doubt_for_ever() {
        let year = 365 * 24 * 3600 * SECOND;
        for far in [year, -year, i64::MAX, i64::MIN] {
            assert!(!at(far, far).is_racy(now()), "{far}");
        }
        // The clock of a file server that is a little ahead.
        assert!(at(1_003 * SECOND + 1, 1_003 * SECOND + 1).is_racy(now()));
        assert!(!at(5, 5).is_racy(UNIX_EPOCH + Duration::from_secs(1)));
    }

    #[test]
    fn the_mode_tells_the_kind_and_the_permissions() {
        let with = |mode| Fingerprint {
            mode,
            ..Fingerprint::of_nothing()
        };
        for (mode, kind, name) in [
            (0o644, LocalKind::File, "a file"),
            (0o100_644, LocalKind::File, "a file"),
            (0o120_777, LocalKind::Symlink, "a symbolic link"),
            (0o040_755, LocalKind::Directory, "a directory"),
            (0o010_644, LocalKind::Special, "a FIFO"),
            (0o140_755, LocalKind::Special, "a socket"),
            (0o060_660, LocalKind::Special, "a device"),
        ] {
            assert_eq!((with(mode).kind(), with(mode).kind_name()), (kind, name));
        }
        assert_eq!(with(0o104_755).permissions(), 0o755);
        assert_eq!(with(0o104_755).with_permissions(0o7640).mode, 0o104_640);
    }
}

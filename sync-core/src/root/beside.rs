//! What stands beside a file under a name made from its own: the log and the journal of a database.

use std::{io, os::fd::OwnedFd};

use rustix::fs::{AtFlags, FileType};

use super::Root;
use crate::{local::Fingerprint, path::RelPath, sqlite::ContentFile};

impl Root {
    /// The fingerprint of an open file, as a look at its path would give it.
    pub(crate) fn fingerprint_of(
        &self,
        path: &RelPath,
        file: &ContentFile,
    ) -> io::Result<Fingerprint> {
        let fingerprint = Fingerprint::of(&file.metadata()?);
        Ok(fingerprint.with_wal(self.wal_beside(path)))
    }

    /// The mtime of a log with content beside a file; 0 for none.
    fn wal_beside(&self, path: &RelPath) -> i64 {
        self.open_parent(path)
            .map_or(0, |parent| wal_in(&parent, path.file_name()))
    }

    /// True where a file has the name of `path` with one of these suffixes appended.
    pub(crate) fn stands_beside(&self, path: &RelPath, suffixes: &[&str]) -> bool {
        self.open_parent(path).is_ok_and(|parent| {
            suffixes.iter().any(|suffix| {
                let name = format!("{}{suffix}", path.file_name());
                rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
            })
        })
    }
}

/// The mtime of a write-ahead log with content that stands beside `name`; 0 for none.
pub(super) fn wal_in(directory: &OwnedFd, name: &str) -> i64 {
    let name = format!("{name}-wal");
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if stat.st_size > 0 && FileType::from_raw_mode(stat.st_mode).is_file() => {
            let rest = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
            stat.st_mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(rest)
        }
        Ok(_) | Err(_) => 0,
    }
}

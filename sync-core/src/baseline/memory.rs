//! What the baseline remembers for a while: tombstones and how much was deleted lately.
//!
//! A tombstone says that an object was deleted on purpose. It holds a download of that very version back for a while,
//! and nothing else: no delete is ever decided from it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Baseline, BaselineError, RemoteVersion, failed, remote::read_time};
use crate::{digest::ETag, path::RelPath, report::Side};

/// How long a tombstone counts, and deletes count together: longer than a store's replicas lag and than two scheduled
/// passes are apart, short enough for somebody who puts a deleted file back on purpose.
const MEMORY: Duration = Duration::from_mins(10);

/// Made whatever the schema's version: losing what these tables hold costs nothing but caution.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS tombstone (
        path TEXT PRIMARY KEY, etag TEXT NOT NULL, remote_size INTEGER NOT NULL, written INTEGER, buried INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS deleted (side TEXT NOT NULL, at INTEGER NOT NULL, count INTEGER NOT NULL);";

/// Drops a path's row and leaves a tombstone for the object that it knew.
pub(super) fn bury(connection: &Connection, path: &RelPath) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO tombstone (path, etag, remote_size, written, buried)
             SELECT path, etag, remote_size, written, ?2 FROM path WHERE path = ?1 AND etag IS NOT NULL",
        )?
        .execute(params![path.as_str(), seconds(SystemTime::now())])?;
    super::forget(connection, path)
}

/// A new agreement about the path ends its tombstone.
pub(super) fn unearth(connection: &Connection, path: &RelPath) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM tombstone WHERE path = ?1")?
        .execute([path.as_str()])
        .map(drop)
}

impl Baseline {
    /// Drops the tombstones that don't count any more; tells whether there are others.
    pub fn sweep_tombstones(&self, now: SystemTime) -> Result<bool, BaselineError> {
        // One from the future was made before the clock was set back.
        self.connection
            .execute(
                "DELETE FROM tombstone WHERE buried <= ?1 OR buried > ?2",
                params![seconds(now) - MEMORY.as_secs().cast_signed(), seconds(now)],
            )
            .and_then(|_| {
                self.connection
                    .query_row("SELECT EXISTS (SELECT 1 FROM tombstone)", [], |row| {
                        row.get(0)
                    })
            })
            .map_err(failed("sweep"))
    }

    /// The version of the object that was deleted lately, if one was.
    pub fn tombstone(&self, path: &RelPath) -> Result<Option<RemoteVersion>, BaselineError> {
        self.connection
            .prepare_cached("SELECT etag, remote_size, written FROM tombstone WHERE path = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([path.as_str()], |row| {
                        Ok(RemoteVersion {
                            etag: ETag::new(&row.get::<_, String>(0)?),
                            size_bytes: row.get::<_, i64>(1)?.cast_unsigned(),
                            written: read_time(row.get(2)?),
                        })
                    })
                    .optional()
            })
            .map_err(failed("read"))
    }

    /// Notes deletes towards a side.
    pub fn note_deletes(
        &self,
        side: Side,
        count: u64,
        now: SystemTime,
    ) -> Result<(), BaselineError> {
        if count == 0 {
            return Ok(());
        }
        let (since, until) = (oldest(now), seconds(now));
        self.connection
            .execute(
                "DELETE FROM deleted WHERE at <= ?1 OR at > ?2",
                params![since, until],
            )
            .and_then(|_| {
                self.connection.execute(
                    "INSERT INTO deleted (side, at, count) VALUES (?1, ?2, ?3)",
                    params![side.to_string(), until, count.cast_signed()],
                )
            })
            .map(drop)
            .map_err(failed("write"))
    }

    /// Deletes towards a side that were noted lately and not forgotten.
    pub fn recent_deletes(&self, side: Side, now: SystemTime) -> Result<u64, BaselineError> {
        self.connection
            .query_row(
                "SELECT coalesce(sum(count), 0) FROM deleted WHERE side = ?1 AND at > ?2 AND at <= ?3",
                params![side.to_string(), oldest(now), seconds(now)],
                |row| row.get::<_, i64>(0),
            )
            .map(i64::cast_unsigned)
            .map_err(failed("read"))
    }

    /// Somebody looked at the deletes and wants them: they count no more.
    pub fn forget_recent_deletes(&self) -> Result<(), BaselineError> {
        self.connection
            .execute("DELETE FROM deleted", [])
            .map(drop)
            .map_err(failed("write"))
    }

    /// True when nothing is known of any path.
    pub fn is_empty(&self) -> Result<bool, BaselineError> {
        self.connection
            .query_row("SELECT NOT EXISTS (SELECT 1 FROM path)", [], |row| {
                row.get(0)
            })
            .map_err(failed("read"))
    }
}

fn oldest(now: SystemTime) -> i64 {
    seconds(now) - MEMORY.as_secs().cast_signed()
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::row, *};
    use crate::baseline::RowChange;

    fn baseline() -> (tempfile::TempDir, Baseline) {
        let dir = tempfile::tempdir().unwrap();
        let baseline = Baseline::open(&dir.path().join("state.db"), "here").unwrap();
        (dir, baseline)
    }

    #[test]
    fn a_buried_path_leaves_the_version_of_its_object_until_it_is_agreed_upon_again() {
        let (_dir, mut baseline) = baseline();
        let path = row("a").path;
        baseline.apply(&[RowChange::Record(row("a"))]).unwrap();
        baseline.apply(&[RowChange::Bury(path.clone())]).unwrap();
        assert_eq!(baseline.row(&path).unwrap(), None);
        assert_eq!(
            baseline.tombstone(&path).unwrap().unwrap().etag,
            ETag::new("e")
        );
        baseline.apply(&[RowChange::Record(row("a"))]).unwrap();
        assert_eq!(baseline.tombstone(&path).unwrap(), None);
    }

    #[test]
    fn what_is_only_forgotten_leaves_no_tombstone() {
        let (_dir, mut baseline) = baseline();
        let path = row("a").path;
        baseline.apply(&[RowChange::Record(row("a"))]).unwrap();
        baseline.apply(&[RowChange::Forget(path.clone())]).unwrap();
        assert_eq!(baseline.tombstone(&path).unwrap(), None);
    }

    #[test]
    fn tombstones_count_for_a_while_and_not_when_the_clock_was_set_back() {
        let (_dir, mut baseline) = baseline();
        let now = SystemTime::now();
        for (later, expected) in [(0, true), (500, true), (700, false)] {
            baseline.apply(&[RowChange::Record(row("a"))]).unwrap();
            baseline.apply(&[RowChange::Bury(row("a").path)]).unwrap();
            let then = now + Duration::from_secs(later + 1);
            assert_eq!(
                baseline.sweep_tombstones(then).unwrap(),
                expected,
                "{later}"
            );
        }
        baseline.apply(&[RowChange::Record(row("a"))]).unwrap();
        baseline.apply(&[RowChange::Bury(row("a").path)]).unwrap();
        let before = now - Duration::from_hours(1);
        assert!(!baseline.sweep_tombstones(before).unwrap());
    }

    #[test]
    fn deletes_of_the_last_minutes_count_together_by_side() {
        let (_dir, baseline) = baseline();
        let now = SystemTime::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        baseline.note_deletes(Side::Local, 3, at(0)).unwrap();
        baseline.note_deletes(Side::Local, 4, at(300)).unwrap();
        baseline.note_deletes(Side::Remote, 9, at(300)).unwrap();
        for (then, expected) in [(301, 7), (601, 4), (901, 0)] {
            assert_eq!(
                baseline.recent_deletes(Side::Local, at(then)).unwrap(),
                expected
            );
        }
        baseline.forget_recent_deletes().unwrap();
        assert_eq!(baseline.recent_deletes(Side::Remote, at(301)).unwrap(), 0);
    }
}

//! The remote half of a row.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::digest::ETag;

/// An object as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteVersion {
    /// Entity tag.
    pub etag: ETag,
    /// Size of the content.
    pub size_bytes: u64,
    /// When it was written, by the store's clock.
    pub written: Written,
}

/// What is known of the time at which an object was written. Only times of the store's own clock are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    Unknown,
    /// A listing or the object itself says so.
    At(SystemTime),
    /// We wrote it, and this is what the store's clock said afterwards.
    Before(SystemTime),
}

impl Written {
    /// What a store says of an object.
    #[must_use]
    pub fn at(time: Option<SystemTime>) -> Self {
        time.map_or(Self::Unknown, Self::At)
    }

    /// After a write of our own, with what the store's clock says now.
    #[must_use]
    pub fn before(time: Option<SystemTime>) -> Self {
        time.map_or(Self::Unknown, Self::Before)
    }
}

impl RemoteVersion {
    /// A version of which only tag and size are known.
    #[must_use]
    pub fn new(etag: ETag, size_bytes: u64) -> Self {
        Self {
            etag,
            size_bytes,
            written: Written::Unknown,
        }
    }

    /// True when `now` shows that the object was written once more since, with the same content: only its metadata can
    /// be different. Stores tell the time in whole seconds in some answers and more exactly in others.
    ///
    /// RACE: another writer's change of the metadata within the second of the write that we know of goes unseen until
    /// the next change. The content is never in question.
    #[must_use]
    pub fn was_rewritten(&self, now: &Self) -> bool {
        let Written::At(after) = now.written else {
            return false;
        };
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let in_seconds = |time: Duration| Duration::from_secs(time.as_secs());
        let comparable = |before: SystemTime| {
            let (before, after) = (since(before), since(after));
            if before.subsec_nanos() == 0 || after.subsec_nanos() == 0 {
                (in_seconds(before), in_seconds(after))
            } else {
                (before, after)
            }
        };
        let later = match self.written {
            Written::Unknown => false,
            Written::At(before) => {
                let (before, after) = comparable(before);
                before != after
            }
            Written::Before(before) => {
                let (before, after) = comparable(before);
                before < after
            }
        };
        self.etag == now.etag && later
    }
}

/// The time in the form of a row: nanoseconds since the epoch, negative for an upper bound.
pub(super) fn write_time(written: Written) -> Option<i64> {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_nanos()).ok()
    };
    match written {
        Written::Unknown => None,
        Written::At(time) => nanoseconds(time),
        Written::Before(time) => nanoseconds(time).map(i64::wrapping_neg),
    }
}

/// Reads what [`write_time`] wrote.
pub(super) fn read_time(nanoseconds: Option<i64>) -> Written {
    let time =
        |nanoseconds: i64| UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds.unsigned_abs()));
    match nanoseconds {
        None => Written::Unknown,
        Some(bound) if bound < 0 => Written::before(time(bound)),
        Some(exact) => Written::at(time(exact)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(written: Written) -> RemoteVersion {
        RemoteVersion {
            written,
            ..RemoteVersion::new(ETag::new("e"), 1)
        }
    }

    #[test]
    fn a_later_write_of_the_same_content_shows_in_its_time() {
        let at = |milliseconds| Written::At(UNIX_EPOCH + Duration::from_millis(milliseconds));
        let before =
            |milliseconds| Written::Before(UNIX_EPOCH + Duration::from_millis(milliseconds));
        for (known, seen, expected) in [
            (at(5_250), at(5_250), false),
            (at(5_250), at(5_251), true),
            (at(5_250), at(4_250), true),
            // One of the two answers is in whole seconds.
            (at(5_250), at(5_000), false),
            (at(5_000), at(5_250), false),
            (at(5_000), at(6_000), true),
            // A write of our own is no news.
            (before(5_250), at(5_250), false),
            (before(5_250), at(5_100), false),
            (before(5_250), at(5_251), true),
            (before(5_000), at(5_999), false),
            (before(5_000), at(6_000), true),
            (Written::Unknown, at(6_000), false),
            (at(5_000), Written::Unknown, false),
        ] {
            let found = version(known).was_rewritten(&version(seen));
            assert_eq!(found, expected, "{known:?} {seen:?}");
            for written in [known, seen] {
                assert_eq!(read_time(write_time(written)), written);
            }
        }
        let other = RemoteVersion {
            etag: ETag::new("f"),
            ..version(at(9_000))
        };
        assert!(
            !version(at(5_000)).was_rewritten(&other),
            "other content is a change"
        );
    }
}

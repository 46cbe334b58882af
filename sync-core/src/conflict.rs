//! Names of conflict copies.
//!
//! Pure. A copy of `<path>` is `.sync-conflicts/<path>.<UTC time>.<side>`; where that is taken a number is added.

use crate::{path::RelPath, report::Side};

/// Where conflict copies live in every mount.
pub const CONFLICTS_DIRECTORY: &str = ".sync-conflicts";
/// How the time is written in names.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// How many names are tried for one copy.
const ATTEMPTS: u32 = 1000;
/// Bytes of the longest suffix, number included.
const SUFFIX_BYTES: usize = 32;

/// The names for a copy of `side`'s version of `path`, best first.
pub fn copy_paths(
    path: &RelPath,
    side: Side,
    now: jiff::Timestamp,
) -> impl Iterator<Item = RelPath> {
    let time = now.strftime(TIME).to_string();
    // A copy of a copy keeps its place: directories would nest for ever otherwise.
    let directory = format!("{CONFLICTS_DIRECTORY}/");
    let plain = path
        .as_str()
        .strip_prefix(&directory)
        .unwrap_or(path.as_str());
    let stem = shorten(plain).to_owned();
    (0..ATTEMPTS).filter_map(move |attempt| {
        let number = if attempt == 0 {
            String::new()
        } else {
            format!("-{attempt}")
        };
        RelPath::new(format!("{directory}{stem}.{time}{number}.{side}")).ok()
    })
}

/// True for a path below the conflicts directory.
#[must_use]
pub fn is_copy(path: &RelPath) -> bool {
    path.components().next() == Some(CONFLICTS_DIRECTORY)
}

/// The path that a copy is a copy of, as far as its name tells; `None` for what is no copy.
#[must_use]
pub fn origin(path: &RelPath) -> Option<RelPath> {
    CopyName::of(path).map(|name| name.origin)
}

/// What the name of a copy tells. Copies of one path sort by age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyName {
    /// The path that it is a copy of; a very long one is cut.
    pub origin: RelPath,
    /// When it was made; `None` where the name says something else.
    pub made: Option<jiff::Timestamp>,
    /// Which of those made in the same second.
    pub number: u32,
    /// Whose version it is.
    pub side: Side,
}

impl CopyName {
    /// Reads the name of a copy; `None` for what is none.
    #[must_use]
    pub fn of(path: &RelPath) -> Option<Self> {
        let below = path
            .as_str()
            .strip_prefix(CONFLICTS_DIRECTORY)?
            .strip_prefix('/')?;
        let (without_side, side) = match below.strip_suffix(".local") {
            Some(rest) => (rest, Side::Local),
            None => (below.strip_suffix(".remote")?, Side::Remote),
        };
        let (origin, time) = without_side.rsplit_once('.')?;
        let (time, number) = time.split_once('-').unwrap_or((time, "0"));
        let made = jiff::civil::DateTime::strptime(TIME, time)
            .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|time| time.timestamp());
        Some(Self {
            origin: RelPath::new(origin).ok()?,
            made: made.ok(),
            number: number.parse().unwrap_or(0),
            side,
        })
    }

    /// What copies of one path sort by: the oldest first.
    #[must_use]
    pub fn age(&self) -> (Option<jiff::Timestamp>, u32) {
        (self.made, self.number)
    }
}

/// Leaves room for the suffix in the last component and for the directory before the path, at a character boundary.
fn shorten(path: &str) -> &str {
    let name_start = path.rfind('/').map_or(0, |slash| slash + 1);
    let limit =
        (name_start + 255 - SUFFIX_BYTES).min(1024 - CONFLICTS_DIRECTORY.len() - 1 - SUFFIX_BYTES);
    if path.len() <= limit {
        path
    } else {
        path.get(..path.floor_char_boundary(limit)).unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(path: &str) -> String {
        let now = "2026-11-21T04:05:06Z".parse().unwrap();
        copy_paths(&RelPath::new(path).unwrap(), Side::Local, now)
            .next()
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_copy_is_named_after_its_path_the_time_and_the_side() {
        assert_eq!(
            first("a/SOUL.md"),
            ".sync-conflicts/a/SOUL.md.20261121T040506Z.local"
        );
        assert_eq!(
            first(".sync-conflicts/x"),
            ".sync-conflicts/x.20261121T040506Z.local"
        );
    }

    #[test]
    fn the_longest_names_still_have_a_copy() {
        let name = "é".repeat(127);
        assert!(first(&format!("dir/{name}")).ends_with(".20261121T040506Z.local"));
    }

    #[test]
    fn the_longest_paths_still_have_a_copy_and_copies_know_their_origin() {
        let path = [
            "d".repeat(250),
            "e".repeat(250),
            "f".repeat(250),
            "g".repeat(250),
        ]
        .join("/");
        assert!(first(&path).len() <= 1024);
        let copy = RelPath::new(first("a/SOUL.md")).unwrap();
        assert_eq!(origin(&copy), Some(RelPath::new("a/SOUL.md").unwrap()));
        assert_eq!(origin(&RelPath::new("a/SOUL.md").unwrap()), None);
    }

    #[test]
    fn names_tell_time_number_and_side() {
        let name = |text| CopyName::of(&RelPath::new(text).unwrap()).unwrap();
        let second = name(".sync-conflicts/a/SOUL.md.20261121T040506Z-1.remote");
        assert_eq!(second.origin.as_str(), "a/SOUL.md");
        assert_eq!(second.made.unwrap().to_string(), "2026-11-21T04:05:06Z");
        assert_eq!((second.number, second.side), (1, Side::Remote));
        let first = name(".sync-conflicts/a/SOUL.md.20261121T040506Z.local");
        assert!(first.age() < second.age());
        assert_eq!(name(".sync-conflicts/a.b.c.local").made, None);
    }

    #[test]
    fn a_taken_name_has_followers() {
        let now = "2026-11-21T04:05:06Z".parse().unwrap();
        let names: Vec<_> = copy_paths(&RelPath::new("f").unwrap(), Side::Remote, now)
            .take(2)
            .collect();
        assert_eq!(
            names[1].as_str(),
            ".sync-conflicts/f.20261121T040506Z-1.remote"
        );
    }
}

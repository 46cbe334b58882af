//! The ordered three-way join: local scan, baseline and listing, all in the same order of paths, become one row per path.
//!
//! Pure. Holds one entry of each source; the sources decide how much they hold.

use std::iter::Peekable;

use crate::{
    baseline::{RemoteVersion, Row, Written},
    local::LocalEntry,
    order::KeyOrder,
    path::{ObjectKey, RelPath},
    store::ListedObject,
};

/// An object under the mount's prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEntry {
    /// Where it belongs.
    pub path: RelPath,
    /// Its key: prefix and path, but for files that are still stored under an older key.
    pub key: ObjectKey,
    /// What the store says of it.
    pub version: RemoteVersion,
}

impl RemoteEntry {
    /// An entry for a listed object whose key is `path` under the mount's prefix.
    #[must_use]
    pub fn new(path: RelPath, key: ObjectKey, object: ListedObject) -> Self {
        let version = RemoteVersion {
            etag: object.etag,
            size_bytes: object.size_bytes,
            written: Written::at(object.modified),
        };
        Self { path, key, version }
    }
}

/// Everything that is known of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The path.
    pub path: RelPath,
    /// What both sides held.
    pub baseline: Option<Row>,
    /// What the local side holds.
    pub local: Option<LocalEntry>,
    /// What the bucket holds.
    pub remote: Option<RemoteEntry>,
}

/// Joins three sources, each of which has its paths in `order`, each path once.
pub fn join<B, L, R>(order: KeyOrder, baseline: B, local: L, remote: R) -> Join<B, L, R>
where
    B: Iterator<Item = Row>,
    L: Iterator<Item = LocalEntry>,
    R: Iterator<Item = RemoteEntry>,
{
    Join {
        order,
        baseline: baseline.peekable(),
        local: local.peekable(),
        remote: remote.peekable(),
    }
}

/// Iterator of [`join`].
pub struct Join<B: Iterator, L: Iterator, R: Iterator> {
    order: KeyOrder,
    baseline: Peekable<B>,
    local: Peekable<L>,
    remote: Peekable<R>,
}

impl<B, L, R> Iterator for Join<B, L, R>
where
    B: Iterator<Item = Row>,
    L: Iterator<Item = LocalEntry>,
    R: Iterator<Item = RemoteEntry>,
{
    type Item = Observed;

    fn next(&mut self) -> Option<Observed> {
        let heads = [
            self.baseline.peek().map(|row| &row.path),
            self.local.peek().map(|entry| &entry.path),
            self.remote.peek().map(|entry| &entry.path),
        ];
        let first = heads
            .into_iter()
            .flatten()
            .min_by(|left, right| self.order.compare(left.as_str(), right.as_str()));
        let path = first?.clone();
        Some(Observed {
            baseline: self.baseline.next_if(|row| row.path == path),
            local: self.local.next_if(|entry| entry.path == path),
            remote: self.remote.next_if(|entry| entry.path == path),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        digest::{Digest, ETag},
        local::{Fingerprint, LocalKind},
    };

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn row(text: &str) -> Row {
        Row {
            path: path(text),
            local: None,
            remote: None,
            digest: Digest::from_bytes([0; 32]),
        }
    }

    fn local(text: &str) -> LocalEntry {
        let fingerprint = Fingerprint {
            size_bytes: 0,
            mtime_nanoseconds: 0,
            ctime_nanoseconds: 0,
            inode: 0,
            mode: 0o644,
            wal_nanoseconds: 0,
        };
        LocalEntry {
            path: path(text),
            kind: LocalKind::File,
            fingerprint,
        }
    }

    fn remote(text: &str) -> RemoteEntry {
        let version = RemoteVersion::new(ETag::new("e"), 0);
        RemoteEntry {
            path: path(text),
            key: ObjectKey::new(text).unwrap(),
            version,
        }
    }

    proptest! {
        #[test]
        fn every_path_comes_once_with_all_that_is_known_in_either_order(
            [baseline, here, there] in [paths(), paths(), paths()],
            order in prop_oneof![Just(KeyOrder::Bytes), Just(KeyOrder::Tree)],
        ) {
            let sorted = |set: &BTreeSet<String>| {
                let mut paths: Vec<_> = set.iter().cloned().collect();
                paths.sort_by(|left, right| order.compare(left, right));
                paths
            };
            let joined: Vec<_> = join(
                order,
                sorted(&baseline).into_iter().map(|path| row(&path)),
                sorted(&here).into_iter().map(|path| local(&path)),
                sorted(&there).into_iter().map(|path| remote(&path)),
            )
            .collect();
            let all: BTreeSet<_> = baseline.iter().chain(&here).chain(&there).cloned().collect();
            let came: Vec<_> = joined.iter().map(|observed| observed.path.to_string()).collect();
            prop_assert_eq!(came, sorted(&all));
            for observed in joined {
                let path = observed.path.as_str();
                prop_assert_eq!(observed.baseline.is_some(), baseline.contains(path));
                prop_assert_eq!(observed.local.is_some(), here.contains(path));
                prop_assert_eq!(observed.remote.is_some(), there.contains(path));
            }
        }
    }

    fn paths() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("[ab]([ab.\\-]{0,2}(/[ab.\\-]?[ab]){0,3})", 0..12)
    }

    #[test]
    fn every_path_of_any_source_comes_once_in_order_with_all_that_is_known() {
        let joined: Vec<_> = join(
            KeyOrder::Bytes,
            ["a", "b", "e"].map(row).into_iter(),
            ["b", "c", "e"].map(local).into_iter(),
            ["d", "e"].map(remote).into_iter(),
        )
        .map(|observed| {
            let flags = [
                observed.baseline.is_some(),
                observed.local.is_some(),
                observed.remote.is_some(),
            ];
            (observed.path.to_string(), flags)
        })
        .collect();
        let expected = [
            ("a", [true, false, false]),
            ("b", [true, true, false]),
            ("c", [false, true, false]),
            ("d", [false, false, true]),
            ("e", [true, true, true]),
        ];
        assert_eq!(
            joined,
            expected.map(|(path, flags)| (path.to_owned(), flags))
        );
    }
}

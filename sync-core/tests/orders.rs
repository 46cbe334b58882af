//! Scan, baseline and comparison agree about each order: the join rests on it.

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use proptest::prelude::*;
    use sync_core::{
        baseline::{Baseline, LocalVersion, RemoteVersion, Row, RowChange},
        digest::{Digest, ETag},
        layout::Rules,
        local::Fingerprint,
        order::KeyOrder,
        path::RelPath,
        root::Root,
        scan::{ScanItem, scan},
        selection::Selection,
    };

    const ORDERS: [KeyOrder; 2] = [KeyOrder::Bytes, KeyOrder::Tree];

    /// Names whose neighbours lie on both sides of `/`.
    fn paths() -> impl Strategy<Value = BTreeSet<String>> {
        let name = "[ab.\\-\u{1} 0é\u{10ffff}]{0,3}[ab\\-!~]";
        let path = proptest::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
        proptest::collection::btree_set(path, 0..40)
            .prop_map(|paths| without_files_in_the_way(&paths))
    }

    /// A file system has no file `x` beside a directory `x`.
    fn without_files_in_the_way(paths: &BTreeSet<String>) -> BTreeSet<String> {
        let is_directory = |path: &String| {
            paths
                .iter()
                .any(|other| other.starts_with(&format!("{path}/")))
        };
        paths
            .iter()
            .filter(|path| !is_directory(path))
            .cloned()
            .collect()
    }

    fn directory() -> tempfile::TempDir {
        let memory = std::path::Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        directory.unwrap()
    }

    fn row(path: &str) -> Row {
        let fingerprint = Fingerprint::of_nothing();
        Row {
            path: RelPath::new(path).unwrap(),
            local: Some(LocalVersion::seen(fingerprint, std::time::UNIX_EPOCH)),
            remote: Some(RemoteVersion::new(ETag::new("e"), 0)),
            digest: Digest::from_bytes([0; 32]),
        }
    }

    fn scanned(root: &Root, scope: Option<&str>, order: KeyOrder) -> Vec<String> {
        let scope = scope.map(|scope| RelPath::new(scope).unwrap());
        let rules = Rules::new(Vec::new()).unwrap();
        let selection = Selection::of_rules(Arc::new(rules));
        scan(root, scope.as_ref(), &selection, order)
            .map(|item| match item {
                ScanItem::Entry(entry) => entry.path.to_string(),
                ScanItem::Problem { path, message, .. } => panic!("{path}: {message}"),
            })
            .collect()
    }

    /// All rows, three at a time.
    fn rows(baseline: &Baseline) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let after = all.last().cloned().unwrap_or_default();
            let page = baseline.rows_between(&after, None, 3).unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page.into_iter().map(|row| row.path.to_string()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn scan_and_baseline_come_in_the_order_of_the_comparison(paths in paths()) {
            let directory = self::directory();
            let root = Root::open(directory.path()).unwrap();
            for path in &paths {
                let full = directory.path().join(path);
                std::fs::create_dir_all(full.parent().unwrap()).unwrap();
                std::fs::write(full, "").unwrap();
            }
            let file = directory.path().join(".hiclaw-sync/state.db");
            let mut baseline = Baseline::open(&file, "here").unwrap();
            let changes: Vec<_> = paths.iter().map(|path| RowChange::Record(row(path))).collect();
            baseline.apply(&changes).unwrap();
            // There and back: arranging loses nothing.
            for order in ORDERS.into_iter().chain(ORDERS) {
                let mut expected: Vec<_> = paths.iter().cloned().collect();
                expected.sort_by(|left, right| order.compare(left, right));
                prop_assert_eq!(&scanned(&root, None, order), &expected);
                baseline.arrange(order).unwrap();
                prop_assert_eq!(&rows(&baseline), &expected);
                let scopes: BTreeSet<_> = paths.iter().filter_map(|path| path.split_once('/')).collect();
                for (scope, _) in scopes {
                    let below = |path: &&String| path.starts_with(&format!("{scope}/"));
                    let expected: Vec<_> = expected.iter().filter(below).cloned().collect();
                    prop_assert_eq!(scanned(&root, Some(scope), order), expected);
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_rows_outlives_the_session_and_another_binding() {
        let directory = self::directory();
        let file = directory.path().join("state.db");
        let mut baseline = Baseline::open(&file, "here").unwrap();
        let changes = ["a-b", "a/b", "a.b"].map(|path| RowChange::Record(row(path)));
        baseline.apply(&changes).unwrap();
        baseline.arrange(KeyOrder::Tree).unwrap();
        drop(baseline);
        let baseline = Baseline::open(&file, "here").unwrap();
        assert_eq!(baseline.order(), KeyOrder::Tree);
        assert_eq!(rows(&baseline), ["a/b", "a-b", "a.b"]);
        assert_eq!(
            baseline.row(&RelPath::new("a/b").unwrap()).unwrap(),
            Some(row("a/b"))
        );
        assert_eq!(baseline.known().unwrap(), 3);
        drop(baseline);
        let mut baseline = Baseline::open(&file, "there").unwrap();
        assert_eq!(baseline.order(), KeyOrder::Tree);
        assert!(rows(&baseline).is_empty());
        baseline.apply(&changes).unwrap();
        baseline.apply(&changes).unwrap();
        assert_eq!(rows(&baseline), ["a/b", "a-b", "a.b"]);
    }

    #[test]
    fn a_directory_of_more_names_than_fit_is_in_order_too() {
        let directory = self::directory();
        let root = Root::open(directory.path()).unwrap();
        let first = directory.path().join("first");
        std::fs::write(&first, "").unwrap();
        // About three times what a scan holds of one directory.
        let mut expected = vec!["first".to_owned()];
        for number in 0..20_000_u32 {
            let name = format!("{:0>150}", number.wrapping_mul(2_654_435_761));
            std::fs::hard_link(&first, directory.path().join(&name)).unwrap();
            expected.push(name);
        }
        expected.sort();
        assert!(scanned(&root, None, KeyOrder::Bytes) == expected);
        assert_eq!(
            std::fs::read_dir(directory.path().join(".hiclaw-sync/tmp"))
                .unwrap()
                .count(),
            0,
            "what did not fit has no name"
        );
    }
}

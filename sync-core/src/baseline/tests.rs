use super::*;

pub(super) fn row(path: &str) -> Row {
    let fingerprint = Fingerprint {
        size_bytes: 1,
        mtime_nanoseconds: -5,
        ctime_nanoseconds: 7,
        inode: u64::MAX,
        mode: 0o644,
        wal_nanoseconds: 11,
    };
    Row {
        path: RelPath::new(path).unwrap(),
        local: Some(LocalVersion {
            fingerprint,
            certainty: Certainty::Racy,
        }),
        remote: Some(RemoteVersion {
            written: Written::Before(SystemTime::UNIX_EPOCH + std::time::Duration::new(7, 5)),
            ..RemoteVersion::new(ETag::new("e"), 1)
        }),
        digest: Digest::from_bytes([7; 32]),
    }
}

#[test]
fn rows_come_back_as_written_in_byte_order_of_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    let mut baseline = Baseline::open(&dir.path().join("state.db"), "here").unwrap();
    let tombstone = Row {
        local: None,
        ..row("a-b")
    };
    let changes: Vec<_> = [row("a/b"), tombstone.clone(), row("a"), row("é"), row("Z")]
        .into_iter()
        .map(RowChange::Record)
        .collect();
    baseline.apply(&changes).unwrap();
    let paths: Vec<_> = baseline
        .rows_between("", None, 10)
        .unwrap()
        .into_iter()
        .map(|row| row.path)
        .collect();
    assert_eq!(
        paths.iter().map(RelPath::as_str).collect::<Vec<_>>(),
        ["Z", "a", "a-b", "a/b", "é"]
    );
    assert_eq!(
        baseline.row(&tombstone.path).unwrap(),
        Some(tombstone.clone())
    );
    assert_eq!(baseline.row(&row("a").path).unwrap(), Some(row("a")));
    assert_eq!(
        baseline.rows_between("a", Some("a/"), 9).unwrap(),
        [tombstone]
    );
    assert_eq!(baseline.known().unwrap(), 4);
    baseline.apply(&[RowChange::Forget(row("a").path)]).unwrap();
    assert_eq!(baseline.row(&row("a").path).unwrap(), None);
}

#[test]
fn another_binding_starts_empty_and_the_same_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let open = |binding| Baseline::open(&file, binding).unwrap();
    open("here").apply(&[RowChange::Record(row("a"))]).unwrap();
    assert_eq!(open("here").known().unwrap(), 1);
    assert_eq!(open("there").known().unwrap(), 0);
    assert_eq!(open("here").known().unwrap(), 0);
}

#[test]
fn a_damaged_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    std::fs::write(
        &file,
        "this is no database, but long enough to be taken for one".repeat(100),
    )
    .unwrap();
    assert_eq!(Baseline::open(&file, "here").unwrap().known().unwrap(), 0);
}

#[test]
fn displacements_survive_a_reopening_until_they_are_finished() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state.db");
    let displacement = Displacement {
        staged_name: "x1".to_owned(),
        path: RelPath::new("a/b").unwrap(),
        expected: row("a").local.unwrap().fingerprint,
        digest: Some(Digest::from_bytes([9; 32])),
        staged_inode: 9,
        fate: Fate::Kept,
        surprise: Surprise::Copy,
    };
    Baseline::open(&file, "here")
        .unwrap()
        .plan_displacements(std::slice::from_ref(&displacement))
        .unwrap();
    std::fs::write(&file, "damaged").unwrap();
    let mut baseline = Baseline::open(&file, "there").unwrap();
    assert_eq!(baseline.displacements(), [displacement]);
    baseline.finish_displacements(&["x1".to_owned()]).unwrap();
    assert!(baseline.displacements().is_empty());
}

//! One test per row of the table in docs/SEMANTICS.md; a cell without a row fails.

use super::*;

use Change::{Absent, Created, Deleted, Modified, Unchanged};

const BOTH: Policy = Policy {
    sync: SyncMode::Both,
    prefer: Side::Local,
    deletes: Deletes::Both,
};
const PULL: Policy = Policy {
    sync: SyncMode::Pull,
    prefer: Side::Remote,
    deletes: Deletes::Pull,
};
const PUSH: Policy = Policy {
    sync: SyncMode::Push,
    prefer: Side::Local,
    deletes: Deletes::Push,
};

/// Local change, remote change, decision for `both`, `pull`, `push`: the order of the document's table.
type Row = (Change, Change, Decision, Decision, Decision);

fn table() -> Vec<Row> {
    use Decision::{
        Conflict, DeleteLocal, DeleteRemote, Download, Forget, Nothing, RecordGone, Upload,
    };
    let local = Conflict(Side::Local);
    let remote = Conflict(Side::Remote);
    vec![
        (Absent, Absent, Forget, Forget, Forget),
        (Absent, Unchanged, Nothing, Nothing, Nothing),
        (Absent, Created, Download, Download, Nothing),
        (Absent, Modified, Download, Download, Nothing),
        (Absent, Deleted, Forget, Forget, Forget),
        (Unchanged, Absent, Nothing, Nothing, Nothing),
        (Unchanged, Unchanged, Nothing, Nothing, Nothing),
        (Unchanged, Created, Download, Download, Nothing),
        (Unchanged, Modified, Download, Download, Nothing),
        (Unchanged, Deleted, DeleteLocal, DeleteLocal, Upload),
        (Created, Absent, Upload, Nothing, Upload),
        (Created, Unchanged, Upload, Nothing, Upload),
        (Created, Created, local, remote, local),
        (Created, Modified, local, remote, local),
        (Created, Deleted, Upload, Forget, Upload),
        (Modified, Absent, Upload, Nothing, Upload),
        (Modified, Unchanged, Upload, Nothing, Upload),
        (Modified, Created, local, remote, local),
        (Modified, Modified, local, remote, local),
        (Modified, Deleted, Upload, Forget, Upload),
        (Deleted, Absent, Forget, Forget, Forget),
        (Deleted, Unchanged, DeleteRemote, Download, DeleteRemote),
        (Deleted, Created, Download, Download, RecordGone),
        (Deleted, Modified, Download, Download, RecordGone),
        (Deleted, Deleted, Forget, Forget, Forget),
    ]
}

#[test]
fn every_cell_has_a_row_and_every_row_is_what_the_function_answers() {
    let table = table();
    for local in Change::ALL {
        for remote in Change::ALL {
            let row = table.iter().find(|row| (row.0, row.1) == (local, remote));
            let (_, _, both, pull, push) =
                row.unwrap_or_else(|| panic!("no row for {local:?}, {remote:?}"));
            assert_eq!(
                reconcile(local, remote, BOTH),
                *both,
                "both: {local:?}, {remote:?}"
            );
            assert_eq!(
                reconcile(local, remote, PULL),
                *pull,
                "pull: {local:?}, {remote:?}"
            );
            assert_eq!(
                reconcile(local, remote, PUSH),
                *push,
                "push: {local:?}, {remote:?}"
            );
        }
    }
    assert_eq!(table.len(), 25);
}

#[test]
fn the_document_holds_the_same_table() {
    let document = include_str!("../../../docs/SEMANTICS.md");
    for (local, remote, both, pull, push) in table() {
        let row = format!(
            "| {local:?} | {remote:?} | {} | {} | {} |",
            word(both),
            word(pull),
            word(push)
        );
        assert!(
            document.contains(&row),
            "docs/SEMANTICS.md lacks the row {row}"
        );
    }
}

fn word(decision: Decision) -> String {
    match decision {
        Decision::Conflict(side) => format!("conflict, {side} wins"),
        Decision::Nothing => "–".to_owned(),
        Decision::Upload => "upload".to_owned(),
        Decision::Download => "download".to_owned(),
        Decision::DeleteLocal => "delete local".to_owned(),
        Decision::DeleteRemote => "delete remote".to_owned(),
        Decision::Merge => "merge".to_owned(),
        Decision::RecordGone => "record gone".to_owned(),
        Decision::Forget => "forget".to_owned(),
    }
}

#[test]
fn deletes_travel_only_the_ways_the_rule_allows() {
    for (deletes, local_gone, remote_gone) in [
        (Deletes::Both, Decision::DeleteRemote, Decision::DeleteLocal),
        (Deletes::Pull, Decision::RecordGone, Decision::DeleteLocal),
        (Deletes::Push, Decision::DeleteRemote, Decision::RecordGone),
        (Deletes::None, Decision::RecordGone, Decision::RecordGone),
    ] {
        let policy = Policy { deletes, ..BOTH };
        assert_eq!(
            reconcile(Deleted, Unchanged, policy),
            local_gone,
            "{deletes:?}"
        );
        assert_eq!(
            reconcile(Unchanged, Deleted, policy),
            remote_gone,
            "{deletes:?}"
        );
    }
}

#[test]
fn without_a_baseline_nothing_is_deleted_under_any_rule() {
    for sync in [
        SyncMode::Both,
        SyncMode::Pull,
        SyncMode::Push,
        SyncMode::Merge,
        SyncMode::None,
    ] {
        for deletes in [Deletes::Both, Deletes::Pull, Deletes::Push, Deletes::None] {
            for local in [Absent, Created] {
                for remote in [Absent, Created] {
                    let decision = reconcile(
                        local,
                        remote,
                        Policy {
                            sync,
                            prefer: Side::Local,
                            deletes,
                        },
                    );
                    assert!(!matches!(
                        decision,
                        Decision::DeleteLocal | Decision::DeleteRemote
                    ));
                }
            }
        }
    }
}

#[test]
fn ignored_paths_never_travel_and_are_never_deleted() {
    for local in Change::ALL {
        for remote in Change::ALL {
            let decision = reconcile(
                local,
                remote,
                Policy {
                    sync: SyncMode::None,
                    ..BOTH
                },
            );
            assert!(
                matches!(decision, Decision::Nothing | Decision::Forget),
                "{local:?} {remote:?}"
            );
        }
    }
}

#[test]
fn a_merged_file_is_never_pushed_and_never_deleted() {
    for local in Change::ALL {
        for remote in Change::ALL {
            let decision = reconcile(
                local,
                remote,
                Policy {
                    sync: SyncMode::Merge,
                    ..BOTH
                },
            );
            assert!(matches!(
                decision,
                Decision::Nothing | Decision::Merge | Decision::Forget
            ));
            if matches!(remote, Created | Modified) {
                assert_eq!(decision, Decision::Merge);
            }
        }
    }
    // Fields owned by the controller are put back when the agent changed them.
    assert_eq!(
        reconcile(
            Modified,
            Unchanged,
            Policy {
                sync: SyncMode::Merge,
                ..BOTH
            }
        ),
        Decision::Merge
    );
    assert_eq!(
        reconcile(
            Deleted,
            Unchanged,
            Policy {
                sync: SyncMode::Merge,
                ..BOTH
            }
        ),
        Decision::Merge
    );
}

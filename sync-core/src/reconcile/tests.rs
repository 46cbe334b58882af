//! The table of docs/SEMANTICS.md against the function: every combination is in exactly one row, and each row is right.

use std::collections::BTreeMap;

use super::*;

use Change::{Absent, Created, TypeChanged};

const SYNCS: [SyncMode; 5] = [
    SyncMode::Both,
    SyncMode::Pull,
    SyncMode::Push,
    SyncMode::Merge,
    SyncMode::None,
];
const SIDES: [Side; 2] = [Side::Local, Side::Remote];
const DELETES: [Deletes; 4] = [Deletes::Both, Deletes::Pull, Deletes::Push, Deletes::None];

/// The five things that decide, in the words of the document.
type Combination = [String; 5];

fn combinations() -> Vec<(Combination, Decision)> {
    let mut all = Vec::new();
    for local in Change::ALL {
        for remote in Change::ALL {
            for sync in SYNCS {
                for prefer in SIDES {
                    for deletes in DELETES {
                        let policy = Policy {
                            sync,
                            prefer,
                            deletes,
                        };
                        let words = [
                            format!("{local:?}"),
                            format!("{remote:?}"),
                            sync.name().to_owned(),
                            prefer.to_string(),
                            deletes.name().to_owned(),
                        ];
                        all.push((words, reconcile(local, remote, policy)));
                    }
                }
            }
        }
    }
    all
}

/// The rows of the document's table: five sets and a decision.
fn rows(document: &str) -> Vec<([Vec<&str>; 5], &str)> {
    let header = "| local | remote | sync | prefer | deletes | decision |";
    let start = document.find(header).expect("the table");
    let lines = document[start..].lines().skip(2);
    lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [local, remote, sync, prefer, deletes, decision] = cells[..] else {
                panic!("six columns: {line}");
            };
            let sets = [local, remote, sync, prefer, deletes]
                .map(|cell| cell.split(", ").collect::<Vec<_>>());
            (sets, decision)
        })
        .collect()
}

fn holds(row: &[Vec<&str>; 5], combination: &Combination) -> bool {
    row.iter()
        .zip(combination)
        .all(|(set, word)| set == &["any"] || set.contains(&word.as_str()))
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
        Decision::MakeWay => "make way".to_owned(),
        Decision::Blocked => "blocked".to_owned(),
        Decision::RecordGone => "record gone".to_owned(),
        Decision::Forget => "forget".to_owned(),
    }
}

/// What is wrong with a document's table.
fn faults(document: &str) -> Vec<String> {
    let rows = rows(document);
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (combination, decision) in combinations() {
        let mut matching = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| holds(&row.0, &combination));
        match (matching.next(), matching.next()) {
            (None, _) => faults.push(format!("no row for {combination:?}")),
            (Some(_), Some(_)) => faults.push(format!("several rows for {combination:?}")),
            (Some((at, row)), None) => {
                *used.entry(at).or_default() += 1;
                if row.1 != word(decision) {
                    faults.push(format!(
                        "{combination:?}: {} in the document, {decision:?} in the code",
                        row.1
                    ));
                }
            }
        }
    }
    let idle = (0..rows.len()).filter(|at| !used.contains_key(at));
    faults.extend(idle.map(|at| format!("row {at} holds for nothing: {:?}", rows[at])));
    faults
}

const DOCUMENT: &str = include_str!("../../../docs/SEMANTICS.md");

#[test]
fn every_combination_is_in_exactly_one_row_of_the_document_and_decided_as_it_says() {
    assert_eq!(combinations().len(), 36 * 5 * 2 * 4);
    assert_eq!(faults(DOCUMENT), [""; 0]);
}

#[test]
fn a_missing_a_double_and_a_wrong_row_are_found() {
    let row = "| Deleted | Unchanged | pull | any | any | download |\n";
    assert!(DOCUMENT.contains(row));
    let missing = faults(&DOCUMENT.replace(row, ""));
    assert_eq!(missing.len(), 8, "{missing:?}");
    let double = faults(&DOCUMENT.replace(row, &row.repeat(2)));
    assert!(double.iter().any(|fault| fault.contains("several rows")));
    let wrong = faults(&DOCUMENT.replace(row, &row.replace("download", "upload")));
    assert_eq!(wrong.len(), 8, "{wrong:?}");
}

#[test]
fn without_a_baseline_nothing_is_deleted_under_any_rule() {
    let unknown = [Absent, Created, TypeChanged].map(|change| format!("{change:?}"));
    for (combination, decision) in combinations() {
        let [local, remote, ..] = &combination;
        if unknown.contains(local) && unknown.contains(remote) {
            assert!(
                !matches!(decision, Decision::DeleteLocal | Decision::DeleteRemote),
                "{combination:?}"
            );
        }
    }
}

#[test]
fn only_what_is_as_known_is_ever_deleted() {
    for (combination, decision) in combinations() {
        let [local, remote, ..] = &combination;
        match decision {
            Decision::DeleteLocal => assert_eq!(local, "Unchanged", "{combination:?}"),
            Decision::DeleteRemote => assert_eq!(remote, "Unchanged", "{combination:?}"),
            Decision::Nothing
            | Decision::Upload
            | Decision::Download
            | Decision::Conflict(_)
            | Decision::Merge
            | Decision::MakeWay
            | Decision::Blocked
            | Decision::RecordGone
            | Decision::Forget => {}
        }
    }
}

#[test]
fn content_moves_only_the_ways_that_the_rule_lets_it() {
    for (combination, decision) in combinations() {
        let target = decision.target();
        match combination[2].as_str() {
            "none" => assert_eq!(target, None, "{combination:?}"),
            "merge" | "pull" => assert_ne!(target, Some(Side::Remote), "{combination:?}"),
            "push" => assert_ne!(target, Some(Side::Local), "{combination:?}"),
            _ => {}
        }
    }
}

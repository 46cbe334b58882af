use proptest::prelude::*;

use super::*;

/// Key and payload.
type Pair = (Vec<u8>, Vec<u8>);

fn sorted(
    order: KeyOrder,
    memory_bytes: usize,
    records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
) -> (Vec<Pair>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::new(std::fs::File::open(dir.path()).unwrap().into());
    let mut sorter = Sorter::new(order, memory_bytes, spill);
    for (key, payload) in records {
        sorter.push(&key, &payload).unwrap();
    }
    let runs = sorter.runs.iter().map(Vec::len).sum();
    let mut sorted = sorter.finish().unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        0,
        "runs have no names"
    );
    let mut all = Vec::new();
    while let Some(record) = sorted.next().unwrap() {
        all.push((record.key, record.payload));
    }
    (all, runs)
}

fn order() -> impl Strategy<Value = KeyOrder> {
    prop_oneof![Just(KeyOrder::Bytes), Just(KeyOrder::Tree)]
}

proptest! {
    #[test]
    fn whatever_fits_in_memory_the_result_is_that_of_a_stable_sort(
        mut records in proptest::collection::vec(
            ("[ab/.\\-]{0,4}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..9)),
            0..200,
        ),
        order in order(),
        memory_bytes in 1_usize..600,
    ) {
        let (came, _) = sorted(order, memory_bytes, records.clone());
        records.sort_by(|left, right| order.compare(&left.0, &right.0));
        prop_assert_eq!(came, records);
    }
}

#[test]
fn runs_stay_few_whatever_the_number_of_records() {
    let numbers = (0..20_000_u32).map(|number| number.wrapping_mul(2_654_435_761));
    let records = numbers
        .clone()
        .map(|number| (format!("{number:010}").into_bytes(), vec![]));
    // About ten records a run: two thousand runs, had they not been merged.
    let (came, runs) = sorted(KeyOrder::Bytes, 220, records);
    assert!(runs < 3 * FAN_IN, "{runs} runs");
    let mut expected: Vec<_> = numbers
        .map(|number| format!("{number:010}").into_bytes())
        .collect();
    expected.sort();
    assert_eq!(
        came.into_iter().map(|(key, _)| key).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn what_fits_is_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::new(std::fs::File::open(dir.path()).unwrap().into());
    // A directory that is gone takes no files.
    drop(dir);
    let mut sorter = Sorter::new(KeyOrder::Bytes, 1000, spill);
    sorter.push(b"b", b"2").unwrap();
    sorter.push(b"a", b"1").unwrap();
    let mut sorted = sorter.finish().unwrap();
    assert_eq!(sorted.next().unwrap().unwrap().key, b"a");
    assert_eq!(sorted.next().unwrap().unwrap().payload, b"2");
    assert_eq!(sorted.next().unwrap(), None);
    assert_eq!(sorted.next().unwrap(), None);
}

#[test]
fn a_run_that_can_not_be_written_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let spill = Spill::new(std::fs::File::open(dir.path()).unwrap().into());
    drop(dir);
    let mut sorter = Sorter::new(KeyOrder::Bytes, 1, spill);
    assert!(sorter.push(b"a", b"").is_err());
}

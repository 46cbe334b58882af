//! Whatever a stream sends, it is read without a panic, however it is cut up, and what follows is read as well.
//!
//! The corpus beside this file holds bytes that such readers stumbled over; it is read on every run.

use proptest::prelude::*;

use super::records::MINIO;
use crate::events::{
    Hint,
    lines::{Line, Lines},
    record::{Records, parse},
};

const CORPUS: [&[u8]; 6] = [
    include_bytes!("corpus/spaces-before-records.bin"),
    include_bytes!("corpus/event-stream-fields.bin"),
    include_bytes!("corpus/listing.xml.bin"),
    include_bytes!("corpus/cut-in-a-character.bin"),
    include_bytes!("corpus/carriage-returns.bin"),
    include_bytes!("corpus/records-without-line-ends.bin"),
];

/// Everything that a stream of these pieces says.
fn read(pieces: &[&[u8]]) -> Vec<Records> {
    let mut lines = Lines::default();
    let lines = pieces.iter().flat_map(|piece| lines.push(piece));
    let parsed = lines.map(|line| match line {
        Line::Whole(line) => parse(&line),
        Line::TooLong => Records {
            events: Vec::new(),
            malformed: 1,
        },
    });
    parsed.collect()
}

fn check(bytes: &[u8], cuts: &[usize]) {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let pieces: Vec<_> = cuts
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect();
    assert_eq!(read(&pieces), read(&[bytes]), "cut up or in one piece");
    let after = read(&[bytes, b"\n", MINIO.as_bytes(), b"\n"]);
    let last = after.last().unwrap();
    assert!(
        matches!(last.events.last(), Some((key, Hint::Written(_))) if key.starts_with("agents/a/copy")),
        "{last:?}"
    );
}

#[test]
fn the_corpus_is_read() {
    for bytes in CORPUS {
        let every_byte: Vec<_> = (0..bytes.len()).collect();
        check(bytes, &every_byte);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        check(&bytes, &cuts);
    }

    #[test]
    fn any_damage_to_a_good_line_is_read(
        at in 0..MINIO.len(),
        with in proptest::collection::vec(any::<u8>(), 0..6),
        without in 0_usize..40,
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let mut bytes = MINIO.as_bytes().to_vec();
        let end = (at + without).min(bytes.len());
        bytes.splice(at..end, with);
        check(&bytes, &cuts);
    }
}

//! What all fuzz targets share: the corpus, mutations of it, and the number of inputs.
//!
//! A target is a function from bytes to "holds" or "doesn't". Every file of its corpus is tried at each run, then random
//! bytes, mutated corpus files and inputs of the target's own structure; proptest makes a failing one short. The same
//! seed gives the same inputs. `HICLAW_FUZZ_INPUTS` sets their number, `HICLAW_FUZZ_SEED` the seed.
//!
//! Shared with the targets of other packages by its path.

use std::{fmt::Write as _, fs, path::Path};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

/// Inputs of a target that looks at a text and does nothing else.
const INPUTS: u32 = 1000;

/// What a target says of an input.
pub(crate) type Checked = Result<(), TestCaseError>;

/// Pieces that parsers care for.
const TOKENS: [&[u8]; 40] = [
    b"/",
    b"..",
    b"./",
    b"//",
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\\",
    b"\"",
    b"'",
    b"\"\"\"",
    b"'''",
    b"#",
    b"=",
    b":",
    b",",
    b".",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[",
    b"]]",
    b"/*",
    b"*/",
    b"**",
    b"{a,b}",
    b"!",
    b"%2F",
    b"$",
    b"`",
    b"export ",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"18446744073709551616",
    b"-1e999",
];

#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Token(Index, Index),
    Remove(Index, u8),
    Repeat(Index, u8),
    Splice(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let bytes = prop::collection::vec(any::<u8>(), 1..8);
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, mask)| Mutation::Flip(at, mask)),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, token)| Mutation::Token(at, token)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Mutation::Repeat(at, length)),
        (any::<Index>(), any::<Index>()).prop_map(|(at, other)| Mutation::Splice(at, other)),
    ]
}

fn mutate(mut input: Vec<u8>, mutations: &[Mutation], corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
    for mutation in mutations {
        let place = |at: &Index| at.index(input.len() + 1);
        let from = |at: &Index, length: u8| {
            let start = place(at);
            start..(start + usize::from(length)).min(input.len())
        };
        match mutation {
            Mutation::Flip(at, mask) => {
                let at = place(at);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= mask;
                }
            }
            Mutation::Insert(at, bytes) => {
                let at = place(at);
                input.splice(at..at, bytes.iter().copied());
            }
            Mutation::Token(at, token) => {
                let at = place(at);
                let token = TOKENS[token.index(TOKENS.len())];
                input.splice(at..at, token.iter().copied());
            }
            Mutation::Remove(at, length) => {
                let range = from(at, *length);
                input.drain(range);
            }
            Mutation::Repeat(at, length) => {
                let range = from(at, *length);
                let (end, again) = (range.end, input[range].to_vec());
                input.splice(end..end, again);
            }
            Mutation::Splice(at, other) => {
                let at = place(at);
                let (_, other) = &corpus[other.index(corpus.len())];
                let rest = &other[at.min(other.len())..];
                input.truncate(at);
                input.extend_from_slice(rest);
            }
        }
    }
    input
}

/// The files of a target's corpus, by name; at least one.
fn corpus(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files.sort();
    files
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Tries a target on its corpus in `directory`, and on inputs made of it, of nothing, and by `structured`. A target that
/// does more than look at a text takes one input in `cost`.
pub(crate) fn fuzz(
    directory: &Path,
    cost: u32,
    structured: impl Strategy<Value = Vec<u8>> + 'static,
    check: impl Fn(&[u8]) -> Checked,
) {
    let corpus = corpus(directory);
    for (name, input) in &corpus {
        if let Err(error) = check(input) {
            panic!("{}: {error}", directory.join(name).display());
        }
    }
    let inputs = setting("HICLAW_FUZZ_INPUTS").map_or(INPUTS, |inputs| {
        u32::try_from(inputs).expect("HICLAW_FUZZ_INPUTS is too large")
    });
    let config = Config {
        cases: (inputs / cost).max(1),
        failure_persistence: None,
        max_shrink_iters: 20_000 / cost,
        ..Config::default()
    };
    let seed = setting("HICLAW_FUZZ_SEED").unwrap_or(0).to_le_bytes();
    let seed: Vec<u8> = seed.iter().copied().cycle().take(32).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mutated = {
        let corpus = corpus.clone();
        let mutations = prop::collection::vec(mutation(), 1..6);
        (any::<Index>(), mutations).prop_map(move |(file, mutations)| {
            let (_, input) = &corpus[file.index(corpus.len())];
            mutate(input.clone(), &mutations, &corpus)
        })
    };
    let strategy = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        4 => mutated,
        4 => structured,
    ];
    let result = TestRunner::new_with_rng(config, random).run(&strategy, |input| check(&input));
    if let Err(TestError::Fail(reason, input)) = result {
        let mut shown = String::new();
        for byte in &input {
            write!(shown, "{}", byte.escape_ascii()).unwrap();
        }
        panic!(
            "{reason}\nthe input, to be kept in {}:\n{shown}",
            directory.display()
        );
    }
    result.unwrap();
}

//! Fuzz targets: what others write never makes the engine panic, and means what it should.
//!
//! One test per parser or boundary; `fuzz/harness.rs` says what inputs they get, `fuzz/corpus/TARGET/` holds those that
//! are kept. A long run is `HICLAW_FUZZ_INPUTS=1000000 cargo test -p sync-core --test fuzz`. A new parser of what others
//! write gets a target here: a module, a corpus directory, and one call of `fuzz`.
//! cargo-fuzz needs a nightly compiler, which this project doesn't use; the inputs here are random and structured, not
//! guided by coverage.

#[cfg(test)]
#[path = "fuzz/control.rs"]
mod control;
#[cfg(test)]
#[path = "fuzz/harness.rs"]
mod harness;
#[cfg(test)]
#[path = "fuzz/layouts.rs"]
mod layouts;
#[cfg(test)]
#[path = "fuzz/listings.rs"]
mod listings;
#[cfg(test)]
#[path = "fuzz/merges.rs"]
mod merges;
#[cfg(test)]
#[path = "fuzz/paths.rs"]
mod paths;
#[cfg(test)]
#[path = "fuzz/state.rs"]
mod state;
#[cfg(test)]
#[path = "fuzz/versions.rs"]
mod versions;

/// Tries a target of this package.
#[cfg(test)]
fn fuzz(
    target: &str,
    cost: u32,
    structured: impl proptest::strategy::Strategy<Value = Vec<u8>> + 'static,
    check: impl Fn(&[u8]) -> harness::Checked,
) {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    harness::fuzz(&corpus.join(target), cost, structured, check);
}

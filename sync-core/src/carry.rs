//! Is an inner file's version carried to its outer file?
//!
//! Some runtimes keep documents twice: the outer one travels, a bridge copies it to an inner one when the runtime starts,
//! and the agent edits that. Owns the decision; pure and total. The times compared are of one machine.
//!
//! What both held when they last agreed is remembered. It tells an agent's edit from a copy that the bridge made of an
//! older outer version, which may well be newer by its time; without it a pulled version could be undone by its own
//! predecessor, and bridge and engine could chase each other.

use crate::digest::Digest;

/// What is seen of an inner file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inner {
    /// Its content.
    pub digest: Digest,
    /// Its size; an empty file is what a program leaves between emptying it and writing.
    pub size_bytes: u64,
    /// Its modification time, nanoseconds since the epoch.
    pub modified_nanoseconds: i64,
}

/// What is seen of an outer file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer {
    /// Its content.
    pub digest: Digest,
    /// Its modification time, nanoseconds since the epoch.
    pub modified_nanoseconds: i64,
    /// Whether the bucket has this version.
    pub sent: Sent,
}

/// Whether the bucket has a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It has, or had it.
    Yes,
    /// It has not, or nobody knows.
    No,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// Both hold the same: that is remembered.
    Agreed,
    /// The inner version becomes the outer one, in place of a version that is known elsewhere or that it was made from.
    Carry,
    /// The same, and the outer version is kept as a conflict copy.
    CarryOver,
    /// The outer version stands, and the inner one is kept as a conflict copy: it would be lost when the bridge copies.
    KeepInner,
}

/// The verdict. `agreed` is what both held when they last agreed.
#[must_use]
pub fn verdict(inner: Inner, outer: Option<Outer>, agreed: Option<Digest>) -> Verdict {
    // An older version that was copied in, however new the copy is.
    let edited = agreed != Some(inner.digest);
    let Some(outer) = outer else {
        return if edited && inner.size_bytes > 0 {
            Verdict::Carry
        } else {
            Verdict::Nothing
        };
    };
    if inner.digest == outer.digest {
        return Verdict::Agreed;
    }
    if !edited || inner.size_bytes == 0 {
        return Verdict::Nothing;
    }
    let newer = inner.modified_nanoseconds > outer.modified_nanoseconds;
    match (newer, agreed) {
        // Made from the very version that it replaces.
        (true, Some(agreed)) if agreed == outer.digest => Verdict::Carry,
        (true, None) if outer.sent == Sent::Yes => Verdict::Carry,
        (true, Some(_) | None) => Verdict::CarryOver,
        (false, Some(_)) => Verdict::KeepInner,
        // Most likely a copy of an older outer version.
        (false, None) => Verdict::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        let mut hasher = crate::digest::ContentHasher::default();
        hasher.update(text.as_bytes());
        hasher.finish().digest
    }

    fn inner(text: &str, modified_nanoseconds: i64) -> Inner {
        Inner {
            digest: digest(text),
            size_bytes: text.len() as u64,
            modified_nanoseconds,
        }
    }

    fn outer(text: &str, modified_nanoseconds: i64, sent: Sent) -> Outer {
        Outer {
            digest: digest(text),
            modified_nanoseconds,
            sent,
        }
    }

    /// Inner content and time, outer content and time, whether that was sent, what they agreed on, verdict.
    type Row = (
        (&'static str, i64),
        Option<(&'static str, i64, Sent)>,
        Option<&'static str>,
        Verdict,
    );

    const ROWS: [Row; 17] = [
        // The same content, whatever the times are.
        (("a", 2), Some(("a", 1, Sent::Yes)), None, Verdict::Agreed),
        (
            ("a", 1),
            Some(("a", 2, Sent::No)),
            Some("b"),
            Verdict::Agreed,
        ),
        // The agent's edit of what both had.
        (
            ("b", 2),
            Some(("a", 1, Sent::Yes)),
            Some("a"),
            Verdict::Carry,
        ),
        (
            ("c", 3),
            Some(("b", 2, Sent::No)),
            Some("b"),
            Verdict::Carry,
        ),
        // Nobody remembers what both had: the outer version is kept unless the bucket has it.
        (("b", 2), Some(("a", 1, Sent::Yes)), None, Verdict::Carry),
        (("b", 2), Some(("a", 1, Sent::No)), None, Verdict::CarryOver),
        // Both changed: the newer one stands, the other one is kept.
        (
            ("b", 3),
            Some(("c", 2, Sent::Yes)),
            Some("a"),
            Verdict::CarryOver,
        ),
        (
            ("b", 2),
            Some(("c", 3, Sent::No)),
            Some("a"),
            Verdict::KeepInner,
        ),
        (
            ("b", 2),
            Some(("c", 2, Sent::No)),
            Some("a"),
            Verdict::KeepInner,
        ),
        // The bridge copied the old version after the outer one had changed.
        (
            ("a", 3),
            Some(("c", 2, Sent::Yes)),
            Some("a"),
            Verdict::Nothing,
        ),
        // Older: never carried.
        (("b", 1), Some(("a", 2, Sent::Yes)), None, Verdict::Nothing),
        (("b", 2), Some(("a", 2, Sent::Yes)), None, Verdict::Nothing),
        // No outer file: an edit brings it, what is left of a deleted one doesn't.
        (("b", 1), None, Some("a"), Verdict::Carry),
        (("b", 1), None, None, Verdict::Carry),
        (("a", 1), None, Some("a"), Verdict::Nothing),
        // Emptied to be written anew.
        (
            ("", 3),
            Some(("a", 2, Sent::Yes)),
            Some("a"),
            Verdict::Nothing,
        ),
        (("", 3), None, None, Verdict::Nothing),
    ];

    #[test]
    fn every_case_has_its_verdict() {
        for (number, ((text, time), there, agreed, expected)) in ROWS.into_iter().enumerate() {
            let outer = there.map(|(text, time, sent)| outer(text, time, sent));
            let found = verdict(inner(text, time), outer, agreed.map(digest));
            assert_eq!(found, expected, "row {number}");
        }
    }
}

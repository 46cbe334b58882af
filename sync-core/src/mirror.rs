//! One-way copies: the destination becomes what the source is.
//!
//! Pure. Owns what a mirror does about a path, which patterns it leaves out, and its brake. A mirror has a source and a
//! destination instead of two equal sides, so nothing is ever a conflict: what the destination holds is overwritten, but
//! only the version that was seen there. What is known from earlier runs (the rows of a baseline) only spares comparing
//! contents; without it the decisions are the same.

use crate::{
    guard::Approval,
    layout::{Glob, GlobError, Rule, Rules, SyncMode},
    reconcile::Change,
    report::Side,
};

/// Patterns of what belongs to an engine, wherever in a tree it has its root, on either side.
const ENGINE_PATHS: [&str; 4] = [
    "**/.hiclaw-sync",
    "**/.hiclaw-sync/**",
    "**/.hiclaw",
    "**/.hiclaw/**",
];
/// A mirror deletes this many files without asking for its number.
const FREE_DELETES: u64 = 50;

/// Which way a mirror goes and what becomes of files that only the destination has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorPolicy {
    /// The side that is copied.
    pub source: Side,
    /// What becomes of the others.
    pub extras: Extras,
    /// Whether deletes are wanted that look like an accident.
    pub approval: Approval,
}

/// What becomes of files that only the destination has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extras {
    /// They stay.
    Keep,
    /// They are deleted.
    Delete,
}

/// What to do about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Copy the source's version; the destination must be as it was seen, and have room for it.
    Copy,
    /// Both have a file and nothing proves them equal yet: compare, and copy unless they are.
    Compare,
    /// Remove the destination's file.
    Delete,
    /// Drop what is known of the path.
    Forget,
}

/// Decides about one path, from how each side differs from what was last seen to be equal. A side on which something of
/// another kind stands in the place of the file is without it.
#[must_use]
pub fn decide(source: Change, destination: Change, extras: Extras) -> Step {
    use Change::{Absent, Created, Deleted, Modified, TypeChanged, Unchanged};
    match (source, destination) {
        (Unchanged, Unchanged) => Step::Nothing,
        (Unchanged | Created | Modified, Unchanged | Created | Modified) => Step::Compare,
        (Unchanged | Created | Modified, Absent | Deleted | TypeChanged) => Step::Copy,
        (Absent | Deleted | TypeChanged, Unchanged | Created | Modified) => match extras {
            Extras::Keep => Step::Nothing,
            Extras::Delete => Step::Delete,
        },
        (Absent | Deleted | TypeChanged, Absent | Deleted | TypeChanged) => Step::Forget,
    }
}

/// The rules of a mirror that leaves out what matches `exclude`.
///
/// A pattern is a [`Glob`] with two conveniences that people know from ignore files: one without a `/` (but for one at
/// its end) is meant at any depth, and one that matches a directory means everything in it. A `/` at the beginning ties a
/// pattern to the top.
pub fn rules(exclude: &[String]) -> Result<Rules, GlobError> {
    let mut left_out = ENGINE_PATHS
        .iter()
        .map(|pattern| Glob::new(pattern))
        .collect::<Result<Vec<_>, _>>()?;
    for pattern in exclude {
        for expanded in expand(pattern) {
            left_out.push(Glob::new(&expanded)?);
        }
    }
    // Which way a path travels is the policy's business; here it only counts that it may.
    Rules::new(vec![
        Rule::new(left_out, SyncMode::None),
        Rule::new(vec![Glob::new("**")?], SyncMode::Both),
    ])
}

fn expand(pattern: &str) -> Vec<String> {
    let trimmed = pattern.strip_suffix('/').unwrap_or(pattern);
    let own = match trimmed.strip_prefix('/') {
        Some(from_the_top) => from_the_top.to_owned(),
        None if trimmed.contains('/') || trimmed.is_empty() => trimmed.to_owned(),
        None => format!("**/{trimmed}"),
    };
    if own.ends_with("**") {
        return vec![own];
    }
    let below = format!("{own}/**");
    vec![own, below]
}

/// What the brake looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorCounts {
    /// Deletes decided; renamed files don't count.
    pub deletes: u64,
    /// Deletes of the last minutes, which count together with these.
    pub earlier: u64,
    /// Files that the source holds.
    pub source: u64,
    /// Files that the destination holds.
    pub destination: u64,
}

/// Why a mirror's deletes are held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorBrake {
    /// The source holds nothing: it is not mounted, or its name is mistyped.
    #[error(
        "the source is empty and the destination holds {destination} files; --approve deletes them all the same"
    )]
    Emptied {
        /// Files that the destination holds.
        destination: u64,
    },
    /// The two have little in common: one of them is not the one that was meant.
    #[error(
        "{deletes} of the destination's {destination} files are not in the source; --approve deletes them all the same"
    )]
    TooMany {
        /// Deletes decided.
        deletes: u64,
        /// Files that the destination holds.
        destination: u64,
    },
}

/// The brake that holds these deletes, if any; nobody approved them.
#[must_use]
pub fn brake(counts: MirrorCounts) -> Option<MirrorBrake> {
    let MirrorCounts {
        deletes,
        earlier,
        source,
        destination,
    } = counts;
    if deletes == 0 {
        return None;
    }
    if source == 0 {
        return Some(MirrorBrake::Emptied { destination });
    }
    let (deletes, destination) = (deletes + earlier, destination + earlier);
    (deletes > FREE_DELETES && deletes > destination / 2).then_some(MirrorBrake::TooMany {
        deletes,
        destination,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;

    #[test]
    fn the_destination_becomes_what_the_source_is_whatever_was_known() {
        use Change::{Absent, Created, Deleted, Modified, TypeChanged, Unchanged};
        let present = [Unchanged, Created, Modified];
        let gone = [Absent, Deleted, TypeChanged];
        for source in Change::ALL {
            for destination in Change::ALL {
                let decided = [Extras::Keep, Extras::Delete]
                    .map(|extras| decide(source, destination, extras));
                let expected = match (present.contains(&source), present.contains(&destination)) {
                    (true, true) if source == Unchanged && destination == Unchanged => {
                        [Step::Nothing; 2]
                    }
                    (true, true) => [Step::Compare; 2],
                    (true, false) => [Step::Copy; 2],
                    (false, true) => [Step::Nothing, Step::Delete],
                    (false, false) => [Step::Forget; 2],
                };
                assert_eq!(decided, expected, "{source:?} {destination:?}");
                assert_ne!(gone.contains(&source), present.contains(&source));
            }
        }
    }

    #[test]
    fn exclusions_mean_what_people_expect() {
        let excluded = |pattern: &str, path: &str| {
            let rules = rules(&[pattern.to_owned()]).unwrap();
            rules.rule_for(&RelPath::new(path).unwrap()).sync == SyncMode::None
        };
        for (pattern, path, expected) in [
            ("*.log", "a.log", true),
            ("*.log", "deep/down/a.log", true),
            ("*.log", "a.log.gz", false),
            ("node_modules", "web/node_modules/x/y.js", true),
            ("node_modules/", "node_modules/x", true),
            ("node_modules", "node_modules2/x", false),
            ("build/out", "build/out/x", true),
            ("build/out", "x/build/out/x", false),
            ("/tmp", "tmp/x", true),
            ("/tmp", "a/tmp/x", false),
            ("cache/**", "cache/x/y", true),
            ("**/*.tmp", "x/y.tmp", true),
            ("nothing", "a/.hiclaw-sync/state.db", true),
            ("nothing", ".hiclaw-sync/state.db", true),
            ("nothing", "agents/alice/.hiclaw/lease.json", true),
            ("nothing", ".hiclawignore", false),
            ("nothing", "a", false),
        ] {
            assert_eq!(excluded(pattern, path), expected, "{pattern} {path}");
        }
        assert!(rules(&["[".to_owned()]).is_err());
        assert!(rules(&[String::new()]).is_err());
    }

    #[test]
    fn an_excluded_directory_is_not_even_entered() {
        let rules = rules(&["node_modules".to_owned()]).unwrap();
        assert!(rules.prunes(&RelPath::new("web/node_modules").unwrap()));
        assert!(!rules.prunes(&RelPath::new("web").unwrap()));
    }

    #[test]
    fn an_empty_source_and_a_stranger_are_held_and_a_cleanup_is_not() {
        let counts = |deletes, source, destination| MirrorCounts {
            deletes,
            earlier: 0,
            source,
            destination,
        };
        assert_eq!(brake(counts(0, 0, 0)), None);
        assert_eq!(
            brake(counts(1, 0, 1)),
            Some(MirrorBrake::Emptied { destination: 1 })
        );
        assert_eq!(brake(counts(50, 1, 51)), None);
        assert_eq!(brake(counts(51, 200, 102)), None);
        assert_eq!(
            brake(counts(51, 200, 101)),
            Some(MirrorBrake::TooMany {
                deletes: 51,
                destination: 101
            })
        );
        let in_portions = MirrorCounts {
            earlier: 40,
            ..counts(40, 200, 80)
        };
        assert!(brake(in_portions).is_some());
    }
}

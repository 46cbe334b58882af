//! Who owns which path of a mount.
//!
//! Owns the choice of the rule for a path and which directories nothing can travel from. Never looks at files or objects.

use std::fmt;

use globset::{GlobSet, GlobSetBuilder};

use super::{
    carry::Carry,
    glob::{Glob, GlobError},
};
use crate::{conflict, path::RelPath, report::Side};

/// Patterns of what belongs to the engine itself, on either side; further down also what belongs to a mirror or to another
/// mount, which stage files there that are not whole yet.
const ENGINE_PATHS: [&str; 4] = [
    "**/.hiclaw-sync",
    "**/.hiclaw-sync/**",
    ".hiclaw",
    ".hiclaw/**",
];
/// Pattern of conflict copies.
const CONFLICT_COPIES: &str = ".sync-conflicts/**";

/// How many built-in rules come before a layout's own.
const BUILT_IN_FIRST: usize = 2;

/// In which directions a path travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncMode {
    /// Both ways.
    Both,
    /// From the bucket only.
    Pull,
    /// To the bucket only.
    Push,
    /// The bucket's version is merged into the local one, field by field; never pushed.
    Merge,
    /// Not at all: neither looked at nor deleted.
    None,
}

impl SyncMode {
    /// True when local changes may reach the bucket.
    #[must_use]
    pub fn pushes(self) -> bool {
        matches!(self, Self::Both | Self::Push)
    }

    /// True when changes in the bucket may reach the local file.
    #[must_use]
    pub fn pulls(self) -> bool {
        matches!(self, Self::Both | Self::Pull | Self::Merge)
    }

    /// True when a whole version of one side may stand at the other, so that `prefer` and `deletes` mean something.
    pub(super) fn has_sides(self) -> bool {
        matches!(self, Self::Both | Self::Pull | Self::Push)
    }

    /// The word in layouts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Merge => "merge",
            Self::None => "none",
        }
    }
}

/// In which directions a delete travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deletes {
    /// Both ways.
    Both,
    /// A delete in the bucket deletes the local file; not the other way round.
    Pull,
    /// A local delete deletes the object; not the other way round.
    Push,
    /// Not at all.
    None,
}

impl Deletes {
    /// True when a delete of the local file deletes the object.
    #[must_use]
    pub fn pushes(self) -> bool {
        matches!(self, Self::Both | Self::Push)
    }

    /// True when a delete of the object deletes the local file.
    #[must_use]
    pub fn pulls(self) -> bool {
        matches!(self, Self::Both | Self::Pull)
    }

    /// The word in layouts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::None => "none",
        }
    }
}

/// Whether published files get execute bits: a bucket keeps no modes of foreign writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executable {
    /// The mode stays what it is.
    AsItIs,
    /// The file is made executable.
    Always,
}

/// What holds for the paths that match one of its patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The patterns, in the order of the layout.
    pub paths: Vec<Glob>,
    /// In which directions the paths travel.
    pub sync: SyncMode,
    /// Whose version stands after a conflict; the other is kept as a conflict copy.
    pub prefer: Side,
    /// In which directions deletes travel; never a direction that `sync` has not.
    pub deletes: Deletes,
    /// The reload group to tell when such a path changed from the bucket.
    pub group: Option<String>,
    /// Whether such files are made executable.
    pub executable: Executable,
    /// A path whose object is read when the rule's own one is absent; only for a rule with one literal path.
    pub legacy_key: Option<RelPath>,
}

impl Rule {
    /// A rule with the defaults of `sync`: conflicts are won by the side that the paths come from (the local one when both
    /// may), and deletes travel the ways that changes do, but for `merge`, where none does.
    #[must_use]
    pub fn new(paths: Vec<Glob>, sync: SyncMode) -> Self {
        let (prefer, deletes) = match sync {
            SyncMode::Both => (Side::Local, Deletes::Both),
            SyncMode::Pull => (Side::Remote, Deletes::Pull),
            SyncMode::Push => (Side::Local, Deletes::Push),
            SyncMode::Merge | SyncMode::None => (Side::Local, Deletes::None),
        };
        Self {
            paths,
            sync,
            prefer,
            deletes,
            group: None,
            executable: Executable::AsItIs,
            legacy_key: None,
        }
    }
}

/// The rules of a mount, in order, with those that hold everywhere.
#[derive(Clone)]
pub struct Rules {
    /// The built-in ones, the layout's own, and the one for paths that nothing else names.
    all: Vec<Rule>,
    /// All patterns of `all`, in order.
    patterns: Vec<Pattern>,
    set: GlobSet,
    /// The last of `all`.
    unknown: Rule,
    /// For conflict copies of what is pushed, deletes and all.
    copies: Rule,
    /// For those of what is pushed, but whose deletes are not.
    kept_copies: Rule,
    /// For those of what is never pushed.
    local_copies: Rule,
    carries: Vec<Carry>,
}

#[derive(Clone)]
struct Pattern {
    rule: usize,
    glob: Glob,
    /// The pattern without a `/**` at its end: whatever is below a path that matches it matches `glob`.
    whole_directories: Option<Glob>,
}

impl Rules {
    /// Puts `own` between the built-in rules and the one for everything else.
    ///
    /// First come the engine's own paths, which never travel and which no layout can claim, then conflict copies, which
    /// are pushed like any file wherever the mount pushes at all. Last comes the rule for unknown paths: both ways, the
    /// local version wins.
    pub fn new(own: Vec<Rule>) -> Result<Self, GlobError> {
        let conflict_copies = if pushes_anything(&own) {
            SyncMode::Both
        } else {
            SyncMode::None
        };
        let mut all = vec![
            Rule::new(globs(&ENGINE_PATHS)?, SyncMode::None),
            Rule::new(globs(&[CONFLICT_COPIES])?, conflict_copies),
        ];
        all.extend(own);
        let unknown = Rule::new(globs(&["**"])?, SyncMode::Both);
        all.push(unknown.clone());
        let mut patterns = Vec::new();
        for (rule, glob) in all
            .iter()
            .enumerate()
            .flat_map(|(at, rule)| rule.paths.iter().map(move |glob| (at, glob)))
        {
            patterns.push(Pattern {
                rule,
                glob: glob.clone(),
                whole_directories: whole_directories(glob)?,
            });
        }
        let mut set = GlobSetBuilder::new();
        for pattern in &patterns {
            set.add(pattern.glob.compiled().clone());
        }
        let set = set.build().map_err(|error| GlobError::of_set(&error))?;
        Ok(Self {
            all,
            patterns,
            set,
            unknown,
            copies: Rule::new(globs(&[CONFLICT_COPIES])?, SyncMode::Both),
            kept_copies: Rule {
                deletes: Deletes::Pull,
                ..Rule::new(globs(&[CONFLICT_COPIES])?, SyncMode::Both)
            },
            local_copies: Rule::new(globs(&[CONFLICT_COPIES])?, SyncMode::None),
            carries: Vec::new(),
        })
    }

    /// Adds inner files that stand for an outer one.
    pub fn add_carry(&mut self, carry: Carry) {
        self.carries.push(carry);
    }

    /// The inner files that stand for outer ones.
    #[must_use]
    pub fn carries(&self) -> &[Carry] {
        &self.carries
    }

    /// True when a watcher is to tell of changes of `path`: it may travel, or stands for a file that does.
    #[must_use]
    pub fn notices(&self, path: &RelPath) -> bool {
        self.carries.iter().any(|carry| carry.is_inner(path))
            || self.rule_for(path).sync != SyncMode::None
    }

    /// The rule for `path`: the first one with a pattern that matches.
    #[must_use]
    pub fn rule_for(&self, path: &RelPath) -> &Rule {
        match conflict::origin(path) {
            Some(origin) => self.rule_for_copy_of(&origin),
            None => self.rule_by_pattern(path),
        }
    }

    /// A copy travels as far as the file that it is a copy of: what is never pushed may hold a token, and what others
    /// own is not to reach them as a copy.
    fn rule_for_copy_of(&self, origin: &RelPath) -> &Rule {
        let origin = self.rule_by_pattern(origin);
        match (origin.sync.pushes(), origin.deletes.pushes()) {
            (true, true) => &self.copies,
            (true, false) => &self.kept_copies,
            (false, _) => &self.local_copies,
        }
    }

    fn rule_by_pattern(&self, path: &RelPath) -> &Rule {
        let first = self.set.matches(path.as_str()).into_iter().min();
        let rule = first
            .and_then(|at| self.patterns.get(at))
            .and_then(|pattern| self.all.get(pattern.rule));
        rule.unwrap_or(&self.unknown)
    }

    /// True when nothing below `directory` can travel, so that scans need not enter it.
    ///
    /// It is true only when a pattern ending in `/**` of a `none` rule covers everything below, and no pattern of another
    /// rule before it could match there. False when in doubt.
    #[must_use]
    pub fn prunes(&self, directory: &RelPath) -> bool {
        self.covered(directory, |sync| sync == SyncMode::None)
    }

    /// True when a watcher need not enter `directory`: nothing below it can travel or is carried. False when in doubt.
    #[must_use]
    pub fn hides(&self, directory: &RelPath) -> bool {
        let holds = |inner: &RelPath| inner.is_under(directory);
        let mut inner = self.carries.iter().flat_map(|carry| &carry.from);
        self.prunes(directory) && !inner.any(holds)
    }

    /// True when nothing below `directory` can be pushed, so that a watcher need not enter it. False when in doubt.
    #[must_use]
    pub fn prunes_push(&self, directory: &RelPath) -> bool {
        self.covered(directory, |sync| !sync.pushes())
    }

    /// All rules in the order they are tried, built-in ones included.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.all
    }

    /// The built-in rules that come first, the layout's own, and the one for unknown paths.
    pub(super) fn parts(&self) -> (&[Rule], &[Rule], &Rule) {
        let (first, rest) = self.all.split_at(BUILT_IN_FIRST.min(self.all.len()));
        let own = rest.split_last().map_or(rest, |(_, own)| own);
        (first, own, &self.unknown)
    }

    /// True when everything below `directory` falls to rules whose mode `counts`.
    fn covered(&self, directory: &RelPath, counts: impl Fn(SyncMode) -> bool) -> bool {
        for pattern in &self.patterns {
            let counts = self
                .all
                .get(pattern.rule)
                .is_some_and(|rule| counts(rule.sync));
            if counts && pattern.covers(directory) {
                return true;
            }
            if !counts && pattern.glob.may_match_below(directory) {
                return false;
            }
        }
        false
    }
}

impl Pattern {
    /// True when the pattern matches everything below `directory`.
    fn covers(&self, directory: &RelPath) -> bool {
        let Some(whole) = &self.whole_directories else {
            return self.glob.as_str() == "**";
        };
        std::iter::successors(Some(directory.clone()), RelPath::parent)
            .any(|ancestor| whole.is_match(&ancestor))
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

/// Whether any path can be pushed by these rules: unknown paths can, unless an earlier rule takes everything.
fn pushes_anything(own: &[Rule]) -> bool {
    for rule in own {
        if rule.sync.pushes() {
            return true;
        }
        if rule.paths.iter().any(|glob| glob.as_str() == "**") {
            return false;
        }
    }
    true
}

fn globs(patterns: &[&str]) -> Result<Vec<Glob>, GlobError> {
    patterns.iter().map(|pattern| Glob::new(pattern)).collect()
}

fn whole_directories(glob: &Glob) -> Result<Option<Glob>, GlobError> {
    glob.as_str().strip_suffix("/**").map(Glob::new).transpose()
}

#[cfg(test)]
mod tests;

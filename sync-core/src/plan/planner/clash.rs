//! One name for a file and a directory: `x` and `x/y`.
//!
//! A bucket can hold both, a file system one of them. What is here stays. Where nothing is here yet the directory is
//! brought and the object of its name is reported, once in every pass; nothing of either is removed. Where the one goes
//! and the other comes, the other waits until the deletes of the pass are done.
//!
//! Relies on an order of paths in which all that lies below `x` comes after `x` and before what doesn't begin with `x`:
//! byte order and tree order both are such.

use super::{Planner, Unsupported, unsupported};
use crate::{
    join::Observed,
    path::RelPath,
    plan::Handling,
    reconcile::Decision,
    report::{Problem, ProblemKind},
};

/// A path that was seen, while others may come that lie below it.
pub(super) struct Seen {
    path: RelPath,
    /// Nothing is here yet: decided about when it is known what lies below it.
    undecided: Option<(Observed, Surroundings)>,
    bucket: Bucket,
    here: Here,
    below: Below,
}

/// What the bucket has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Nothing,
    Object,
    /// An object, and others below it.
    Both,
}

/// What the local side has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    Nothing,
    /// Something that goes in this very pass.
    Leaves,
    /// A file or a link that stays.
    Stays,
    /// A link or special file that is not synchronised: what it hides is unknown, not deleted.
    Unsynchronised,
}

/// What the local side has below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Nothing,
    /// Files, all of which go in this very pass.
    Leaves,
    Stays,
}

/// What is known of the paths above and below one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// Nothing that matters.
    Plain,
    /// The bucket has other objects below this one.
    Contested,
    /// What stands in its way goes in this pass.
    Freed,
    /// An object stands at one of its directories; some stores don't list what is below such an object.
    MayBeHidden,
}

/// Whether a file can be put at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Free,
    /// When the deletes of this pass are done.
    Later,
    /// Not at all; that is reported.
    Blocked,
}

impl Planner<'_> {
    /// Considers a path of an ordered sequence.
    pub(super) fn consider_in_order(&mut self, observed: Observed) {
        while self
            .above
            .last()
            .is_some_and(|last| !observed.path.as_str().starts_with(last.path.as_str()))
        {
            self.release_last();
        }
        let (above, surroundings) = self.settle_with_those_above(&observed);
        if above == Here::Unsynchronised {
            return;
        }
        let mut seen = Seen {
            path: observed.path.clone(),
            undecided: None,
            bucket: match observed.remote {
                Some(_) => Bucket::Object,
                None => Bucket::Nothing,
            },
            here: Here::Nothing,
            below: Below::Nothing,
        };
        if observed.local.is_none() && seen.bucket != Bucket::Nothing {
            seen.undecided = Some((observed, surroundings));
        } else {
            let is_here = observed.local.is_some();
            let decision = self.consider_among(observed, surroundings);
            seen.here = match decision {
                _ if !is_here => Here::Nothing,
                Some(delete @ Decision::DeleteLocal) if self.scope.direction.allows(delete) => {
                    Here::Leaves
                }
                Some(_) => Here::Stays,
                None => Here::Unsynchronised,
            };
            self.tell_those_above(&seen.path, seen.here);
        }
        self.above.push(seen);
    }

    /// Decides about all that was put off.
    pub(super) fn release_all(&mut self) {
        while !self.above.is_empty() {
            self.release_last();
        }
    }

    fn release_last(&mut self) {
        let Some(seen) = self.above.pop() else {
            return;
        };
        let Some((observed, surroundings)) = seen.undecided else {
            return;
        };
        let surroundings = match (seen.bucket, seen.below) {
            (Bucket::Both, _) => Surroundings::Contested,
            (_, Below::Leaves) => Surroundings::Freed,
            (_, Below::Nothing | Below::Stays) => surroundings,
        };
        self.consider_among(observed, surroundings);
    }

    /// What a path means for those above it; gives what stands above it, and what that means for it.
    fn settle_with_those_above(&mut self, observed: &Observed) -> (Here, Surroundings) {
        let mut here = Here::Nothing;
        let mut surroundings = Surroundings::Plain;
        for above in &mut self.above {
            if observed.path == above.path || !observed.path.is_under(&above.path) {
                continue;
            }
            if above.here != Here::Nothing {
                here = above.here;
            }
            if above.bucket == Bucket::Nothing {
                continue;
            }
            if observed.remote.is_some() {
                above.bucket = Bucket::Both;
            } else if observed.baseline.is_some() {
                surroundings = Surroundings::MayBeHidden;
            }
        }
        if here == Here::Leaves && observed.remote.is_some() {
            surroundings = Surroundings::Freed;
        }
        (here, surroundings)
    }

    fn tell_those_above(&mut self, path: &RelPath, here: Here) {
        for above in &mut self.above {
            if path.is_under(&above.path) {
                above.below = match (here, above.below) {
                    (Here::Nothing, below) => below,
                    (Here::Leaves, Below::Nothing | Below::Leaves) => Below::Leaves,
                    (Here::Leaves, Below::Stays) | (Here::Stays | Here::Unsynchronised, _) => {
                        Below::Stays
                    }
                };
            }
        }
    }

    /// Whether a file that is not here can be brought. What stands in the way is reported once.
    pub(super) fn way(
        &mut self,
        observed: &Observed,
        decision: Decision,
        surroundings: Surroundings,
    ) -> Way {
        let comes = decision == Decision::Download && self.scope.direction.allows(decision);
        if !comes || observed.local.is_some() {
            return Way::Free;
        }
        if surroundings == Surroundings::Contested {
            let message = "the bucket has this object and others below it; the others are synchronised, rename or delete this one";
            self.report_in_the_way(&observed.path, message);
            return Way::Blocked;
        }
        let Ok(Some((place, found))) = self.mount.root.obstacle(&observed.path) else {
            return Way::Free;
        };
        if surroundings == Surroundings::Freed {
            return Way::Later;
        }
        let message = if place == observed.path {
            "a directory stands here and the bucket has an object of its name; move one of them away"
                .to_owned()
        } else {
            let what = found.kind_name();
            format!("{what} stands here and the bucket has objects below it; move it away")
        };
        self.report_in_the_way(&place, message);
        Way::Blocked
    }

    /// True when a part of the mount lies beyond a link that is not synchronised: what is there is unknown.
    pub(super) fn is_beyond_a_link(&mut self, part: &RelPath) -> bool {
        let Ok(Some((place, _))) = self.mount.root.obstacle(part) else {
            return false;
        };
        if place == *part {
            return false;
        }
        let observed = Observed {
            baseline: self.mount.baseline().row(&place).ok().flatten(),
            local: self.mount.look(&place).ok().flatten(),
            remote: None,
            path: place,
        };
        let policy = Handling::of(self.mount.rules.rule_for(&observed.path)).policy;
        match unsupported(self.mount, &observed, policy, self.scope.direction) {
            Unsupported::No => false,
            Unsupported::Ignored => true,
            Unsupported::Problem(problem) => {
                self.tally.borrow_mut().add(problem);
                true
            }
        }
    }

    fn report_in_the_way(&mut self, path: &RelPath, message: impl Into<String>) {
        if self.in_the_way.insert(path.clone()) {
            self.tally.borrow_mut().add(Problem {
                mount: self.mount.name.clone(),
                path: path.to_string(),
                kind: ProblemKind::Unsupported,
                message: message.into(),
            });
        }
    }
}

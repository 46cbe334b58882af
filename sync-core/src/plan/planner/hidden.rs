//! Listings that hide a directory behind an object of its name.
//!
//! A bucket can hold `x` and `x/y`. MinIO takes both and then lists `x` only, and everything below it looks deleted. So
//! what is missing below a listed object is taken to be as it was; preconditions find out where it isn't.

use super::{Planner, RemoteView, assumed};
use crate::{
    join::Observed,
    path::RelPath,
    report::{Problem, ProblemKind, Side},
};

/// The listed objects that may be above the path looked at, each a beginning of the next.
#[derive(Debug, Default)]
pub(super) struct Above(Vec<Listed>);

#[derive(Debug)]
struct Listed {
    path: RelPath,
    told: Told,
}

/// Whether the object was reported already.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    No,
    Yes,
}

/// Whether a path is to be decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is.
    Clear,
    /// Nothing is known of its object.
    Hidden,
}

impl Planner<'_> {
    /// Notes a listed object, or supplies one that a listed object may hide. Paths come in an order that has what is
    /// below an object after it, and nothing else between than what begins with its name.
    pub(super) fn look_behind(&mut self, observed: &mut Observed) -> Sight {
        if self.remote_view != RemoteView::Listed {
            return Sight::Clear;
        }
        let path = &observed.path;
        let above = &mut self.above.0;
        while above
            .pop_if(|listed| !path.as_str().starts_with(listed.path.as_str()))
            .is_some()
        {}
        if observed.remote.is_some() {
            above.push(Listed {
                path: path.clone(),
                told: Told::No,
            });
            return Sight::Clear;
        }
        let Some(hider) = above.iter_mut().find(|listed| path.is_under(&listed.path)) else {
            return Sight::Clear;
        };
        if hider.told == Told::No {
            hider.told = Told::Yes;
            self.plan.problems.push(Problem {
                mount: self.mount.name.clone(),
                path: hider.path.to_string(),
                kind: ProblemKind::Incomplete,
                message: "the bucket has a file of the name of a directory, which may hide what the bucket has in it; \
                          nothing in the directory is deleted while that is so"
                    .to_owned(),
            });
        }
        observed.remote = assumed(self.mount, observed.baseline.as_ref());
        let only_known_here = observed.remote.is_none();
        let copies_the_bucket = self
            .mount
            .mirror()
            .is_some_and(|policy| policy.source == Side::Remote);
        if only_known_here && copies_the_bucket {
            Sight::Hidden
        } else {
            Sight::Clear
        }
    }
}

//! What stands around a path: whether a file can be there on each side, and what waits until that is known.
//!
//! A path sorts before what lies below it, with others in between, so two kinds of paths wait until what is below them
//! was seen: files here that the bucket has no object for (it may have a directory), and objects where a directory stands
//! here (its files may all be about to go). No more than a path has bytes wait at a time.
//!
//! Deletes come at the end of a plan, when everything was seen. What needs the room that they make is planned anew then.

use super::{
    change::changes,
    planner::{Planner, RemoteView},
};
use crate::{
    join::Observed,
    local::LocalKind,
    mount::OpenMount,
    path::RelPath,
    reconcile::{Change, Decision},
    report::{Problem, ProblemKind},
    root::{InTheWay, LocalError},
};

/// What stands around the path that is looked at.
#[derive(Default)]
pub(super) struct Kinds {
    /// Paths that wait for what lies below them.
    waiting: Vec<Waiting>,
    /// Files that go and may lie above what follows.
    leaving: Vec<Leaving>,
    /// Files that come and may lie above what follows.
    coming: Vec<RelPath>,
}

/// A file that goes.
struct Leaving {
    path: RelPath,
    when: When,
}

/// When a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before what comes.
    First,
    /// At the end of the plan.
    AtTheEnd,
}

/// A path that waits for what lies below it.
struct Waiting {
    observed: Observed,
    below: Below,
}

/// What was seen below a waiting path.
enum Below {
    /// A file stands here; in the bucket nothing new was seen below.
    NothingNew,
    /// A directory stands here; whether files in it were seen, all of which go.
    AllGo { seen: bool },
    /// A directory stands here, and something in it stays.
    SomethingStays,
}

/// Whether a file can be at a path, apart from what the sides are seen to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// On both sides.
    Free,
    /// On both sides, when the deletes of this plan are carried out.
    Later,
    /// Not here.
    NotHere(InTheWay),
    /// Not in the bucket, which has a directory there.
    NotThere,
}

impl Room {
    /// The changes of both sides, with what is in the way.
    pub(super) fn apply(self, (local, remote): (Change, Change)) -> (Change, Change) {
        match self {
            Self::Free | Self::Later => (local, remote),
            Self::NotHere(_) => (Change::TypeChanged, remote),
            Self::NotThere => (local, Change::TypeChanged),
        }
    }
}

/// What is in the way of a file here.
pub(super) fn in_the_way(mount: &OpenMount, observed: &Observed) -> Result<InTheWay, LocalError> {
    match observed.local.as_ref().map(|entry| entry.kind) {
        Some(LocalKind::Directory) => Ok(InTheWay::Directory),
        Some(LocalKind::File | LocalKind::Symlink | LocalKind::Special) => Ok(InTheWay::Nothing),
        // Where the bucket has nothing either, nobody wants to put a file.
        None if observed.remote.is_none() => Ok(InTheWay::Nothing),
        None => mount.root.in_the_way(&observed.path),
    }
}

/// The problem that a blocked path is.
pub(super) fn blocked(mount: &OpenMount, path: &RelPath, what: InTheWay) -> Problem {
    let what = match what {
        InTheWay::LinkAbove => "its directory is a symbolic link here",
        InTheWay::FileAbove => "a file stands here where the bucket has its directory",
        InTheWay::Nothing | InTheWay::Directory => {
            "a directory stands here where the bucket has a file"
        }
    };
    Problem {
        mount: mount.name.clone(),
        path: path.to_string(),
        kind: ProblemKind::Unsupported,
        message: format!("{what}; move one of them away to synchronise the path"),
    }
}

impl Planner<'_> {
    /// Decides about a path of the join, or lets it wait for what lies below it.
    pub(super) fn arrive(&mut self, observed: Observed) {
        self.depart(Some(&observed.path));
        self.tell_those_above(&observed);
        let waits = self.remote_view == RemoteView::Listed;
        let is_file = |kind| kind == LocalKind::File;
        let local = observed.local.as_ref().map(|entry| entry.kind);
        if waits && local.is_some_and(is_file) && observed.remote.is_none() {
            let below = Below::NothingNew;
            return self.kinds.waiting.push(Waiting { observed, below });
        }
        match self.room(&observed) {
            Ok(Room::NotHere(InTheWay::Directory)) if waits => {
                let below = Below::AllGo { seen: false };
                self.kinds.waiting.push(Waiting { observed, below });
            }
            room => self.decide_in(observed, room),
        }
    }

    /// Decides about those that wait for nothing any more because `next` doesn't lie below them, nor can what follows.
    pub(super) fn depart(&mut self, next: Option<&RelPath>) {
        let goes_on =
            |path: &RelPath| next.is_some_and(|next| next.as_str().starts_with(path.as_str()));
        let mut at = self.kinds.waiting.len();
        while at > 0 {
            at -= 1;
            let ends = |waiting: &Waiting| !goes_on(&waiting.observed.path);
            if self.kinds.waiting.get(at).is_some_and(ends) {
                let Waiting { observed, below } = self.kinds.waiting.remove(at);
                let room = match below {
                    Below::NothingNew => Room::Free,
                    Below::AllGo { seen: true } => {
                        self.part.again.push(observed.path.clone());
                        Room::Later
                    }
                    Below::AllGo { seen: false } | Below::SomethingStays => {
                        Room::NotHere(InTheWay::Directory)
                    }
                };
                self.decide(observed, room);
            }
        }
        self.kinds.leaving.retain(|leaving| goes_on(&leaving.path));
        self.kinds.coming.retain(goes_on);
    }

    /// Something new in the bucket below a file here makes that a change of type.
    fn tell_those_above(&mut self, observed: &Observed) {
        let is_new = matches!(changes(observed).1, Change::Created | Change::Modified);
        if !is_new {
            return;
        }
        let is_above = |waiting: &Waiting| {
            matches!(waiting.below, Below::NothingNew)
                && observed.path.is_under(&waiting.observed.path)
        };
        if let Some(at) = self.kinds.waiting.iter().position(is_above) {
            let above = self.kinds.waiting.remove(at).observed;
            self.decide(above, Room::NotThere);
        }
    }

    /// Lets those above know what becomes of a path, and those below.
    pub(super) fn note_decision(&mut self, observed: &Observed, decision: Decision) {
        let path = &observed.path;
        let goes = match decision {
            Decision::DeleteLocal => Some(When::AtTheEnd),
            Decision::MakeWay => Some(When::First),
            Decision::Nothing
            | Decision::Upload
            | Decision::Download
            | Decision::DeleteRemote
            | Decision::Conflict(_)
            | Decision::Merge
            | Decision::Blocked
            | Decision::RecordGone
            | Decision::Forget => None,
        };
        let leaving = goes.map(|when| Leaving {
            path: path.clone(),
            when,
        });
        self.kinds.leaving.extend(leaving);
        if decision == Decision::Download {
            self.kinds.coming.push(path.clone());
        }
        if observed.local.is_none() {
            return;
        }
        for waiting in &mut self.kinds.waiting {
            if matches!(waiting.below, Below::AllGo { .. }) && path.is_under(&waiting.observed.path)
            {
                waiting.below = match goes {
                    Some(_) => Below::AllGo { seen: true },
                    None => Below::SomethingStays,
                };
            }
        }
    }

    /// What is in the way here, when what goes in this plan is gone.
    pub(super) fn room(&mut self, observed: &Observed) -> Result<Room, LocalError> {
        let found = in_the_way(self.mount, observed)?;
        let above = |other: &RelPath| observed.path.is_under(other);
        let takes = observed.local.is_none() && observed.remote.is_some();
        Ok(match found {
            // The bucket has both: the file, which comes first in the order of keys, is the one that is brought.
            InTheWay::Nothing if takes && self.kinds.coming.iter().any(above) => {
                Room::NotHere(InTheWay::FileAbove)
            }
            InTheWay::Nothing => Room::Free,
            InTheWay::FileAbove => {
                let mut leaving = self.kinds.leaving.iter();
                match leaving.rfind(|leaving| above(&leaving.path)) {
                    Some(Leaving {
                        when: When::First, ..
                    }) => Room::Free,
                    Some(Leaving {
                        when: When::AtTheEnd,
                        path,
                    }) => {
                        if self.part.again.last() != Some(path) {
                            self.part.again.push(path.clone());
                        }
                        Room::Later
                    }
                    None => Room::NotHere(found),
                }
            }
            InTheWay::LinkAbove | InTheWay::Directory => Room::NotHere(found),
        })
    }
}

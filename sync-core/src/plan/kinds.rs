//! What stands around a path: whether a file can be there on each side, and what waits until that is known.
//!
//! A path sorts before what lies below it, with others in between, so three kinds of paths wait until what is below them
//! was seen: files here that the bucket has no object for (it may have a directory), objects where a directory stands
//! here (its files may all be about to go), and objects where nothing stands (the bucket may have a directory of that name
//! too, which then is what is brought). No more than a path has bytes wait at a time.
//!
//! MinIO lists an object `x` instead of what lies below `x/`. What is missing below a listed object may be hidden by it.
//!
//! Deletes come at the end of a plan, when everything was seen. What needs the room that they make is planned anew then.

use std::collections::BTreeSet;

use super::{
    Direction, Handling, Turn,
    change::{Unsupported, changes, unsupported},
    planner::{Planner, RemoteView},
};
use crate::{
    join::Observed,
    layout::SyncMode,
    local::LocalKind,
    mount::OpenMount,
    path::RelPath,
    reconcile::{Change, Decision},
    report::{Problem, ProblemKind, Side},
    root::{InTheWay, LocalError},
};

/// What stands around the path that is looked at.
#[derive(Default)]
pub(super) struct Kinds {
    /// Paths that wait for what lies below them.
    waiting: Vec<Waiting>,
    /// Files that go and may lie above what follows.
    leaving: Vec<Leaving>,
    /// Objects that were listed and may lie above what follows.
    listed: Vec<RelPath>,
    /// Places that are in the way and were reported.
    reported: BTreeSet<String>,
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
    /// Nothing stands here; how many objects were seen below the one in the bucket that are not about to go.
    Objects { staying: u64 },
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
    /// The bucket has an object and a directory of that name.
    TakenThere,
}

impl Room {
    /// The changes of both sides, with what is in the way.
    pub(super) fn apply(self, (local, remote): (Change, Change)) -> (Change, Change) {
        match self {
            Self::Free | Self::Later | Self::TakenThere => (local, remote),
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

impl Planner<'_> {
    /// Decides about a path of the join, or lets it wait for what lies below it.
    pub(super) fn arrive(&mut self, observed: Observed) {
        self.depart(Some(&observed.path));
        self.tell_those_above(&observed);
        let waits = self.remote_view == RemoteView::Listed;
        let is_file = |kind| matches!(kind, LocalKind::File | LocalKind::Symlink);
        let local = observed.local.as_ref().map(|entry| entry.kind);
        if waits && local.is_some_and(is_file) && observed.remote.is_none() {
            let below = Below::NothingNew;
            return self.kinds.waiting.push(Waiting { observed, below });
        }
        let room = self.room(&observed);
        if waits && observed.remote.is_some() {
            self.kinds.listed.push(observed.path.clone());
        }
        match room {
            Ok(Room::NotHere(InTheWay::Directory)) if waits => {
                let below = Below::AllGo { seen: false };
                self.kinds.waiting.push(Waiting { observed, below });
            }
            Ok(Room::Free) if waits && local.is_none() && observed.remote.is_some() => {
                let below = Below::Objects { staying: 0 };
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
                    Below::NothingNew | Below::Objects { staying: 0 } => Room::Free,
                    Below::Objects { .. } => Room::TakenThere,
                    Below::AllGo { seen: true } if self.scope.turn == Turn::First => {
                        self.part.again.push(observed.path.clone());
                        Room::Later
                    }
                    Below::AllGo { .. } | Below::SomethingStays => {
                        Room::NotHere(InTheWay::Directory)
                    }
                };
                self.decide(observed, room);
            }
        }
        self.kinds.leaving.retain(|leaving| goes_on(&leaving.path));
        self.kinds.listed.retain(goes_on);
    }

    /// Something new in the bucket below a file here makes that a change of type.
    fn tell_those_above(&mut self, observed: &Observed) {
        if observed.remote.is_none() {
            return;
        }
        // What a mirror copies wants its place, however long it has been known.
        let is_copied = self
            .mount
            .mirror()
            .is_some_and(|policy| policy.source == Side::Remote);
        let is_new = is_copied || matches!(changes(observed).1, Change::Created | Change::Modified);
        let mut changed = None;
        for (at, waiting) in self.kinds.waiting.iter_mut().enumerate() {
            if !observed.path.is_under(&waiting.observed.path) {
                continue;
            }
            match &mut waiting.below {
                Below::Objects { staying } => *staying += 1,
                Below::NothingNew if is_new => changed = changed.or(Some(at)),
                Below::NothingNew | Below::AllGo { .. } | Below::SomethingStays => {}
            }
        }
        if let Some(at) = changed {
            let above = self.kinds.waiting.remove(at).observed;
            self.decide(above, Room::NotThere);
        }
    }

    /// Reports what keeps a path from being synchronised, once for all paths.
    pub(super) fn report_in_the_way(&mut self, path: &RelPath, what: InTheWay) {
        let above = || {
            let place = self.mount.root.not_a_directory_above(path);
            place.ok().flatten().unwrap_or_else(|| path.clone())
        };
        let (place, message) = match what {
            InTheWay::LinkAbove => (
                above(),
                "a symbolic link stands here and the bucket has files below it; move it away to synchronise them",
            ),
            InTheWay::FileAbove => (
                above(),
                "a file stands here and the bucket has files below it; move it away to synchronise them",
            ),
            InTheWay::Nothing | InTheWay::Directory => (
                path.clone(),
                "this is a file in the bucket and a directory of files too; move one of them away to synchronise the file",
            ),
        };
        let kind = ProblemKind::Unsupported;
        self.report_once(Problem {
            mount: self.mount.name.clone(),
            path: place.to_string(),
            kind,
            message: message.to_owned(),
        });
    }

    /// Reports a problem about a path unless one was reported.
    pub(super) fn report_once(&mut self, problem: Problem) {
        let is_new = self.kinds.reported.insert(problem.path.clone());
        if is_new {
            self.tally.borrow_mut().add(problem);
        }
    }

    /// True for a path without an object that may only be hidden by one above it.
    pub(super) fn may_be_hidden(&self, observed: &Observed) -> bool {
        let above = |listed: &RelPath| observed.path.is_under(listed);
        observed.remote.is_none() && self.kinds.listed.iter().any(above)
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
        if decision == Decision::DeleteRemote {
            for waiting in &mut self.kinds.waiting {
                if let Below::Objects { staying } = &mut waiting.below
                    && path.is_under(&waiting.observed.path)
                {
                    *staying -= 1;
                }
            }
        }
        let leaving = goes.map(|when| Leaving {
            path: path.clone(),
            when,
        });
        self.kinds.leaving.extend(leaving);
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
        let mut found = in_the_way(self.mount, observed)?;
        let above = |other: &RelPath| observed.path.is_under(other);
        if found == InTheWay::LinkAbove && self.is_below_a_kept_link(&observed.path)? {
            found = InTheWay::FileAbove;
        }
        Ok(match found {
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
                    }) if self.scope.turn == Turn::First => {
                        if self.part.again.last() != Some(path) {
                            self.part.again.push(path.clone());
                        }
                        Room::Later
                    }
                    Some(_) | None => Room::NotHere(found),
                }
            }
            InTheWay::LinkAbove | InTheWay::Directory => Room::NotHere(found),
        })
    }

    /// True where the link above a path is one that is kept in the bucket as such, like any file.
    fn is_below_a_kept_link(&self, path: &RelPath) -> Result<bool, LocalError> {
        let Some(place) = self.mount.root.not_a_directory_above(path)? else {
            return Ok(false);
        };
        let observed = Observed {
            baseline: self.mount.baseline().row(&place).ok().flatten(),
            local: self.mount.look(&place)?,
            remote: None,
            path: place,
        };
        let policy = Handling::of(self.selection.rule_for(&observed.path)).policy;
        Ok(
            match unsupported(self.mount, &observed, policy, Direction::Sync) {
                Unsupported::No => policy.sync != SyncMode::None,
                Unsupported::Ignored | Unsupported::Problem(_) => false,
            },
        )
    }
}

//! What can happen in a history: plain data, so that a history can be printed, shortened and written down as a test.

use sync_core::{failpoint::Point, session::Direction};

/// A path of the model's mounts; see [`super::rules`] for the pool and for the mount that a path is in.
pub(crate) type PathName = &'static str;

/// A history over the mounts of a session.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) store: StoreKind,
    pub(crate) mounts: Mounts,
    pub(crate) steps: Vec<Step>,
}

/// The mounts of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    One,
    /// A shared one beside the worker's own.
    Two,
}

/// How the store behaves when nothing fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreKind {
    pub(crate) page_objects: usize,
    pub(crate) order: Order,
    pub(crate) conditions: Conditions,
    /// Requests under way at once. With more than one a history is no longer the same each time.
    pub(crate) concurrency: usize,
    /// Tasks that make a part of a plan. Where a plan has several parts a history is no longer the same each time.
    pub(crate) part_tasks: usize,
}

impl StoreKind {
    pub(crate) const PLAIN: Self = Self {
        page_objects: 1000,
        order: Order::Bytes,
        conditions: Conditions::Honoured,
        concurrency: 1,
        part_tasks: 1000,
    };
}

impl StoreKind {
    /// Whether large objects go up in parts.
    pub(crate) fn takes_parts(self) -> bool {
        self.page_objects < Self::PLAIN.page_objects
    }
}

/// The order of listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Bytes,
    /// SeaweedFS's: `a, a/b, a-b`.
    Tree,
    /// One that nobody knows.
    Shuffled,
}

/// What becomes of `If-Match` and `If-None-Match` on writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conditions {
    Honoured,
    /// A DELETE goes through whatever was asked.
    IgnoredByDelete,
    /// Garage's way: overwritten whatever was asked.
    Ignored,
}

/// One step of a history.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Local(LocalOp),
    Remote(RemoteOp),
    Pass {
        direction: Direction,
        scope: Option<PathName>,
        approval: Approve,
        events: Vec<Event>,
    },
    /// `push_dirty` of what the local writer changed since the last one.
    PushDirty {
        events: Vec<Event>,
    },
    /// A dry run; it must change nothing.
    Plan,
    /// The store refuses everything on this path's key, until the end.
    Deny(PathName),
    /// The session ends and is opened again; what it knew of dirty paths is lost.
    Reopen(BaselineFate),
    /// Many files of one directory at once.
    Mass(MassOp),
    /// The engine runs for a while.
    Resident {
        acts: Vec<Act>,
        end: EndOfEngine,
        events: Vec<Event>,
    },
}

/// What happens to the directory of many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MassOp {
    CreateHere,
    CreateThere,
    /// More than half of them and more than fifty.
    DeleteMostHere,
    DeleteMostThere,
    /// The directory gets another name.
    RenameHere,
    /// The objects are copied to another directory and removed.
    RenameThere,
}

/// What happens while the engine runs.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Local(LocalOp, News),
    Remote(RemoteOp),
    /// Somebody asks for a pass both ways.
    Pass,
}

/// What the engine hears of a local change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Told,
    Twice,
    /// After everything that happened later.
    Late,
    Lost,
    /// That something changed in the directory of the path.
    OfDirectory,
    /// That news was lost.
    Overflow,
}

/// How the engine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndOfEngine {
    /// It sends everything first.
    Stop,
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approve {
    No,
    Yes,
}

/// What becomes of `state.db` while no session is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaselineFate {
    Kept,
    Lost,
    /// An older one is put back: the one of the last time that no session was open.
    RolledBack,
    /// Half of each of its files is left.
    Damaged,
}

/// Something that happens in the middle of a pass.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    pub(crate) what: Happening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// At the pass's n-th request to the store.
    Call(usize),
    /// When the pass reports its n-th finished file: done, but not recorded yet.
    FileDone(usize),
    /// The n-th time that this failpoint is reached.
    Point(Point, usize),
    /// The n-th failpoint that is reached, whichever it is.
    AnyPoint(usize),
}

#[derive(Debug, Clone)]
pub(crate) enum Happening {
    Local(LocalOp),
    Remote(RemoteOp),
    /// The request fails; with [`Effect::Done`] the store has carried it out all the same.
    Fail(Fault, Effect),
    /// The answer to a GET breaks off in the middle.
    BreakOff,
    /// The process ends.
    Crash(Effect),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Unavailable,
    Unreachable,
    Denied,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Done,
}

/// What the local writer does. Where there is nothing to do it with, nothing is done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LocalOp {
    Write(PathName, HowToWrite, Size),
    Delete(PathName),
    /// Writes a file where a directory is, or below a file, which goes first.
    Become(PathName, Size),
    Rename(PathName, PathName),
    /// A new mtime, the same content.
    Touch(PathName),
    /// The same content in a new file.
    Rewrite(PathName),
    Chmod(PathName, u32),
    /// A link inside the mount, in place of what was there. Its target is the version.
    Link(PathName),
    /// Brings the bucket's version here by other means than the engine.
    CopyFromRemote(PathName),
    /// Ignores this path and no other.
    Ignore(PathName),
    /// Ignores nothing any more.
    IgnoreNothing,
    /// Puts something else where a file or its directory would be, if there is nothing.
    Obstruct(PathName, Obstacle),
    /// Gives its own field of the merged file a new value; makes the file where it is missing.
    SetField,
    /// Leaves half of the merged file.
    BreakMerged,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Obstacle {
    Directory,
    /// A link to a file outside the mount.
    Link,
    /// A link to a directory outside the mount, in place of the directory of the path.
    ParentLink,
    /// A file in place of the directory of the path.
    ParentFile,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum HowToWrite {
    InPlace,
    /// A new file, renamed over the old one.
    Replace,
    /// In place, the same size, and the old mtime put back.
    Stealthy,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    Small,
    Odd(u8),
    /// Larger than what the engine sends from memory.
    Large,
}

/// What the other users of the bucket do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RemoteOp {
    Put(PathName, Size),
    /// An object that is a link by its attributes.
    PutLink(PathName),
    /// An object that claims to be a link out of the mount.
    PutHostileLink,
    /// The same object once more, with another mode.
    Chmod(PathName, u32),
    Delete(PathName),
    /// Puts an object and removes those above and below it.
    Become(PathName, Size),
    /// Sends the local version by other means than the engine.
    CopyFromLocal(PathName),
    /// Puts an ignore file for this path.
    Ignore(PathName),
    /// Removes the ignore file.
    IgnoreNothing,
    /// An object whose key is no safe path.
    PutUnsafe(&'static str),
    /// Gives its own field of the merged object a new value; makes the object where it is missing.
    SetField,
    /// Leaves half of the merged object.
    BreakMerged,
}

//! Failpoints: the moments of execution at which a test may end the process.
//!
//! Owns the one list of them. A [`Hook`] that a test installs is told of every moment that is reached, and may kill the
//! process there, change files or objects, or end the session of one mount inside the process: the thread that reached
//! the moment unwinds, and from then on nothing of that session has an effect.
//!
//! Compiled into debug builds and with the feature `failpoints`. In any other build [`COMPILED`] is false, and every
//! call here is removed by the compiler.

use std::{path::Path, sync::OnceLock};

/// Whether this build has failpoints.
pub const COMPILED: bool = cfg!(any(debug_assertions, feature = "failpoints"));

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal,)+) => {
        /// A moment of execution. Each is named after what has just happened, but for those that are before something.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// The baseline is open, nothing was recovered yet.
    BaselineOpened = "baseline-opened",
    /// Recovery made a conflict copy of a version that an earlier crash had left displaced.
    RecoveredCopyKept = "recovered-copy-kept",
    /// Recovery put a version back that an earlier crash had left displaced.
    RecoveredPutBack = "recovered-put-back",
    /// Recovery swept the staging directory; the displacements are still noted.
    Swept = "swept",
    /// The store was asked what it can do; its answer is not remembered.
    Probed = "probed",
    /// What a plan only records is recorded; nothing is executed.
    PlanRecorded = "plan-recorded",
    /// The first bytes of an incoming object are in the staging directory.
    StagingBegun = "staging-begun",
    /// An incoming object is in the staging directory as a whole.
    Staged = "staged",
    /// A merged document is in the staging directory.
    MergeStaged = "merge-staged",
    /// The staged batch is durable.
    Synced = "synced",
    /// What the batch displaces is noted; nothing is published.
    DisplacementsNoted = "displacements-noted",
    /// Before an exchange, after the last look at what it replaces.
    BeforeExchange = "before-exchange",
    /// A staged version stands at its place; what it replaced is in the staging directory and was not looked at.
    Exchanged = "exchanged",
    /// A replaced local version is kept as a conflict copy.
    LocalCopyKept = "local-copy-kept",
    /// A replaced local version is removed.
    ReplacedRemoved = "replaced-removed",
    /// A merged document went back to the staging directory, because the file had changed.
    PutBack = "put-back",
    /// A staged version stands where nothing was.
    Created = "created",
    /// A merged document is published.
    MergePublished = "merge-published",
    /// The remote version that lost a conflict is kept as a copy.
    RemoteCopyKept = "remote-copy-kept",
    /// A batch is published; its displacements are still noted.
    BatchPublished = "batch-published",
    /// A batch is published and settled; nothing of it is recorded.
    BatchSettled = "batch-settled",
    /// A batch is recorded.
    IncomingRecorded = "incoming-recorded",
    /// A file to send is read.
    ReadToSend = "read-to-send",
    /// The digest of what is about to be sent is noted.
    SendingNoted = "sending-noted",
    /// The store has the object; nothing is recorded.
    PutDone = "put-done",
    /// Uploads are recorded.
    UploadsRecorded = "uploads-recorded",
    /// A multipart upload was created.
    MultipartCreated = "multipart-created",
    /// A part of a multipart upload was sent.
    PartSent = "part-sent",
    /// All parts are sent; the upload is not complete.
    PartsSent = "parts-sent",
    /// A multipart upload is complete.
    MultipartCompleted = "multipart-completed",
    /// The local deletes are noted; no file was moved.
    DeletesNoted = "deletes-noted",
    /// Before a file to delete is moved away, after the last look at it.
    BeforeMovedAway = "before-moved-away",
    /// A file to delete is in the staging directory and was not looked at.
    MovedAway = "moved-away",
    /// A file that is not the one to delete is back at its place.
    MovedBack = "moved-back",
    /// A file is deleted; its directories are still there.
    DeletedLocally = "deleted-locally",
    /// The directories that a delete emptied are gone.
    ParentsPruned = "parents-pruned",
    /// The local deletes are settled; nothing of them is recorded.
    DeletesSettled = "deletes-settled",
    /// An object is deleted; nothing is recorded.
    DeletedRemotely = "deleted-remotely",
    /// Deletes in the bucket are recorded.
    DeletesRecorded = "deletes-recorded",
    /// A pass is over and remembered.
    PassRemembered = "pass-remembered",
    /// The resident engine took dirty paths from the queue; nobody looked at them.
    DirtyTaken = "dirty-taken",
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a session at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    GoOn,
    /// It ends here, as if the process did.
    End,
}

/// What a test does at the moments. Called on the engine's threads, with locks of the engine held at times: it must not
/// call into the session.
pub trait Hook: Send + Sync {
    /// `point` was reached by the session over the mount at `place`.
    fn reached(&self, point: Point, place: &Path) -> Then;

    /// True when [`Hook::reached`] ended the session over the mount at `place`.
    fn has_ended(&self, place: &Path) -> bool;
}

static HOOK: OnceLock<Box<dyn Hook>> = OnceLock::new();

/// What the unwinding of a session that a hook ended carries.
#[derive(Debug)]
pub struct Ended;

/// Installs the hook of this process. False when there is one already or the build has no failpoints.
pub fn install(hook: Box<dyn Hook>) -> bool {
    COMPILED && HOOK.set(hook).is_ok()
}

/// `point` is reached by the session over `place`.
pub(crate) fn reached(point: Point, place: &Path) {
    if COMPILED
        && let Some(hook) = HOOK.get()
        && hook.reached(point, place) == Then::End
    {
        end();
    }
}

/// Before something that a session which has ended must not do any more.
pub(crate) fn alive(place: &Path) {
    if has_ended(place) {
        end();
    }
}

/// True when the session over `place` has ended: what would be tidied up on the way out stays, as it does when a process
/// is killed.
pub(crate) fn has_ended(place: &Path) -> bool {
    COMPILED && HOOK.get().is_some_and(|hook| hook.has_ended(place))
}

/// Without the panic hook: nothing is printed. A thread that unwinds already has ended.
fn end() {
    if !std::thread::panicking() {
        std::panic::resume_unwind(Box::new(Ended));
    }
}

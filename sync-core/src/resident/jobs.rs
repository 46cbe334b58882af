//! The jobs of the resident engine: what runs outside its task, and what comes back.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::oneshot;

use super::Trigger;
use crate::{
    debounce::{DirtyPath, MountIndex, Scope},
    events::{Hint, Noted},
    path::RelPath,
    progress::{Progress, Silent},
    report::Report,
    session::{Direction, Dirty, PassError, PassRequest, Session, SessionError},
};

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Report, PassError>>;

/// Something to do.
pub(super) enum Job {
    Pass(Trigger, PassRequest, Option<Reply>),
    Plan(PassRequest, Reply),
    Push(Trigger, Vec<DirtyPath>, Option<Reply>),
    /// Look where the bucket is said to have changed.
    Look(BTreeMap<MountIndex, Noted>),
}

/// A job that is over.
pub(super) struct Finished {
    pub(super) trigger: Trigger,
    pub(super) what: What,
    pub(super) result: Result<Report, PassError>,
    /// What is to be tried again.
    pub(super) unfinished: Vec<DirtyPath>,
    pub(super) reply: Option<Reply>,
}

/// What a finished job was.
pub(super) enum What {
    Pass(PassRequest),
    Plan,
    Push(Vec<DirtyPath>),
    Look(Looked),
}

/// What came of hints.
pub(super) struct Looked {
    /// What was looked at.
    pub(super) hints: BTreeMap<MountIndex, Noted>,
    /// What is to be looked at again.
    pub(super) again: BTreeMap<MountIndex, Noted>,
}

impl Looked {
    /// True when nothing of it was looked at before.
    pub(super) fn is_first(&self) -> bool {
        self.hints.values().all(|noted| match noted {
            Noted::Everything => false,
            Noted::Paths(paths) => !paths.values().flatten().any(|hint| *hint == Hint::Unknown),
        })
    }
}

impl What {
    /// True for a pass over everything.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Pass(request) => request.is_whole(),
            Self::Plan | Self::Push(_) | Self::Look(_) => false,
        }
    }

    /// True for a pass that looked at everything in the bucket.
    pub(super) fn pulls_everything(&self) -> bool {
        match self {
            Self::Pass(request) => self.is_whole() && request.direction != Direction::Push,
            Self::Plan | Self::Push(_) | Self::Look(_) => false,
        }
    }

    /// True for a pass over everything both ways, which makes the next scheduled one unnecessary for a while.
    pub(super) fn replaces_the_scheduled(&self) -> bool {
        match self {
            Self::Pass(request) => self.is_whole() && request.direction == Direction::Sync,
            Self::Plan | Self::Push(_) | Self::Look(_) => false,
        }
    }
}

impl Finished {
    /// A job that ended without a result: a defect, but not one to end the engine for.
    pub(super) fn lost(error: tokio::task::JoinError) -> Self {
        let result = Err(PassError {
            source: SessionError::Task(error),
            report: Box::default(),
        });
        Self {
            trigger: Trigger::Schedule,
            what: What::Plan,
            result,
            unfinished: Vec::new(),
            reply: None,
        }
    }
}

impl Job {
    pub(super) async fn run(self, session: Arc<Session>) -> Finished {
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        match self {
            Self::Pass(trigger, request, reply) => {
                let result = session.pass(&request, &progress).await;
                Finished {
                    trigger,
                    what: What::Pass(request),
                    result,
                    unfinished: Vec::new(),
                    reply,
                }
            }
            Self::Plan(request, reply) => {
                let result = session.plan(&request, &progress).await;
                Finished {
                    trigger: Trigger::Request,
                    what: What::Plan,
                    result,
                    unfinished: Vec::new(),
                    reply: Some(reply),
                }
            }
            Self::Push(trigger, dirty, reply) => {
                let (result, unfinished) = push(&session, &dirty, &progress).await;
                Finished {
                    trigger,
                    what: What::Push(dirty),
                    result,
                    unfinished,
                    reply,
                }
            }
            Self::Look(hints) => {
                let (result, again) = look(&session, &hints, &progress).await;
                Finished {
                    trigger: Trigger::Event,
                    what: What::Look(Looked { hints, again }),
                    result,
                    unfinished: Vec::new(),
                    reply: None,
                }
            }
        }
    }
}

/// Pushes dirty paths mount by mount. When the store fails, all that was not reached stays dirty.
async fn push(
    session: &Session,
    dirty: &[DirtyPath],
    progress: &Arc<dyn Progress>,
) -> (Result<Report, PassError>, Vec<DirtyPath>) {
    let mut by_mount: BTreeMap<MountIndex, Dirty> = BTreeMap::new();
    for path in dirty {
        let entry = by_mount
            .entry(path.mount)
            .or_insert_with(|| Dirty::Paths(Vec::new()));
        match (&path.scope, entry) {
            (_, Dirty::Everything) => {}
            (Scope::Mount, everything) => *everything = Dirty::Everything,
            (Scope::Path(path) | Scope::Subtree(path), Dirty::Paths(paths)) => {
                paths.push(path.clone());
            }
        }
    }
    let mut total = Report::default();
    let mut unfinished = Vec::new();
    while let Some((index, paths)) = by_mount.pop_first() {
        let Some(mount) = session.mounts().get(usize::from(index.0)) else {
            continue;
        };
        match session.push_dirty(mount, paths.clone(), progress).await {
            Ok((report, later)) => {
                total.absorb(report);
                unfinished.extend(later.into_iter().map(|path| DirtyPath::path(index, path)));
            }
            Err(mut error) => {
                total.absorb(std::mem::take(&mut *error.report));
                *error.report = total;
                unfinished.extend(as_dirty(index, paths));
                unfinished.extend(
                    by_mount
                        .into_iter()
                        .flat_map(|(index, paths)| as_dirty(index, paths)),
                );
                return (Err(error), unfinished);
            }
        }
    }
    (Ok(total), unfinished)
}

/// Looks where hints point, mount by mount. When the store fails, all that was not reached is looked at later.
async fn look(
    session: &Session,
    hints: &BTreeMap<MountIndex, Noted>,
    progress: &Arc<dyn Progress>,
) -> (Result<Report, PassError>, BTreeMap<MountIndex, Noted>) {
    let mut total = Report::default();
    let mut again = BTreeMap::new();
    let mut left = hints.clone();
    while let Some((index, noted)) = left.pop_first() {
        let Some(mount) = session.mounts().get(usize::from(index.0)) else {
            continue;
        };
        match session.pull_hinted(mount, noted.clone(), progress).await {
            Ok((report, later)) => {
                total.absorb(report);
                if !later.is_empty() {
                    let hints = later.into_iter().map(|path| (path, vec![Hint::Unknown]));
                    again.insert(index, Noted::Paths(hints.collect()));
                }
            }
            Err(mut error) => {
                total.absorb(std::mem::take(&mut *error.report));
                *error.report = total;
                again.extend(left);
                again.insert(index, noted);
                return (Err(error), again);
            }
        }
    }
    (Ok(total), again)
}

fn as_dirty(index: MountIndex, dirty: Dirty) -> Vec<DirtyPath> {
    match dirty {
        Dirty::Everything => vec![DirtyPath::mount(index)],
        Dirty::Paths(paths) => paths
            .into_iter()
            .map(|path: RelPath| DirtyPath::subtree(index, path))
            .collect(),
    }
}

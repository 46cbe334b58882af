//! A plan being made: its parts come out one by one while it is made on another thread.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Session, SessionError,
    listing::{self, Wish},
    pass::store_problem,
};
use crate::{
    mount::OpenMount,
    plan::{
        self, Conclusion, Deferred, IgnoreFiles, ListingFault, MountPlan, PlanError, PlanScope,
        Reading, RemoteSource, Wanted,
    },
    progress::Progress,
    report::{Problem, ProblemKind},
};

/// A plan is tried in the order that is remembered, in the other one, and sorted.
const READINGS: usize = 3;
/// Finished parts of a plan that wait to be carried out.
const PARTS_AHEAD: usize = 1;

/// Whether the store is asked what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listings {
    /// It is.
    Fetched,
    /// It is taken to hold what the baseline says; conditional writes find out if not.
    Assumed,
}

/// What planning a mount gives.
pub(super) enum Part {
    Plan(MountPlan),
    /// The store doesn't show this mount, or the rest of it; nothing more is decided about it.
    Refused(Problem),
}

/// A plan being made. Dropping it gives the plan up.
pub(super) struct Planning<'a> {
    session: &'a Session,
    mount: Arc<OpenMount>,
    scope: PlanScope,
    listings: Listings,
    progress: Arc<dyn Progress>,
    readings: usize,
    stage: Stage,
}

enum Stage {
    Begin(Reading),
    Observing {
        reading: Reading,
        parts: mpsc::Receiver<MountPlan>,
        planner: JoinHandle<Result<Conclusion, PlanError>>,
        /// Ends with the stage.
        lister: AbortOnDropHandle<()>,
    },
    Deferred(Deferred),
    Done,
}

impl Session {
    /// Begins to plan a mount.
    pub(super) fn planning(
        &self,
        mount: &Arc<OpenMount>,
        scope: &PlanScope,
        listings: Listings,
        progress: &Arc<dyn Progress>,
    ) -> Planning<'_> {
        Planning {
            session: self,
            mount: mount.clone(),
            scope: scope.clone(),
            listings,
            progress: progress.clone(),
            readings: 0,
            stage: Stage::Begin(self.reading(mount)),
        }
    }
}

impl Planning<'_> {
    /// The next part of the plan; what came before should have been carried out. `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Part>, SessionError> {
        match self.planned().await? {
            Some(Part::Plan(plan)) => {
                let plan = self.session.compare(&self.mount, plan).await?;
                Ok(Some(Part::Plan(plan)))
            }
            other => Ok(other),
        }
    }

    /// The same, where contents are still to be compared.
    async fn planned(&mut self) -> Result<Option<Part>, SessionError> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Begin(reading) => self.begin(reading),
                Stage::Observing {
                    reading,
                    mut parts,
                    planner,
                    lister,
                } => {
                    if let Some(part) = parts.recv().await {
                        self.stage = Stage::Observing {
                            reading,
                            parts,
                            planner,
                            lister,
                        };
                        return Ok(Some(Part::Plan(part)));
                    }
                    match planner.await? {
                        Ok(conclusion) => return Ok(Some(self.conclude(reading, conclusion))),
                        Err(PlanError::Listing(ListingFault::OutOfOrder { keeps })) => {
                            self.begin_again(keeps);
                        }
                        Err(PlanError::IgnoreFiles(first)) => {
                            self.readings = 0;
                            self.scope.ignore_files = IgnoreFiles::InTurn;
                            self.stage = Stage::Begin(reading);
                            return Ok(Some(Part::Plan(*first)));
                        }
                        Err(error) => return self.fail(error).map(Some),
                    }
                }
                Stage::Deferred(deferred) => return self.deferred(deferred).await,
                Stage::Done => return Ok(None),
            }
        }
    }

    fn begin(&mut self, reading: Reading) {
        self.readings += 1;
        let (mut sources, mut wishes) = (Vec::new(), Vec::new());
        for part in self.scope.extent.parts() {
            let prefix = match part {
                None => self.mount.prefix.as_str().to_owned(),
                Some(path) => self.mount.prefix.key(path).as_str().to_owned(),
            };
            sources.push(match self.listings {
                Listings::Assumed => RemoteSource::Assumed,
                Listings::Fetched => {
                    let (wish, pages) = Wish::new(prefix);
                    wishes.push(wish);
                    RemoteSource::Listing(pages)
                }
            });
        }
        let store = self.session.store.clone();
        let lister = tokio::spawn(listing::fetch(store, wishes, self.progress.clone()));
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let (mount, scope) = (self.mount.clone(), self.scope.clone());
        let planner = tokio::task::spawn_blocking(move || {
            let mut take = |part| match sender.blocking_send(part) {
                Ok(()) => Wanted::More,
                Err(_) => Wanted::NoMore,
            };
            plan::plan(&mount, &scope, reading, sources, &mut take)
        });
        self.stage = Stage::Observing {
            reading,
            parts,
            planner,
            lister: AbortOnDropHandle::new(lister),
        };
    }

    /// The listing was not in the order it was read in. What was planned and done on the way there stands: every act
    /// was checked against what it was decided for, and nothing was concluded from what was not seen.
    fn begin_again(&mut self, keeps: Option<crate::order::KeyOrder>) {
        let keeps = keeps.filter(|_| self.readings + 1 < READINGS);
        self.stage = Stage::Begin(Session::other_reading(&self.mount, keeps));
    }

    fn conclude(&mut self, reading: Reading, conclusion: Conclusion) -> Part {
        let Conclusion {
            part,
            deferred,
            watch,
        } = conclusion;
        if self.listings == Listings::Fetched {
            self.session.note_listing(reading, &watch);
        }
        self.stage = Stage::Deferred(deferred);
        Part::Plan(part)
    }

    async fn deferred(&mut self, mut deferred: Deferred) -> Result<Option<Part>, SessionError> {
        let mount = self.mount.clone();
        let (deferred, part) = tokio::task::spawn_blocking(move || {
            let part = deferred.next_part(&mount);
            (deferred, part)
        })
        .await?;
        match part {
            Ok(Some(part)) => {
                self.stage = Stage::Deferred(deferred);
                Ok(Some(Part::Plan(part)))
            }
            Ok(None) => Ok(None),
            Err(error) => self.fail(error).map(Some),
        }
    }

    /// What a plan that can't be made is: the end of the pass, or of what is decided about this mount.
    fn fail(&self, error: PlanError) -> Result<Part, SessionError> {
        let message = match error {
            PlanError::Baseline(error) => return Err(error.into()),
            PlanError::Listing(ListingFault::Store(error))
                if error.kind.is_fatal() || error.kind.is_transient() =>
            {
                return Err(error.into());
            }
            // Nothing is known of the mount's objects, so nothing is decided about it; the other mounts go on.
            PlanError::Listing(ListingFault::Store(error)) => {
                return Ok(Part::Refused(store_problem(&self.mount, "", &error)));
            }
            PlanError::Listing(ListingFault::Sort(ref cause)) | PlanError::Spill(ref cause) => {
                format!("{error}: {cause}")
            }
            PlanError::Listing(ListingFault::OutOfOrder { .. } | ListingFault::Cancelled)
            | PlanError::IgnoreFiles(_)
            | PlanError::GivenUp => error.to_string(),
        };
        Ok(Part::Refused(Problem {
            mount: self.mount.name.clone(),
            path: String::new(),
            kind: ProblemKind::Incomplete,
            message,
        }))
    }
}

//! Carries a history out on a real directory and a scripted store.

use std::{collections::BTreeMap, sync::Arc};

use sync_core::{
    guard::Approval,
    mount::MountError,
    path::RelPath,
    progress::Progress,
    report::{ProblemKind, Report},
    session::{Direction, Dirty, MountPath, PassError, PassRequest, Session, SessionError},
};

use super::{
    check,
    history::{Approve, BaselineFate, Effect, Event, Happening, History, PathName, Step},
    rest::summary,
    rules::{POOL, mount},
    store::ScriptedStore,
    world::{Touched, World},
};

const STATE_FILES: [&str; 3] = ["state.db", "state.db-wal", "state.db-shm"];

/// What was wrong at the end, or on the way there.
pub(crate) struct Failure {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
}

/// Runs a history; time is simulated, so that waits cost none.
pub(crate) fn run(history: &History) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = Arc::new(World::new());
    runtime.block_on(async {
        let mut run = Run::start(world.clone(), history).await;
        for step in &history.steps {
            world.note(format!("{step:?}"));
            run.step(step).await;
            check::always(&world);
            if run.failed() {
                return;
            }
        }
        run.come_to_rest().await;
    });
    drop(runtime);
    let mut state = world.state();
    if state.violations.is_empty() {
        return Ok(());
    }
    Err(Failure {
        violations: std::mem::take(&mut state.violations),
        trace: std::mem::take(&mut state.trace),
    })
}

pub(crate) struct Run {
    pub(crate) world: Arc<World>,
    pub(crate) store: Arc<ScriptedStore>,
    concurrency: usize,
    session: Option<Session>,
    /// Nobody knows what changed locally: the session is new.
    all_dirty: bool,
    older_baseline: Vec<(&'static str, Vec<u8>)>,
}

impl Run {
    async fn start(world: Arc<World>, history: &History) -> Self {
        let store = Arc::new(ScriptedStore::new(world.clone(), history.store));
        let mut run = Self {
            world,
            store,
            concurrency: history.store.concurrency,
            session: None,
            all_dirty: true,
            older_baseline: Vec::new(),
        };
        run.open().await;
        run
    }

    pub(crate) fn failed(&self) -> bool {
        !self.world.state().violations.is_empty()
    }

    pub(crate) fn session(&self) -> &Session {
        self.session.as_ref().unwrap()
    }

    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        self.store.clone()
    }

    async fn open(&mut self) {
        self.all_dirty = true;
        // Whatever the last session left running on other threads holds the mount's lock until it ends.
        for _ in 0..1000 {
            let mounts = vec![mount(&self.world.mount)];
            let opened = Session::with_mounts(
                mounts,
                BTreeMap::new(),
                self.store.clone(),
                self.concurrency,
            )
            .await;
            match opened {
                Ok(session) => {
                    self.session = Some(session);
                    return;
                }
                Err(SessionError::Mount(MountError::Locked { .. })) => {
                    std::thread::sleep(std::time::Duration::from_micros(200));
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("the session can't be opened: {error:?}"),
            }
        }
        panic!("the mount stays locked");
    }

    async fn reopen(&mut self, fate: BaselineFate) {
        drop(self.session.take());
        // Opening shows that nothing of the old session is left.
        self.open().await;
        if fate != BaselineFate::Kept {
            self.world.state().disturb();
        }
        drop(self.session.take());
        let directory = self.world.mount.join(".hiclaw-sync");
        let now = STATE_FILES.iter().filter_map(|name| {
            let content = std::fs::read(directory.join(name)).ok()?;
            Some((*name, content))
        });
        let older = std::mem::replace(&mut self.older_baseline, now.collect());
        if fate != BaselineFate::Kept {
            for name in STATE_FILES {
                std::fs::remove_file(directory.join(name)).ok();
            }
        }
        if fate == BaselineFate::RolledBack {
            for (name, content) in older {
                std::fs::write(directory.join(name), content).unwrap();
            }
        }
        self.open().await;
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Local(op) => self.world.apply_local(*op),
            Step::Remote(op) => self.world.apply_remote(*op),
            Step::Deny(path) => self.store.deny(path),
            Step::Reopen(fate) => self.reopen(*fate).await,
            Step::Plan => self.plan().await,
            Step::PushDirty { events } => self.push_dirty(events).await,
            Step::Pass {
                direction,
                scope,
                approval,
                events,
            } => {
                let request = self.request(*direction, *scope, *approval);
                let report = self.pass(&request, events).await;
                if let Some(report) = report
                    && events.is_empty()
                {
                    self.expect_no_trouble(&report);
                    if *direction == Direction::Sync && scope.is_none() {
                        self.make_peace();
                    }
                }
            }
        }
    }

    pub(crate) fn request(
        &self,
        direction: Direction,
        scope: Option<PathName>,
        approval: Approve,
    ) -> PassRequest {
        let paths = scope.map(|scope| MountPath {
            mount: self.session().mounts()[0].name.clone(),
            path: RelPath::new(scope).unwrap(),
        });
        PassRequest {
            paths: paths.into_iter().collect(),
            approval: match approval {
                Approve::Yes => Approval::Given,
                Approve::No => Approval::None,
            },
            ..PassRequest::everything(direction)
        }
    }

    /// A pass; its report, if it came to its end. After a crash the session is opened again.
    pub(crate) async fn pass(&mut self, request: &PassRequest, events: &[Event]) -> Option<Report> {
        self.store.expect(events);
        let progress = self.progress();
        let result = tokio::select! {
            biased;
            result = self.session().pass(request, &progress) => Some(result.map_err(Box::new)),
            () = self.store.crashed.notified() => None,
        };
        self.ended(result, events).await
    }

    async fn push_dirty(&mut self, events: &[Event]) {
        self.store.expect(events);
        let progress = self.progress();
        let paths = std::mem::take(&mut self.world.state().dirty);
        let dirty = if std::mem::take(&mut self.all_dirty) {
            Dirty::Everything
        } else {
            Dirty::Paths(
                paths
                    .iter()
                    .map(|path| RelPath::new(path).unwrap())
                    .collect(),
            )
        };
        let mount = self.session().mounts()[0].clone();
        let result = tokio::select! {
            biased;
            result = self.session().push_dirty(&mount, dirty, &progress) => {
                Some(result.map(|(report, _)| report).map_err(Box::new))
            }
            () = self.store.crashed.notified() => None,
        };
        drop(mount);
        self.ended(result, events).await;
    }

    async fn ended(
        &mut self,
        result: Option<Result<Report, Box<PassError>>>,
        events: &[Event],
    ) -> Option<Report> {
        self.store.expect(&[]);
        if events.iter().any(|event| event.what.leaves_doubt()) {
            self.world.state().disturb();
        }
        let crashed = match result {
            Some(Ok(report)) => {
                self.world.note(format!("  => {}", summary(&report)));
                return Some(report);
            }
            Some(Err(error)) => {
                self.world.note(format!("  => {error}"));
                if events.is_empty() {
                    self.world
                        .violation(format!("a pass without any fault failed: {error}"));
                }
                matches!(error.source, SessionError::Task(_))
            }
            None => true,
        };
        if !crashed {
            return None;
        }
        drop(self.session.take());
        self.open().await;
        None
    }

    async fn plan(&mut self) {
        let before = check::picture(&self.world);
        let request = PassRequest::everything(Direction::Sync);
        let result = self.session().plan(&request, &self.progress()).await;
        match result {
            Ok(report) => self.world.note(format!("  => {}", summary(&report))),
            Err(error) => self.world.violation(format!("a plan failed: {error}")),
        }
        if check::picture(&self.world) != before {
            self.world.violation("a dry run changed something");
        }
    }

    pub(crate) fn expect_no_trouble(&self, report: &Report) {
        if !self.world.state().obstacles.is_empty() {
            return;
        }
        for problem in &report.problems {
            if !matches!(problem.kind, ProblemKind::UnsafePath | ProblemKind::Denied) {
                self.world
                    .violation(format!("without any fault: {problem:?}"));
            }
        }
    }

    /// Paths on which both sides agree after a whole pass in peace: what happens next is measured from here.
    fn make_peace(&self) {
        let agrees = |path: &str| self.world.local_content(path) == self.world.remote_content(path);
        self.world.state().touched.retain(|path, _| !agrees(path));
    }
}

impl Happening {
    /// Whether the engine can't know afterwards what the store did, or forgets what it did itself.
    fn leaves_doubt(&self) -> bool {
        match self {
            Self::Crash(_) | Self::Fail(_, Effect::Done) => true,
            Self::Fail(_, Effect::None) | Self::Local(_) | Self::Remote(_) | Self::BreakOff => {
                false
            }
        }
    }
}

impl super::world::State {
    /// From here on anybody may win anywhere, until the next whole pass in peace.
    fn disturb(&mut self) {
        let both = Touched {
            local: true,
            remote: true,
        };
        for path in POOL.iter().copied().flatten() {
            self.touched.insert(path, both);
        }
        self.disturbed = true;
    }
}

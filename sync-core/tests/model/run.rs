//! Carries a history out on a real directory and a scripted store.

use std::{fs::File, panic::AssertUnwindSafe, path::PathBuf, sync::Arc};

use futures_util::FutureExt as _;
use sync_core::{
    guard::Approval,
    path::RelPath,
    progress::Progress,
    report::{ProblemKind, Report},
    session::{Direction, Dirty, MountPath, PassError, PassRequest, Session, SessionError},
};

use super::{
    check,
    history::{
        Approve, BaselineFate, Effect, Event, Happening, History, MassOp, Mounts, PathName, Step,
    },
    points::{self, Registered},
    rest::{is_expected, summary},
    rules::{DIRECTORIES, IGNORE_FILE, MERGED, is_under, locate, merges, mounts},
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
    run_and(history, |_| {})
}

/// The same, with a look at what both sides hold at the end.
pub(crate) fn run_and(history: &History, look: impl FnOnce(&World)) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = Arc::new(World::new(history));
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
        look(&world);
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
    mounts: Mounts,
    concurrency: usize,
    part_tasks: usize,
    pub(crate) session: Option<Arc<Session>>,
    /// Nobody knows what changed locally: the session is new.
    pub(crate) all_dirty: bool,
    older_baseline: Vec<(PathBuf, Vec<u8>)>,
    _registered: Registered,
}

impl Run {
    async fn start(world: Arc<World>, history: &History) -> Self {
        let store = Arc::new(ScriptedStore::new(world.clone(), history.store));
        let registered = points::register(&world.outside, history.mounts, &store);
        let mut run = Self {
            world,
            store,
            mounts: history.mounts,
            concurrency: history.store.concurrency,
            part_tasks: history.store.part_tasks,
            session: None,
            all_dirty: true,
            older_baseline: Vec::new(),
            _registered: registered,
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

    /// Opens a new session; one that ends at a failpoint on the way is opened again.
    pub(crate) async fn open(&mut self) {
        self.all_dirty = true;
        loop {
            drop(self.session.take());
            self.wait_for_the_locks().await;
            self.store.begin_again();
            let opened = Session::with_mounts(
                mounts(self.mounts, &self.world.outside),
                merges(),
                self.store.clone(),
                self.concurrency,
            );
            let opened = AssertUnwindSafe(opened).catch_unwind().await;
            if self.store.has_ended() {
                continue;
            }
            let session = opened.unwrap().unwrap();
            self.session = Some(Arc::new(session.with_part_tasks(self.part_tasks)));
            self.store.expect(&[]);
            return;
        }
    }

    /// Whatever the last session left running on other threads holds the mounts' locks until it ends.
    async fn wait_for_the_locks(&self) {
        for at in 0..DIRECTORIES.len() {
            let lock = self.world.mount(at).join(".hiclaw-sync/lock");
            let Ok(lock) = File::open(lock) else {
                continue;
            };
            let mut attempts = 0;
            while lock.try_lock().is_err() {
                attempts += 1;
                assert!(attempts < 10_000, "the mount stays locked");
                std::thread::sleep(std::time::Duration::from_micros(200));
                tokio::task::yield_now().await;
            }
        }
    }

    async fn reopen(&mut self, fate: BaselineFate) {
        // Opening shows that nothing of the old session is left.
        self.open().await;
        if fate != BaselineFate::Kept {
            self.world.state().disturb(&self.world.pool);
        }
        drop(self.session.take());
        self.wait_for_the_locks().await;
        let directories = (0..DIRECTORIES.len()).map(|at| self.world.mount(at));
        let files: Vec<_> = directories
            .flat_map(|mount| STATE_FILES.map(|name| mount.join(".hiclaw-sync").join(name)))
            .collect();
        let now = files
            .iter()
            .filter_map(|file| Some((file.clone(), std::fs::read(file).ok()?)));
        let older = std::mem::replace(&mut self.older_baseline, now.collect());
        match fate {
            BaselineFate::Kept => {}
            BaselineFate::Lost => remove(&files),
            BaselineFate::RolledBack => {
                remove(&files);
                for (file, content) in older {
                    std::fs::write(file, content).unwrap();
                }
            }
            BaselineFate::Damaged => {
                for (file, content) in &self.older_baseline {
                    std::fs::write(file, &content[..content.len() / 2]).unwrap();
                }
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
            Step::Mass(op) => self.mass(*op),
            Step::Resident { acts, end, events } => self.resident(acts, *end, events).await,
            Step::Plan => self.plan().await,
            Step::PushDirty { events } => self.push_dirty(events).await,
            Step::Pass {
                direction,
                scope,
                approval,
                events,
            } => {
                let request = request(*direction, *scope, *approval);
                let report = self.pass(&request, events).await;
                if let Some(report) = report
                    && events.is_empty()
                {
                    self.expect_no_trouble(&report, false);
                    if *direction == Direction::Sync && scope.is_none() {
                        self.make_peace();
                    }
                }
            }
        }
    }

    /// A pass; its report, if it came to its end. After a crash the session is opened again.
    pub(crate) async fn pass(&mut self, request: &PassRequest, events: &[Event]) -> Option<Report> {
        let before = self.session().status();
        self.store.expect(events);
        let progress = self.progress();
        let pass = self.session().pass(request, &progress);
        let result = tokio::select! {
            biased;
            result = AssertUnwindSafe(pass).catch_unwind() => result.ok().map(|result| result.map_err(Box::new)),
            () = self.store.crashed.notified() => None,
        };
        let report = self.ended(result, events).await?;
        if request.approval == Approval::None {
            self.world.check_brakes(&before, &report);
        }
        Some(report)
    }

    fn mass(&self, op: MassOp) {
        self.world.apply_mass(op);
    }

    async fn push_dirty(&mut self, events: &[Event]) {
        self.store.expect(events);
        let progress = self.progress();
        let paths = std::mem::take(&mut self.world.state().dirty);
        // The watcher takes a changed ignore file for a change of everything.
        self.all_dirty |= paths.contains(IGNORE_FILE);
        let everything = std::mem::take(&mut self.all_dirty);
        let session = self.session.clone().unwrap();
        let push = async {
            let mut total = Report::default();
            for (at, mount) in session.mounts().iter().enumerate() {
                let of_mount = paths.iter().map(|path| locate(path));
                let of_mount = of_mount.filter(|(mount, _)| *mount == at);
                let dirty = if everything {
                    Dirty::Everything
                } else {
                    let paths = of_mount.map(|(_, path)| RelPath::new(path).unwrap());
                    Dirty::Paths(paths.collect())
                };
                let (report, _) = session.push_dirty(mount, dirty, &progress).await?;
                total.absorb(report);
            }
            Ok(total)
        };
        let result = tokio::select! {
            biased;
            result = AssertUnwindSafe(push).catch_unwind() => result.ok().map(|result| result.map_err(Box::new)),
            () = self.store.crashed.notified() => None,
        };
        drop(session);
        self.ended(result, events).await;
    }

    async fn ended(
        &mut self,
        result: Option<Result<Report, Box<PassError>>>,
        events: &[Event],
    ) -> Option<Report> {
        self.note_doubts(events);
        if self.store.has_ended() {
            self.open().await;
            return None;
        }
        self.store.expect(&[]);
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
        self.open().await;
        None
    }

    pub(crate) fn note_doubts(&self, events: &[Event]) {
        if events.iter().any(|event| event.what.leaves_doubt()) {
            self.world.state().disturb(&self.world.pool);
        }
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

    pub(crate) fn expect_no_trouble(&self, report: &Report, at_rest: bool) {
        if !self.world.state().obstacles.is_empty() {
            return;
        }
        let broken = self.world.state().merged.is_broken();
        for problem in &report.problems {
            if problem.path == MERGED && broken {
                continue;
            }
            let nested = |path: &&PathName| {
                **path != problem.path && {
                    is_under(path, &problem.path) || is_under(&problem.path, path)
                }
            };
            let nested = self.world.pool.iter().any(|path| nested(&path));
            let two_kinds = !at_rest && nested && problem.kind == ProblemKind::Unsupported;
            let foreseen = is_expected(problem) || problem.kind == ProblemKind::Denied;
            if !two_kinds && !foreseen {
                self.world
                    .violation(format!("without any fault: {problem:?}"));
            }
        }
    }

    /// Paths on which both sides agree after a whole pass in peace: what happens next is measured from here.
    fn make_peace(&self) {
        let mut state = self.world.state();
        state.touched.retain(|path, _| !self.world.agrees(path));
    }
}

/// A pass over everything, or over what is at and below a path.
pub(crate) fn request(
    direction: Direction,
    scope: Option<PathName>,
    approval: Approve,
) -> PassRequest {
    let paths = scope.map(|scope| MountPath {
        mount: DIRECTORIES[locate(scope).0].to_owned(),
        path: RelPath::new(locate(scope).1).unwrap(),
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
    fn disturb(&mut self, pool: &[PathName]) {
        let both = Touched {
            local: true,
            remote: true,
        };
        for path in pool {
            self.touched.insert(path, both);
        }
        self.disturbed = true;
    }
}

fn remove(files: &[PathBuf]) {
    for file in files {
        std::fs::remove_file(file).ok();
    }
}

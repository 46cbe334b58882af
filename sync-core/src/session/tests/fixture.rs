//! A mount with rules of every kind, on a store in memory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    layout::{Carry, Deletes, Executable, Glob, Mount, Rule, Rules, SyncMode},
    merge::{FieldPath, FieldRule, MergeRules, Take},
    path::{Prefix, RelPath},
    progress::{Progress, Silent},
    report::{Report, Side},
    session::{Direction, PassRequest, Session},
    store::{ObjectStore, memory::MemoryStore},
};

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Arc<MemoryStore>,
    pub(super) session: Session,
}

fn rule(pattern: &str, sync: SyncMode) -> Rule {
    Rule::new(vec![Glob::new(pattern).unwrap()], sync)
}

pub(super) fn rules() -> Vec<Rule> {
    let mut skills = rule("skills/**", SyncMode::Both);
    skills.prefer = Side::Remote;
    skills.group = Some("skills".to_owned());
    let mut tasks = rule("tasks/**", SyncMode::Both);
    tasks.deletes = Deletes::Pull;
    let mut renamed = rule("config/new.json", SyncMode::Pull);
    renamed.legacy_key = Some(RelPath::new("old.json").unwrap());
    let mut tools = rule("tools/**", SyncMode::Both);
    tools.executable = Executable::Always;
    vec![
        tools,
        rule("openclaw.json", SyncMode::Merge),
        rule("credentials/**", SyncMode::None),
        rule("old.json", SyncMode::None),
        rule(".inner/**", SyncMode::None),
        rule(".old/**", SyncMode::None),
        rule("pulled/**", SyncMode::Pull),
        renamed,
        skills,
        tasks,
    ]
}

pub(super) async fn open(dir: &Path, store: Arc<dyn ObjectStore>) -> Session {
    let merge = MergeRules {
        fields: vec![FieldRule {
            field: FieldPath::new("models").unwrap(),
            take: Take::Remote,
        }],
        rest: Side::Local,
        protect: Vec::new(),
    };
    let mut rules = Rules::new(rules()).unwrap();
    rules.add_carry(Carry {
        from: [".inner/AGENTS.md", ".old/AGENTS.md"]
            .map(|path| RelPath::new(path).unwrap())
            .to_vec(),
        to: RelPath::new("AGENTS.md").unwrap(),
    });
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a").unwrap(),
        local: dir.to_owned(),
        rules,
    };
    let merges = BTreeMap::from([(RelPath::new("openclaw.json").unwrap(), merge)]);
    Session::with_mounts(vec![mount], merges, store, 4)
        .await
        .unwrap()
}

pub(super) async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let session = open(dir.path(), store.clone()).await;
    Fixture {
        dir,
        store,
        session,
    }
}

impl Fixture {
    pub(super) fn write(&self, path: &str, content: &str) {
        let full = self.dir.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, content).unwrap();
    }

    pub(super) fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(path)).ok()
    }

    pub(super) fn remove(&self, path: &str) {
        std::fs::remove_file(self.dir.path().join(path)).unwrap();
    }

    pub(super) fn insert(&self, path: &str, content: &str) {
        self.store
            .insert(&format!("agents/a/{path}"), content.to_owned());
    }

    pub(super) fn object(&self, path: &str) -> Option<String> {
        let content = self.store.content(&format!("agents/a/{path}"))?;
        Some(String::from_utf8(content.to_vec()).unwrap())
    }

    pub(super) async fn pass(&self, direction: Direction) -> Report {
        self.session
            .pass(&PassRequest::everything(direction), &progress())
            .await
            .unwrap()
    }

    /// A pass both ways, then one that must find nothing to do.
    pub(super) async fn settle(&self) -> Report {
        let report = self.pass(Direction::Sync).await;
        let again = self.pass(Direction::Sync).await;
        assert!(again.is_quiet(), "a second pass still finds {again:?}");
        assert_eq!(
            (again.requests.get, again.requests.head, again.requests.put),
            (0, 0, 0)
        );
        report
    }

    /// A pass both ways, and one that finds nothing to do but reports the same problems again.
    pub(super) async fn settle_with_problems(&self) -> Report {
        let report = self.pass(Direction::Sync).await;
        let mut again = self.pass(Direction::Sync).await;
        assert_eq!(again.problems, report.problems, "problems flap");
        again.problems.clear();
        assert!(again.is_quiet(), "a second pass still finds {again:?}");
        report
    }

    /// Sends everything without asking the store what it has.
    pub(super) async fn settle_push(&self) {
        let mount = &self.session.mounts()[0];
        let everything = crate::session::Dirty::Everything;
        let sent = self
            .session
            .push_dirty(mount, everything, &progress())
            .await;
        assert!(sent.unwrap().0.problems.is_empty());
    }

    /// Another worker with a directory of its own on the same bucket.
    pub(super) async fn replica(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = self.store.clone();
        let session = open(dir.path(), store.clone()).await;
        Self {
            dir,
            store,
            session,
        }
    }

    pub(super) fn full(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(super) fn insert_with(&self, path: &str, content: &str, metadata: &[(&str, &str)]) {
        let key = format!("agents/a/{path}");
        self.store
            .insert_with_metadata(&key, content.to_owned(), metadata);
    }

    pub(super) fn metadata(&self, path: &str, name: &str) -> Option<String> {
        self.store.metadata(&format!("agents/a/{path}"), name)
    }

    pub(super) fn mode(&self, path: &str) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = std::fs::symlink_metadata(self.full(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    }

    pub(super) fn chmod(&self, path: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.full(path), mode).unwrap();
    }

    pub(super) fn link(&self, path: &str, target: &str) {
        let full = self.full(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, full).unwrap();
    }

    /// Where the link at a path leads; `None` for what is no link.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(self.full(path)).ok()?;
        Some(target.to_str().unwrap().to_owned())
    }

    /// How many files were read so far.
    pub(super) fn contents_opened(&self) -> u64 {
        self.session.mounts()[0].root.contents_opened()
    }

    /// Passes until none reads a file again because the clock had not moved on.
    pub(super) async fn out_of_doubt(&self) {
        for _ in 0..1000 {
            let before = self.contents_opened();
            assert!(self.pass(Direction::Sync).await.is_quiet());
            if self.contents_opened() == before {
                return;
            }
        }
        panic!("files stay in doubt");
    }

    pub(super) async fn reopen(self) -> Self {
        let Self {
            dir,
            store,
            session,
        } = self;
        drop(session);
        let session = open(dir.path(), store.clone()).await;
        Self {
            dir,
            store,
            session,
        }
    }
}

pub(super) fn progress() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

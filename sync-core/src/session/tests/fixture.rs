//! A mount with rules of every kind, on a store in memory.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    layout::{Carry, Deletes, Glob, Mount, Rule, Rules, SyncMode},
    merge::{FieldPath, FieldRule, MergeRules, Take},
    path::{Prefix, RelPath},
    progress::{Progress, Silent},
    report::{Report, Side},
    session::{Direction, PassRequest, Session},
    store::memory::MemoryStore,
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
    vec![
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

pub(super) async fn open(dir: &Path, store: Arc<MemoryStore>) -> Session {
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

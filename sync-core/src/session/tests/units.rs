//! Reload units: published together or not at all.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex},
};

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{
    fixture::progress,
    odd_store::{OddStore, bytes},
};
use crate::{
    failpoint::{self, Hook, Point, Then},
    layout::{Glob, Mount, Rule, Rules, SyncMode},
    merge::{FieldPath, FieldRule, MergeRules, Take},
    path::{Prefix, RelPath},
    report::{ProblemKind, Report, Side},
    session::{Direction, Dirty, PassRequest, Session},
    validate::{Candidate, Validate},
};

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<OddStore>,
    session: Session,
}

fn rule(pattern: &str, sync: SyncMode, group: &str) -> Rule {
    let mut rule = Rule::new(vec![Glob::new(pattern).unwrap()], sync);
    rule.prefer = Side::Remote;
    rule.group = Some(group.to_owned());
    rule
}

async fn fixture_with(validator: Option<Arc<dyn Validate>>) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(OddStore::new(bytes, 1000));
    let merge = MergeRules {
        fields: vec![FieldRule {
            field: FieldPath::new("models").unwrap(),
            take: Take::Remote,
        }],
        rest: Side::Local,
        protect: Vec::new(),
    };
    let rules = vec![
        rule("openclaw.json", SyncMode::Merge, "config"),
        rule("config/mcporter.json", SyncMode::Pull, "config"),
        rule("skills/**", SyncMode::Both, "skills"),
    ];
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a").unwrap(),
        local: dir.path().to_owned(),
        rules: Rules::new(rules).unwrap(),
    };
    let merges = BTreeMap::from([(RelPath::new("openclaw.json").unwrap(), merge)]);
    let session = Session::with_mounts(vec![mount], merges, store.clone(), 4)
        .await
        .unwrap()
        // Every task is a part of its own, unless it has to wait for others.
        .with_part_tasks(1);
    let session = match validator {
        Some(validator) => session.with_validator(validator),
        None => session,
    };
    Fixture {
        dir,
        store,
        session,
    }
}

async fn fixture() -> Fixture {
    fixture_with(None).await
}

impl Fixture {
    fn insert(&self, path: &str, content: &str) {
        let key = format!("agents/a/{path}");
        self.store.inner.insert(&key, content.to_owned());
    }

    fn remove(&self, path: &str) {
        self.store.inner.remove(&format!("agents/a/{path}"));
    }

    fn unreadable(&self, paths: &[&'static str]) {
        *self.store.unreadable.lock().unwrap() = paths.to_vec();
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(path)).ok()
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.dir.path().join(path), content).unwrap();
    }

    fn staging_is_empty(&self) -> bool {
        let staging = self.dir.path().join(".hiclaw-sync/tmp");
        std::fs::read_dir(staging).unwrap().next().is_none()
    }

    async fn pass(&self, direction: Direction) -> Report {
        let request = PassRequest::everything(direction);
        self.session.pass(&request, &progress()).await.unwrap()
    }
}

#[tokio::test]
async fn a_unit_of_which_one_file_can_not_be_had_stays_as_it_is_deletes_included() {
    let fixture = fixture().await;
    for path in [
        "skills/web/SKILL.md",
        "skills/web/a.md",
        "skills/web/gone.md",
    ] {
        fixture.insert(path, "1");
    }
    fixture.pass(Direction::Sync).await;
    for path in ["skills/web/SKILL.md", "skills/web/a.md", "skills/web/z.md"] {
        fixture.insert(path, "two");
    }
    fixture.remove("skills/web/gone.md");
    fixture.insert("skills/other/SKILL.md", "two");
    fixture.insert("notes.md", "two");
    fixture.unreadable(&["skills/web/z.md"]);
    for _ in 0..2 {
        let report = fixture.pass(Direction::Sync).await;
        assert_eq!(report.problems.len(), 1, "{report:?}");
        assert_eq!(report.problems[0].path, "skills/web/z.md");
        let message = &report.problems[0].message;
        let expected = "; nothing of skills/web (group skills) is published";
        assert!(message.ends_with(expected), "{message}");
        assert_eq!(fixture.read("skills/web/SKILL.md").unwrap(), "1");
        assert_eq!(fixture.read("skills/web/a.md").unwrap(), "1");
        assert_eq!(fixture.read("skills/web/gone.md").unwrap(), "1");
        assert_eq!(fixture.read("skills/other/SKILL.md").unwrap(), "two");
        assert_eq!(fixture.read("notes.md").unwrap(), "two");
        assert!(fixture.staging_is_empty());
    }
    fixture.unreadable(&[]);
    let report = fixture.pass(Direction::Sync).await;
    assert_eq!(
        (report.downloaded.len(), report.deleted_local.len()),
        (3, 1)
    );
    assert_eq!(fixture.read("skills/web/z.md").unwrap(), "two");
    assert!(fixture.pass(Direction::Sync).await.is_quiet());
}

#[tokio::test]
async fn an_invalid_file_keeps_the_whole_group_until_it_is_mended() {
    let fixture = fixture().await;
    fixture.insert("openclaw.json", r#"{"models":1}"#);
    fixture.insert("config/mcporter.json", r#"{"v":1}"#);
    fixture.pass(Direction::Sync).await;
    fixture.insert("openclaw.json", r#"{"models":2}"#);
    for broken in ["{\"v\":", "[2]", "\"text\"", "\u{0}"] {
        fixture.insert("config/mcporter.json", broken);
        let report = fixture.pass(Direction::Sync).await;
        assert_eq!(report.problems[0].kind, ProblemKind::Invalid);
        assert_eq!(report.problems[0].path, "config/mcporter.json");
        assert!(report.downloaded.is_empty() && report.merged.is_empty());
        assert_eq!(fixture.read("config/mcporter.json").unwrap(), r#"{"v":1}"#);
        assert!(fixture.read("openclaw.json").unwrap().contains('1'));
        let degraded = fixture.session.degraded(&report.problems);
        assert!(
            degraded[0].starts_with("config: config/mcporter.json: it is no JSON object"),
            "{degraded:?}"
        );
    }
    fixture.insert("config/mcporter.json", "// JSON5\n{v: 2,}");
    let report = fixture.pass(Direction::Sync).await;
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!((report.downloaded.len(), report.merged.len()), (1, 1));
    assert!(fixture.read("openclaw.json").unwrap().contains('2'));
}

/// Refuses what holds the word `bad`, and keeps what it was shown.
#[derive(Default)]
struct Picky(Mutex<Vec<(Candidate, String)>>);

impl Validate for Picky {
    fn wants(&self, group: &str) -> bool {
        group == "skills"
    }

    fn validate<'a>(&'a self, candidate: &'a Candidate) -> BoxFuture<'a, Result<(), String>> {
        let content = std::fs::read_to_string(&candidate.file).unwrap();
        let answer = if content.contains("bad") {
            Err("a bad word".to_owned())
        } else {
            Ok(())
        };
        self.0.lock().unwrap().push((candidate.clone(), content));
        async move { answer }.boxed()
    }
}

#[tokio::test]
async fn a_validator_is_shown_every_file_under_its_own_name_and_may_refuse() {
    let picky = Arc::new(Picky::default());
    let fixture = fixture_with(Some(picky.clone())).await;
    fixture.insert("skills/web/SKILL.md", "good");
    fixture.insert("skills/web/scripts/run.sh", "bad");
    fixture.insert("openclaw.json", "{\"bad\":1}");
    let report = fixture.pass(Direction::Pull).await;
    assert_eq!(report.merged.len(), 1, "it is not asked about other groups");
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].kind, ProblemKind::Invalid);
    assert_eq!(report.problems[0].path, "skills/web/scripts/run.sh");
    assert_eq!(
        report.problems[0].message,
        "a bad word; nothing of skills/web (group skills) is published"
    );
    assert!(!fixture.dir.path().join("skills").exists());
    assert!(fixture.staging_is_empty());
    let shown = std::mem::take(&mut *picky.0.lock().unwrap());
    assert_eq!(shown.len(), 2);
    for (candidate, content) in shown {
        assert!(
            candidate.file.ends_with(candidate.path.as_str()),
            "{candidate:?}"
        );
        assert_eq!(
            content == "good",
            candidate.path.as_str() == "skills/web/SKILL.md"
        );
    }
    fixture.insert("skills/web/scripts/run.sh", "fine");
    assert_eq!(fixture.pass(Direction::Pull).await.downloaded.len(), 2);
    assert!(fixture.pass(Direction::Sync).await.is_quiet());
}

/// Names and contents of a directory's files.
type Contents = BTreeMap<String, String>;

/// What stood in the directories of the roots that are watched, at every moment at which a file was published.
static SEEN: LazyLock<Mutex<HashMap<PathBuf, Vec<Contents>>>> = LazyLock::new(Mutex::default);

struct Look;

impl Hook for Look {
    fn reached(&self, point: Point, place: &Path) -> Then {
        if [Point::Created, Point::BeforeExchange, Point::Exchanged].contains(&point)
            && let Some(seen) = SEEN.lock().unwrap().get_mut(place)
        {
            seen.push(contents(&place.join("skills/web")));
        }
        Then::GoOn
    }

    fn has_ended(&self, _: &Path) -> bool {
        false
    }
}

fn contents(directory: &Path) -> Contents {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let content = |entry: std::fs::DirEntry| {
        let content = std::fs::read_to_string(entry.path()).unwrap_or_default();
        (entry.file_name().into_string().unwrap(), content)
    };
    entries.map(content).collect()
}

impl Fixture {
    async fn watched_pass(&self) -> Vec<Contents> {
        failpoint::install(Box::new(Look));
        let place = self.session.mounts()[0].root.path().to_owned();
        SEEN.lock().unwrap().insert(place.clone(), Vec::new());
        let report = self.pass(Direction::Sync).await;
        assert!(report.problems.is_empty(), "{report:?}");
        SEEN.lock().unwrap().remove(&place).unwrap()
    }
}

#[tokio::test]
async fn a_new_directory_comes_whole_and_a_changed_one_new_files_first_and_its_document_last() {
    if !failpoint::COMPILED {
        return;
    }
    let fixture = fixture().await;
    for name in ["SKILL.md", "a.md", "b.md"] {
        fixture.insert(&format!("skills/web/{name}"), "1");
    }
    let whole = |content: &str, names: &[&str]| -> BTreeMap<String, String> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), content.to_owned()))
            .collect()
    };
    let seen = fixture.watched_pass().await;
    assert_eq!(seen, [whole("1", &["SKILL.md", "a.md", "b.md"])]);

    for name in ["SKILL.md", "a.md", "new.md"] {
        fixture.insert(&format!("skills/web/{name}"), "two");
    }
    fixture.insert("skills/web/deep/er.md", "two");
    for seen in fixture.watched_pass().await {
        let deep = seen.contains_key("deep");
        if seen["a.md"] == "two" {
            assert!(deep && seen.contains_key("new.md"), "{seen:?}");
        }
        if seen["SKILL.md"] == "two" {
            assert_eq!((&*seen["a.md"], &*seen["b.md"]), ("two", "1"));
        }
    }
    assert!(fixture.pass(Direction::Sync).await.is_quiet());
}

#[tokio::test]
async fn a_push_that_meets_a_new_version_of_a_skill_brings_all_of_it() {
    let fixture = fixture().await;
    for name in ["SKILL.md", "a.md"] {
        fixture.insert(&format!("skills/web/{name}"), "1");
    }
    fixture.pass(Direction::Sync).await;
    for name in ["SKILL.md", "a.md", "new.md"] {
        fixture.insert(&format!("skills/web/{name}"), "two");
    }
    fixture.write("skills/web/a.md", "edited here");
    let mount = fixture.session.mounts()[0].clone();
    let dirty = Dirty::Paths(vec![RelPath::new("skills/web/a.md").unwrap()]);
    let (report, unfinished) = fixture
        .session
        .push_dirty(&mount, dirty, &progress())
        .await
        .unwrap();
    assert!(
        unfinished.is_empty() && report.problems.is_empty(),
        "{report:?}"
    );
    assert_eq!(report.conflicts.len(), 1);
    assert_eq!(report.requests.list, 1);
    for name in ["SKILL.md", "a.md", "new.md"] {
        let content = fixture.read(&format!("skills/web/{name}"));
        assert_eq!(content.unwrap(), "two", "{name}");
    }
    let copy = fixture.read(&report.conflicts[0].copy).unwrap();
    assert_eq!(copy, "edited here");
    assert!(fixture.pass(Direction::Sync).await.is_quiet());
}

#[tokio::test]
async fn a_local_file_that_takes_the_place_of_a_new_directory_is_kept() {
    let fixture = fixture().await;
    fixture.insert("skills/web/SKILL.md", "bucket");
    std::fs::create_dir_all(fixture.dir.path().join("skills/web")).unwrap();
    fixture.write("skills/web/mine.md", "agent");
    let report = fixture.pass(Direction::Sync).await;
    assert!(report.problems.is_empty(), "{report:?}");
    assert_eq!(fixture.read("skills/web/mine.md").unwrap(), "agent");
    assert_eq!(fixture.read("skills/web/SKILL.md").unwrap(), "bucket");
    assert!(fixture.pass(Direction::Sync).await.is_quiet());
}

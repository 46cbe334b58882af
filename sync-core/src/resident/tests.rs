//! The engine over a real directory, a real watcher and a store in memory.

mod events;

use std::collections::BTreeMap;

use std::time::Instant;

use super::*;
use crate::{
    debounce::MountIndex,
    layout::{Carry, Glob, Mount, Rule, Rules, SyncMode},
    path::{Prefix, RelPath},
    report::RequestCounts,
    store::{ObjectStore as _, memory::MemoryStore},
    watch::{WatchedMount, Watcher},
};

const LIMIT: Duration = Duration::from_secs(20);

struct Fixture {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    resident: Resident,
    _watcher: Watcher,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    let none = Rule::new(vec![Glob::new("cache/**").unwrap()], SyncMode::None);
    let inner = Rule::new(vec![Glob::new(".inner/**").unwrap()], SyncMode::None);
    let mut rules = Rules::new(vec![none, inner]).unwrap();
    rules.add_carry(Carry {
        from: vec![RelPath::new(".inner/AGENTS.md").unwrap()],
        to: RelPath::new("AGENTS.md").unwrap(),
    });
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a").unwrap(),
        local: dir.path().to_owned(),
        rules,
    };
    let session = Arc::new(
        Session::with_mounts(vec![mount], BTreeMap::new(), store.clone(), 4)
            .await
            .unwrap(),
    );
    let (sender, news) = mpsc::channel(64);
    let watched = WatchedMount::of(MountIndex(0), &session.mounts()[0]);
    let watcher = Watcher::start(vec![watched], sender).unwrap();
    let settings = ResidentSettings {
        pull_interval: Duration::from_hours(1),
        events: EventSettings::default(),
        debounce: DebounceSettings {
            quiet: Duration::from_millis(20),
            ..DebounceSettings::default()
        },
    };
    let resident = Resident::start(session, settings, Some(news));
    Fixture {
        dir,
        store,
        resident,
        _watcher: watcher,
    }
}

impl Fixture {
    fn write(&self, path: &str, content: &str) {
        let full = self.dir.path().join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(full, content).unwrap();
    }

    fn object(&self, path: &str) -> Option<String> {
        let content = self.store.content(&format!("agents/a/{path}"))?;
        Some(String::from_utf8(content.to_vec()).unwrap())
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < LIMIT, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn sync(&self) -> Report {
        self.resident
            .pass(PassRequest::everything(Direction::Sync))
            .await
            .unwrap()
            .unwrap()
    }

    /// What was requested while `work` ran.
    async fn requests_of(&self, work: impl AsyncFnOnce(&Self)) -> RequestCounts {
        let before = self.store.requests();
        work(self).await;
        self.store.requests() - before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_pushed_by_itself_with_one_put_and_nothing_else() {
    let fixture = fixture().await;
    fixture.write("a/b", "old");
    fixture.sync().await;
    let requests = fixture
        .requests_of(async |fixture| {
            fixture.write("a/b", "new");
            fixture
                .until("the new version is there", |f| {
                    f.object("a/b").as_deref() == Some("new")
                })
                .await;
            fixture
                .until("nothing is pending", |f| f.resident.status().pending == 0)
                .await;
        })
        .await;
    assert_eq!(
        requests,
        RequestCounts {
            put: 1,
            ..RequestCounts::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_moved_directories_are_pushed_by_themselves() {
    let fixture = fixture().await;
    for path in ["old/x", "old/y/z", "gone", "stays"] {
        fixture.write(path, path);
    }
    fixture.sync().await;
    std::fs::remove_file(fixture.dir.path().join("gone")).unwrap();
    std::fs::rename(
        fixture.dir.path().join("old"),
        fixture.dir.path().join("new"),
    )
    .unwrap();
    let expected = ["agents/a/new/x", "agents/a/new/y/z", "agents/a/stays"];
    fixture
        .until("the bucket is the same", |fixture| {
            fixture.store.keys() == expected
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_files_and_files_that_a_pull_writes_cost_no_request() {
    let fixture = fixture().await;
    fixture.resident.session().probe().await.unwrap();
    fixture.store.insert("agents/a/pulled", "1");
    fixture.sync().await;
    let requests = fixture
        .requests_of(async |fixture| {
            fixture.write("cache/x", "churn");
            // A file that counts, so that there is an end to wait for.
            fixture.write("counts", "1");
            fixture
                .until("it is there", |fixture| fixture.object("counts").is_some())
                .await;
        })
        .await;
    assert_eq!(
        requests,
        RequestCounts {
            put: 1,
            ..RequestCounts::default()
        }
    );
    assert_eq!(fixture.object("cache/x"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_in_order_and_a_stop_sends_the_last_edit() {
    let fixture = fixture().await;
    fixture.store.insert("agents/a/there", "1");
    let (first, second) = tokio::join!(
        fixture
            .resident
            .pass(PassRequest::everything(Direction::Pull)),
        fixture
            .resident
            .pass(PassRequest::everything(Direction::Pull)),
    );
    assert_eq!(first.unwrap().unwrap().downloaded.len(), 1);
    assert!(second.unwrap().unwrap().is_quiet());
    fixture.write("last", "words");
    let report = fixture.resident.stop().await.unwrap().unwrap();
    assert_eq!(report.uploaded.len() + report.problems.len(), 1);
    assert_eq!(fixture.object("last").as_deref(), Some("words"));
    assert_eq!(fixture.resident.flush().await.unwrap_err(), Ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_of_passes_and_the_status_tells_of_them() {
    let fixture = fixture().await;
    let mut events = fixture.resident.subscribe();
    fixture.store.insert("agents/a/there", "1");
    fixture.sync().await;
    let Event::Pass { trigger, report } = events.recv().await.unwrap() else {
        panic!("no pass")
    };
    assert_eq!((trigger, report.downloaded.len()), (Trigger::Request, 1));
    let status = fixture.resident.status();
    assert!(status.resident && status.last_pull.is_some() && status.outage.is_none());
    assert_eq!((status.totals.downloaded, status.mounts[0].files), (1, 1));
    assert_eq!(status.watch, "events");
}

#[tokio::test]
async fn passes_that_nobody_waits_for_are_made_once_for_all_who_ask() {
    let fixture = fixture().await;
    let mut events = fixture.resident.subscribe();
    for _ in 0..50 {
        fixture.resident.pass_soon(Direction::Pull).await.unwrap();
    }
    fixture.store.insert("agents/a/there", "1");
    fixture.resident.pass_soon(Direction::Pull).await.unwrap();
    fixture
        .until("the last one is made too", |_| {
            fixture.dir.path().join("there").exists()
        })
        .await;
    let mut passes = 0;
    while let Ok(event) = events.try_recv() {
        passes += usize::from(matches!(event, Event::Pass { .. }));
    }
    // One under way, one that waits, and one more for each that ended meanwhile.
    assert!(passes < 25, "{passes} passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_log_that_never_rests_is_sent_now_and_then_and_its_end_when_it_rests() {
    let fixture = fixture().await;
    let line = "x".repeat(1024);
    fixture.write("log", &line.repeat(1024));
    fixture
        .until("it is sent", |fixture| fixture.object("log").is_some())
        .await;
    let path = fixture.dir.path().join("log");
    let begun = Instant::now();
    let requests = fixture
        .requests_of(async |fixture| {
            let mut file = std::fs::File::options().append(true).open(&path).unwrap();
            while begun.elapsed() < Duration::from_secs(5) {
                std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            fixture
                .until("its end is sent", |fixture| {
                    fixture.object("log") == std::fs::read_to_string(&path).ok()
                })
                .await;
        })
        .await;
    // What grew in five seconds pays for no whole file; the writer may have been kept waiting once or twice.
    assert!(requests.put <= 4, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_directory_is_sent_before_its_old_objects_go_and_trips_no_brake() {
    let fixture = fixture().await;
    for number in 0..200 {
        let path = format!("work/d{}/f{number}", number % 20);
        fixture.write(&path, &path);
    }
    fixture.sync().await;
    // Behind it nothing is told any more of the files before.
    fixture.write("sentinel", "1");
    fixture
        .until("all is quiet", |fixture| {
            fixture.object("sentinel").is_some() && fixture.resident.status().pending == 0
        })
        .await;
    std::fs::rename(
        fixture.dir.path().join("work"),
        fixture.dir.path().join("done"),
    )
    .unwrap();
    fixture
        .until("the old objects are gone", |fixture| {
            (0..200).all(|number| {
                let path = format!("d{}/f{number}", number % 20);
                // In this order: an object that goes between the two looks was sent before.
                let old = fixture.object(&format!("work/{path}"));
                let new = fixture.object(&format!("done/{path}"));
                assert!(old.is_some() || new.is_some(), "{path} is nowhere");
                old.is_none()
            })
        })
        .await;
    assert_eq!(fixture.resident.status().held, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_told_to_nobody_and_counts_as_no_change() {
    let fixture = fixture().await;
    let mut events = fixture.resident.subscribe();
    fixture.store.insert("agents/a/there", "1");
    let request = PassRequest::everything(Direction::Sync);
    let report = fixture.resident.plan(request).await.unwrap().unwrap();
    assert_eq!(report.downloaded.len(), 1);
    let status = fixture.resident.status();
    assert_eq!((status.totals.downloaded, status.last_change), (0, None));
    assert!(status.totals.requests.list > 0);
    assert!(events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignore_file_holds_from_its_next_change_on_without_a_restart() {
    let fixture = fixture().await;
    fixture.write("data/known", "old");
    fixture.write("marker", "0");
    fixture.sync().await;
    fixture.write(".hiclawignore", "data/\n");
    fixture
        .until("the ignore file is there", |f| {
            f.object(".hiclawignore").is_some()
        })
        .await;
    fixture.write("data/new", "ignored");
    std::fs::remove_file(fixture.dir.path().join("data/known")).unwrap();
    fixture.write("marker", "1");
    fixture
        .until("the marker is there", |f| {
            f.object("marker").as_deref() == Some("1")
        })
        .await;
    assert_eq!(fixture.object("data/new"), None);
    assert_eq!(fixture.object("data/known").unwrap(), "old");
    // Ignored no more: what is here goes, what is only there comes.
    std::fs::remove_file(fixture.dir.path().join(".hiclawignore")).unwrap();
    fixture
        .until("what was ignored is there", |f| {
            f.object("data/new").is_some()
        })
        .await;
    fixture
        .until("what was deleted here meanwhile is back", |f| {
            f.dir.path().join("data/known").exists()
        })
        .await;
    fixture.write("data/new", "watched again");
    fixture
        .until("the edit is there", |f| {
            f.object("data/new").as_deref() == Some("watched again")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_an_inner_file_is_sent_by_itself() {
    let fixture = fixture().await;
    fixture.write("AGENTS.md", "v1");
    fixture.sync().await;
    fixture.write(".inner/AGENTS.md", "v1");
    fixture.sync().await;
    fixture.write(".inner/AGENTS.md", "edited");
    let sent = |fixture: &Fixture| fixture.object("AGENTS.md").as_deref() == Some("edited");
    fixture.until("the edit is sent", sent).await;
    assert_eq!(fixture.object(".inner/AGENTS.md"), None);
}

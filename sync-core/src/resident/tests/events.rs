//! The engine and the store's word of changes: what is looked at, and at which price.

use super::*;
use crate::{
    events::tests::{Answer, ScriptedStore},
    report::ProblemKind,
    store::StoreErrorKind,
};

struct Listening {
    dir: tempfile::TempDir,
    store: Arc<ScriptedStore>,
    resident: Resident,
}

const CREATED: &str = "s3:ObjectCreated:Put";
const REMOVED: &str = "s3:ObjectRemoved:Delete";

/// An engine without a watcher, on a store with these objects, after the listing that follows a subscription.
async fn listening(objects: &[(&str, &str)]) -> Listening {
    let dir = tempfile::tempdir().unwrap();
    let store = ScriptedStore::new([Answer::Live]);
    for (path, content) in objects {
        store.objects.insert(&key(path), (*content).to_owned());
    }
    let none = Rule::new(vec![Glob::new("cache/**").unwrap()], SyncMode::None);
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a").unwrap(),
        local: dir.path().to_owned(),
        rules: Rules::new(vec![none]).unwrap(),
    };
    let session = Session::with_mounts(vec![mount], BTreeMap::new(), store.clone(), 4).await;
    let settings = ResidentSettings {
        pull_interval: Duration::from_hours(1),
        ..ResidentSettings::default()
    };
    let resident = Resident::start(Arc::new(session.unwrap()), settings, None);
    let listening = Listening {
        dir,
        store,
        resident,
    };
    listening
        .until("the first listing", |it| {
            it.store.requests().list >= 1
                && it.resident.status().totals.downloaded == objects.len() as u64
        })
        .await;
    listening
}

fn key(path: &str) -> String {
    format!("agents/a/{path}")
}

impl Listening {
    fn put(&self, path: &str, content: &str) {
        self.store.objects.insert(&key(path), content.to_owned());
        self.store.tell(CREATED, &key(path), Some("unknown"));
    }

    fn remove(&self, path: &str) {
        self.store.objects.remove(&key(path));
        self.store.tell(REMOVED, &key(path), None);
    }

    fn file(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.path().join(path)).ok()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < LIMIT, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was requested until `path` came, which is put behind all that `work` does.
    async fn requests_of(&self, path: &str, work: impl FnOnce(&Self)) -> RequestCounts {
        let before = self.store.requests();
        work(self);
        // Noted later and looked at together or later: when it is there, the rest is done.
        self.put(path, path);
        self.until(path, |it| it.file(path).is_some()).await;
        self.store.requests() - before
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changed_costs_one_head_and_one_get() {
    let listening = listening(&[("a", "1")]).await;
    let mut events = listening.resident.subscribe();
    let requests = listening.requests_of("b", |_| {}).await;
    let expected = RequestCounts {
        head: 1,
        get: 1,
        ..RequestCounts::default()
    };
    assert_eq!(requests, expected);
    let Event::Pass { trigger, report } = events.recv().await.unwrap() else {
        panic!("no pass")
    };
    assert_eq!((trigger, report.downloaded.len()), (Trigger::Event, 1));
    let status = listening.resident.status();
    assert_eq!(
        (status.events[0].state.as_str(), status.pull_every_seconds),
        ("connected", 3600)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_already_costs_nothing_and_is_told_to_nobody() {
    let listening = listening(&[("a", "1")]).await;
    let head = |path: &str| {
        let key = crate::path::ObjectKey::new(key(path)).unwrap();
        let store = listening.store.clone();
        async move { store.objects.head(&key).await.unwrap().unwrap().etag }
    };
    let etag = head("a").await;
    let before = listening.store.requests();
    let mut events = listening.resident.subscribe();
    for _ in 0..20 {
        listening
            .store
            .tell(CREATED, &key("a"), Some(etag.as_str()));
        listening.store.tell(REMOVED, &key("never-there"), None);
    }
    listening.store.tell(CREATED, &key("cache/x"), Some("1"));
    listening.store.tell(CREATED, "agents/b/x", Some("1"));
    listening.store.tell(CREATED, &key("dir/"), Some("1"));
    listening
        .until("all were heard", |it| {
            it.resident.status().totals.events == 40
        })
        .await;
    // The next pass is the one that this asks for.
    listening.resident.pass_soon(Direction::Pull).await.unwrap();
    let Event::Pass { trigger, .. } = events.recv().await.unwrap() else {
        panic!("no pass")
    };
    assert_eq!(trigger, Trigger::Request);
    let expected = RequestCounts {
        list: 1,
        ..RequestCounts::default()
    };
    assert_eq!(listening.store.requests() - before, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_is_what_a_listing_does_not_show() {
    let listening = listening(&[("a", "1"), ("b/x", "2"), ("b/y", "3")]).await;
    // Said to be gone, and still there.
    let before = listening.store.requests();
    listening.store.tell(REMOVED, &key("a"), None);
    listening
        .until("it was looked for", |it| {
            (it.store.requests() - before).list == 1
        })
        .await;
    assert_eq!(listening.file("a").as_deref(), Some("1"));
    let before = listening.store.requests();
    listening.remove("b/x");
    listening.remove("b/y");
    listening
        .until("the directory is gone", |it| {
            !it.dir.path().join("b").exists()
        })
        .await;
    let requests = listening.store.requests() - before;
    assert!(requests.list <= 2 && requests.head == 0, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_cost_a_listing_of_what_they_have_in_common() {
    let listening = listening(&[("a", "1")]).await;
    let before = listening.store.requests();
    for number in 0..200 {
        listening.put(&format!("dir/sub/{number}"), "x");
    }
    listening
        .until("all are there", |it| {
            it.resident.status().totals.downloaded == 201
        })
        .await;
    let requests = listening.store.requests() - before;
    assert_eq!(requests.get, 200);
    assert!(requests.head + requests.list <= 64, "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brake_holds_what_events_would_delete_as_it_holds_what_a_pass_would() {
    let paths: Vec<_> = (0..60).map(|number| format!("f{number:02}")).collect();
    let objects: Vec<_> = paths.iter().map(|path| (path.as_str(), "x")).collect();
    let listening = listening(&objects).await;
    for path in &paths {
        listening.remove(path);
    }
    listening
        .until("the brake", |it| it.resident.status().held.len() == 60)
        .await;
    let left = paths.iter().filter(|path| listening.file(path).is_some());
    assert_eq!(left.count(), 60, "nothing went before the brake held");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ignored_is_not_asked_about() {
    let listening = listening(&[(".hiclawignore", "data/\n")]).await;
    let requests = listening.requests_of("b", |it| {
        it.put("data/x", "1");
        it.store.tell(REMOVED, &key("data/y"), None);
    });
    let expected = RequestCounts {
        head: 1,
        get: 1,
        ..RequestCounts::default()
    };
    assert_eq!(requests.await, expected);
    assert_eq!(listening.file("data/x"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignore_file_holds_for_what_is_told_together_with_it() {
    let listening = listening(&[("a", "1")]).await;
    // In this order: it is told last and still comes first.
    listening.put("data/x", "1");
    listening.put("zero", "1");
    listening.put(".hiclawignore", "data/\n");
    listening
        .until("what isn't ignored is there", |it| {
            it.file(".hiclawignore").is_some() && it.file("zero").is_some()
        })
        .await;
    assert_eq!(listening.file("data/x"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_became_a_directory_in_the_bucket_is_followed_and_back() {
    let listening = listening(&[("a", "1"), ("x", "2")]).await;
    listening.remove("x");
    listening.put("x/y", "3");
    listening
        .until("the directory", |it| it.file("x/y").is_some())
        .await;
    listening.remove("x/y");
    listening.put("x", "4");
    listening
        .until("the file", |it| it.file("x").as_deref() == Some("4"))
        .await;
    listening
        .until("no problem is left", |it| {
            it.resident.status().problems.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_outlive_a_store_that_fails() {
    let listening = listening(&[("a", "1")]).await;
    listening.store.refuse(Some(StoreErrorKind::Unreachable));
    listening.put("b", "2");
    listening
        .until("the outage", |it| it.resident.status().outage.is_some())
        .await;
    listening.store.refuse(None);
    listening
        .until("it came", |it| it.file("b").is_some())
        .await;
    assert_eq!(listening.resident.status().outage, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_be_read_is_a_problem_of_its_own() {
    let listening = listening(&[("a", "1")]).await;
    listening.store.refuse(Some(StoreErrorKind::Denied));
    listening.put("b", "2");
    listening
        .until("the problem", |it| {
            let problems = it.resident.status().problems;
            problems
                .iter()
                .any(|problem| problem.kind == ProblemKind::Denied && problem.path == "b")
        })
        .await;
    listening.store.refuse(None);
    listening.put("b", "3");
    listening
        .until("it came", |it| it.file("b").is_some())
        .await;
    listening
        .until("no problem is left", |it| {
            it.resident.status().problems.is_empty()
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_keys_and_garbage_are_told_and_disturb_nothing() {
    let listening = listening(&[("a", "1")]).await;
    listening
        .store
        .say(&b"no event\n{\"Records\":[7,{}]}\n"[..]);
    listening.store.tell(CREATED, "agents/a/../b/x", Some("1"));
    listening.put("b", "2");
    listening
        .until("it came", |it| it.file("b").is_some())
        .await;
    let status = listening.resident.status();
    assert_eq!(status.events[0].malformed, 3);
    let problem = &status.problems[0];
    assert_eq!(
        (problem.kind, problem.path.as_str()),
        (ProblemKind::UnsafePath, "../b/x")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_engine_hears_nothing_any_more() {
    let listening = listening(&[("a", "1")]).await;
    listening.resident.stop().await.unwrap().unwrap();
    let before = listening.store.requests();
    listening.put("b", "2");
    assert_eq!(listening.resident.flush().await.unwrap_err(), Ended);
    assert_eq!(
        (listening.store.requests(), listening.file("b")),
        (before, None)
    );
}

//! When the store is asked, and what is made of its answers.

use tokio::sync::mpsc;

use super::*;
use crate::{
    debounce::MountIndex,
    events::{
        EventSettings, Hint, Listen, Listeners, StreamNews, StreamState, Subscription,
        listener::Target,
    },
    layout::{Glob, Rule, Rules, SyncMode},
    path::{Prefix, RelPath},
};

const PING: &[u8] = b"{\"Records\":null}\n";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

fn subscription() -> Subscription {
    let none = Rule::new(vec![Glob::new("cache/**").unwrap()], SyncMode::None);
    let push = Rule::new(vec![Glob::new("out/**").unwrap()], SyncMode::Push);
    let mut pull = Rule::new(vec![Glob::new("config/new.json").unwrap()], SyncMode::Pull);
    pull.legacy_key = Some(RelPath::new("old.json").unwrap());
    Subscription {
        prefix: Prefix::new("agents/a").unwrap(),
        targets: vec![Target {
            index: MountIndex(3),
            name: "workspace".to_owned(),
            rules: Rules::new(vec![none, push, pull]).unwrap().into(),
        }],
    }
}

struct Heard {
    store: Arc<ScriptedStore>,
    news: mpsc::Receiver<StreamNews>,
    listeners: Listeners,
    started: Instant,
}

fn listen(answers: impl IntoIterator<Item = Answer>) -> Heard {
    let store = ScriptedStore::new(answers);
    let (sender, news) = mpsc::channel(100);
    let shared: Arc<dyn ObjectStore> = store.clone();
    let settings = EventSettings::default();
    let listeners = Listeners::start(&shared, vec![subscription()], settings, &sender);
    Heard {
        store,
        news,
        listeners,
        started: Instant::now(),
    }
}

impl Heard {
    async fn next(&mut self) -> StreamNews {
        self.news.recv().await.unwrap()
    }

    async fn state(&mut self) -> StreamState {
        loop {
            if let StreamNews::State { state, prefix } = self.next().await {
                assert_eq!(prefix, "agents/a/");
                return state;
            }
        }
    }

    /// When the store was asked, since the start.
    fn asked(&self) -> Vec<Duration> {
        let asked = self.store.asked.lock().unwrap();
        asked.iter().map(|(at, _)| *at - self.started).collect()
    }

    async fn until_asked(&self, times: usize) {
        while self.store.times_asked() < times {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn stream(pieces: &[(Duration, &'static [u8])], end: End) -> Answer {
    Answer::Stream(pieces.to_vec(), end)
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_told_first_and_then_each_change() {
    let events = br#"{"Records":[{"eventName":"s3:ObjectCreated:Put","s3":{"object":{"key":"agents/a/x +","eTag":"t"}}}]}
"#;
    let mut heard = listen([stream(&[(SECOND, events)], End::Silence)]);
    assert_eq!(heard.state().await, StreamState::Connecting);
    assert_eq!(heard.state().await, StreamState::Connected);
    assert!(
        matches!(heard.next().await, StreamNews::Subscribed(mounts) if mounts == [MountIndex(3)])
    );
    let StreamNews::Changed { mount, path, hint } = heard.next().await else {
        panic!("no change")
    };
    assert_eq!((mount, path.as_str()), (MountIndex(3), "x +"));
    assert_eq!(hint, Hint::Written(ETag::new("t")));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_falls_silent_is_dead_after_three_pings_and_asked_for_again() {
    let pings = [(5 * SECOND, PING), (5 * SECOND, PING)];
    let mut heard = listen([stream(&pings, End::Silence)]);
    heard.until_asked(2).await;
    // 10 s with pings, 17 without, then at most a second of waiting.
    let again = heard.asked()[1];
    assert!((27 * SECOND..29 * SECOND).contains(&again), "{again:?}");
    assert_eq!(heard.state().await, StreamState::Connecting);
    assert_eq!(heard.state().await, StreamState::Connected);
    let state = heard.state().await;
    assert!(
        matches!(&state, StreamState::Broken { message } if message.contains("nothing came")),
        "{state:?}"
    );
    // And whoever lists after a subscription lists again.
    assert_eq!(heard.state().await, StreamState::Connected);
    assert!(matches!(heard.next().await, StreamNews::Subscribed(_)));
}

#[tokio::test(start_paused = true)]
async fn spaces_keep_a_stream_alive_too() {
    let spaces = vec![(5 * SECOND, &b" "[..]); 40];
    let heard = listen([stream(&spaces, End::Silence)]);
    heard.until_asked(2).await;
    assert!(heard.asked()[1] > 200 * SECOND, "{:?}", heard.asked());
}

#[tokio::test(start_paused = true)]
async fn streams_that_break_before_a_ping_are_asked_for_less_and_less_often() {
    let heard = listen([stream(&[], End::Closed)]);
    heard.until_asked(12).await;
    let asked = heard.asked();
    let waits: Vec<_> = asked
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64())
        .collect();
    for (wait, longest) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]) {
        let longest = f64::from(longest);
        assert!((longest / 2.0..=longest + 0.01).contains(wait), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lived_is_asked_for_at_once_when_it_breaks() {
    for end in [End::Closed, End::Broken] {
        let heard = listen([stream(&[(5 * SECOND, PING)], end)]);
        heard.until_asked(20).await;
        let asked = heard.asked();
        let longest = asked
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .max()
            .unwrap();
        assert!(longest <= 6 * SECOND + SECOND / 10, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_answers_decides_when_it_is_asked_again() {
    use StoreErrorKind::{BadCredentials, Denied, NoBucket, NotFound, Other, Unreachable};
    let busy = StoreErrorKind::Unavailable { retry_after: None };
    for (kind, word, rarely) in [
        (Other, "not-offered", true),
        (NotFound, "not-offered", true),
        (Denied, "denied", true),
        (Unreachable, "broken", false),
        (BadCredentials, "broken", false),
        (NoBucket, "broken", false),
        (busy, "broken", false),
    ] {
        let mut heard = listen([Answer::Fails(kind)]);
        heard.until_asked(3).await;
        let asked = heard.asked();
        if rarely {
            assert!(
                asked[1] > HOUR * 8 / 10 && asked[2] < HOUR * 3,
                "{kind:?}: {asked:?}"
            );
        } else {
            assert!(asked[2] < 4 * SECOND, "{kind:?}: {asked:?}");
        }
        assert_eq!(heard.state().await, StreamState::Connecting);
        assert_eq!(heard.state().await.word(), word, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_counts_as_one_without_the_stream() {
    // No answer at all, and an answer's head without a word after it.
    for answer in [Answer::Nothing, stream(&[], End::Silence)] {
        let mut heard = listen([answer]);
        heard.until_asked(4).await;
        let asked = heard.asked();
        assert!(
            (17 * SECOND..19 * SECOND).contains(&asked[1]),
            "once it may be the connection: {asked:?}"
        );
        assert!(asked[3] > asked[2] + 30 * SECOND, "{asked:?}");
        while heard.state().await != StreamState::Silent {}
    }
}

#[tokio::test(start_paused = true)]
async fn garbage_is_counted_and_disturbs_nothing() {
    let mixed = b"no json\n{\"Records\":[7]}\n{\"Records\":[{\"eventName\":\"s3:ObjectRemoved:Delete\",\"s3\":{\"object\":{\"key\":\"agents/a/k\"}}}]}\n\xFF\n";
    let mut heard = listen([stream(&[(SECOND, mixed)], End::Silence)]);
    while !matches!(heard.next().await, StreamNews::Subscribed(_)) {}
    assert!(matches!(heard.next().await, StreamNews::Changed { path, .. } if path.as_str() == "k"));
    assert!(matches!(
        heard.next().await,
        StreamNews::Malformed { count: 3, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_that_is_set_or_nothing_is_pulled() {
    let store = ScriptedStore::new([Answer::Nothing]);
    let shared: Arc<dyn ObjectStore> = store.clone();
    let (sender, _news) = mpsc::channel(1);
    let never = EventSettings {
        listen: Listen::Never,
        ..EventSettings::default()
    };
    let _none = Listeners::start(&shared, vec![subscription()], never, &sender);
    let _nothing = Listeners::start(&shared, Vec::new(), EventSettings::default(), &sender);
    tokio::time::sleep(HOUR).await;
    assert_eq!(store.times_asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_thelisteners_ends_them() {
    let heard = listen([stream(&[], End::Closed)]);
    heard.until_asked(1).await;
    let Heard {
        store,
        news,
        listeners,
        ..
    } = heard;
    drop(listeners);
    tokio::time::sleep(HOUR).await;
    assert_eq!(store.times_asked(), 1);
    assert!(news.is_closed());
}

#[test]
fn an_event_is_about_a_path_of_a_mount_or_about_nothing() {
    let subscription = subscription();
    let tag = Hint::Written(ETag::new("t"));
    let news = |key: &str, hint: &Hint| -> Vec<String> {
        let news = subscription.news(key, hint);
        news.map(|news| match news {
            StreamNews::Changed { path, hint, .. } => format!("{path} {hint:?}"),
            StreamNews::Unclear(mount) => format!("unclear {}", mount.0),
            StreamNews::Unsafe(problem) => format!("unsafe {}", problem.path),
            StreamNews::State { .. } | StreamNews::Subscribed(_) | StreamNews::Malformed { .. } => {
                panic!("no event")
            }
        })
        .collect()
    };
    let written = r#"Written(ETag("t"))"#;
    for (key, hint, expected) in [
        ("agents/a/x", &tag, Some(format!("x {written}"))),
        ("agents/a/x+ %2Fé", &tag, Some(format!("x+ %2Fé {written}"))),
        ("agents/a/x", &Hint::Removed, Some("x Removed".to_owned())),
        // Other prefixes, markers, the engine's own, what is excluded, what only goes out.
        ("agents/ab/x", &tag, None),
        ("x", &tag, None),
        ("agents/a/", &tag, None),
        ("agents/a/dir/", &tag, None),
        ("agents/a/.hiclaw/probe", &tag, None),
        ("agents/a/cache/x", &tag, None),
        ("agents/a/out/x", &tag, None),
        // The older key of a file is a hint about the file; which of them is left only a listing shows.
        (
            "agents/a/old.json",
            &tag,
            Some("config/new.json Unknown".to_owned()),
        ),
        (
            "agents/a/old.json",
            &Hint::Removed,
            Some("unclear 3".to_owned()),
        ),
        (
            "agents/a/config/new.json",
            &tag,
            Some(format!("config/new.json {written}")),
        ),
        (
            "agents/a/config/new.json",
            &Hint::Removed,
            Some("unclear 3".to_owned()),
        ),
        // Unsafe keys are problems while they are there.
        ("agents/a/../b/x", &tag, Some("unsafe ../b/x".to_owned())),
        ("agents/a//x", &tag, Some("unsafe /x".to_owned())),
        ("agents/a/../b/x", &Hint::Removed, None),
    ] {
        assert_eq!(news(key, hint), Vec::from_iter(expected), "{key} {hint:?}");
    }
}

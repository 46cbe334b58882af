//! The Matrix login against a stand-in homeserver.

use sync_core::path::ObjectKey;

use super::*;
use crate::testing::Server;

const KEY: &str = "agents/alice/credentials/matrix/password";
const PASSWORD: &str = "pa\"ss\\w\u{f6}rd";

fn bench(password: Option<&str>) -> Bench {
    let engine = FakeEngine::new();
    if let Some(password) = password {
        engine
            .objects
            .lock()
            .unwrap()
            .insert(KEY.to_owned(), password.as_bytes().to_vec());
    }
    Bench::new(engine)
}

fn configure(bench: &Bench, homeserver: &str) {
    let text = format!(
        "{{ // JSON5\n  channels: {{ matrix: {{ homeserver: '{homeserver}', accessToken: 'stale' }} }},\n  note: 'mine',\n}}"
    );
    bench.write("openclaw.json", &text);
}

fn step() -> Step {
    Step::MatrixLogin {
        password_key: ObjectKey::new(KEY).unwrap(),
        config: path("openclaw.json"),
    }
}

#[tokio::test]
async fn the_new_token_is_written_and_everything_else_stays() {
    let server = Server::start(vec![(200, r#"{"access_token":"fresh","device_id":"D"}"#)]).await;
    let bench = bench(Some(&format!("{PASSWORD}\n")));
    configure(&bench, &server.url("/"));
    assert_eq!(bench.run(step()).await, Ok(Outcome::Done));
    let requests = server.requests();
    assert_eq!(requests[0].line, "POST /_matrix/client/v3/login");
    let body: serde_json::Value = serde_json::from_str(&requests[0].body).unwrap();
    let expected = serde_json::json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
    });
    assert_eq!(body, expected);
    let config: serde_json::Value = serde_json::from_str(&bench.read("openclaw.json")).unwrap();
    assert_eq!(
        (
            &config["channels"]["matrix"]["accessToken"],
            &config["note"]
        ),
        (&"fresh".into(), &"mine".into())
    );
}

#[tokio::test]
async fn a_refusal_changes_nothing_and_tells_no_secret() {
    let answers = [
        (
            403,
            r#"{"errcode":"M_FORBIDDEN","error":"password pa-ss is wrong"}"#,
            "M_FORBIDDEN",
        ),
        (500, "pa-ss", "no error code"),
        (403, r#"{"errcode":"pa-ss"}"#, "no error code"),
    ];
    for (status, answer, expected) in answers {
        let server = Server::start(vec![(status, answer)]).await;
        let bench = bench(Some("pa-ss"));
        configure(&bench, &server.url(""));
        let before = bench.read("openclaw.json");
        let error = bench.run(step()).await.unwrap_err();
        assert!(
            error.contains(expected) && error.contains(&status.to_string()),
            "{error}"
        );
        assert!(!error.contains("pa-ss"), "{error}");
        assert_eq!(bench.read("openclaw.json"), before);
    }
}

#[tokio::test]
async fn without_password_or_homeserver_there_is_no_login() {
    let server = Server::start(vec![(200, "{}")]).await;
    for (password, homeserver) in [
        (None, Some(server.url(""))),
        (Some("p"), None),
        (Some("p"), Some(String::new())),
        (Some("\n"), Some(server.url(""))),
    ] {
        let bench = bench(password);
        match &homeserver {
            Some(url) => configure(&bench, url),
            None => bench.write("openclaw.json", "{}"),
        }
        assert_eq!(
            bench.run(step()).await,
            Ok(Outcome::Nothing),
            "{password:?} {homeserver:?}"
        );
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_answer_without_a_token_and_a_broken_file_are_hitches() {
    let server = Server::start(vec![(200, "{}")]).await;
    let bench = bench(Some("p"));
    configure(&bench, &server.url(""));
    assert!(
        bench
            .run(step())
            .await
            .unwrap_err()
            .contains("no access token")
    );
    bench.write("openclaw.json", "{ broken");
    assert!(bench.run(step()).await.is_err());
    assert_eq!(bench.read("openclaw.json"), "{ broken");
}

#[tokio::test]
async fn a_password_that_may_not_be_read_is_as_good_as_none() {
    let bench = bench(None);
    bench.engine.denied.lock().unwrap().push(KEY.to_owned());
    configure(&bench, "http://127.0.0.1:1");
    let before = bench.read("openclaw.json");
    assert_eq!(bench.run(step()).await, Ok(Outcome::Nothing));
    assert_eq!(bench.read("openclaw.json"), before);
}

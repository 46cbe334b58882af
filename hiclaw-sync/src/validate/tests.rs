use sync_core::path::RelPath;

use super::*;

fn validator(script: &str) -> CommandValidator {
    let command = ["sh", "-c", script, "validate", "{candidate}"].map(str::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    CommandValidator {
        commands: BTreeMap::from([("config".to_owned(), command.to_vec())]),
        directory: std::env::temp_dir(),
        environment: BTreeMap::from([("PATH".into(), path)]),
        secrets: vec![Secret::new("store-secret")],
        run: as_child(),
    }
}

async fn answer(script: &str, content: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.json");
    std::fs::write(&file, content).unwrap();
    let candidate = Candidate {
        group: "config".to_owned(),
        mount: "workspace".to_owned(),
        path: RelPath::new("config/c.json").unwrap(),
        file,
    };
    validator(script).validate(&candidate).await
}

#[tokio::test]
async fn the_command_sees_the_candidate_and_its_path() {
    let script = r#"test "$(cat "$1")" = good && test "$HICLAW_CANDIDATE_PATH" = config/c.json"#;
    assert_eq!(answer(script, "good").await, Ok(()));
    let refused = answer(script, "bad").await.unwrap_err();
    assert_eq!(refused, "`sh` ended with exit status: 1");
}

#[tokio::test]
async fn the_first_lines_are_told_without_secrets() {
    let content =
        r#"{"channels": {"accessToken": "syt_abcdef", "name": "visible"}, "keys": ["k-123"]}"#;
    let script = "echo out; echo 'syt_abcdef of visible, store-secret' >&2; echo k-123 >&2; \
                  echo 3 >&2; echo 4 >&2; echo >&2; echo 5 >&2; echo 6 >&2; exit 3";
    assert_eq!(
        answer(script, content).await.unwrap_err(),
        "`sh` ended with exit status: 3: [redacted] of visible, [redacted] / [redacted] / 3 / 4 / 5"
    );
}

#[tokio::test]
async fn secrets_of_what_is_no_json_are_found_by_line() {
    let script = "echo 'line 2: syt_abcdef' >&2; exit 1";
    let refused = answer(script, "mode: x\ntoken: syt_abcdef\n").await;
    assert_eq!(
        refused.unwrap_err(),
        "`sh` ended with exit status: 1: line 2: [redacted]"
    );
}

#[tokio::test]
async fn a_command_that_can_not_be_started_refuses() {
    let mut validator = validator("");
    validator
        .commands
        .insert("config".to_owned(), vec!["no-such-program".to_owned()]);
    let candidate = Candidate {
        group: "config".to_owned(),
        mount: "workspace".to_owned(),
        path: RelPath::new("c").unwrap(),
        file: PathBuf::from("/dev/null"),
    };
    let refused = validator.validate(&candidate).await.unwrap_err();
    assert!(
        refused.starts_with("can't start `no-such-program`"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_command_that_hangs_is_killed() {
    let started = std::time::Instant::now();
    let refused = run(Invocation {
        command: ["sleep", "600"].map(str::to_owned).to_vec(),
        directory: std::env::temp_dir(),
        environment: Arc::new(validator("").environment),
        limit: Duration::from_millis(50),
    })
    .await
    .unwrap_err();
    assert_eq!(refused.why, "`sleep` took longer than 50ms");
    assert!(started.elapsed() < Duration::from_mins(5));
}

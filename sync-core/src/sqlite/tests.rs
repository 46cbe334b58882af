//! Writers are processes of their own where locks matter: POSIX knows only processes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use rusqlite::Connection;

use super::*;
use crate::local::Fingerprint;

/// A process that runs SQL, line by line, and says `ok`, or what went wrong.
struct Writer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const SCRIPT: &str = r#"
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
for line in sys.stdin:
    try:
        connection.execute(line).fetchall()
        print("ok", flush=True)
    except Exception as error:
        print(error, flush=True)
"#;

impl Writer {
    fn open(path: &Path) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            input,
            output,
        }
    }

    fn says(&mut self, sql: &str) -> String {
        writeln!(self.input, "{sql}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    fn run(&mut self, sql: &str) {
        assert_eq!(self.says(sql), "ok", "{sql}");
    }

    /// Ends without closing anything, as a killed runtime does.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    root: Arc<Root>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let root = Arc::new(Root::open(dir.path()).unwrap());
    Fixture { dir, root }
}

fn rel(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

impl Fixture {
    fn writer(&self, mode: &str) -> Writer {
        let mut writer = Writer::open(&self.dir.path().join("x.db"));
        writer.run(&format!("PRAGMA journal_mode = {mode}"));
        writer.run("CREATE TABLE entry (value INTEGER)");
        writer.run("INSERT INTO entry VALUES (1)");
        writer
    }

    fn seen(&self) -> Fingerprint {
        self.root.look(&rel("x.db")).unwrap().unwrap().1
    }

    fn has(&self, name: &str) -> bool {
        self.dir.path().join(name).exists()
    }

    /// What a capture holds: the sum of the values.
    fn captured(&self) -> i64 {
        match capture(&self.root, &rel("x.db")).unwrap() {
            Capture::Whole(snapshot) => {
                assert!(self.is_tidy());
                sum_of(snapshot)
            }
            other @ (Capture::Ordinary | Capture::Changing) => panic!("{other:?}"),
        }
    }

    fn is_tidy(&self) -> bool {
        let staged = std::fs::read_dir(self.dir.path().join(".hiclaw-sync/tmp"));
        staged.unwrap().count() == 0
    }

    fn settle(&self) -> Settled {
        settle(&self.root, &rel("x.db"), &self.seen()).unwrap()
    }

    fn sum(&self) -> i64 {
        sum(&self.dir.path().join("x.db"))
    }
}

fn sum_of(mut snapshot: capture::Snapshot) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    std::io::copy(
        &mut snapshot.file,
        &mut std::fs::File::create(&path).unwrap(),
    )
    .unwrap();
    sum(&path)
}

fn sum(path: &Path) -> i64 {
    let connection = Connection::open(path).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    connection
        .query_row("SELECT sum(value) FROM entry", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_database_is_told_by_its_first_bytes() {
    let fixture = fixture();
    drop(fixture.writer("wal"));
    for (name, content) in [
        ("notes.db", "text"),
        ("empty", ""),
        ("short", "SQLite format 3\0"),
    ] {
        std::fs::write(fixture.dir.path().join(name), content).unwrap();
        assert!(!is_database(&fixture.root, &rel(name)), "{name}");
    }
    assert!(is_database(&fixture.root, &rel("x.db")));
    std::fs::rename(
        fixture.dir.path().join("x.db"),
        fixture.dir.path().join("memory"),
    )
    .unwrap();
    assert!(is_database(&fixture.root, &rel("memory")));
    assert!(is_part(&fixture.root, &rel("memory-wal")));
    assert!(is_part(&fixture.root, &rel("memory-shm")));
    assert!(is_part(&fixture.root, &rel("memory-journal")));
    assert!(!is_part(&fixture.root, &rel("notes.db-wal")));
    assert!(!is_part(&fixture.root, &rel("none-wal")));
}

#[test]
fn a_commit_in_the_log_is_captured_and_changes_the_fingerprint() {
    let fixture = fixture();
    let mut writer = fixture.writer("wal");
    assert_eq!(fixture.captured(), 1);
    let before = fixture.seen();
    assert_ne!(before.wal_nanoseconds, 0);
    // A clock's tick, so that the stat can show it; within one the fingerprint is racy.
    while std::fs::metadata(fixture.dir.path().join("x.db-wal"))
        .map(|log| Fingerprint::wal_of(&log))
        .unwrap()
        == before.wal_nanoseconds
    {
        writer.run("INSERT INTO entry VALUES (1)");
    }
    let after = fixture.seen();
    assert_ne!(before, after);
    assert_eq!(before, after.with_wal(before.wal_nanoseconds));
    assert!(fixture.captured() > 1);
}

#[test]
fn what_is_not_committed_is_not_captured() {
    for mode in ["wal", "delete", "truncate", "persist", "memory"] {
        let fixture = fixture();
        let mut writer = fixture.writer(mode);
        writer.run("BEGIN IMMEDIATE");
        writer.run("INSERT INTO entry VALUES (100)");
        assert_eq!(fixture.captured(), 1, "{mode}");
        writer.run("COMMIT");
        assert_eq!(fixture.captured(), 101, "{mode}");
    }
}

#[test]
fn capturing_changes_nothing_beside_the_database_and_keeps_nobody_from_writing() {
    let fixture = fixture();
    let mut writer = fixture.writer("wal");
    let before = fixture.seen();
    assert_eq!(fixture.captured(), 1);
    assert_eq!(fixture.seen(), before);
    writer.run("INSERT INTO entry VALUES (1)");
    assert_eq!(fixture.captured(), 2);
}

#[test]
fn a_database_without_a_log_is_captured_as_it_is() {
    for mode in ["wal", "delete"] {
        let fixture = fixture();
        let mut writer = fixture.writer(mode);
        // The last connection takes the log with it.
        drop(Connection::open(fixture.dir.path().join("x.db")).unwrap());
        writer.kill();
        let settled = Connection::open(fixture.dir.path().join("x.db")).unwrap();
        sum(&fixture.dir.path().join("x.db"));
        drop(settled);
        assert!(!fixture.has("x.db-wal"));
        let Capture::Whole(mut snapshot) = capture(&fixture.root, &rel("x.db")).unwrap() else {
            panic!("not captured");
        };
        let mut content = Vec::new();
        snapshot.file.read_to_end(&mut content).unwrap();
        assert_eq!(
            content,
            std::fs::read(fixture.dir.path().join("x.db")).unwrap()
        );
        assert!(!fixture.has("x.db-wal") && !fixture.has("x.db-shm"));
    }
}

#[test]
fn what_a_killed_writer_committed_is_captured() {
    let fixture = fixture();
    fixture.writer("wal").kill();
    assert!(fixture.has("x.db-wal"));
    assert_eq!(fixture.captured(), 1);
    assert!(fixture.has("x.db-wal"), "it is the writer's");
}

#[test]
fn a_hot_journal_is_rolled_back_in_a_copy_only() {
    let fixture = fixture();
    let mut writer = fixture.writer("delete");
    writer.run("PRAGMA cache_size = 1");
    writer.run("BEGIN");
    // More than the cache holds: pages are written before the commit.
    writer.run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO entry SELECT 5 FROM n");
    assert!(matches!(
        capture(&fixture.root, &rel("x.db")).unwrap(),
        Capture::Changing
    ));
    writer.kill();
    let before = fixture.seen();
    assert_eq!(fixture.captured(), 1);
    assert!(fixture.has("x.db-journal"));
    assert_eq!(fixture.seen(), before);
}

#[test]
fn a_locked_database_is_changing_and_a_damaged_one_is_an_ordinary_file() {
    let fixture = fixture();
    let mut writer = fixture.writer("delete");
    writer.run("BEGIN EXCLUSIVE");
    let captured = || capture(&fixture.root, &rel("x.db")).unwrap();
    assert!(matches!(captured(), Capture::Changing));
    assert!(fixture.is_tidy());
    writer.run("ROLLBACK");
    drop(writer);
    let mut content = std::fs::read(fixture.dir.path().join("x.db")).unwrap();
    content[16] = 7;
    std::fs::write(fixture.dir.path().join("x.db"), content).unwrap();
    assert!(matches!(captured(), Capture::Ordinary));
    assert!(fixture.is_tidy());
}

#[test]
fn closing_a_file_drops_no_lock_of_a_connection_at_work() {
    let fixture = fixture();
    let mut writer = fixture.writer("delete");
    let path = rel("x.db");
    let place = place::Place::of(&fixture.root, &path).unwrap();
    let working = place.working();
    let connection = place.reader().unwrap();
    connection
        .execute_batch("BEGIN; PRAGMA schema_version;")
        .unwrap();
    drop(fixture.root.open_file(&path).unwrap());
    assert!(is_database(&fixture.root, &path));
    writer.run("BEGIN IMMEDIATE");
    writer.run("INSERT INTO entry VALUES (1)");
    assert_eq!(writer.says("COMMIT"), "database is locked");
    drop(connection);
    drop(working);
    writer.run("COMMIT");
}

#[test]
fn settling_brings_the_log_home_and_loses_nothing() {
    let fixture = fixture();
    let mut writer = fixture.writer("wal");
    assert!(matches!(fixture.settle(), Settled::InUse(_)));
    writer.run("INSERT INTO entry VALUES (2)");
    writer.kill();
    let Settled::Whole(now, Some(digest)) = fixture.settle() else {
        panic!("not settled");
    };
    for beside in ["x.db-wal", "x.db-shm", "x.db-journal"] {
        assert!(!fixture.has(beside), "{beside}");
    }
    assert_eq!(now, fixture.seen());
    assert_eq!(
        crate::content::hash(&fixture.root, &rel("x.db"))
            .unwrap()
            .0
            .digest,
        digest
    );
    // Once more there is nothing to do.
    assert_eq!(fixture.settle(), Settled::Whole(now, None));
    assert_eq!(fixture.sum(), 3);
}

#[test]
fn another_version_than_the_expected_one_is_not_settled() {
    for mode in ["wal", "delete"] {
        let fixture = fixture();
        let mut writer = fixture.writer(mode);
        let expected = fixture.seen().with_wal(1);
        writer.run("INSERT INTO entry VALUES (2)");
        writer.kill();
        let settled = settle(&fixture.root, &rel("x.db"), &expected).unwrap();
        assert_eq!(settled, Settled::Changed, "{mode}");
        assert_eq!(fixture.sum(), 3, "{mode}");
    }
}

#[test]
fn an_idle_process_keeps_a_database_from_being_settled() {
    let fixture = fixture();
    let mut writer = fixture.writer("delete");
    assert!(matches!(fixture.settle(), Settled::InUse(_)));
    writer.kill();
    assert!(matches!(fixture.settle(), Settled::Whole(_, None)));
}

#[test]
fn a_log_without_its_database_is_kept_aside_for_a_new_one() {
    let fixture = fixture();
    fixture.writer("wal").kill();
    let staged = fixture.dir.path().join(".hiclaw-sync/tmp/staged");
    std::fs::rename(fixture.dir.path().join("x.db"), &staged).unwrap();
    let kept = keep_strays(&fixture.root, &rel("x.db"), "staged").unwrap();
    assert_eq!(kept.len(), 1);
    assert!(fixture.has(kept[0].as_str()) && !fixture.has("x.db-wal"));
    std::fs::write(fixture.dir.path().join("y-wal"), "plain").unwrap();
    std::fs::write(&staged, "plain").unwrap();
    assert!(
        keep_strays(&fixture.root, &rel("y"), "staged")
            .unwrap()
            .is_empty()
    );
}

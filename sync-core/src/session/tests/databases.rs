//! SQLite databases in whole passes; how single files are captured and settled is tested in `sqlite`.

use std::path::Path;

use rusqlite::Connection;

use super::fixture::{Fixture, fixture};
use crate::{session::Direction, sqlite::Databases};

const DIRECTION: Direction = Direction::Sync;

/// A database in WAL mode that stays open.
fn database(path: &Path, value: i64) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS entry (value INTEGER);
             INSERT INTO entry VALUES ({value});"
        ))
        .unwrap();
    connection
}

/// As a killed process leaves it: with its log.
fn left_with_a_log(path: &Path, value: i64) {
    let dir = tempfile::tempdir().unwrap();
    let connection = database(&dir.path().join("x"), value);
    for suffix in ["", "-wal"] {
        let from = dir.path().join(format!("x{suffix}"));
        let to = format!("{}{suffix}", path.display());
        std::fs::copy(from, to).unwrap();
    }
    drop(connection);
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

fn object_sum(fixture: &Fixture, path: &str) -> i64 {
    let content = fixture.store.content(&format!("agents/a/{path}")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("copy"), content).unwrap();
    sum(&dir.path().join("copy"))
}

fn insert(fixture: &Fixture, path: &str, value: i64) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new");
    drop(database(&file, value));
    let content = std::fs::read(file).unwrap();
    fixture.store.insert(&format!("agents/a/{path}"), content);
}

fn has(fixture: &Fixture, name: &str) -> bool {
    fixture.full(name).exists()
}

fn copies(fixture: &Fixture) -> Vec<String> {
    let copies = fixture.session.conflicts();
    copies.into_iter().map(|copy| copy.copy).collect()
}

#[tokio::test]
async fn an_open_database_is_one_object_and_its_parts_are_none() {
    let fixture = fixture().await;
    // Nothing about the name tells.
    let writer = database(&fixture.full("memory"), 1);
    fixture.write("plain-wal", "no database beside it");
    fixture.settle().await;
    assert!(has(&fixture, "memory-wal") && has(&fixture, "memory-shm"));
    assert_eq!(object_sum(&fixture, "memory"), 1);
    for part in ["memory-wal", "memory-shm", "memory-journal"] {
        assert!(fixture.object(part).is_none(), "{part}");
    }
    assert_eq!(
        fixture.object("plain-wal").unwrap(),
        "no database beside it"
    );
    writer
        .execute_batch("INSERT INTO entry VALUES (2)")
        .unwrap();
    fixture.settle().await;
    assert_eq!(object_sum(&fixture, "memory"), 3);
}

#[tokio::test]
async fn parts_in_the_bucket_stay_there_and_are_not_brought() {
    let fixture = fixture().await;
    insert(&fixture, "x.sq", 1);
    fixture.insert("x.sq-wal", "of another time");
    fixture.insert("x.sq-shm", "of another time");
    fixture.pass(DIRECTION).await;
    assert_eq!(sum(&fixture.full("x.sq")), 1);
    fixture.pass(DIRECTION).await;
    assert!(!has(&fixture, "x.sq-shm"));
    assert_eq!(fixture.object("x.sq-wal").unwrap(), "of another time");
}

#[tokio::test]
async fn a_new_version_from_the_bucket_is_never_put_beside_an_old_log() {
    let fixture = fixture().await;
    left_with_a_log(&fixture.full("x.db"), 1);
    fixture.settle().await;
    assert!(has(&fixture, "x.db-wal"));
    insert(&fixture, "x.db", 7);
    let report = fixture.settle().await;
    assert_eq!((report.downloaded.len(), report.conflicts.len()), (1, 0));
    assert!(!has(&fixture, "x.db-wal"));
    assert_eq!(sum(&fixture.full("x.db")), 7);
}

#[tokio::test]
async fn what_is_in_the_log_only_is_an_edit_that_is_kept() {
    let fixture = fixture().await;
    drop(database(&fixture.full("x.db"), 1));
    fixture.settle().await;
    drop(database(&fixture.full("x.db"), 1));
    fixture.settle().await;
    left_with_a_log(&fixture.full("x.db"), 5);
    insert(&fixture, "x.db", 7);
    let report = fixture.pass(DIRECTION).await;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert_eq!(sum(&fixture.full("x.db")), 5);
    assert_eq!(object_sum(&fixture, "x.db"), 5);
    assert_eq!(sum(&fixture.full(&copies(&fixture)[0])), 7);
}

#[tokio::test]
async fn a_version_that_loses_is_kept_as_one_file() {
    let fixture = fixture().await;
    std::fs::create_dir(fixture.full("skills")).unwrap();
    left_with_a_log(&fixture.full("skills/x.db"), 5);
    insert(&fixture, "skills/x.db", 7);
    fixture.pass(DIRECTION).await;
    assert_eq!(sum(&fixture.full("skills/x.db")), 7);
    let copies = copies(&fixture);
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(sum(&fixture.full(&copies[0])), 5);
    assert_eq!(object_sum(&fixture, &copies[0]), 5);
}

#[tokio::test]
async fn a_delete_takes_the_log_along_and_an_unseen_commit_prevents_it() {
    let fixture = fixture().await;
    left_with_a_log(&fixture.full("gone.db"), 1);
    drop(database(&fixture.full("edited.db"), 1));
    fixture.write("keep", "x");
    fixture.settle().await;
    fixture.store.remove("agents/a/gone.db");
    fixture.store.remove("agents/a/edited.db");
    let writer = database(&fixture.full("edited.db"), 1);
    fixture.pass(DIRECTION).await;
    for name in ["gone.db", "gone.db-wal"] {
        assert!(!has(&fixture, name), "{name}");
    }
    assert_eq!(object_sum(&fixture, "edited.db"), 2);
    drop(writer);
}

#[tokio::test]
async fn while_the_runtime_runs_its_databases_are_left_alone_and_told() {
    let fixture = fixture().await;
    for name in ["x.db", "gone.db"] {
        drop(database(&fixture.full(name), 1));
    }
    fixture.write("empty", "");
    fixture.write("keep", "old");
    fixture.settle().await;
    fixture.session.set_databases(Databases::InUse);
    insert(&fixture, "x.db", 7);
    insert(&fixture, "new.db", 8);
    fixture.insert("keep", "new");
    fixture.insert("empty", "no longer");
    fixture.store.remove("agents/a/gone.db");
    for _ in 0..2 {
        let report = fixture.pass(DIRECTION).await;
        let mut held: Vec<_> = report.held.iter().map(|held| &*held.path).collect();
        held.sort_unstable();
        assert_eq!(held, ["gone.db", "x.db"], "{report:?}");
        assert!(report.held[0].reason.contains("next start"));
    }
    assert_eq!(sum(&fixture.full("x.db")), 1);
    assert_eq!(sum(&fixture.full("gone.db")), 1);
    assert_eq!(sum(&fixture.full("new.db")), 8, "nobody can have it open");
    assert_eq!(fixture.read("keep").unwrap(), "new");
    assert_eq!(fixture.read("empty").unwrap(), "no longer");
    fixture.session.set_databases(Databases::Free);
    fixture.settle().await;
    assert_eq!(sum(&fixture.full("x.db")), 7);
    assert!(!has(&fixture, "gone.db"));
}

//! SQLite databases in mirrors.

use rusqlite::Connection;

use super::*;

#[tokio::test]
async fn an_open_database_is_copied_whole_and_without_its_parts() {
    let fixture = fixture(Side::Local).deleting();
    let path = fixture.dir.path().join("memory");
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE entry (value); INSERT INTO entry VALUES (7);",
        )
        .unwrap();
    fixture.write("plain-wal", "no database beside it");
    let report = fixture.run().await;
    let mut uploaded = paths(&report.uploaded);
    uploaded.sort_unstable();
    assert_eq!(uploaded, ["memory", "plain-wal"]);
    let copy = fixture.state.path().join("copy");
    std::fs::write(&copy, fixture.store.content("p/memory").unwrap()).unwrap();
    let value: i64 = Connection::open(&copy)
        .unwrap()
        .query_row("SELECT value FROM entry", [], |row| row.get(0))
        .unwrap();
    assert_eq!(value, 7);
}

//! What is noticed of a change to a file, and what is read to notice it.

use std::{
    fs::File,
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::fixture::{Fixture, fixture};
use crate::session::Direction;

const DAY: Duration = Duration::from_hours(24);

fn modified(fixture: &Fixture, path: &str) -> SystemTime {
    std::fs::metadata(fixture.full(path))
        .unwrap()
        .modified()
        .unwrap()
}

fn set_modified(fixture: &Fixture, path: &str, time: SystemTime) {
    let file = File::options()
        .write(true)
        .open(fixture.full(path))
        .unwrap();
    file.set_modified(time).unwrap();
}

async fn settled(paths: &[&str]) -> Fixture {
    let here = fixture().await;
    for path in paths {
        here.write(path, "old!");
        set_modified(&here, path, SystemTime::now() - DAY);
    }
    here.settle().await;
    here.out_of_doubt().await;
    here
}

#[tokio::test]
async fn an_edit_of_the_same_size_with_the_old_time_put_back_is_found() {
    let here = settled(&["f"]).await;
    let time = modified(&here, "f");
    here.write("f", "new!");
    set_modified(&here, "f", time);
    assert_eq!(here.settle().await.uploaded.len(), 1);
    assert_eq!(here.object("f").unwrap(), "new!");
}

#[tokio::test]
async fn another_file_renamed_over_with_the_same_size_and_time_is_found() {
    let here = settled(&["f"]).await;
    let time = modified(&here, "f");
    here.write("credentials/g", "new!");
    set_modified(&here, "credentials/g", time);
    std::fs::rename(here.full("credentials/g"), here.full("f")).unwrap();
    assert_eq!(here.settle().await.uploaded.len(), 1);
    assert_eq!(here.object("f").unwrap(), "new!");
}

#[tokio::test]
async fn a_restored_backup_is_read_once_and_not_sent() {
    let here = settled(&["f"]).await;
    let time = modified(&here, "f");
    here.remove("f");
    here.write("f", "old!");
    set_modified(&here, "f", time);
    let report = here.settle().await;
    assert!(report.is_quiet());
    assert_eq!(report.requests.put, 0);
}

#[tokio::test]
async fn only_what_the_stat_shows_is_read() {
    let paths: Vec<String> = (0..50).map(|number| format!("d/f{number}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let here = settled(&paths).await;
    let before = here.contents_opened();
    here.pass(Direction::Sync).await;
    here.pass(Direction::Push).await;
    assert_eq!(here.contents_opened(), before);
    set_modified(&here, "d/f7", UNIX_EPOCH + DAY);
    here.pass(Direction::Sync).await;
    assert_eq!(here.contents_opened(), before + 1);
}

/// As a clock shows it that is ahead of ours: the next write may get the same time.
#[tokio::test]
async fn a_file_whose_time_proves_nothing_is_read_in_every_pass_until_it_does() {
    let here = settled(&["f"]).await;
    set_modified(&here, "f", SystemTime::now() + Duration::from_secs(50));
    here.settle().await;
    for _ in 0..3 {
        let before = here.contents_opened();
        assert!(here.pass(Direction::Sync).await.is_quiet());
        assert_eq!(here.contents_opened(), before + 1);
    }
    set_modified(&here, "f", SystemTime::now() - DAY);
    here.settle().await;
    here.out_of_doubt().await;
}

#[tokio::test]
async fn clocks_that_jump_neither_hide_an_edit_nor_make_files_be_read_for_ever() {
    let far = [
        UNIX_EPOCH - 20 * 365 * DAY,
        UNIX_EPOCH + Duration::from_nanos(1),
        SystemTime::now() + 100 * 365 * DAY,
    ];
    for time in far {
        let here = settled(&["f"]).await;
        set_modified(&here, "f", time);
        here.settle().await;
        here.out_of_doubt().await;
        here.write("f", "new!");
        set_modified(&here, "f", time);
        assert_eq!(here.settle().await.uploaded.len(), 1, "{time:?}");
        let there = here.replica().await;
        there.settle().await;
        assert_eq!(there.read("f").unwrap(), "new!");
        assert_eq!(modified(&there, "f"), modified(&here, "f"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_file_that_grows_while_it_is_sent_only_states_that_it_had_are_stored() {
    for start in [10, 1_500_000] {
        let here = fixture().await;
        here.write("log", &"x".repeat(start));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let path = here.full("log");
            scope.spawn(|| {
                let mut file = File::options().append(true).open(path).unwrap();
                let mut line = 0;
                while !stop.load(Ordering::Relaxed) {
                    line += 1;
                    file.write_all(format!("{line}\n").as_bytes()).unwrap();
                }
            });
            let passes = async {
                for _ in 0..5 {
                    here.pass(Direction::Sync).await;
                    if let Some(sent) = here.object("log") {
                        let now = here.read("log").unwrap();
                        assert!(now.starts_with(&sent), "torn at {} bytes", sent.len());
                    }
                }
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(passes));
            stop.store(true, Ordering::Relaxed);
        });
        here.settle().await;
        assert_eq!(here.object("log"), here.read("log"));
    }
}

#[tokio::test]
async fn names_of_one_file_are_two_objects_and_stay_apart_where_they_arrive() {
    let here = fixture().await;
    here.write("a", "old");
    std::fs::hard_link(here.full("a"), here.full("b")).unwrap();
    here.settle().await;
    let there = here.replica().await;
    there.settle().await;
    there.write("a", "edited");
    there.settle().await;
    assert_eq!(there.read("b").unwrap(), "old");
    // Replacing one name here leaves the other with the old file.
    here.settle().await;
    assert_eq!(here.read("a").unwrap(), "edited");
    assert_eq!(here.read("b").unwrap(), "old");
}

#[tokio::test]
async fn an_edit_through_one_name_is_an_edit_of_both() {
    let here = fixture().await;
    here.write("a", "old");
    std::fs::hard_link(here.full("a"), here.full("b")).unwrap();
    here.settle().await;
    here.write("a", "edited");
    assert_eq!(here.settle().await.uploaded.len(), 2);
    assert_eq!(here.object("b").unwrap(), "edited");
}

#[tokio::test]
async fn sparse_and_empty_files_keep_their_content() {
    let here = fixture().await;
    here.write("empty", "");
    let file = File::create(here.full("sparse")).unwrap();
    file.set_len(3 * 1024 * 1024).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", 3 * 1024 * 1024 - 3).unwrap();
    here.settle().await;
    let there = here.replica().await;
    there.settle().await;
    assert_eq!(there.read("empty").unwrap(), "");
    assert_eq!(there.read("sparse"), here.read("sparse"));
}

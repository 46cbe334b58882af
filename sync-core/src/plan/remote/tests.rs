use std::path::Path;

use super::*;
use crate::{
    digest::ETag,
    layout::{Mount, Rules},
    mount::OtherPlace,
    path::Prefix,
    store::memory::MemoryStore,
};

const BYTES: Reading = Reading::InOrder(KeyOrder::Bytes);
const TREE: Reading = Reading::InOrder(KeyOrder::Tree);
const SORTED: Reading = Reading::Sorted(KeyOrder::Bytes);

fn mount(directory: &Path) -> OpenMount {
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("p").unwrap(),
        local: directory.to_owned(),
        rules: Rules::new(Vec::new()).unwrap(),
    };
    OpenMount::open(&mount, &MemoryStore::new(), OtherPlace::Refused).unwrap()
}

/// A page of keys; `key=tag` has a tag of its own.
#[expect(
    clippy::unnecessary_wraps,
    reason = "a listing is made of pages and of what failed"
)]
fn page(keys: &str, next: Option<&str>) -> Result<ListPage, StoreError> {
    let objects = keys.split_whitespace().map(|key| {
        let (key, tag) = key.split_once('=').unwrap_or((key, "e"));
        ListedObject {
            key: key.to_owned(),
            etag: ETag::new(tag),
            size_bytes: if key.ends_with('/') { 0 } else { 7 },
            modified: None,
        }
    });
    Ok(ListPage {
        objects: objects.collect(),
        next: next.map(str::to_owned),
    })
}

/// The entries of a listing of pages, as `path=tag`, and what was wrong with it.
fn read(
    reading: Reading,
    pages: Vec<Result<ListPage, StoreError>>,
) -> (String, Result<Listed, ListingFault>, Vec<Problem>) {
    let directory = tempfile::tempdir().unwrap();
    let mount = mount(directory.path());
    let (sender, receiver) = mpsc::channel(pages.len().max(1));
    for page in pages {
        sender.try_send(page).unwrap();
    }
    drop(sender);
    let tally: Rc<RefCell<Tally>> = Rc::default();
    let mut entries = RemoteSource::Listing(receiver).entries(
        &mount,
        None,
        reading,
        OrderWatch::default(),
        tally.clone(),
    );
    let read: Vec<_> = entries
        .by_ref()
        .map(|entry| match entry.version.etag.as_str() {
            "e" => entry.path.to_string(),
            tag => format!("{}={tag}", entry.path),
        })
        .collect();
    let problems = tally.borrow_mut().take();
    (read.join(" "), entries.finish(), problems)
}

#[test]
fn both_known_orders_are_read_as_they_come() {
    let (paths, listed, _) = read(
        BYTES,
        vec![page("p/a-b p/a.b", Some("1")), page("p/a/b", None)],
    );
    assert_eq!(paths, "a-b a.b a/b");
    assert!(!listed.unwrap().watch.keeps(KeyOrder::Tree));
    let (paths, listed, _) = read(
        TREE,
        vec![page("p/a/b p/a-b", Some("1")), page("p/a.b", None)],
    );
    assert_eq!(paths, "a/b a-b a.b");
    assert!(!listed.unwrap().watch.keeps(KeyOrder::Bytes));
}

#[test]
fn an_order_that_breaks_is_a_fault_that_names_the_one_that_is_left() {
    let broken = |reading, keys| match read(reading, vec![page(keys, None)]).1 {
        Err(ListingFault::OutOfOrder { keeps }) => keeps,
        other => panic!("{other:?}"),
    };
    assert_eq!(broken(BYTES, "p/a/b p/a-b p/c"), Some(KeyOrder::Tree));
    assert_eq!(broken(TREE, "p/a-b p/a/b p/c"), Some(KeyOrder::Bytes));
    assert_eq!(broken(BYTES, "p/b p/a"), None);
}

#[test]
fn any_other_order_is_sorted() {
    let pages = vec![page("p/c p/a/b", Some("1")), page("p/a-b p/b", None)];
    let (paths, listed, _) = read(SORTED, pages);
    assert_eq!(paths, "a-b a/b b c");
    assert!(listed.is_ok());
}

#[test]
fn of_a_key_that_is_listed_twice_the_later_mention_counts() {
    let across = || vec![page("p/a p/b=1", Some("1")), page("p/b=2 p/b=3 p/c", None)];
    for reading in [BYTES, SORTED] {
        let (paths, listed, _) = read(reading, across());
        assert_eq!(paths, "a b=3 c");
        assert!(listed.is_ok());
    }
    let apart = vec![page("p/b=1 p/c", Some("1")), page("p/a p/b=2", None)];
    assert_eq!(read(SORTED, apart).0, "a b=2 c");
}

#[test]
fn keys_outside_of_the_prefix_are_counted_and_break_no_order() {
    let keys = "p/a zz/x p/b q p";
    for reading in [BYTES, SORTED] {
        let (paths, listed, _) = read(reading, vec![page(keys, None)]);
        assert_eq!(paths, "a b");
        assert_eq!(listed.unwrap().foreign_keys, 3);
    }
}

#[test]
fn unsafe_keys_are_problems_and_markers_are_nothing() {
    let (paths, _, problems) = read(BYTES, vec![page("p/ p/a//b p/d/ p/e", None)]);
    assert_eq!(paths, "e");
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "a//b");
}

#[test]
fn a_listing_that_breaks_off_is_a_fault_in_every_reading() {
    for reading in [BYTES, TREE, SORTED] {
        let failed = StoreError::new("LIST", "p/", crate::store::StoreErrorKind::Other, "");
        let (_, listed, _) = read(reading, vec![page("p/a", Some("1")), Err(failed)]);
        assert!(matches!(listed, Err(ListingFault::Store(_))));
        let (_, listed, _) = read(reading, vec![page("p/a", Some("1"))]);
        assert!(matches!(listed, Err(ListingFault::Cancelled)));
    }
}

//! The engine's own files, damaged: the mount opens all the same, and no file of the tree is touched.
//!
//! An input is the content of `state.db` and of the journal of displacements, with a line between them.

use std::{collections::BTreeMap, fs, sync::Arc};

use proptest::prelude::*;
use sync_core::{
    layout::{Mount, Rules},
    path::Prefix,
    session::Session,
    store::memory::MemoryStore,
};

use super::fuzz;

const SEPARATOR: &[u8] = b"\n---\n";

fn states() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("../../kept".to_owned()),
        Just("..".to_owned()),
        Just(String::new()),
        "[0-9a-f]{32}"
    ];
    let line = (name, "[a-z./]{0,10}", any::<i64>(), any::<u64>()).prop_map(
        |(staged, path, number, inode)| {
            serde_json::json!({
                "staged": staged, "path": path, "size": inode, "mtime": number, "ctime": number,
                "inode": inode, "mode": 420, "ours": 0, "kept": true
            })
            .to_string()
        },
    );
    prop::collection::vec(line, 0..4).prop_map(|lines| {
        let journal = lines.join("\n");
        [SEPARATOR, journal.as_bytes()].concat()
    })
}

#[test]
fn damaged_state() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    fuzz("state", 10, states(), move |input| {
        let at = input
            .windows(SEPARATOR.len())
            .position(|window| window == SEPARATOR);
        let (database, journal) = match at {
            Some(at) => (&input[..at], &input[at + SEPARATOR.len()..]),
            None => (input, &[][..]),
        };
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("mount");
        let state = local.join(".hiclaw-sync");
        fs::create_dir_all(state.join("tmp")).unwrap();
        fs::write(state.join("state.db"), database).unwrap();
        fs::write(state.join("displaced"), journal).unwrap();
        fs::write(local.join("kept"), "kept").unwrap();
        let mount = Mount {
            name: "workspace".to_owned(),
            prefix: Prefix::new("agents/a").unwrap(),
            local: local.clone(),
            rules: Rules::new(Vec::new()).unwrap(),
        };
        let store = Arc::new(MemoryStore::new());
        let opened = Session::with_mounts(vec![mount], BTreeMap::new(), store, 1);
        let opened = runtime.block_on(opened);
        prop_assert!(opened.is_ok(), "{:?}", opened);
        prop_assert_eq!(fs::read(local.join("kept")).unwrap(), b"kept");
        prop_assert_eq!(fs::read_dir(&local).unwrap().count(), 2);
        Ok(())
    });
}

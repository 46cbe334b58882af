//! What must hold: always, and when everything has come to rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use sync_core::{
    layout::{Deletes, Rule, SyncMode},
    path::ObjectKey,
    store::ObjectStore as _,
};

use super::{
    history::PathName,
    links::{HOSTILE_LINK, content_of_link},
    rules::{
        DIRECTORIES, IGNORE_FILE, MERGED, OLD_NAME, RENAMED, SHARED, UNSAFE_KEYS, key, locate,
        path_of, rule_for,
    },
    world::{ELSEWHERE, Fate, VICTIM, World},
};

const COPIES: &str = ".sync-conflicts/";

/// All files and all objects, by path and by key without prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) local: BTreeMap<String, Bytes>,
    pub(crate) remote: BTreeMap<String, Bytes>,
}

pub(crate) fn picture(world: &World) -> Picture {
    let mut local = BTreeMap::new();
    for (at, beginning) in ["", SHARED].into_iter().enumerate() {
        let mut files = BTreeMap::new();
        let mount = world.mount(at);
        collect(&mount, &mount, &mut files);
        let named = files
            .into_iter()
            .map(|(path, content)| (format!("{beginning}{path}"), content));
        local.extend(named);
    }
    let remote = world.bucket.keys().into_iter().map(|key| {
        let content = world.bucket.content(&key).unwrap();
        (path_of(&key).unwrap_or(key), content)
    });
    Picture {
        local,
        remote: remote.collect(),
    }
}

fn collect(mount: &Path, directory: &Path, files: &mut BTreeMap<String, Bytes>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(mount).unwrap().to_str().unwrap();
        if relative == ".hiclaw-sync" {
            continue;
        }
        let found = std::fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            collect(mount, &path, files);
        } else if let Some(target) = content_of_link(&path) {
            files.insert(relative.to_owned(), target);
        } else if found.is_file() {
            let content = std::fs::read(&path).unwrap();
            files.insert(relative.to_owned(), content.into());
        }
    }
}

/// No version is lost, nothing else is written, and what is not to travel stays.
pub(crate) fn always(world: &World) {
    let picture = picture(world);
    world.check_merged();
    every_current_version_stands(world, &picture);
    only_known_content(world, &picture);
    unpulled_files_are_left_alone(world, &picture);
    let outside: BTreeSet<_> = std::fs::read_dir(&world.outside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let ours = ["writer", ELSEWHERE, VICTIM];
    let ours = ours.iter().chain(&DIRECTORIES);
    let elsewhere = std::fs::read_dir(world.outside.join(ELSEWHERE)).unwrap();
    if outside
        .iter()
        .any(|name| ours.clone().all(|known| name != known))
        || elsewhere.count() > 0
        || std::fs::read(world.outside.join(VICTIM)).unwrap() != VICTIM.as_bytes()
    {
        world.violation(format!("written outside the mount: {outside:?}"));
    }
}

fn every_current_version_stands(world: &World, picture: &Picture) {
    let mut state = world.state();
    let standing: BTreeSet<_> = picture
        .local
        .values()
        .chain(picture.remote.values())
        .filter_map(|content| state.version_of(content))
        .collect();
    let lost: Vec<_> = state
        .versions
        .iter()
        .enumerate()
        .filter(|(number, version)| version.fate == Fate::Current && !standing.contains(number))
        .map(|(number, version)| format!("version {number} is lost, written {}", version.written))
        .collect();
    state.violations.extend(lost);
}

fn only_known_content(world: &World, picture: &Picture) {
    let mut state = world.state();
    // An obstacle may be a file where the directory of a path would be.
    let stands_for = |path: &str, known: &str| {
        known
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let in_pool = |path: &str| world.pool.iter().any(|known| stands_for(path, known));
    for (side, files) in [("here", &picture.local), ("there", &picture.remote)] {
        for (path, content) in files {
            if path == MERGED {
                continue;
            }
            let engines = side == "there" && locate(path).1.starts_with(".hiclaw/probe-");
            let foreign =
                side == "there" && (UNSAFE_KEYS.contains(&&**path) || path == HOSTILE_LINK);
            let copied = path.strip_prefix(COPIES).unwrap_or(path);
            if engines || foreign || copied.starts_with(IGNORE_FILE) {
                continue;
            }
            if !in_pool(path) && !is_copy(path) {
                state
                    .violations
                    .push(format!("{path} {side}: nobody wrote there"));
            } else if state.version_of(content).is_none() {
                let shown = String::from_utf8_lossy(&content[..content.len().min(20)]).into_owned();
                state
                    .violations
                    .push(format!("{path} {side}: nobody wrote {shown:?}"));
            }
        }
    }
}

fn unpulled_files_are_left_alone(world: &World, picture: &Picture) {
    let mut state = world.state();
    for path in world.pool.iter().copied() {
        if matches!(rule_for(path).sync, SyncMode::Push | SyncMode::None)
            && picture.local.get(path) != state.left_here.get(path)
        {
            state
                .violations
                .push(format!("{path} changed here, and its rule pulls nothing"));
        }
    }
}

/// Both sides agree as far as the rules let them, and nothing is left lying about.
pub(crate) fn at_rest(world: &World) {
    let picture = picture(world);
    for path in world.pool.iter().copied() {
        let rule = rule_for(path);
        let (local, mut remote) = (picture.local.get(path), picture.remote.get(path));
        if path == RENAMED {
            remote = remote.or(picture.remote.get(OLD_NAME));
        }
        if local != remote && !may_differ(world, path, rule, local, remote) {
            let number =
                |content: Option<&Bytes>| content.map(|content| world.state().version_of(content));
            let (local, remote) = (number(local), number(remote));
            world.violation(format!(
                "{path} holds version {local:?} here and {remote:?} there, by {:?} deletes {:?}",
                rule.sync, rule.deletes
            ));
        }
    }
    copies_agree(world, &picture);
    modes_agree(world);
    world.check_attributes(&picture);
    world.check_merged_at_rest();
    let unfinished = world.bucket.unfinished_uploads();
    // What a lost baseline knew of is the store's to expire.
    if !unfinished.is_empty() && !world.state().disturbed {
        world.violation(format!("uploads are left in the bucket: {unfinished:?}"));
    }
    for at in 0..DIRECTORIES.len() {
        // The second mount is not always used.
        let Ok(staging) = std::fs::read_dir(world.mount(at).join(".hiclaw-sync/tmp")) else {
            continue;
        };
        let left: Vec<_> = staging.collect();
        if !left.is_empty() {
            world.violation(format!("left in the staging directory: {left:?}"));
        }
    }
}

/// Whether a path may hold different things at rest.
fn may_differ(
    world: &World,
    path: PathName,
    rule: &Rule,
    local: Option<&Bytes>,
    remote: Option<&Bytes>,
) -> bool {
    let state = world.state();
    match (rule.sync, local, remote) {
        (SyncMode::None, ..) => true,
        // A delete that isn't to travel.
        (SyncMode::Both, Some(_), None) => !rule.deletes.pulls(),
        (SyncMode::Both, None, Some(_)) => !rule.deletes.pushes(),
        // An edit made here stays here; the bucket's deletes may not travel.
        // Without the baseline a delete on the other side can't be told from a file that was never there.
        (SyncMode::Pull, Some(_), None) | (SyncMode::Push, None, Some(_))
            if rule.deletes == Deletes::None || state.disturbed =>
        {
            true
        }
        (SyncMode::Pull, Some(_), _) => state.left_here.get(path) == local,
        (SyncMode::Push, _, Some(_)) => state.left_there.get(path) == remote,
        (SyncMode::Both | SyncMode::Merge, ..)
        | (SyncMode::Pull, None, _)
        | (SyncMode::Push, _, None) => false,
    }
}

/// Executable files are executable on both sides, as far as the object says anything.
fn modes_agree(world: &World) {
    use std::os::unix::fs::PermissionsExt as _;
    let state = world.state();
    if state.disturbed || state.met {
        return;
    }
    drop(state);
    for path in world.pool.iter().copied() {
        let both_ways = rule_for(path).sync == SyncMode::Both;
        let file = std::fs::symlink_metadata(world.file(path)).ok();
        if let (true, Some(file), Some(told)) = (both_ways, file, mode_there(world, path)) {
            let found = file.permissions().mode();
            if (found & 0o111 == 0) != (told & 0o111 == 0) {
                world.violation(format!("{path} has mode {found:o} here, {told:o} there"));
            }
        }
    }
}

/// The mode that the object of a path tells.
pub(crate) fn mode_there(world: &World, path: &str) -> Option<u32> {
    let object = ObjectKey::new(key(path)).unwrap();
    let object = world.bucket.head(&object).now_or_never().unwrap().unwrap();
    u32::from_str_radix(object?.metadata("mode")?, 8).ok()
}

fn is_copy(path: &str) -> bool {
    locate(path).1.starts_with(COPIES)
}

fn copies_agree(world: &World, picture: &Picture) {
    let copies = |files: &BTreeMap<String, Bytes>| -> BTreeMap<String, Bytes> {
        // Copies of what is never pushed stay where they are.
        let copies = files
            .iter()
            .filter(|(path, _)| is_copy(path) && rule_for(path).sync == SyncMode::Both);
        copies
            .map(|(path, content)| (path.clone(), content.clone()))
            .collect()
    };
    let (local, remote) = (copies(&picture.local), copies(&picture.remote));
    if local != remote {
        world.violation(format!(
            "conflict copies differ: {:?} here, {:?} there",
            local.keys(),
            remote.keys()
        ));
    }
    let kind = |path: &str| world.is_link(path);
    let distinct: BTreeSet<_> = local
        .iter()
        .map(|(path, content)| (content, kind(path)))
        .collect();
    if distinct.len() < local.len() {
        world.violation(format!("a version has several copies: {:?}", local.keys()));
    }
    let mut state = world.state();
    if !state.disturbed && !state.met && !local.is_empty() {
        let names: Vec<_> = local.keys().collect();
        let line = format!("copies though the writers never met: {names:?}");
        state.violations.push(line);
    }
}

/// What paths must hold at rest that only one writer touched since both sides agreed.
pub(crate) struct Expectations(BTreeMap<PathName, Option<Bytes>>);

impl Expectations {
    pub(crate) fn now(world: &World) -> Self {
        let state = world.state();
        let both_ways = world.pool.iter().copied().filter(|path| {
            let rule = rule_for(path);
            rule.sync == SyncMode::Both && rule.deletes == Deletes::Both
        });
        let expected = both_ways.filter_map(|path| {
            let touched = state.touched.get(path).copied().unwrap_or_default();
            if state.ignored.contains(path) {
                return None;
            }
            match (touched.local, touched.remote) {
                (true, true) => None,
                (true, false) => Some((path, world.local_content(path))),
                (false, _) => Some((path, world.remote_content(path))),
            }
        });
        Self(expected.collect())
    }

    pub(crate) fn check(&self, world: &World) {
        for (path, expected) in &self.0 {
            let found = world.local_content(path);
            if found != *expected {
                let mut state = world.state();
                let number = |content: &Option<Bytes>| {
                    content.as_ref().map(|content| state.version_of(content))
                };
                let line = format!(
                    "{path}: one writer left version {:?}, but it holds {:?}",
                    number(expected),
                    number(&found)
                );
                state.violations.push(line);
            }
        }
    }
}

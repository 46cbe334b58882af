//! What a mount's directory weighs: what travels, what rules and ignore files leave out, and what is known to be better left out.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use sync_core::{
    layout::{Mount, SyncMode},
    path::RelPath,
    selection::Selection,
};

/// Directories that tools make and can make again.
const DERIVED: [&str; 12] = [
    "node_modules",
    ".git",
    "target",
    ".venv",
    "venv",
    "__pycache__",
    ".cache",
    ".npm",
    ".gradle",
    ".tox",
    ".mypy_cache",
    ".pytest_cache",
];
/// Fewer files than this are no burden.
const HEAVY_FILES: u64 = 200;
/// How many of them are named.
const NAMED: usize = 5;

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// A directory that had better not travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heavy {
    pub(super) path: String,
    pub(super) total: Total,
}

/// What was found in a mount.
#[derive(Debug, Default)]
pub(super) struct Weight {
    pub(super) travelling: Total,
    pub(super) left_out: Total,
    /// Directories that get a watch.
    pub(super) watched_directories: u64,
    /// The heaviest derived directories that travel.
    pub(super) heavy: Vec<Heavy>,
}

/// Walks the whole directory, also what is left out. What can't be read is not counted.
pub(super) fn weigh(mount: &Mount) -> Weight {
    let mut weight = Weight::default();
    let rules = Arc::new(mount.rules.clone());
    let selection = Selection::of_directory(rules.clone(), &mount.local)
        .unwrap_or_else(|_| Selection::of_rules(rules));
    let mut derived = BTreeMap::new();
    let mut waiting = vec![(mount.local.clone(), None::<RelPath>, Travel::Yes)];
    while let Some((directory, path, travel)) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        weight.watched_directories += u64::from(travel == Travel::Yes);
        for entry in entries.filter_map(Result::ok) {
            let Some(below) = below(path.as_ref(), &entry.file_name()) else {
                continue;
            };
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                let enters = travel == Travel::Yes && !selection.hides(&below);
                let travel = if enters { Travel::Yes } else { Travel::No };
                waiting.push((entry.path(), Some(below), travel));
            } else if kind.is_file() {
                let bytes = size(&entry.path());
                let travels =
                    travel == Travel::Yes && selection.rule_for(&below).sync != SyncMode::None;
                if travels {
                    weight.travelling.add(bytes);
                    if let Some(directory) = derived_directory(&below) {
                        derived
                            .entry(directory)
                            .or_insert_with(Total::default)
                            .add(bytes);
                    }
                } else {
                    weight.left_out.add(bytes);
                }
            }
        }
    }
    weight.heavy = heaviest(derived);
    weight
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Travel {
    Yes,
    No,
}

impl Total {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

fn below(path: Option<&RelPath>, name: &std::ffi::OsStr) -> Option<RelPath> {
    let name = name.to_str()?;
    match path {
        None => RelPath::new(name).ok(),
        Some(path) => path.join(name).ok(),
    }
}

fn size(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}

/// The outermost derived directory that a path lies in.
fn derived_directory(path: &RelPath) -> Option<String> {
    let mut directory = String::new();
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        components.peek()?;
        if !directory.is_empty() {
            directory.push('/');
        }
        directory.push_str(component);
        if DERIVED.contains(&component) {
            return Some(directory);
        }
    }
    None
}

fn heaviest(derived: BTreeMap<String, Total>) -> Vec<Heavy> {
    let mut heavy: Vec<_> = derived
        .into_iter()
        .filter(|(_, total)| total.files >= HEAVY_FILES)
        .map(|(path, total)| Heavy { path, total })
        .collect();
    heavy.sort_by_key(|heavy| std::cmp::Reverse(heavy.total.files));
    heavy.truncate(NAMED);
    heavy
}

#[cfg(test)]
mod tests {
    use sync_core::{
        layout::{Glob, Rule, Rules},
        path::Prefix,
    };

    use super::*;

    #[test]
    fn what_travels_and_what_is_left_out_is_counted_and_the_heavy_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let full = dir.path().join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(full, "12345").unwrap();
        };
        for number in 0..HEAVY_FILES {
            write(&format!("web/node_modules/m/{number}"));
        }
        write(".git/HEAD");
        write("cache/x");
        write("logs/today.log");
        fs::write(dir.path().join(".hiclawignore"), "logs/\n").unwrap();
        write("a");
        let rule = Rule::new(vec![Glob::new("cache/**").unwrap()], SyncMode::None);
        let mount = Mount {
            name: "workspace".to_owned(),
            prefix: Prefix::new("agents/a").unwrap(),
            local: dir.path().to_owned(),
            rules: Rules::new(vec![rule]).unwrap(),
        };
        let weight = weigh(&mount);
        assert_eq!(weight.travelling.files, HEAVY_FILES + 3);
        let left_out = Total {
            files: 2,
            bytes: 10,
        };
        assert_eq!(weight.left_out, left_out);
        assert_eq!(weight.watched_directories, 5, "all but cache and logs");
        let heavy: Vec<_> = weight.heavy.iter().map(|heavy| &*heavy.path).collect();
        assert_eq!(heavy, ["web/node_modules"]);
    }
}

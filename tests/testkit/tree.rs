//! Local trees: making them, and looking at them with nothing but `std`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use walkdir::WalkDir;

/// Writes a file below `root`, with the directories on its way.
pub fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
    let target = root.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&target, content).with_context(|| format!("write {}", target.display()))
}

/// The text of a file below `root`.
pub fn text(root: &Path, path: &str) -> Result<String> {
    let target = root.join(path);
    fs::read_to_string(&target).with_context(|| format!("read {}", target.display()))
}

/// True when the file below `root` holds exactly `content`.
#[must_use]
pub fn holds(root: &Path, path: &str, content: &str) -> bool {
    fs::read(root.join(path)).is_ok_and(|found| found == content.as_bytes())
}

/// All regular files below `root` with their content, the engine's own directory (`.hiclaw-sync/`) left out. Symbolic
/// links are not followed and not listed.
pub fn read(root: &Path) -> Result<BTreeMap<String, Bytes>> {
    let mut files = BTreeMap::new();
    let entries = WalkDir::new(root)
        .into_iter()
        .filter_entry(|entry| entry.file_name() != ".hiclaw-sync");
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            let name = entry
                .path()
                .strip_prefix(root)?
                .to_str()
                .context("a file name that is no UTF-8")?
                .to_owned();
            files.insert(name, fs::read(entry.path())?.into());
        }
    }
    Ok(files)
}

/// The names of [`read`].
pub fn names(root: &Path) -> Result<Vec<String>> {
    Ok(read(root)?.into_keys().collect())
}

/// What is left below the engine's directory for staged files: nothing, once a pass is over.
pub fn staged(root: &Path) -> Vec<String> {
    WalkDir::new(root.join(".hiclaw-sync/tmp"))
        .min_depth(1)
        .into_iter()
        .filter_map(Result::ok)
        .map(|entry| entry.path().display().to_string())
        .collect()
}

//! The local scan: the files of a mount in a key order, with the names of the directories on the way in memory.
//!
//! Order: that of the paths, which a depth-first walk gives when a directory sorts as its name plus `/`.
//! Never opens a file, never follows a link, never enters a directory that the selection prunes or another file system.

mod walk;

use std::{ffi::OsStr, os::unix::fs::MetadataExt as _, path::Path};

use self::walk::{DirEntry, Walk, WalkError};
use crate::{
    layout::SyncMode,
    local::{LocalEntry, LocalKind},
    order::KeyOrder,
    path::RelPath,
    report::ProblemKind,
    root::Root,
    selection::Selection,
};

/// One step of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanItem {
    /// A file, link or special file that some rule lets travel.
    Entry(LocalEntry),
    /// Something that could not be seen. With [`ProblemKind::Incomplete`] files may be missing from the scan.
    Problem {
        /// Where, as far as it can be shown.
        path: String,
        /// What kind.
        kind: ProblemKind,
        /// Why.
        message: String,
    },
}

/// Scans a mount, or only what is at or below `scope` in it; paths come in `order`.
pub fn scan<'a>(
    root: &'a Root,
    scope: Option<&RelPath>,
    rules: &'a Selection,
    order: KeyOrder,
) -> impl Iterator<Item = ScanItem> + 'a {
    let directory = root.path();
    let start = scope.map_or_else(
        || directory.to_owned(),
        |scope| directory.join(scope.as_str()),
    );
    let device = std::fs::metadata(directory)
        .map(|metadata| metadata.dev())
        .ok();
    Walk::new(root, start, device, order, move |entry| {
        enters(directory, entry, rules)
    })
    .filter_map(move |item| match item {
        Ok(entry) => look(directory, &entry, rules, device),
        Err(error) => fault(directory, &error),
    })
}

/// Whether a directory is entered; files are always looked at.
fn enters(directory: &Path, entry: &DirEntry, rules: &Selection) -> bool {
    if entry.kind() != LocalKind::Directory || entry.path() == directory {
        return true;
    }
    match rel_path(directory, entry.path()) {
        Ok(path) => !rules.prunes(&path),
        // Entered, so that what is in it is reported by name.
        Err(_) => true,
    }
}

fn look(
    directory: &Path,
    entry: &DirEntry,
    rules: &Selection,
    device: Option<u64>,
) -> Option<ScanItem> {
    let kind = entry.kind();
    if kind == LocalKind::Directory {
        return other_file_system(directory, entry, device);
    }
    let path = match rel_path(directory, entry.path()) {
        Ok(path) => path,
        Err(message) => {
            let path = entry
                .path()
                .strip_prefix(directory)
                .unwrap_or(entry.path())
                .to_string_lossy()
                .into_owned();
            return Some(ScanItem::Problem {
                path,
                kind: ProblemKind::UnsafePath,
                message,
            });
        }
    };
    if rules.rule_for(&path).sync == SyncMode::None {
        return None;
    }
    match entry.fingerprint() {
        Ok(fingerprint) => Some(ScanItem::Entry(LocalEntry {
            path,
            kind,
            fingerprint,
        })),
        Err(error) => fault(directory, &error),
    }
}

/// A directory where another file system is mounted is not entered: what it hides is unknown, not deleted.
fn other_file_system(directory: &Path, entry: &DirEntry, device: Option<u64>) -> Option<ScanItem> {
    let here = entry.metadata().ok()?.dev();
    if device.is_none_or(|device| device == here) {
        return None;
    }
    let path = entry
        .path()
        .strip_prefix(directory)
        .unwrap_or(entry.path())
        .to_string_lossy()
        .into_owned();
    let message =
        "another file system is mounted here; what is in it is not synchronised".to_owned();
    Some(ScanItem::Problem {
        path,
        kind: ProblemKind::Incomplete,
        message,
    })
}

fn fault(directory: &Path, WalkError { path, error }: &WalkError) -> Option<ScanItem> {
    // Files come and go during a scan: what vanished is absent, not a fault. A missing mount is. So is what would lie
    // below a file.
    let absent = matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    );
    if absent && path != directory {
        return None;
    }
    let path = path.strip_prefix(directory).unwrap_or(path);
    Some(ScanItem::Problem {
        path: path.to_string_lossy().into_owned(),
        kind: ProblemKind::Incomplete,
        message: format!("can't be scanned: {error}"),
    })
}

/// The path of `full` below `directory`, or why it can't be a key.
pub(crate) fn rel_path(directory: &Path, full: &Path) -> Result<RelPath, String> {
    let below: &OsStr = full.strip_prefix(directory).unwrap_or(full).as_os_str();
    let text = below
        .to_str()
        .ok_or("the name is not UTF-8, so it can't be a key; rename it")?;
    RelPath::new(text).map_err(|error| format!("the name can't be a key: {}", error.reason()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Selection {
        let rules = crate::layout::Rules::new(Vec::new()).unwrap();
        Selection::of_rules(std::sync::Arc::new(rules))
    }

    fn paths(directory: &Path, scope: Option<&str>) -> Vec<String> {
        let scope = scope.map(|scope| RelPath::new(scope).unwrap());
        let root = Root::open(directory).unwrap();
        scan(&root, scope.as_ref(), &rules(), KeyOrder::Bytes)
            .map(|item| match item {
                ScanItem::Entry(entry) => entry.path.to_string(),
                ScanItem::Problem { path, kind, .. } => format!("{kind:?} {path}"),
            })
            .collect()
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn files_come_in_byte_order_of_their_paths() {
        let mut files = vec![
            "a-b", "a.b", "a/b", "a/b-c", "a/b0/c", "ab", "Z", "é", "a b", "a/b.d/x", "a/b!/y",
        ];
        let dir = tree(&files);
        files.sort_unstable();
        assert_eq!(paths(dir.path(), None), files);
    }

    #[test]
    fn the_engines_own_directory_is_never_seen() {
        let dir = tree(&[".hiclaw-sync/state.db", ".hiclaw-sync/tmp/x", "a"]);
        assert_eq!(paths(dir.path(), None), ["a"]);
    }

    #[test]
    fn a_scope_is_one_file_or_all_below_a_directory() {
        let dir = tree(&["a/x", "a/y/z", "ab", "b"]);
        assert_eq!(paths(dir.path(), Some("a")), ["a/x", "a/y/z"]);
        assert_eq!(paths(dir.path(), Some("ab")), ["ab"]);
        assert_eq!(paths(dir.path(), Some("ab/below")), [""; 0]);
    }

    #[test]
    fn names_that_are_no_text_are_reported() {
        use std::os::unix::ffi::OsStringExt as _;
        let dir = tree(&["a"]);
        std::fs::write(
            dir.path()
                .join(std::ffi::OsString::from_vec(vec![b'x', 0xff])),
            "",
        )
        .unwrap();
        assert_eq!(paths(dir.path(), None), ["a", "UnsafePath x\u{fffd}"]);
    }

    #[test]
    fn links_are_entries_and_are_not_followed() {
        let dir = tree(&["a/x"]);
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        assert_eq!(paths(dir.path(), None), ["a/x", "link"]);
    }
}

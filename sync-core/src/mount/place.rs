//! The place in the bucket that a directory belongs to, and what becomes of its files when it is to belong to another.
//!
//! The files of one prefix must never be pushed into another: a worker that changes its team would send the old team's
//! tasks to the new one. So a directory says in `.hiclaw-sync/place` which bucket and prefix it belongs to, and when that
//! changes, what is in it is set aside first: moved to `.hiclaw-sync/aside/`, which never travels and which nobody deletes but
//! the operator. The place is written when everything was moved, so that a crash in between is made good by the next
//! start. Another endpoint of the same bucket and prefix is no other place.

use std::{fs, io, path::PathBuf};

use crate::{
    path::Prefix,
    root::{LocalError, Root, STATE_DIRECTORY},
};

/// Where the place is written, and what was set aside lies, in the state directory.
const PLACE: &str = "place";
const ASIDE: &str = "aside";

/// Bucket and prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    bucket: String,
    prefix: String,
}

/// Whether files of another place may be set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherPlace {
    /// They stay, and the mount is not opened.
    Refused,
    /// They may: the new place was seen to exist.
    SetAside,
}

impl Place {
    pub(super) fn new(bucket: &str, prefix: &Prefix) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_string(),
        }
    }

    /// The place that a directory belongs to; `None` for one that belongs to none yet.
    pub(super) fn of(root: &Root) -> Result<Option<Self>, LocalError> {
        let file = root.path().join(STATE_DIRECTORY).join(PLACE);
        match fs::read_to_string(&file) {
            Ok(text) => Ok(text.split_once('\n').map(|(bucket, prefix)| Self {
                bucket: bucket.to_owned(),
                prefix: prefix.trim_end_matches('\n').to_owned(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LocalError::new("read", file.display(), error)),
        }
    }

    /// Makes a directory belong to this place.
    pub(super) fn write(&self, root: &Root) -> Result<(), LocalError> {
        use io::Write as _;
        let file = root.path().join(STATE_DIRECTORY).join(PLACE);
        let new = file.with_extension("new");
        let write = || -> io::Result<()> {
            let mut open = fs::File::create(&new)?;
            writeln!(open, "{}\n{}", self.bucket, self.prefix)?;
            open.sync_all()?;
            fs::rename(&new, &file)
        };
        write().map_err(|error| LocalError::new("write", file.display(), error))
    }

    /// Moves everything in the directory but the engine's own out of the tree; gives where it is, unless there was nothing.
    pub(super) fn set_aside(&self, root: &Root) -> Result<Option<PathBuf>, LocalError> {
        let names = names(root)?;
        if names.is_empty() {
            return Ok(None);
        }
        let failed = |operation| {
            move |error: io::Error| LocalError::new(operation, root.path().display(), error)
        };
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
        let name = format!("{now}-{}", self.in_a_name());
        let aside = root.path().join(STATE_DIRECTORY).join(ASIDE).join(name);
        fs::create_dir_all(&aside).map_err(failed("make a directory aside in"))?;
        for name in names {
            fs::rename(root.path().join(&name), aside.join(&name))
                .map_err(failed("set the files of another prefix aside in"))?;
        }
        root.sync_file_system()
            .map_err(failed("sync the file system of"))?;
        Ok(Some(aside))
    }

    /// The prefix as part of a file name.
    fn in_a_name(&self) -> String {
        let plain = |letter: char| {
            if letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.') {
                letter
            } else {
                '-'
            }
        };
        let prefix = self.prefix.trim_end_matches('/');
        prefix.chars().take(60).map(plain).collect()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.bucket, self.prefix)
    }
}

/// What was set aside and is still there.
pub(super) fn aside(root: &Root) -> Vec<String> {
    let directory = root.path().join(STATE_DIRECTORY).join(ASIDE);
    // Mostly there is none; one that can't be read was not made by us.
    let Ok(entries) = fs::read_dir(&directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect();
    paths.sort();
    paths
}

fn names(root: &Root) -> Result<Vec<std::ffi::OsString>, LocalError> {
    let failed = |error| LocalError::new("list", root.path().display(), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(root.path()).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name != STATE_DIRECTORY {
            names.push(name);
        }
    }
    Ok(names)
}

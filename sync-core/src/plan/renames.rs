//! Which deletes are halves of renames: the content is there under another name in the same pass.
//!
//! Each new file accounts for one deleted one. Here a file is known by what a rename leaves as it is; in the bucket, where a
//! rename is a copy and a delete, by the ETag and the size of the object.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::deferred::{FileIdentity, Late, What};
use crate::{
    baseline::RemoteVersion, join::Observed, mount::OpenMount, path::RelPath, reconcile::Change,
    report::Side,
};

/// What is new on either side.
#[derive(Debug, Default)]
pub(super) struct Renames {
    here: Vec<FileIdentity>,
    there: Vec<u64>,
    /// How many of a run of equal entries of `there` are used up, at the position of its first.
    used: Vec<u32>,
    /// Paths whose content is in a new file here that is no renamed one.
    copied: HashSet<RelPath>,
    interest: Interest,
}

/// Whether anything was known before, that could have been renamed.
#[derive(Debug, Default, PartialEq, Eq)]
enum Interest {
    Some,
    #[default]
    None,
}

impl Renames {
    pub(super) fn of(mount: &OpenMount) -> Self {
        // Only what is known can be deleted: the first pass over a large tree need not remember what is new. Where that
        // can't be found out the plan ends soon enough.
        let interest = match mount.baseline().is_empty() {
            Ok(false) => Interest::Some,
            Ok(true) | Err(_) => Interest::None,
        };
        Self {
            interest,
            ..Self::default()
        }
    }

    /// Remembers a path that is new.
    pub(super) fn note(&mut self, observed: &Observed, local: Change, remote: Change) {
        if self.interest == Interest::None {
            return;
        }
        if local == Change::Created
            && let Some(entry) = &observed.local
        {
            self.here.push(FileIdentity::of(&entry.fingerprint));
        }
        if remote == Change::Created
            && let Some(entry) = &observed.remote
        {
            self.there.push(content_of(&entry.version));
        }
    }

    /// Everything was seen.
    pub(super) fn seal(&mut self) {
        self.here.sort_unstable();
        self.there.sort_unstable();
        self.begin();
    }

    /// From here on deletes are asked about from the first one on.
    pub(super) fn begin(&mut self) {
        self.used = vec![0; self.there.len()];
    }

    /// Paths whose content was found in new files here.
    pub(super) fn note_copied(&mut self, copied: HashSet<RelPath>) {
        self.copied = copied;
    }

    /// True for a delete whose content is elsewhere. Uses that up: each delete is asked about once.
    pub(super) fn is_half(&mut self, late: &Late) -> bool {
        match late.note.what {
            What::Delete(Side::Remote) => {
                let before = late.note.before.as_ref();
                before.is_some_and(|before| self.here.binary_search(before).is_ok())
                    || self.copied.contains(&late.path)
            }
            What::Delete(Side::Local) => {
                late.note.content.is_some_and(|content| self.take(content))
            }
            What::Forget | What::Bury | What::Keep(_) => false,
        }
    }

    fn take(&mut self, content: u64) -> bool {
        let first = self.there.partition_point(|other| *other < content);
        let run = self.there.iter().skip(first);
        let run = run.take_while(|other| **other == content);
        match self.used.get_mut(first) {
            // Counted along the run only as far as needed.
            Some(used) if run.take(*used as usize + 1).count() > *used as usize => {
                *used += 1;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// What stands for the content of an object.
pub(super) fn content_of(version: &RemoteVersion) -> u64 {
    let mut hasher = DefaultHasher::new();
    version.etag.as_str().hash(&mut hasher);
    version.size_bytes.hash(&mut hasher);
    hasher.finish()
}

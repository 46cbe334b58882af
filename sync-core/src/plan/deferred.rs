//! What waits for the end of a plan: whatever was decided because a side does *not* have a path.
//!
//! That a path is absent is known only when its side was seen to the end. Until then deletes, and rows that are to go,
//! are notes in a file without a name, so that a million of them take no more memory than one. Afterwards the notes that
//! may stand become parts of the plan, a bounded number at a time. What a note leaves out is taken from the baseline:
//! by definition it holds what the decision was made for.

use std::io;

use serde::{Deserialize, Serialize};

use super::{
    Handling, MountPlan, PlanError, Task,
    change::gone_row,
    renames::{Renames, content_of},
};
use crate::{
    baseline::{BaselineError, Certainty, RemoteVersion, Row, RowChange},
    digest::ETag,
    join::{Observed, RemoteEntry},
    layout::SyncMode,
    local::{Fingerprint, LocalEntry, LocalKind},
    mount::OpenMount,
    path::{ObjectKey, RelPath},
    reconcile::Decision,
    report::Side,
    spill::{Record, Spill, Spool, Spooled},
};

/// Notes that become one part of the plan.
const BATCH_NOTES: usize = 1000;

/// What waits, apart from its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) what: What,
    /// The file that the baseline knows, by what stays when it is renamed.
    pub(super) before: Option<FileIdentity>,
    /// The object that the baseline knows, by what stands for its content.
    pub(super) content: Option<u64>,
    /// Whether the listing can be trusted not to have the path.
    absence: Absence,
    /// The object's key, where it isn't that of the path.
    key: Option<String>,
    /// The version to delete, where it isn't the baseline's.
    seen: Option<Seen>,
    reason: String,
}

/// What a listing without a path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Absence {
    /// There is no object.
    Certain,
    /// Another object may hide it: its very key has to be asked for.
    InDoubt,
}

/// A version that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Seen {
    File(Fingerprint),
    Object { etag: String, size_bytes: u64 },
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// The file or object of this side goes.
    Delete(Side),
    /// The row goes.
    Forget,
    /// The row goes and leaves a tombstone.
    Bury,
    /// The row keeps the half of this side; the other half is gone.
    Keep(Side),
}

impl What {
    /// The sides that have to be without the path.
    fn rests_on_absence_from(self) -> &'static [Side] {
        match self {
            Self::Delete(Side::Local) | Self::Keep(Side::Local) => &[Side::Remote],
            Self::Delete(Side::Remote) | Self::Keep(Side::Remote) => &[Side::Local],
            Self::Forget | Self::Bury => &[Side::Local, Side::Remote],
        }
    }
}

/// What stays the same when a file is renamed. Inode numbers are used again at once: only the same size and time make it
/// the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileIdentity {
    inode: u64,
    size_bytes: u64,
    mtime_nanoseconds: i64,
}

impl FileIdentity {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn of(fingerprint: &Fingerprint) -> Self {
        Self {
            inode: fingerprint.inode,
            size_bytes: fingerprint.size_bytes,
            mtime_nanoseconds: fingerprint.mtime_nanoseconds,
        }
    }
}

/// A path and what waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) path: RelPath,
    pub(super) note: Note,
}

impl Late {
    /// A delete towards `side`.
    pub(super) fn delete(
        mount: &OpenMount,
        observed: Observed,
        side: Side,
        reason: String,
    ) -> Self {
        let row = observed.baseline.as_ref();
        let before = row
            .and_then(|row| row.local)
            .map(|local| FileIdentity::of(&local.fingerprint));
        let content = row.and_then(|row| row.remote.as_ref()).map(content_of);
        let own = mount.prefix.key(&observed.path);
        let key = observed
            .remote
            .filter(|remote| remote.key != own)
            .map(|remote| remote.key.as_str().to_owned());
        Self {
            path: observed.path,
            note: Note {
                what: What::Delete(side),
                before,
                content,
                absence: Absence::Certain,
                key,
                seen: None,
                reason,
            },
        }
    }

    /// A delete towards `side` of the version that was seen there, whatever the baseline knows of it.
    pub(super) fn delete_seen(
        mount: &OpenMount,
        observed: Observed,
        side: Side,
        reason: String,
    ) -> Self {
        let seen = match side {
            Side::Local => observed
                .local
                .as_ref()
                .map(|entry| Seen::File(entry.fingerprint)),
            Side::Remote => observed.remote.as_ref().map(|entry| Seen::Object {
                etag: entry.version.etag.as_str().to_owned(),
                size_bytes: entry.version.size_bytes,
            }),
        };
        let mut late = Self::delete(mount, observed, side, reason);
        late.note.seen = seen;
        late
    }

    /// A row that goes: both sides are without the path, or it doesn't travel any more.
    pub(super) fn over(path: RelPath, sync: SyncMode) -> Self {
        let mut late = Self::forget(path);
        late.note.what = match sync {
            SyncMode::Both | SyncMode::Pull | SyncMode::Push => What::Bury,
            // The object may well be there.
            SyncMode::Merge | SyncMode::None => What::Forget,
        };
        late
    }

    /// A row that goes.
    fn forget(path: RelPath) -> Self {
        Self {
            path,
            note: Note {
                what: What::Forget,
                before: None,
                content: None,
                absence: Absence::Certain,
                key: None,
                seen: None,
                reason: String::new(),
            },
        }
    }

    /// The same delete, where the object may only be hidden.
    pub(super) fn in_doubt(mut self) -> Self {
        self.note.absence = Absence::InDoubt;
        self
    }

    /// What becomes of the row of a path that is gone on one side and not to go on the other.
    pub(super) fn gone(observed: Observed) -> Option<Self> {
        let path = observed.path.clone();
        let what = match gone_row(observed)? {
            RowChange::Forget(_) => What::Forget,
            RowChange::Bury(_) => What::Bury,
            RowChange::Record(row) => match (row.local, row.remote) {
                (Some(_), None) => What::Keep(Side::Local),
                (None, Some(_)) => What::Keep(Side::Remote),
                (Some(_), Some(_)) | (None, None) => return None,
            },
        };
        let mut late = Self::forget(path);
        late.note.what = what;
        Some(late)
    }

    /// The change of the baseline, for what changes nothing else.
    pub(super) fn row_change(&self, mount: &OpenMount) -> Result<Option<RowChange>, BaselineError> {
        let kept = match self.note.what {
            What::Delete(_) => return Ok(None),
            What::Forget => return Ok(Some(RowChange::Forget(self.path.clone()))),
            What::Bury => return Ok(Some(RowChange::Bury(self.path.clone()))),
            What::Keep(side) => side,
        };
        let row = mount.baseline().row(&self.path)?;
        Ok(row.map(|row| {
            RowChange::Record(match kept {
                Side::Local => Row {
                    remote: None,
                    ..row
                },
                Side::Remote => Row { local: None, ..row },
            })
        }))
    }

    /// The task that a delete is; none where the version to delete isn't known any more.
    fn task(&self, mount: &OpenMount, side: Side) -> Result<Option<Task>, BaselineError> {
        let row = mount.baseline().row(&self.path)?;
        let (decision, row, local, remote) = match side {
            Side::Local => {
                let (row, local) = self.file(mount, row);
                (Decision::DeleteLocal, row, local, None)
            }
            Side::Remote => {
                let remote = self.object(mount, row.as_ref());
                (Decision::DeleteRemote, row, None, remote)
            }
        };
        if local.is_none() && remote.is_none() {
            return Ok(None);
        }
        Ok(Some(Task {
            observed: Observed {
                path: self.path.clone(),
                baseline: row,
                local,
                remote,
            },
            decision,
            handling: Handling::of(mount.rules.rule_for(&self.path)),
            reason: self.note.reason.clone(),
        }))
    }

    /// The version here that the decision was made for: what stands there now is compared with it before it goes. And
    /// the row, if it tells of this version.
    fn file(&self, mount: &OpenMount, row: Option<Row>) -> (Option<Row>, Option<LocalEntry>) {
        let known = row.as_ref().and_then(|row| row.local);
        let (row, fingerprint, kind) = match &self.note.seen {
            Some(Seen::File(seen)) => {
                let is_known = known.is_some_and(|known| {
                    known.fingerprint == *seen && known.certainty == Certainty::Settled
                });
                (row.filter(|_| is_known), Some(*seen), seen.kind())
            }
            Some(Seen::Object { .. }) | None => {
                let found = mount.look(&self.path).ok().flatten();
                let kind = found.map_or(LocalKind::File, |found| found.kind);
                (row, known.map(|known| known.fingerprint), kind)
            }
        };
        let entry = fingerprint.map(|fingerprint| LocalEntry {
            path: self.path.clone(),
            kind,
            fingerprint,
        });
        (row, entry)
    }

    /// The version in the bucket that the decision was made for.
    fn object(&self, mount: &OpenMount, row: Option<&Row>) -> Option<RemoteEntry> {
        let version = match &self.note.seen {
            Some(Seen::Object { etag, size_bytes }) => {
                RemoteVersion::new(ETag::new(etag), *size_bytes)
            }
            Some(Seen::File(_)) | None => row?.remote.clone()?,
        };
        let other = self.note.key.as_ref();
        let other = other.and_then(|key| ObjectKey::new(key).ok());
        Some(RemoteEntry {
            path: self.path.clone(),
            key: other.unwrap_or_else(|| mount.prefix.key(&self.path)),
            version,
        })
    }
}

/// Takes what waits.
#[derive(Debug)]
pub(super) struct Waiting(Spool);

impl Waiting {
    pub(super) fn new(spill: Spill) -> Self {
        Self(Spool::new(spill))
    }

    pub(super) fn push(&mut self, late: &Late) -> io::Result<()> {
        let payload = serde_json::to_vec(&late.note)?;
        self.0.push(late.path.as_str().as_bytes(), &payload)
    }

    /// All of it, where nothing that rests on a path's absence from one of the `unseen` sides may stand.
    pub(super) fn finish(self, unseen: Vec<Side>, renames: Renames) -> io::Result<Deferred> {
        Ok(Deferred {
            notes: self.0.finish()?,
            renames,
            unseen,
            held: Vec::new(),
        })
    }
}

/// What waited and may be done now.
#[derive(Debug)]
pub(crate) struct Deferred {
    notes: Spooled,
    pub(super) renames: Renames,
    unseen: Vec<Side>,
    held: Vec<Side>,
}

impl Deferred {
    /// Holds the deletes towards `side`.
    pub(super) fn hold(&mut self, side: Side) {
        self.held.push(side);
    }

    /// The next one that may stand.
    pub(super) fn next(&mut self) -> io::Result<Option<Late>> {
        while let Some(record) = self.notes.next()? {
            let late = decode(&record)?;
            let held = matches!(late.note.what, What::Delete(side) if self.held.contains(&side));
            let absent = late.note.what.rests_on_absence_from();
            if !held && !absent.iter().any(|side| self.unseen.contains(side)) {
                return Ok(Some(late));
            }
        }
        Ok(None)
    }

    /// The next one is the first one again.
    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.renames.begin();
        self.notes.rewind()
    }

    /// The next part of the plan. Blocks on the file system.
    pub(crate) fn next_part(&mut self, mount: &OpenMount) -> Result<Option<MountPlan>, PlanError> {
        let mut part = MountPlan::default();
        let mut notes = 0;
        while notes < BATCH_NOTES
            && let Some(late) = self.next()?
        {
            notes += 1;
            if self.renames.is_half(&late) {
                part.renamed.insert(late.path.clone());
            }
            match late.note.what {
                What::Delete(side) => {
                    part.tasks.extend(late.task(mount, side)?);
                    if late.note.absence == Absence::InDoubt {
                        part.doubtful.insert(late.path);
                    }
                }
                What::Forget | What::Bury | What::Keep(_) => {
                    part.row_changes.extend(late.row_change(mount)?);
                }
            }
        }
        Ok((notes > 0).then_some(part))
    }
}

fn decode(Record { key, payload }: &Record) -> io::Result<Late> {
    let damaged = |error: Box<dyn std::error::Error + Send + Sync>| {
        io::Error::new(io::ErrorKind::InvalidData, error)
    };
    let path = std::str::from_utf8(key).map_err(|error| damaged(error.into()))?;
    Ok(Late {
        path: RelPath::new(path).map_err(|error| damaged(error.into()))?,
        note: serde_json::from_slice(payload)?,
    })
}

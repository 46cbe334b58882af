//! Carrying inner files' edits to the outer files that travel: before a pass looks at the mount.
//!
//! Nothing is asked of the store. The outer version that an edit replaces is staged, exchanged and looked at like any
//! other version that is displaced; where both changed, the losing one is kept as a conflict copy.

use std::io::{ErrorKind, Read as _};

use crate::{
    baseline::{BaselineError, Fate, Surprise},
    carry::{Inner, Outer, Sent, Verdict, verdict},
    digest::Digest,
    layout::Carry,
    local::{Fingerprint, LocalKind},
    mount::OpenMount,
    path::RelPath,
    plan::{hash_file, local_problem},
    report::{ConflictEntry, Problem, Side},
    root::LocalError,
    stage::{Durability, Published, StageWriter, Staged},
};

/// How often a file is looked at again that changes under our hands.
const ATTEMPTS: usize = 3;
/// The permission bits of an outer file that is made.
const NEW_MODE: u32 = 0o644;

/// What carrying came to.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Outer files and conflict copies that are new: they are to be looked at.
    pub(crate) changed: Vec<RelPath>,
    pub(crate) conflicts: Vec<ConflictEntry>,
    pub(crate) problems: Vec<Problem>,
    /// Inner files that could not be dealt with now.
    pub(crate) unfinished: Vec<RelPath>,
}

/// An inner file and what would be done about it.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    pub(crate) inner: &'a RelPath,
    pub(crate) to: &'a RelPath,
    pub(crate) verdict: Verdict,
    pub(crate) size_bytes: u64,
    seen: Fingerprint,
    digest: Digest,
    /// The outer version that the verdict is about.
    outer: Option<Fingerprint>,
}

/// Why a file was not carried.
enum Failure {
    /// It, or the outer one, changed meanwhile.
    Changing,
    Local(LocalError),
    Baseline(BaselineError),
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        if error.kind() == ErrorKind::NotFound {
            Self::Changing
        } else {
            Self::Local(error)
        }
    }
}

impl From<BaselineError> for Failure {
    fn from(error: BaselineError) -> Self {
        Self::Baseline(error)
    }
}

/// Carries whatever is to be carried. Blocks on the file system.
pub(crate) fn run<'c>(
    mount: &OpenMount,
    carries: impl Iterator<Item = &'c Carry>,
) -> Result<Carried, BaselineError> {
    let mut carried = Carried::default();
    for carry in carries {
        let mut attempts = 0..ATTEMPTS;
        let failure = loop {
            match one(mount, carry, &mut carried) {
                Ok(()) => break None,
                Err(Failure::Baseline(error)) => return Err(error),
                Err(Failure::Changing) if attempts.next().is_some() => {}
                Err(failure) => break Some(failure),
            }
        };
        if let Some(failure) = failure {
            carried.unfinished.extend(carry.from.iter().cloned());
            if let Failure::Local(error) = failure {
                let problem = local_problem(mount, &carry.to, &error);
                carried.problems.push(problem);
            }
        }
    }
    Ok(carried)
}

/// What would be carried, for a dry run. A file that can't be read now is left out.
pub(crate) fn pending(mount: &OpenMount) -> Vec<Pending<'_>> {
    let looked = mount.rules.carries().iter().map(|carry| look(mount, carry));
    looked.filter_map(|found| found.ok().flatten()).collect()
}

fn one(mount: &OpenMount, carry: &Carry, carried: &mut Carried) -> Result<(), Failure> {
    let Some(pending) = look(mount, carry)? else {
        return Ok(());
    };
    let (inner, to) = (pending.inner, pending.to);
    match pending.verdict {
        Verdict::Nothing => return Ok(()),
        Verdict::Agreed => {}
        Verdict::Carry | Verdict::CarryOver => {
            let fate = if pending.verdict == Verdict::CarryOver {
                Fate::Kept
            } else {
                Fate::Superseded
            };
            let copy = publish(mount, &pending, fate)?;
            tracing::info!(mount = mount.name, %inner, %to, "carried an edit of the inner file");
            carried.changed.push(to.clone());
            carried.note_conflict(mount, to, copy);
        }
        Verdict::KeepInner => {
            let staged = stage(mount, &pending, Durability::Each)?;
            let copy = staged.keep_as_copy(to, Side::Local)?;
            carried.note_conflict(mount, to, Some(copy));
        }
    }
    agree(mount, inner, &pending.digest)
}

impl Carried {
    fn note_conflict(&mut self, mount: &OpenMount, to: &RelPath, copy: Option<RelPath>) {
        let Some(copy) = copy else { return };
        tracing::warn!(mount = mount.name, path = %to, %copy, "the inner file and the outer one both changed; one is kept as a copy");
        self.conflicts.push(ConflictEntry {
            mount: mount.name.clone(),
            path: to.to_string(),
            winner: Side::Local,
            copy: copy.to_string(),
        });
        self.changed.push(copy);
    }
}

/// Looks at the first inner file that is there, and at the outer one.
fn look<'m>(mount: &OpenMount, carry: &'m Carry) -> Result<Option<Pending<'m>>, Failure> {
    for inner in &carry.from {
        let Some((LocalKind::File, seen)) = mount.root.look(inner)? else {
            continue;
        };
        let (hash, read) = hash_file(mount, inner)?;
        if read != seen {
            return Err(Failure::Changing);
        }
        let outer = outer(mount, &carry.to)?;
        let found = Inner {
            digest: hash.digest,
            size_bytes: hash.size_bytes,
            modified_nanoseconds: seen.mtime_nanoseconds,
        };
        let verdict = match outer {
            Place::Free => verdict(found, None, agreed(mount, inner)?),
            Place::File(_, outer) => verdict(found, Some(outer), agreed(mount, inner)?),
            // A link or directory has taken the outer file's place: that is somebody's intention.
            Place::Taken => Verdict::Nothing,
        };
        let outer = match outer {
            Place::File(fingerprint, _) => Some(fingerprint),
            Place::Free | Place::Taken => None,
        };
        return Ok(Some(Pending {
            inner,
            to: &carry.to,
            verdict,
            size_bytes: hash.size_bytes,
            seen,
            digest: hash.digest,
            outer,
        }));
    }
    Ok(None)
}

/// What is at the outer file's path.
enum Place {
    Free,
    File(Fingerprint, Outer),
    Taken,
}

fn outer(mount: &OpenMount, path: &RelPath) -> Result<Place, Failure> {
    match mount.root.look(path)? {
        None => Ok(Place::Free),
        Some((LocalKind::File, seen)) => {
            let (hash, read) = hash_file(mount, path)?;
            if read != seen {
                return Err(Failure::Changing);
            }
            let row = mount.baseline().row(path)?;
            let sent = row.is_some_and(|row| row.remote.is_some() && row.digest == hash.digest);
            let outer = Outer {
                digest: hash.digest,
                modified_nanoseconds: seen.mtime_nanoseconds,
                sent: if sent { Sent::Yes } else { Sent::No },
            };
            Ok(Place::File(seen, outer))
        }
        Some((LocalKind::Symlink | LocalKind::Special | LocalKind::Directory, _)) => {
            Ok(Place::Taken)
        }
    }
}

/// Publishes the inner version as the outer one; gives the conflict copy of what it displaced, if one was made.
fn publish(
    mount: &OpenMount,
    pending: &Pending<'_>,
    fate: Fate,
) -> Result<Option<RelPath>, Failure> {
    let staged = stage(mount, pending, Durability::Each)?;
    let Some(expected) = pending.outer else {
        return match staged.create_at(pending.to)? {
            Published::Done(_) => Ok(None),
            Published::Displaced { copy, .. } => Ok(Some(copy)),
            Published::Stale => Err(Failure::Changing),
        };
    };
    let name = staged.name().to_owned();
    let displacement = staged.displacement(pending.to, expected, fate, Surprise::PutBack);
    mount.baseline().plan_displacements(&[displacement])?;
    // A version that came in between is newer than the verdict.
    let published = staged.replace(pending.to, &expected, fate, Surprise::PutBack)?;
    mount.baseline().finish_displacements(&[name])?;
    match published {
        Published::Done(_) => Ok(None),
        Published::Displaced { copy, .. } => Ok(Some(copy)),
        Published::Stale => Err(Failure::Changing),
    }
}

/// Copies the inner file to staging; fails when it is no longer the version that was looked at.
fn stage(
    mount: &OpenMount,
    pending: &Pending<'_>,
    durability: Durability,
) -> Result<Staged, Failure> {
    let (mut file, _) = mount.root.open_file(pending.inner)?;
    let failed = |error| LocalError::new("read", pending.inner, error);
    let mut writer = StageWriter::create(&mount.root)?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        writer.write(buffer.get(..read).unwrap_or_default())?;
    }
    let now = mount.root.fingerprint_of(pending.inner, &file);
    let now = now.map_err(failed)?;
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let mode = pending.outer.map_or(NEW_MODE, |outer| outer.mode);
    let staged = writer.finish(mode, modified.ok(), durability)?;
    if now != pending.seen || staged.hash().digest != pending.digest {
        return Err(Failure::Changing);
    }
    Ok(staged)
}

/// What an inner file and its outer one held when they last agreed.
fn agreed(mount: &OpenMount, inner: &RelPath) -> Result<Option<Digest>, BaselineError> {
    let value = mount.baseline().value(&remembered(inner))?;
    Ok(value.as_deref().and_then(Digest::from_hex))
}

fn agree(mount: &OpenMount, inner: &RelPath, digest: &Digest) -> Result<(), Failure> {
    let name = remembered(inner);
    let text = digest.to_hex();
    let baseline = mount.baseline();
    if baseline.value(&name)?.as_deref() != Some(&text) {
        baseline.set_value(&name, &text)?;
    }
    Ok(())
}

/// The name under which the baseline remembers it.
fn remembered(inner: &RelPath) -> String {
    format!("carried {inner}")
}

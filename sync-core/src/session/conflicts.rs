//! Conflict copies: which there are, what they hold, and resolving them.
//!
//! Resolving takes one copy away: either its version goes to the path it is a copy of, or it goes for good. Whoever asks
//! has said which version is wanted, so the other one is deleted; a version that nobody has seen never is. The bucket
//! follows with the next pass, under the same preconditions as any edit.

use std::{io::Read as _, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Session, SessionError};
use crate::{
    baseline::{BaselineError, Displacement, Fate, Row, Surprise},
    conflict::{self, CONFLICTS_DIRECTORY, CopyName},
    content,
    layout::{Rules, SyncMode},
    local::{Fingerprint, LocalKind},
    mount::OpenMount,
    order::KeyOrder,
    path::RelPath,
    plan,
    report::Side,
    root::LocalError,
    scan::{ScanItem, scan},
    selection::Selection,
    sqlite::{self, Databases, Settled},
    stage::{self, Removed, Taken},
    status::ConflictCopy,
};

/// Larger texts are not compared.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;
/// More of a difference is not shown.
const MAX_DIFF_BYTES: usize = 256 * 1024;
/// Texts that take longer to compare are compared roughly.
const COMPARE_LIMIT: Duration = Duration::from_secs(2);

/// A conflict, with all versions that are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictDetails {
    /// Name of the mount.
    pub mount: String,
    /// The path that both sides changed.
    pub path: String,
    /// What stands at the path, if anything does, then the copies, newest first.
    pub versions: Vec<ConflictVersion>,
    /// From what stands at the path to the copy asked about, or the newest one, in the unified format.
    pub diff: Option<String>,
    /// Why there is no difference to show, or not all of it.
    pub diff_note: Option<String>,
}

/// One version of a file that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictVersion {
    /// Where it is, relative to the mount.
    pub path: String,
    /// Whose version it is. What stands at the path has won against the newest copy, so it is the other side's; `None`
    /// where that can't be told.
    pub side: Option<Side>,
    /// When the conflict was found, for a copy, RFC 3339.
    pub found: Option<String>,
    /// When the content was written, as its writer said, RFC 3339.
    pub modified: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// Whether the bucket has it too, as of the last look.
    pub in_bucket: InBucket,
}

/// Whether the bucket has a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InBucket {
    /// It does.
    Yes,
    /// It has nothing under this path, or nobody has looked.
    No,
    /// It has another version under this path.
    OtherVersion,
}

/// What resolving a conflict did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Name of the mount.
    pub mount: String,
    /// The path that both sides had changed.
    pub path: String,
    /// Whose version stands there now.
    pub taken: Side,
    /// The copy that is no more.
    pub copy: String,
    /// Other copies of the path, which are still there, newest first.
    pub remaining: Vec<String>,
}

/// A conflict could not be shown or resolved. Nothing was lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConflictError {
    /// The path is none of ours.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is nothing to resolve.
    #[error("{path} has no conflict copies")]
    NoCopies {
        /// The path as it was given.
        path: String,
    },
    /// A file changed since it was looked at.
    #[error("{path} or its copy changed meanwhile; nothing was changed, look at them again")]
    Changed {
        /// The path.
        path: String,
    },
    /// It is a database that somebody uses.
    #[error(
        "{path} is a database in use ({user}); nothing was changed, try again when nobody uses it"
    )]
    InUse {
        /// The path.
        path: String,
        /// Who uses it, for people.
        user: String,
    },
    /// The file system refused.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The baseline failed.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
}

/// The copies of a path, and which of them is meant.
struct Conflict {
    mount: Arc<OpenMount>,
    path: RelPath,
    /// The one that is meant.
    copy: Copy,
    others: Vec<Copy>,
}

#[derive(Clone)]
struct Copy {
    path: RelPath,
    name: CopyName,
    fingerprint: Fingerprint,
}

impl Session {
    /// The conflict copies in all mounts. Blocks on the file system.
    #[must_use]
    pub fn conflicts(&self) -> Vec<ConflictCopy> {
        let mut copies = Vec::new();
        for mount in &self.mounts {
            for (path, fingerprint) in scan_copies(mount) {
                let name = CopyName::of(&path);
                let origin = name.as_ref().map_or(&path, |name| &name.origin);
                copies.push(ConflictCopy {
                    mount: mount.name.clone(),
                    path: origin.to_string(),
                    side: name.as_ref().map(|name| name.side),
                    time: name.and_then(|name| name.made).map(|made| made.to_string()),
                    copy: path.to_string(),
                    bytes: fingerprint.size_bytes,
                });
            }
        }
        copies
    }

    /// The versions of a path with conflict copies, named by itself or by one of them. Reads them all; blocks.
    pub fn conflict(&self, text: &str) -> Result<ConflictDetails, ConflictError> {
        let Conflict {
            mount,
            path,
            copy,
            mut others,
        } = self.find_conflict(text)?;
        let mut versions = Vec::new();
        let standing = standing(&mount, &path)?;
        let newest = others.first().filter(|other| other.is_newer_than(&copy));
        let winner = newest.unwrap_or(&copy).name.side.other();
        if standing.is_some() {
            versions.push(version(&mount, &path, Some(winner), None)?);
        }
        let asked = copy.clone();
        others.push(copy);
        others.sort_by_key(|copy| std::cmp::Reverse(copy.name.age()));
        for copy in others {
            let found = copy.name.made.map(|made| made.to_string());
            versions.push(version(&mount, &copy.path, Some(copy.name.side), found)?);
        }
        let (diff, diff_note) = difference(&mount, &path, standing, &asked)?;
        Ok(ConflictDetails {
            mount: mount.name.clone(),
            path: path.to_string(),
            versions,
            diff,
            diff_note,
        })
    }

    /// Lets the version of `take` stand at the path that `text` names, by itself or by one of its copies, and removes the
    /// copy: the one that is named, else the newest. Blocks on the file system.
    pub async fn resolve(&self, text: &str, take: Side) -> Result<Resolved, ConflictError> {
        let _one_at_a_time = self.passes.lock().await;
        let conflict = self.find_conflict(text)?;
        tokio::task::spawn_blocking(move || conflict.resolve(take))
            .await
            .map_err(|error| ConflictError::Session(error.into()))?
    }

    fn find_conflict(&self, text: &str) -> Result<Conflict, ConflictError> {
        let (mount, path) = self.locate(text)?;
        let path = RelPath::new(path).map_err(SessionError::from)?;
        let none = || ConflictError::NoCopies {
            path: text.to_owned(),
        };
        let origin = conflict::origin(&path).unwrap_or_else(|| path.clone());
        let mut copies: Vec<_> = scan_copies(mount)
            .into_iter()
            .filter_map(|(path, fingerprint)| {
                let name = CopyName::of(&path)?;
                (name.origin == origin).then_some(Copy {
                    path,
                    name,
                    fingerprint,
                })
            })
            .collect();
        copies.sort_by_key(|copy| std::cmp::Reverse(copy.name.age()));
        let meant = if conflict::is_copy(&path) {
            copies.iter().position(|copy| copy.path == path)
        } else {
            (!copies.is_empty()).then_some(0)
        };
        let copy = copies.remove(meant.ok_or_else(none)?);
        Ok(Conflict {
            mount: mount.clone(),
            path: origin,
            copy,
            others: copies,
        })
    }
}

impl Copy {
    fn is_newer_than(&self, other: &Self) -> bool {
        self.name.age() > other.name.age()
    }
}

impl Conflict {
    fn resolve(self, take: Side) -> Result<Resolved, ConflictError> {
        let Self {
            mount,
            path,
            copy,
            others,
        } = self;
        let changed = || ConflictError::Changed {
            path: path.to_string(),
        };
        // Until it is done: a runtime that is about to start waits for this.
        let databases = mount.databases();
        let copy = Copy {
            fingerprint: settled(&mount, *databases, &copy.path, copy.fingerprint)?,
            ..copy
        };
        let mut loser = Some(copy.fingerprint);
        if copy.name.side == take {
            let standing = standing(&mount, &path)?
                .map(|found| settled(&mount, *databases, &path, found))
                .transpose()?;
            let taken = stage::take_copy(
                &mount.root,
                &copy.path,
                &copy.fingerprint,
                &path,
                standing.as_ref(),
            )?;
            // A crash from here on leaves both versions, with the copy still listed.
            loser = match taken {
                Taken::Placed => None,
                Taken::Exchanged(fingerprint) => Some(fingerprint),
                Taken::Changed => return Err(changed()),
            };
        }
        if let Some(expected) = loser
            && remove(&mount, &copy.path, expected)? == Removed::Stale
        {
            return Err(changed());
        }
        tracing::info!(mount = mount.name, %path, copy = %copy.path, %take, "a conflict was resolved");
        Ok(Resolved {
            mount: mount.name.clone(),
            path: path.to_string(),
            taken: take,
            copy: copy.path.to_string(),
            remaining: others.iter().map(|other| other.path.to_string()).collect(),
        })
    }
}

/// A database is moved as one file, and only while nobody uses it. Gives its fingerprint then.
fn settled(
    mount: &OpenMount,
    databases: Databases,
    path: &RelPath,
    found: Fingerprint,
) -> Result<Fingerprint, ConflictError> {
    let in_use = |user: &str| ConflictError::InUse {
        path: path.to_string(),
        user: user.to_owned(),
    };
    // Nobody has a copy open, but whoever looks into it.
    let may_be_open = !conflict::is_copy(path) && sqlite::is_database(&mount.root, path);
    if databases == Databases::InUse && may_be_open {
        return Err(in_use("the runtime is running"));
    }
    match sqlite::settle(&mount.root, path, &found)? {
        Settled::Ordinary => Ok(found),
        Settled::Whole(now, _) => Ok(now),
        Settled::Changed => Err(ConflictError::Changed {
            path: path.to_string(),
        }),
        Settled::InUse(user) => Err(in_use(&user)),
    }
}

fn remove(
    mount: &OpenMount,
    path: &RelPath,
    expected: Fingerprint,
) -> Result<Removed, ConflictError> {
    let staged_name = stage::staging_name();
    let displacement = Displacement {
        staged_name: staged_name.clone(),
        path: path.clone(),
        expected,
        digest: None,
        staged_inode: 0,
        fate: Fate::Superseded,
        surprise: Surprise::PutBack,
    };
    mount.baseline().plan_displacements(&[displacement])?;
    let removed = stage::remove(&mount.root, &staged_name, path, &expected, None)?;
    mount.baseline().finish_displacements(&[staged_name])?;
    Ok(removed)
}

/// The copies in a mount, those of what is never pushed included: by rules that exclude nothing but the engine's own.
fn scan_copies(mount: &OpenMount) -> Vec<(RelPath, Fingerprint)> {
    let scope = RelPath::new(CONFLICTS_DIRECTORY).ok();
    let rules = Rules::new(Vec::new()).ok();
    let everything = rules.map(|rules| Selection::of_rules(Arc::new(rules)));
    let mut found = Vec::new();
    if let (Some(scope), Some(everything)) = (scope, everything) {
        for item in scan(&mount.root, Some(&scope), &everything, KeyOrder::Bytes) {
            if let ScanItem::Entry(entry) = item
                && matches!(entry.kind, LocalKind::File | LocalKind::Symlink)
            {
                found.push((entry.path, entry.fingerprint));
            }
        }
    }
    found
}

/// The file at the path, if there is one.
fn standing(mount: &OpenMount, path: &RelPath) -> Result<Option<Fingerprint>, LocalError> {
    let entry = mount.look(path)?;
    Ok(entry
        .filter(|entry| matches!(entry.kind, LocalKind::File | LocalKind::Symlink))
        .map(|entry| entry.fingerprint))
}

fn version(
    mount: &OpenMount,
    path: &RelPath,
    side: Option<Side>,
    found: Option<String>,
) -> Result<ConflictVersion, ConflictError> {
    let (hash, fingerprint) = plan::hash_file(mount, path)?;
    let row = mount.baseline().row(path)?;
    let modified = i128::from(fingerprint.mtime_nanoseconds);
    let modified = jiff::Timestamp::from_nanosecond(modified).ok();
    Ok(ConflictVersion {
        path: path.to_string(),
        side,
        found,
        modified: modified.map(|time| time.to_string()),
        bytes: hash.size_bytes,
        sha256: hash.digest.to_hex(),
        in_bucket: in_bucket(row.as_ref(), &fingerprint),
    })
}

fn in_bucket(row: Option<&Row>, fingerprint: &Fingerprint) -> InBucket {
    match row {
        Some(row) if row.remote.is_some() => {
            let same = row
                .local
                .is_some_and(|local| local.fingerprint == *fingerprint);
            if same {
                InBucket::Yes
            } else {
                InBucket::OtherVersion
            }
        }
        Some(_) | None => InBucket::No,
    }
}

/// The difference between what stands at the path and a copy, or why there is none.
fn difference(
    mount: &OpenMount,
    path: &RelPath,
    standing: Option<Fingerprint>,
    copy: &Copy,
) -> Result<(Option<String>, Option<String>), LocalError> {
    let none = |note: &str| Ok((None, Some(note.to_owned())));
    let Some(standing) = standing else {
        return none("nothing stands at the path");
    };
    match mount.selection().rule_for(path).sync {
        SyncMode::Both | SyncMode::Pull | SyncMode::Push => {}
        SyncMode::Merge | SyncMode::None => {
            return none("the content is not shown: the file may hold secrets");
        }
    }
    if standing.size_bytes.max(copy.fingerprint.size_bytes) > MAX_TEXT_BYTES {
        return none("the files are too large to compare");
    }
    let (Some(old), Some(new)) = (text(mount, path)?, text(mount, &copy.path)?) else {
        return none("the files are not text");
    };
    let mut diff = similar::TextDiff::configure()
        .timeout(COMPARE_LIMIT)
        .diff_lines(&old, &new)
        .unified_diff()
        .header(path.as_str(), copy.path.as_str())
        .to_string();
    if diff.len() <= MAX_DIFF_BYTES {
        return Ok((Some(diff), None));
    }
    diff.truncate(diff.floor_char_boundary(MAX_DIFF_BYTES));
    Ok((Some(diff), Some("the difference is cut off".to_owned())))
}

/// A file, or the target of a link, as text; `None` for anything else.
fn text(mount: &OpenMount, path: &RelPath) -> Result<Option<String>, LocalError> {
    let file = match mount.root.open_file(path) {
        Ok((file, _)) => file,
        Err(error) if content::is_link(&error) => {
            let (target, _) = mount.root.read_link(path)?;
            return Ok(String::from_utf8(target).ok());
        }
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(MAX_TEXT_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|error| LocalError::new("read", path, error))?;
    let is_text = !content.contains(&0) && content.len() as u64 <= MAX_TEXT_BYTES;
    Ok(is_text.then(|| String::from_utf8(content).ok()).flatten())
}

//! Field-merged files: read both sides, merge, stage the result.
//!
//! The live file only ever shows the local version or the merged one. A side that can't be merged leaves it as it is and
//! is a problem of the pass; nothing is recorded then, so that every later pass tries again.

use std::{sync::Arc, time::SystemTime};

use super::{
    Context, Effect, Failure, Outcome,
    incoming::{Kind, Prepared, Publication},
};
use crate::{
    baseline::{Fate, LocalVersion, RemoteVersion, Row, RowChange},
    digest::{ContentHasher, Digest},
    failpoint::Point,
    local::{Fingerprint, LocalKind},
    merge::{self, Outcome as MergeOutcome},
    path::{ObjectKey, RelPath},
    plan::Task,
    report::ProblemKind,
    root::LocalError,
    stage::{Durability, StageWriter},
    store::read_whole,
};

/// Larger documents than this are no configuration.
const MAX_DOCUMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Mode of a merged file that is new here: it may hold tokens.
const NEW_FILE_MODE: u32 = 0o600;

pub(super) async fn prepare(
    context: &Arc<Context>,
    task: Task,
    durability: Durability,
) -> Result<Prepared, Failure> {
    let Some(remote) = task.observed.remote.clone() else {
        return Err(Failure::Stale);
    };
    let text = document(context, &remote.key, &remote.version).await?;
    let blocking = context.clone();
    tokio::task::spawn_blocking(move || {
        merge_and_stage(&blocking, &task, &text, remote.version, durability)
    })
    .await
    .map_err(|error| Failure::Problem(ProblemKind::Io, error.to_string()))?
}

async fn document(
    context: &Context,
    key: &ObjectKey,
    version: &RemoteVersion,
) -> Result<String, Failure> {
    let content = read_whole(
        &*context.store,
        key,
        Some(&version.etag),
        MAX_DOCUMENT_BYTES,
    )
    .await?;
    let content = content.ok_or(Failure::Stale)?;
    context.progress.bytes(content.len() as u64);
    String::from_utf8(content).map_err(|_| {
        Failure::Problem(
            ProblemKind::Invalid,
            "the object in the bucket is not UTF-8".to_owned(),
        )
    })
}

fn merge_and_stage(
    context: &Context,
    task: &Task,
    remote_text: &str,
    remote: RemoteVersion,
    durability: Durability,
) -> Result<Prepared, Failure> {
    let path = &task.observed.path;
    let rules = context.merges.get(path).ok_or_else(|| {
        Failure::Problem(
            ProblemKind::Invalid,
            "the layout has no merge rules for this path".to_owned(),
        )
    })?;
    let local = read_text(context, path)?;
    let local_text = local.as_ref().map(|(text, _)| text.as_str());
    let merged = merge::merge(rules, local_text, Some(remote_text)).map_err(|error| {
        Failure::Problem(
            ProblemKind::Invalid,
            format!("not merged, the local file stays: {error}"),
        )
    })?;
    if let (MergeOutcome::Unchanged, Some((text, fingerprint))) = (merged.outcome, &local) {
        let local = LocalVersion::seen(*fingerprint, SystemTime::now());
        let digest = digest_of(text);
        let row = Row {
            path: path.clone(),
            local: Some(local),
            remote: Some(remote),
            digest,
        };
        return Ok(Prepared::Finished(Outcome::Done {
            change: Box::new(RowChange::Record(row)),
            effect: Effect::Recorded,
        }));
    }
    let mut writer = StageWriter::create(&context.mount.root)?;
    writer.write(merged.text.as_bytes())?;
    let mode = local
        .as_ref()
        .map_or(NEW_FILE_MODE, |(_, fingerprint)| fingerprint.permissions());
    let read = local.as_ref().map(|(text, _)| digest_of(text));
    let staged = writer.finish(mode, None, durability)?.displacing(read);
    context.mount.root.reached(Point::MergeStaged);
    Ok(Prepared::Publish(Box::new(Publication {
        path: path.clone(),
        expected: local.map(|(_, fingerprint)| fingerprint),
        fate: Fate::Superseded,
        digest: staged.hash().digest,
        entry: context.entry(path, &task.handling, staged.hash().size_bytes),
        staged,
        remote,
        recorded_permissions: None,
        kind: Kind::Merge,
    })))
}

fn digest_of(text: &str) -> Digest {
    let mut hasher = ContentHasher::default();
    hasher.update(text.as_bytes());
    hasher.finish().digest
}

/// What lies at a merged path, as text; `None` for nothing.
fn read_text(context: &Context, path: &RelPath) -> Result<Option<(String, Fingerprint)>, Failure> {
    use std::io::Read as _;
    match context.mount.look(path)? {
        None => Ok(None),
        Some(entry) if entry.kind != LocalKind::File => Err(Failure::Problem(
            ProblemKind::Unsupported,
            "not a regular file".to_owned(),
        )),
        Some(_) => {
            let (mut file, fingerprint) = context.mount.root.open_file(path)?;
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(|error| {
                if error.kind() == std::io::ErrorKind::InvalidData {
                    Failure::Problem(
                        ProblemKind::Invalid,
                        "the local file is not UTF-8".to_owned(),
                    )
                } else {
                    Failure::Local(LocalError::new("read", path, error))
                }
            })?;
            Ok(Some((text, fingerprint)))
        }
    }
}

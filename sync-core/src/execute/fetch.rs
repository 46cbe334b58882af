//! Getting an object into the staging area, verified.
//!
//! A small object is one GET. A large one is preallocated and comes in stretches over several connections. What proves
//! the content, best first: the SHA-256 that its writer kept with it; an `ETag` that is its MD5; the length and the `ETag`
//! of every answer. Nothing of a download survives the process: a staged file is swept at the next start.

mod ranges;

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;

use super::{
    Context, Failure,
    attributes::{self, ObjectKind},
    mode_for,
};
use crate::{
    failpoint::Point,
    join::RemoteEntry,
    link::{self, LinkRefusal},
    local::{Fingerprint, LocalKind},
    plan::Task,
    reconcile::Decision,
    report::ProblemKind,
    root::LocalError,
    stage::{Durability, Hashes, StageWriter, Staged},
    store::{More, ObjectInfo, ObjectReader},
};

/// Bytes of an object gathered before they are written: with dozens of transfers they are what memory goes to. What is
/// not larger is staged in one go.
const WRITE_BYTES: usize = 256 * 1024;

/// Brings an object into the staging area, with the attributes it will have.
pub(super) async fn fetch(
    context: &Arc<Context>,
    task: &Task,
    remote: &RemoteEntry,
    durability: Durability,
) -> Result<Staged, Failure> {
    let (staged, proof) = fetch_once(context, task, remote, durability).await?;
    match proof {
        Proof::Given => return Ok(staged),
        Proof::Denied => return Err(wrong("the content doesn't have its digest")),
        Proof::Missing => {}
    }
    // Either something went wrong on the way, or the tag is none of the content: encrypting stores have such tags.
    let (again, proof) = fetch_once(context, task, remote, durability).await?;
    match proof {
        Proof::Given => Ok(again),
        Proof::Missing if again.hash() == staged.hash() => {
            context.tags_are_opaque.store(true, Ordering::Relaxed);
            Ok(again)
        }
        Proof::Missing | Proof::Denied => Err(wrong("the store sent two different contents")),
    }
}

/// Whether a content is known to be what its writer meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Given,
    /// It has another digest than its writer says.
    Denied,
    /// It is not what its tag says, if its tag says anything.
    Missing,
}

async fn fetch_once(
    context: &Arc<Context>,
    task: &Task,
    remote: &RemoteEntry,
    durability: Durability,
) -> Result<(Staged, Proof), Failure> {
    let (info, staged) = if remote.version.size_bytes > ranges::THRESHOLD_BYTES {
        let (info, writer) = ranges::fetch(context, remote).await?;
        if attributes::kind(&remote.key, &info) == ObjectKind::Link {
            return Err(refused(context, remote, LinkRefusal::NoPath));
        }
        let finish = finishing(task, &info, durability);
        (info, blocking(move || finish(writer)).await?)
    } else {
        in_one_go(context, task, remote, durability).await?
    };
    context.mount.root.reached(Point::Staged);
    let hash = staged.hash();
    if hash.size_bytes != info.size_bytes {
        let (got, all) = (hash.size_bytes, info.size_bytes);
        return Err(wrong(&format!("the store sent {got} of {all} bytes")));
    }
    let digest = info.metadata(attributes::DIGEST).map(str::to_owned);
    prove(context, remote, digest, staged).await
}

/// A writer that copies metadata along with new content leaves our digest wrong; then the MD5 tells whether the content
/// is what the store means.
async fn prove(
    context: &Context,
    remote: &RemoteEntry,
    digest: Option<String>,
    staged: Staged,
) -> Result<(Staged, Proof), Failure> {
    let tag = match (&digest, remote.version.etag.as_md5()) {
        (Some(digest), _) if *digest == staged.hash().digest.to_hex() => {
            return Ok((staged, Proof::Given));
        }
        (Some(_), None) => return Ok((staged, Proof::Denied)),
        (None, None) => return Ok((staged, Proof::Given)),
        (None, Some(_)) if context.tags_are_opaque.load(Ordering::Relaxed) => {
            return Ok((staged, Proof::Given));
        }
        (_, Some(tag)) => tag,
    };
    let (staged, md5) = match staged.md5_hex().map(str::to_owned) {
        Some(md5) => (staged, md5),
        None => blocking(move || Ok((staged.content_hash()?.md5_hex, staged)))
            .await
            .map(|(md5, staged)| (staged, md5))?,
    };
    let proof = match (md5 == tag, digest) {
        (true, _) => Proof::Given,
        (false, Some(_)) => Proof::Denied,
        (false, None) => Proof::Missing,
    };
    Ok((staged, proof))
}

async fn in_one_go(
    context: &Arc<Context>,
    task: &Task,
    remote: &RemoteEntry,
    durability: Durability,
) -> Result<(ObjectInfo, Staged), Failure> {
    let _permit = context.permit().await;
    let mut reader = ObjectReader::whole(&*context.store, &remote.key, &remote.version.etag);
    let info = reader.open().await?;
    if attributes::kind(&remote.key, &info) == ObjectKind::Link {
        let target = link_target(context, task, remote, reader).await?;
        let (root, modified) = (context.mount.root.clone(), attributes::modified(&info));
        let staged = blocking(move || Staged::link(&root, &target, modified, durability));
        return Ok((info, staged.await?));
    }
    let hashes = hashes(context, remote, &info);
    let finish = finishing(task, &info, durability);
    let size_bytes = info.size_bytes;
    let mount = context.mount.clone();
    let mut pieces = Vec::new();
    let mut more = reader.read(&mut pieces, WRITE_BYTES).await?;
    context.progress.bytes(length(&pieces));
    if more == More::No {
        let staged = blocking(move || {
            let mut writer = StageWriter::with(&mount.root, hashes)?;
            pieces.iter().try_for_each(|piece| writer.write(piece))?;
            mount.root.reached(Point::StagingBegun);
            finish(writer)
        });
        return Ok((info, staged.await?));
    }
    let mut writer = blocking(move || {
        let writer = StageWriter::with(&mount.root, hashes)?;
        writer.reserve(size_bytes)?;
        Ok(writer)
    })
    .await?;
    loop {
        let full = std::mem::take(&mut pieces);
        writer = blocking(move || {
            full.iter().try_for_each(|piece| writer.write(piece))?;
            Ok(writer)
        })
        .await?;
        context.mount.root.reached(Point::StagingBegun);
        if more == More::No {
            return Ok((info, blocking(move || finish(writer)).await?));
        }
        more = reader.read(&mut pieces, WRITE_BYTES).await?;
        context.progress.bytes(length(&pieces));
    }
}

/// MD5 costs more than everything else, so it is computed only where nothing better proves the content.
fn hashes(context: &Context, remote: &RemoteEntry, info: &ObjectInfo) -> Hashes {
    let wanted = info.metadata(attributes::DIGEST).is_none()
        && remote.version.etag.as_md5().is_some()
        && !context.tags_are_opaque.load(Ordering::Relaxed);
    if wanted {
        Hashes::DigestAndMd5
    } else {
        Hashes::Digest
    }
}

/// Gives the file the attributes that its object and its rule say.
fn finishing(
    task: &Task,
    info: &ObjectInfo,
    durability: Durability,
) -> impl FnOnce(StageWriter) -> Result<Staged, LocalError> + Send + 'static {
    let mode = mode(task, info);
    let modified = attributes::modified(info);
    move |writer| writer.finish(mode, modified, durability)
}

/// The mode that the file will have: what the object says, else what the file has here. One that was changed here since
/// both sides agreed stays, and is sent afterwards.
fn mode(task: &Task, info: &ObjectInfo) -> u32 {
    let changed = changed_mode(task).map(|(_, here)| here);
    let mode = changed
        .or_else(|| attributes::mode(info))
        .or_else(|| Some(file_here(task)?.permissions()))
        .unwrap_or(attributes::DEFAULT_MODE);
    mode_for(task.handling.executable, mode)
}

fn file_here(task: &Task) -> Option<Fingerprint> {
    let entry = task.observed.local.as_ref()?;
    (entry.kind == LocalKind::File).then_some(entry.fingerprint)
}

/// The permissions that both sides agreed on and those that were set here since, where only they were changed here.
pub(super) fn changed_mode(task: &Task) -> Option<(u32, u32)> {
    let here = file_here(task)?.permissions();
    let agreed = task.observed.baseline.as_ref()?.local?.fingerprint;
    let differs = agreed.kind() == LocalKind::File && agreed.permissions() != here;
    (task.decision == Decision::Download && differs).then_some((agreed.permissions(), here))
}

/// Reads what claims to be the target of a link. One that may not travel is reported and never made.
async fn link_target(
    context: &Context,
    task: &Task,
    remote: &RemoteEntry,
    mut reader: ObjectReader<'_>,
) -> Result<String, Failure> {
    let mut pieces = Vec::new();
    let more = reader.read(&mut pieces, link::MAX_TARGET_BYTES + 1).await?;
    let target = pieces.concat();
    if more == More::Yes || target.len() > link::MAX_TARGET_BYTES {
        return Err(refused(context, remote, LinkRefusal::NoPath));
    }
    context.progress.bytes(length(&pieces));
    link::check(&task.observed.path, &target, &context.mount.rules)
        .map(str::to_owned)
        .map_err(|refusal| refused(context, remote, refusal))
}

/// What such an object is, remembered so that it isn't brought again.
fn refused(context: &Context, remote: &RemoteEntry, refusal: LinkRefusal) -> Failure {
    let message = format!("the object claims to be a link that is not synchronised: {refusal}");
    context.mount.refuse(remote, message.clone());
    Failure::Problem(ProblemKind::Unsupported, message)
}

fn length(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

fn wrong(message: &str) -> Failure {
    Failure::Problem(ProblemKind::Store, message.to_owned())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocalError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Failure::Local),
        Err(error) => Err(Failure::Problem(ProblemKind::Io, error.to_string())),
    }
}

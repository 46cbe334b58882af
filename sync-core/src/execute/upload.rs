//! Local to remote: hash, send with the hash and the precondition, record.
//!
//! RACE: on a store without conditional writes (found by the probe) a HEAD is compared before the write; a version that
//! another writer puts between the two is overwritten, and was that writer's alone to keep.

use std::{
    io::Read as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{
    Context, Effect, ExecuteError, Executed, Failure, Outcome, attributes, baseline_problem,
    in_parallel, mode_for,
};
use crate::{
    baseline::{LocalVersion, RemoteVersion, Row, RowChange, Written},
    content,
    digest::{ContentHash, ContentHasher},
    failpoint::Point,
    link,
    local::Fingerprint,
    mount::OpenMount,
    path::{ObjectKey, RelPath},
    plan::Task,
    reconcile::Change,
    report::ProblemKind,
    root::LocalError,
    store::{Capabilities, PutBody, PutMode, PutOptions, StoreError, StoreErrorKind, Support},
};

/// Files up to this size are read once, hashed and sent from memory; larger ones are read twice.
const IN_MEMORY_BYTES: u64 = 1024 * 1024;
/// How often a file is tried that changes while it is read, and the wait in between.
const SEND_ATTEMPTS: usize = 3;
const QUIET: Duration = Duration::from_millis(50);
/// Rows written to the baseline at once.
const ROWS_AT_ONCE: usize = 128;

/// Uploads everything.
pub(super) async fn run(
    context: &Arc<Context>,
    tasks: Vec<Task>,
    executed: &mut Executed,
) -> Result<(), ExecuteError> {
    let mut rows = Vec::new();
    let mut failed = Ok(());
    {
        let mut outcomes = std::pin::pin!(in_parallel(context.concurrency, tasks, |task| upload(
            context.clone(),
            task
        )));
        while let Some(outcome) = outcomes.next().await {
            match outcome.map_err(ExecuteError::from).flatten() {
                Ok(outcome) => rows.extend(executed.take(outcome)),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
            if rows.len() >= ROWS_AT_ONCE {
                context.mount.baseline().apply(&std::mem::take(&mut rows))?;
            }
        }
    }
    context.mount.baseline().apply(&rows)?;
    context.mount.root.reached(Point::UploadsRecorded);
    failed
}

async fn upload(context: Arc<Context>, task: Task) -> Result<Outcome, ExecuteError> {
    let path = task.observed.path.clone();
    match send(&context, task).await {
        Ok((row, effect)) => {
            context.progress.file_done(&path);
            Ok(Outcome::Done {
                change: Box::new(RowChange::Record(row)),
                effect,
            })
        }
        Err(failure) => context.outcome(&path, failure),
    }
}

/// Sends one file. A file that changes while it is read or sent is read again a few times without asking the store, and
/// else comes back when it is quiet.
async fn send(context: &Context, task: Task) -> Result<(Row, Effect), Failure> {
    for _ in 1..SEND_ATTEMPTS {
        match send_once(context, &task).await {
            Err(Failure::Changing) => tokio::time::sleep(QUIET).await,
            other => return other,
        }
    }
    send_once(context, &task).await
}

async fn send_once(context: &Context, task: &Task) -> Result<(Row, Effect), Failure> {
    let path = &task.observed.path;
    let content = read(context, path).await?;
    context.mount.root.reached(Point::ReadToSend);
    let local = content.local;
    let size_bytes = content.hash.size_bytes;
    let digest = content.hash.digest;
    let row = |remote| Row {
        path: path.clone(),
        local: Some(local),
        remote: Some(remote),
        digest,
    };
    if !context.keeps_key(path).await? {
        let message =
            "the store keeps `\\` as `/`, so that this would become another file there; rename it";
        return Err(Failure::Problem(
            ProblemKind::UnsafePath,
            message.to_owned(),
        ));
    }
    if let Some(remote) = already_there(task, &content) {
        return Ok((row(remote), Effect::Recorded));
    }
    let mode = match &task.observed.remote {
        Some(remote) => PutMode::Update(remote.version.etag.clone()),
        None => PutMode::Create,
    };
    let key = match &task.observed.remote {
        Some(remote) => remote.key.clone(),
        None => context.mount.prefix.key(path),
    };
    let metadata = attributes::metadata(&content.local.fingerprint, &digest);
    context
        .mount
        .baseline()
        .note_sending(path, &digest)
        .map_err(|error| baseline_problem(&error))?;
    context.mount.root.reached(Point::SendingNoted);
    let etag = match put(
        context,
        &key,
        content.body,
        PutOptions {
            mode,
            digest,
            metadata,
        },
    )
    .await
    {
        Err(error) if error.kind == StoreErrorKind::Rejected => return Err(Failure::Changing),
        other => other?,
    };
    context.mount.root.reached(Point::PutDone);
    context.progress.bytes(size_bytes);
    let entry = context.entry(path, &task.handling, size_bytes);
    Ok((
        row(RemoteVersion {
            etag,
            size_bytes,
            written: Written::before(context.store.clock()),
        }),
        Effect::Uploaded(entry),
    ))
}

/// The object, where the file was only touched: its content and its permissions are those that the object holds.
fn already_there(task: &Task, content: &Content) -> Option<RemoteVersion> {
    let row = task.observed.baseline.as_ref()?;
    let before = row.local.as_ref()?;
    let (_, remote) = crate::plan::changes(&task.observed);
    let now = content.local.fingerprint;
    // A rule that wants files to be executable gives them the bits; without them they are as they were.
    let permissions = |of: Fingerprint| mode_for(task.handling.executable, of.permissions());
    let same_attributes = before.fingerprint.kind() == now.kind()
        && permissions(before.fingerprint) == permissions(now);
    (remote == Change::Unchanged && row.digest == content.hash.digest && same_attributes)
        .then(|| row.remote.clone())?
}

/// Writes an object under its precondition, whatever the store can do.
async fn put(
    context: &Context,
    key: &ObjectKey,
    body: PutBody,
    mut options: PutOptions,
) -> Result<crate::digest::ETag, StoreError> {
    let without_conditions = Capabilities {
        conditional_put: Support::No,
        conditional_delete: Support::No,
    };
    if context
        .mount
        .capabilities()
        .unwrap_or(without_conditions)
        .conditional_put
        == Support::No
    {
        let found = context.store.head(key).await?.map(|info| info.etag);
        let expected = match &options.mode {
            PutMode::Overwrite => found.clone(),
            PutMode::Create => None,
            PutMode::Update(etag) => Some(etag.clone()),
        };
        if found != expected {
            return Err(StoreError::new(
                "PUT",
                key.as_str(),
                StoreErrorKind::Precondition,
                "",
            ));
        }
        options.mode = PutMode::Overwrite;
    }
    if options.mode != PutMode::Create {
        return context.store.put(key, body, options).await;
    }
    let again = body.another();
    match (context.store.put(key, body, options.clone()).await, again) {
        (Err(error), Some(body)) if error.kind == StoreErrorKind::Precondition => {
            // RACE: SeaweedFS refuses to create an object where it keeps a directory, also an empty one that no listing
            // shows. Where there is no object, an object that appears between the HEAD and this write is overwritten.
            if context.store.head(key).await?.is_some() {
                return Err(error);
            }
            options.mode = PutMode::Overwrite;
            context.store.put(key, body, options).await
        }
        (result, _) => result,
    }
}

/// A file's content as it was at one moment, or a file that proves by its hash that it still is.
struct Content {
    body: PutBody,
    hash: ContentHash,
    local: LocalVersion,
}

async fn read(context: &Context, path: &RelPath) -> Result<Content, Failure> {
    let mount = context.mount.clone();
    let path = path.clone();
    tokio::task::spawn_blocking(move || read_blocking(&mount, &path))
        .await
        .map_err(|error| Failure::Problem(ProblemKind::Io, error.to_string()))?
}

fn read_blocking(mount: &OpenMount, path: &RelPath) -> Result<Content, Failure> {
    let failed = |error| LocalError::new("read", path, error);
    let (mut file, fingerprint) = match mount.root.open_file(path) {
        Err(error) if content::is_link(&error) => return read_link(mount, path),
        opened => opened?,
    };
    let local = LocalVersion::seen(fingerprint, SystemTime::now());
    let mut hasher = ContentHasher::default();
    let body = if fingerprint.size_bytes <= IN_MEMORY_BYTES {
        let mut content = Vec::with_capacity(usize::try_from(fingerprint.size_bytes).unwrap_or(0));
        (&mut file)
            .take(IN_MEMORY_BYTES + 1)
            .read_to_end(&mut content)
            .map_err(failed)?;
        hasher.update(&content);
        PutBody::Bytes(Bytes::from(content))
    } else {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
        }
        PutBody::File {
            file: file.try_clone().map_err(failed)?,
            size_bytes: fingerprint.size_bytes,
        }
    };
    let hash = hasher.finish();
    let after = Fingerprint::of(&file.metadata().map_err(failed)?);
    // Written to while it was read: what was read may be half of each version.
    if after != fingerprint || hash.size_bytes != fingerprint.size_bytes {
        return Err(Failure::Changing);
    }
    Ok(Content { body, hash, local })
}

/// A link is sent as its target. It is checked here once more: what was planned may be another link by now.
fn read_link(mount: &OpenMount, path: &RelPath) -> Result<Content, Failure> {
    let (target, fingerprint) = mount.root.read_link(path)?;
    if let Err(refusal) = link::check(path, &target, &mount.rules) {
        let message = format!("the link is not synchronised: {refusal}");
        return Err(Failure::Problem(ProblemKind::Unsupported, message));
    }
    let mut hasher = ContentHasher::default();
    hasher.update(&target);
    Ok(Content {
        body: PutBody::Bytes(Bytes::from(target)),
        hash: hasher.finish(),
        local: LocalVersion::seen(fingerprint, SystemTime::now()),
    })
}

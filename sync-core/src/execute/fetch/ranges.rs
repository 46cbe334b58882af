//! A large object in stretches over several connections.
//!
//! Every stretch goes to its place in the preallocated file, whichever comes first; the hash follows as far as everything
//! is there. One stretch that fails ends the download.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio_util::task::AbortOnDropHandle;

use super::{WRITE_BYTES, blocking, length};
use crate::{
    digest::ETag,
    execute::{Context, Failure},
    failpoint::Point,
    join::RemoteEntry,
    path::ObjectKey,
    report::ProblemKind,
    root::LocalError,
    stage::{StageWriter, Writeback},
    store::{More, ObjectInfo, ObjectReader},
};

/// Larger objects come in stretches.
pub(super) const THRESHOLD_BYTES: u64 = 32 * 1024 * 1024;
/// Length of a stretch: one that breaks costs little, and the overhead of a request vanishes.
const STRETCH_BYTES: u64 = 16 * 1024 * 1024;

/// The object's information, and its content in a staged file.
pub(super) async fn fetch(
    context: &Arc<Context>,
    remote: &RemoteEntry,
) -> Result<(ObjectInfo, StageWriter), Failure> {
    let size_bytes = remote.version.size_bytes;
    let mount = context.mount.clone();
    let mut writer = blocking(move || {
        let writer = StageWriter::create(&mount.root)?;
        writer.reserve(size_bytes)?;
        Ok(writer)
    })
    .await?;
    let source = Arc::new(Source {
        context: context.clone(),
        key: remote.key.clone(),
        etag: remote.version.etag.clone(),
        size_bytes,
        file: writer.file().clone(),
    });
    let mut arriving = futures_util::stream::iter(stretches(size_bytes).map(|range| {
        let source = source.clone();
        let end = range.end;
        let copy = async move { source.copy(range).await.map(|info| (end, info)) };
        AbortOnDropHandle::new(tokio::spawn(copy))
    }))
    .buffered(context.concurrency.max(1));
    let mut first = None;
    while let Some(arrived) = arriving.next().await {
        let arrived = arrived
            .map_err(|error| Failure::Problem(ProblemKind::Io, error.to_string()))
            .flatten();
        let (end, info) = arrived?;
        first.get_or_insert(info);
        writer = blocking(move || writer.hash_up_to(end).map(|()| writer)).await?;
    }
    first.map(|info| (info, writer)).ok_or(Failure::Stale)
}

fn stretches(size_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    (0..size_bytes.div_ceil(STRETCH_BYTES)).map(move |index| {
        let start = index * STRETCH_BYTES;
        start..(start + STRETCH_BYTES).min(size_bytes)
    })
}

/// Where stretches come from and go to.
struct Source {
    context: Arc<Context>,
    key: ObjectKey,
    etag: ETag,
    size_bytes: u64,
    file: Arc<File>,
}

impl Source {
    async fn copy(&self, range: Range<u64>) -> Result<ObjectInfo, Failure> {
        let _permit = self.context.permit().await;
        let mut position = range.start;
        let mut writeback = Writeback::from(position);
        let mut reader = ObjectReader::part(&*self.context.store, &self.key, &self.etag, range);
        let info = reader.open().await?;
        if info.size_bytes != self.size_bytes {
            return Err(Failure::Stale);
        }
        loop {
            let mut pieces = Vec::new();
            let more = reader.read(&mut pieces, WRITE_BYTES).await?;
            let bytes = length(&pieces);
            self.context.progress.bytes(bytes);
            let (file, key) = (self.file.clone(), self.key.clone());
            writeback = blocking(move || {
                let mut offset = position;
                let write = |piece: &Bytes| {
                    let written = file.write_all_at(piece, offset);
                    offset += piece.len() as u64;
                    written
                };
                let written = pieces.iter().try_for_each(write);
                written.map_err(|error| LocalError::new("stage", key, error))?;
                writeback.reached(&file, offset);
                Ok(writeback)
            })
            .await?;
            self.context.mount.root.reached(Point::StagingBegun);
            position += bytes;
            if more == More::No {
                return Ok(info);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_cover_everything_once() {
        for size in [
            1,
            STRETCH_BYTES - 1,
            STRETCH_BYTES,
            STRETCH_BYTES + 1,
            5 * STRETCH_BYTES + 7,
        ] {
            let mut end = 0;
            for range in stretches(size) {
                assert_eq!(range.start, end);
                assert!(range.end - range.start <= STRETCH_BYTES && !range.is_empty());
                end = range.end;
            }
            assert_eq!(end, size);
        }
        assert_eq!(stretches(0).count(), 0);
    }
}

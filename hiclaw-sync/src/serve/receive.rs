//! Takes in the body of a request: counts it, hashes it, compares it with what was said about it, and puts it where it
//! will stay.
//!
//! Owns the way of content from the socket to the disk. What is returned is complete, verified and synced, but no row
//! names it yet; dropped, it leaves nothing behind.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use s3s::{S3Error, S3Result, TrailingHeaders, dto::StreamingBlob, s3_error};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    checksum::{Digests, Expected, Hasher},
    error::{StoreError, body_error},
    store::{BlobFiles, NewBlob, NewContent},
};

/// Content up to this size is kept in the catalogue: one sync serves many such objects, a file needs one of its own.
const MAXIMUM_INLINE_BYTES: usize = 64 * 1024;
/// Largest content of one request.
const MAXIMUM_BODY_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Pieces of a body on their way to the disk.
const QUEUE: usize = 16;

/// A body that is still to be read.
pub(crate) struct Incoming {
    pub(crate) body: Option<StreamingBlob>,
    /// What the request says its length is.
    pub(crate) length: Option<i64>,
    pub(crate) expected: Expected,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// Where small content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Into the catalogue.
    Inline,
    /// Into a file, as all content.
    File,
}

/// A body that was read to its end and is what it was said to be.
pub(crate) struct Received {
    pub(crate) content: NewContent,
    pub(crate) size_bytes: u64,
    pub(crate) digests: Digests,
}

/// Reads a body to its end.
pub(crate) async fn receive(
    blobs: &Arc<BlobFiles>,
    incoming: Incoming,
    placement: Placement,
) -> S3Result<Received> {
    let Incoming {
        body,
        length,
        expected,
        trailers,
    } = incoming;
    let length = length.and_then(|length| u64::try_from(length).ok());
    if length.is_some_and(|length| length > MAXIMUM_BODY_BYTES) {
        return Err(too_large());
    }
    let hasher = expected.hasher();
    let received = match body {
        Some(body) => read(blobs, body, hasher, placement).await?,
        None => Received {
            content: NewContent::Empty,
            size_bytes: 0,
            digests: hasher.finish(),
        },
    };
    if length.is_some_and(|length| length != received.size_bytes) {
        return Err(s3_error!(
            IncompleteBody,
            "The body is not as long as its length says."
        ));
    }
    let trailers = trailers.and_then(|trailers| trailers.take());
    expected.check(&received.digests, trailers.as_ref())?;
    Ok(received)
}

fn too_large() -> S3Error {
    s3_error!(
        EntityTooLarge,
        "Your proposed upload exceeds the maximum allowed size."
    )
}

async fn read(
    blobs: &Arc<BlobFiles>,
    mut body: StreamingBlob,
    mut hasher: Hasher,
    placement: Placement,
) -> S3Result<Received> {
    let mut small = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(body_error)?;
        let has_room = small.len() + piece.len() <= MAXIMUM_INLINE_BYTES;
        if has_room && placement == Placement::Inline {
            small.extend_from_slice(&piece);
            continue;
        }
        let mut sink = Sink::start(Arc::clone(blobs), hasher);
        sink.send(small.freeze()).await?;
        sink.send(piece).await?;
        while let Some(piece) = body.next().await {
            sink.send(piece.map_err(body_error)?).await?;
        }
        return sink.finish().await;
    }
    hasher.update(&small);
    let size_bytes = small.len() as u64;
    let content = if small.is_empty() {
        NewContent::Empty
    } else {
        NewContent::Inline(small.freeze())
    };
    Ok(Received {
        content,
        size_bytes,
        digests: hasher.finish(),
    })
}

/// What goes to the thread that writes a file.
enum Piece {
    Data(Bytes),
    /// The body is complete. Without it the request was given up, and the file goes.
    End,
}

/// A file being written on a thread of its own.
struct Sink {
    pieces: mpsc::Sender<Piece>,
    task: JoinHandle<Result<Received, StoreError>>,
    size_bytes: u64,
}

impl Sink {
    fn start(blobs: Arc<BlobFiles>, hasher: Hasher) -> Self {
        let (pieces, queue) = mpsc::channel(QUEUE);
        let task = tokio::task::spawn_blocking(move || {
            let (blob, file) = blobs.create()?;
            write(blob, file, hasher, queue)
        });
        Self {
            pieces,
            task,
            size_bytes: 0,
        }
    }

    async fn send(&mut self, data: Bytes) -> S3Result<()> {
        self.size_bytes += data.len() as u64;
        if self.size_bytes > MAXIMUM_BODY_BYTES {
            return Err(too_large());
        }
        self.pass(Piece::Data(data)).await
    }

    /// The queue is closed only when the thread failed, and then it says why.
    async fn pass(&mut self, piece: Piece) -> S3Result<()> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        match (&mut self.task).await {
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => Err(StoreError::Closed.into()),
        }
    }

    async fn finish(mut self) -> S3Result<Received> {
        self.pass(Piece::End).await?;
        let received = self.task.await.map_err(|_| StoreError::Closed)?;
        Ok(received?)
    }
}

fn write(
    blob: NewBlob,
    file: File,
    mut hasher: Hasher,
    mut queue: mpsc::Receiver<Piece>,
) -> Result<Received, StoreError> {
    let mut file = BufWriter::with_capacity(256 * 1024, file);
    let mut length_bytes = 0;
    loop {
        match queue.blocking_recv() {
            Some(Piece::Data(data)) => {
                file.write_all(&data)
                    .map_err(failed("write", blob.path()))?;
                hasher.update(&data);
                length_bytes += data.len() as u64;
            }
            Some(Piece::End) => break,
            None => return Err(StoreError::Closed),
        }
    }
    let file = file
        .into_inner()
        .map_err(|error| failed("write", blob.path())(error.into_error()))?;
    file.sync_all().map_err(failed("sync", blob.path()))?;
    Ok(Received {
        content: NewContent::File { blob, length_bytes },
        size_bytes: length_bytes,
        digests: hasher.finish(),
    })
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Blob {
        operation,
        path,
        source,
    }
}

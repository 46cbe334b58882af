//! Sends content: any stretch of an object, as a stream.
//!
//! Owns the way of content from the disk to the socket. Files are opened one after the other, and cannot go away meanwhile:
//! the stream holds a visit.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::stream;
use s3s::{Body, dto::StreamingBlob};

use super::{
    error::StoreError,
    store::{BlobFiles, Segment, SegmentSource, Visit},
};

/// Bytes read from a file at once.
const CHUNK_BYTES: u64 = 512 * 1024;

/// What is still to be sent, first to last.
struct Source {
    pieces: VecDeque<Piece>,
    _visit: Visit,
}

enum Piece {
    Memory(Bytes),
    File {
        path: PathBuf,
        start: u64,
        length_bytes: u64,
    },
    Open {
        path: PathBuf,
        file: File,
        left_bytes: u64,
    },
}

/// A stream of the bytes in `range` of the content made of `segments`.
///
/// Fails at once when the first file can't be opened; a failure later on breaks the stream off.
pub(crate) async fn content(
    blobs: &Arc<BlobFiles>,
    segments: Vec<Segment>,
    range: Range<u64>,
    visit: Visit,
) -> Result<StreamingBlob, StoreError> {
    let mut pieces = cut(blobs, segments, range);
    match pieces.pop_front() {
        None => return Ok(Body::empty().into()),
        Some(Piece::Memory(data)) if pieces.is_empty() => return Ok(Body::from(data).into()),
        Some(first) => {
            let opened = tokio::task::spawn_blocking(|| open(first))
                .await
                .map_err(|_| StoreError::Closed)?;
            pieces.push_front(opened?);
        }
    }
    let source = Source {
        pieces,
        _visit: visit,
    };
    Ok(StreamingBlob::wrap(stream::try_unfold(
        source,
        |source| async {
            tokio::task::spawn_blocking(|| next_chunk(source))
                .await
                .map_err(|_| StoreError::Closed)?
        },
    )))
}

/// The parts of `segments` that lie in `range`.
fn cut(blobs: &BlobFiles, segments: Vec<Segment>, range: Range<u64>) -> VecDeque<Piece> {
    let mut pieces = VecDeque::new();
    let mut position = 0;
    for segment in segments {
        let (begin, end) = (position, position + segment.length_bytes);
        position = end;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from >= to {
            continue;
        }
        let (start, length_bytes) = (segment.start + (from - begin), to - from);
        pieces.push_back(match segment.source {
            SegmentSource::Inline(data) => Piece::Memory(slice(&data, start, length_bytes)),
            SegmentSource::File(blob) => Piece::File {
                path: blobs.path(blob),
                start,
                length_bytes,
            },
        });
    }
    pieces
}

fn slice(data: &Bytes, start: u64, length_bytes: u64) -> Bytes {
    let clamp = |number: u64| {
        usize::try_from(number)
            .unwrap_or(usize::MAX)
            .min(data.len())
    };
    data.slice(clamp(start)..clamp(start + length_bytes))
}

fn open(piece: Piece) -> Result<Piece, StoreError> {
    match piece {
        Piece::Memory(_) | Piece::Open { .. } => Ok(piece),
        Piece::File {
            path,
            start,
            length_bytes,
        } => {
            let failed = |operation| {
                let path = path.clone();
                move |source| StoreError::Blob {
                    operation,
                    path,
                    source,
                }
            };
            let mut file = File::open(&path).map_err(failed("open"))?;
            if start > 0 {
                file.seek(SeekFrom::Start(start))
                    .map_err(failed("seek in"))?;
            }
            Ok(Piece::Open {
                path,
                file,
                left_bytes: length_bytes,
            })
        }
    }
}

fn next_chunk(mut source: Source) -> Result<Option<(Bytes, Source)>, StoreError> {
    let Some(piece) = source.pieces.pop_front() else {
        return Ok(None);
    };
    match open(piece)? {
        Piece::Memory(data) => Ok(Some((data, source))),
        Piece::File { .. } => Ok(None),
        Piece::Open {
            path,
            mut file,
            left_bytes,
        } => {
            let wanted = left_bytes.min(CHUNK_BYTES);
            let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
            let read = (&mut file).take(wanted).read_to_end(&mut chunk);
            let is_short = chunk.len() as u64 != wanted;
            let read = read.and_then(|_| {
                if is_short {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(())
                }
            });
            read.map_err(|source| StoreError::Blob {
                operation: "read",
                path: path.clone(),
                source,
            })?;
            if left_bytes > wanted {
                source.pieces.push_front(Piece::Open {
                    path,
                    file,
                    left_bytes: left_bytes - wanted,
                });
            }
            Ok(Some((chunk.into(), source)))
        }
    }
}

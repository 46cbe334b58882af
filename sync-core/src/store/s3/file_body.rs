//! A stretch of an open file as a request's body.
//!
//! Holds one piece in memory, whatever the length. Reads by position, so any number of bodies of one file can be sent at
//! once, and a body can be sent again. A file that is shorter than announced fails the request.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes read at once: large enough that going to another thread for them costs nothing, small enough that dozens of
/// bodies together take a few megabytes.
const PIECE_BYTES: u64 = 256 * 1024;

/// The body of `length` bytes from `offset` on.
pub(super) fn file_body(file: &Arc<File>, offset: u64, length: u64) -> ByteStream {
    let file = file.clone();
    ByteStream::new(SdkBody::retryable(move || {
        let body = FileBody {
            file: file.clone(),
            offset,
            left_bytes: length,
            reading: None,
        };
        SdkBody::from_body_1_x(body.boxed())
    }))
}

struct FileBody {
    file: Arc<File>,
    offset: u64,
    left_bytes: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        let (offset, length) = (self.offset, self.left_bytes.min(PIECE_BYTES));
        let file = self.file.clone();
        let reading = self.reading.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || read(&file, offset, length))
        });
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece = read.map_err(io::Error::other).flatten();
        if let Ok(piece) = &piece {
            self.offset += piece.len() as u64;
            self.left_bytes -= piece.len() as u64;
        } else {
            self.left_bytes = 0;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

fn read(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut piece, offset)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(length: usize) -> (Arc<File>, Vec<u8>) {
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        (Arc::new(file), content)
    }

    #[tokio::test]
    async fn a_body_is_the_stretch_of_the_file() {
        let (file, content) = file(700_000);
        for (offset, length) in [
            (0, 0),
            (0, 1),
            (0, 700_000),
            (1, 262_144),
            (262_143, 262_146),
        ] {
            let sent = file_body(&file, offset as u64, length as u64);
            let sent = sent.collect().await.unwrap().into_bytes();
            assert_eq!(sent, content[offset..offset + length], "{offset}, {length}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_fails_the_body() {
        let (file, _) = file(300_000);
        let sent = file_body(&file, 0, 300_001);
        assert!(sent.collect().await.is_err());
    }
}

//! Lines of bounded length, read in a way that may be interrupted anywhere.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end. The last one may lack it.
    Text(Vec<u8>),
    /// A line longer than the limit. Nothing sensible can follow.
    TooLong,
    /// The other side sends no more.
    End,
}

#[derive(Debug)]
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    /// The part of a line that was read so far.
    partial: Vec<u8>,
    limit_bytes: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(reader: R, limit_bytes: usize) -> Self {
        Self {
            reader: BufReader::new(reader),
            partial: Vec::new(),
            limit_bytes,
        }
    }

    /// The next line. Cancel safe: what was read stays for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                let rest = std::mem::take(&mut self.partial);
                return Ok(if rest.is_empty() {
                    Line::End
                } else {
                    Line::Text(rest)
                });
            }
            let mut parts = available.splitn(2, |byte| *byte == b'\n');
            let part = parts.next().unwrap_or_default();
            let ended = parts.next().is_some();
            if self.partial.len() + part.len() > self.limit_bytes {
                return Ok(Line::TooLong);
            }
            self.partial.extend_from_slice(part);
            let used = part.len() + usize::from(ended);
            self.reader.consume(used);
            if ended {
                return Ok(Line::Text(std::mem::take(&mut self.partial)));
            }
        }
    }
}

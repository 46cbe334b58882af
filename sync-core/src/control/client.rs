//! The asking end.

use std::{io, path::Path};

use serde_json::Value;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    ControlError, Refusal, Reply, ReplyBody, Request,
    lines::{Line, LineReader},
    socket,
};

/// Longest answer that is read. A report of a hundred thousand files fits.
const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// A connection to a resident engine.
#[derive(Debug)]
pub struct ControlClient {
    lines: LineReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    last_id: u64,
}

impl ControlClient {
    /// Connects to the engine whose state is in `state_directory`; `None` when none is alive there.
    ///
    /// A socket outside of that directory counts as none unless its other end belongs to the engine's user or root.
    pub async fn connect(state_directory: &Path) -> Result<Option<Self>, ControlError> {
        for path in socket::candidates(state_directory) {
            match UnixStream::connect(&path).await {
                Ok(stream) if socket::is_trusted(&stream, &path, state_directory) => {
                    return Ok(Some(Self::new(stream)));
                }
                Ok(_) => {
                    tracing::warn!(path = %path.display(), "the control socket belongs to somebody else; it is not used");
                }
                Err(error) if socket::means_nobody(error.kind()) => {}
                Err(source) => return Err(ControlError::Connect { path, source }),
            }
        }
        Ok(None)
    }

    fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            lines: LineReader::new(read, ANSWER_LIMIT_BYTES),
            write,
            last_id: 0,
        }
    }

    /// Sends `request` and waits for its result, however long it takes; `on_event` gets each event before that.
    ///
    /// Dropping the future ends the waiting; what was asked for may be done nevertheless. The client can be used again.
    pub async fn call(
        &mut self,
        request: Request,
        mut on_event: impl FnMut(Value),
    ) -> Result<Value, ControlError> {
        self.last_id += 1;
        let request = Request {
            id: self.last_id,
            ..request
        };
        let mut line = serde_json::to_vec(&request).map_err(ControlError::Answer)?;
        line.push(b'\n');
        match self.write.write_all(&line).await {
            Ok(()) => {}
            // An engine that hung up may have said why.
            Err(error) if is_gone(error.kind()) => {}
            Err(error) => return Err(ControlError::Transport(error)),
        }
        loop {
            let Reply { id, body } = self.reply().await?;
            // A reply without id speaks of the connection as a whole.
            if id.is_some_and(|id| id != request.id) {
                continue;
            }
            match body {
                ReplyBody::Event(event) => on_event(event),
                ReplyBody::Result(result) => return Ok(result),
                ReplyBody::Error(Refusal { kind, message }) => {
                    return Err(ControlError::Refused { kind, message });
                }
            }
        }
    }

    async fn reply(&mut self) -> Result<Reply, ControlError> {
        match self.lines.next().await {
            Ok(Line::Text(line)) => serde_json::from_slice(&line).map_err(|error| {
                // A line that ends in the middle was cut off.
                if error.is_eof() {
                    ControlError::Gone
                } else {
                    ControlError::Answer(error)
                }
            }),
            Ok(Line::TooLong) => Err(ControlError::AnswerTooLong),
            Ok(Line::End) => Err(ControlError::Gone),
            Err(error) if is_gone(error.kind()) => Err(ControlError::Gone),
            Err(error) => Err(ControlError::Transport(error)),
        }
    }
}

fn is_gone(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        kind,
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
    )
}

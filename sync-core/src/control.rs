//! The control socket: how other programs of this machine ask the resident engine.
//!
//! Owns the protocol, the socket's place and permissions, and both ends of a connection. Never decides what a request
//! does: that is a [`Handler`]'s.
//!
//! The socket is `<state directory>/control.sock`, for its owner only. Where that path is too long for a socket it is in a
//! private directory elsewhere, and `<state directory>/control.path` holds its path. Both directions carry one JSON
//! document per line:
//!
//! ```text
//! → {"id":1,"op":"pull","paths":[]}
//! ← {"id":1,"event":…}                              any number of times
//! ← {"id":1,"result":…}                             or, in its place:
//! ← {"id":1,"error":{"kind":"unreachable","message":"…"}}
//! ```
//!
//! Requests of one connection may overlap; `id` tells whose a reply is. Unknown fields are ignored on both sides.

mod client;
mod lines;
mod server;
mod socket;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::Side;

pub use self::{
    client::ControlClient,
    server::{ClientGone, ControlServer, EventSink, Handler},
    socket::BindError,
};

/// Kind of an error reply: the line is no request.
pub const KIND_INVALID: &str = "invalid";
/// Kind of an error reply: the line is too long, and the connection ends.
pub const KIND_TOO_LONG: &str = "too-long";
/// Kind of an error reply: too many clients are connected.
pub const KIND_BUSY: &str = "busy";
/// Kind of an error reply for failures that have no other.
pub const KIND_FAILED: &str = "failed";

/// What is asked of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the client; its replies carry it. [`ControlClient::call`] sets it.
    #[serde(default)]
    pub id: u64,
    /// What to do.
    pub op: Op,
    /// What to do it to; everything when empty. As the user wrote them.
    #[serde(default)]
    pub paths: Vec<String>,
    /// For [`Op::Plan`]: which pass to plan, as the command line names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// For [`Op::Conflicts`]: what to do with them; they are listed when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ConflictAction>,
    /// For [`ConflictAction::Resolve`]: whose version is to stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<Side>,
}

/// What to do with conflict copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConflictAction {
    /// List all.
    List,
    /// Show the versions of the one path.
    Show,
    /// Let one version of the one path stand.
    Resolve,
}

impl Request {
    /// `op` on everything.
    #[must_use]
    pub fn new(op: Op) -> Self {
        Self {
            id: 0,
            op,
            paths: Vec::new(),
            direction: None,
            action: None,
            take: None,
        }
    }
}

/// What an engine can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// Bring the files up to date.
    Pull,
    /// Send local changes.
    Push,
    /// Both in one pass.
    Sync,
    /// Say what a pass would do.
    Plan,
    /// Say how things are.
    Status,
    /// List conflict copies, show or resolve one.
    Conflicts,
    /// Release deletes that a brake holds.
    Approve,
    /// Send everything that is dirty, without waiting for quiet.
    Flush,
    /// Send events until the client shuts down its sending side or closes the connection.
    Subscribe,
}

/// One line from the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Which request it belongs to; none when that could not be read.
    pub id: Option<u64>,
    /// What it says.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// What a [`Reply`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyBody {
    /// Something happened; more lines follow.
    Event(Value),
    /// The request is done.
    Result(Value),
    /// The request failed.
    Error(Refusal),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable word for programs.
    pub kind: String,
    /// What happened, for people.
    pub message: String,
}

impl Refusal {
    fn new(kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The engine said so.
    #[error("{message}")]
    Refused {
        /// A stable word for programs.
        kind: String,
        /// What happened, for people.
        message: String,
    },
    /// There is an engine, but no connection to it.
    #[error("can't connect to the resident engine at {}", path.display())]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended before the result came.
    #[error(
        "the resident engine went away before it answered; what it had begun may be done in part"
    )]
    Gone,
    /// The connection failed.
    #[error("the connection to the resident engine failed")]
    Transport(#[source] io::Error),
    /// The engine's answer is no reply.
    #[error("the resident engine's answer is not understood; is it of another version?")]
    Answer(#[source] serde_json::Error),
    /// The engine's answer is longer than any should be.
    #[error("the resident engine's answer is too long")]
    AnswerTooLong,
}

impl From<Refusal> for ControlError {
    fn from(Refusal { kind, message }: Refusal) -> Self {
        Self::Refused { kind, message }
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused { kind, message } => Self { kind, message },
            ControlError::Connect { .. }
            | ControlError::Gone
            | ControlError::Transport(_)
            | ControlError::Answer(_)
            | ControlError::AnswerTooLong => Self::new(KIND_FAILED, error.to_string()),
        }
    }
}

/// Reads a request. An error comes with the request's id, as far as it can be made out.
fn parse(line: &[u8]) -> Result<Request, (Option<u64>, Refusal)> {
    let invalid = |id, error: serde_json::Error| {
        let message = format!("this is no request: {error}");
        (id, Refusal::new(KIND_INVALID, message))
    };
    let document: Value = serde_json::from_slice(line).map_err(|error| invalid(None, error))?;
    let id = document.get("id").and_then(Value::as_u64);
    Request::deserialize(document).map_err(|error| invalid(id, error))
}

//! An answer's body that stands still while the line is mute.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{mpsc, watch};

use super::{Body, BoxError, Line};

/// The frames that passed.
pub(super) struct Mutable(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

/// Passes on what `body` gives, but for the time in which `line` is mute.
pub(super) fn mutable(mut body: Body, mut line: watch::Receiver<Line>) -> Mutable {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                // Whoever read is gone, and so is whoever writes, as soon as the body is dropped.
                () = sender.closed() => return,
            };
            let Some(frame) = frame else { return };
            if line.wait_for(|line| *line != Line::Mute).await.is_err()
                || sender.send(frame).await.is_err()
            {
                return;
            }
        }
    });
    Mutable(receiver)
}

impl HttpBody for Mutable {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context)
    }
}

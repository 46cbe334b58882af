//! The control socket: whatever a client sends, every answer is a reply, and the next client is served.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use proptest::prelude::*;
use serde_json::{Value, json};
use sync_core::control::{
    ControlError, ControlServer, EventSink, Handler, Reply, ReplyBody, Request,
};

use super::{fuzz, harness::Checked};

/// Long enough for any machine: only a defect waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Echo;

impl Handler for Echo {
    fn handle(
        &self,
        request: Request,
        _events: EventSink,
    ) -> BoxFuture<'static, Result<Value, ControlError>> {
        async move { Ok(json!(request.paths)) }.boxed()
    }
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let op = prop_oneof![
        Just("pull"),
        Just("status"),
        Just("approve"),
        Just("nothing")
    ];
    let line = (any::<i64>(), op, "\\PC{0,12}", any::<bool>()).prop_map(|(id, op, path, whole)| {
        let mut line = json!({ "id": id, "op": op, "paths": [path], "more": {} }).to_string();
        if !whole {
            line.truncate(line.floor_char_boundary(line.len() / 2));
        }
        line
    });
    prop::collection::vec(line, 0..5).prop_map(|lines| lines.join("\n").into_bytes())
}

#[test]
fn lines_of_clients() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let server = {
        let _inside = runtime.enter();
        ControlServer::bind(dir.path(), Arc::new(Echo)).unwrap()
    };
    let socket = server.path().to_owned();
    fuzz("control", 5, lines(), move |input| {
        let connect = || {
            let stream = UnixStream::connect(&socket).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        };
        replies(connect(), input)?;
        let sane = replies(connect(), br#"{"id":7,"op":"pull","paths":["x"]}"#)?;
        let expected = Reply {
            id: Some(7),
            body: ReplyBody::Result(json!(["x"])),
        };
        prop_assert_eq!(sane, [expected]);
        Ok(())
    });
}

/// Everything that is answered to `input`: at most one reply for each line.
fn replies(mut stream: UnixStream, input: &[u8]) -> Result<Vec<Reply>, TestCaseError> {
    // The other side may have had enough before it has read everything.
    if stream.write_all(input).is_ok() {
        stream.shutdown(Shutdown::Write).ok();
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        prop_assert!(reset, "no end of the answers: {error}");
    }
    let mut replies = Vec::new();
    for line in answer
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let reply = serde_json::from_slice(line);
        prop_assert!(reply.is_ok(), "no reply: {}", line.escape_ascii());
        replies.push(reply.unwrap());
    }
    let lines = input.split(|byte| *byte == b'\n').count();
    check_count(replies.len(), lines)?;
    Ok(replies)
}

fn check_count(replies: usize, lines: usize) -> Checked {
    prop_assert!(replies <= lines, "{replies} replies to {lines} lines");
    Ok(())
}

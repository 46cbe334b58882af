//! A stand-in for the language model behind an agent: an OpenAI-compatible chat endpoint that calls one tool and stops.

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::stub::{Received, Reply, Stub};

/// Path of the chat endpoint.
pub const CHAT: &str = "/v1/chat/completions";

/// A model that answers every new message by writing `content` to `path` with the agent's `write` tool, and the tool's
/// result with a word.
pub async fn writing(path: &str, content: &str) -> Result<Stub> {
    let arguments = json!({"path": path, "content": content}).to_string();
    Stub::answering(move |request| {
        (request.path == CHAT).then(|| {
            if has_tool_result(request) {
                stream(&[json!({"role": "assistant", "content": "done"})], "stop")
            } else {
                let function = json!({"name": "write", "arguments": arguments});
                let call =
                    json!({"index": 0, "id": "call_1", "type": "function", "function": function});
                stream(
                    &[json!({"role": "assistant", "tool_calls": [call]})],
                    "tool_calls",
                )
            }
        })
    })
    .await
}

/// The tool's result need not be the last message: the agent may add some of its own behind it.
fn has_tool_result(request: &Received) -> bool {
    let body = request.json().unwrap_or_default();
    let messages = body.get("messages").and_then(Value::as_array);
    messages.is_some_and(|messages| {
        messages
            .iter()
            .any(|message| message.get("role") == Some(&json!("tool")))
    })
}

fn stream(deltas: &[Value], finish_reason: &str) -> Reply {
    let chunk = |delta: &Value, reason: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
        let chunk = json!({"id": "chat", "object": "chat.completion.chunk", "created": 1, "model": "test", "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let mut body: String = deltas
        .iter()
        .map(|delta| chunk(delta, Value::Null))
        .collect();
    body.push_str(&chunk(&json!({}), json!(finish_reason)));
    body.push_str("data: [DONE]\n\n");
    Reply {
        status: 200,
        content_type: "text/event-stream",
        body: Bytes::from(body),
    }
}

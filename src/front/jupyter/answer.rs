//! Requests that are answered from existing state, even while a cell runs.

use std::sync::Arc;

use jupyter_zmq_client::RawMessage;
use rhai::Engine;
use serde_json::Value;

use super::cell::history;
use super::complete;
use super::message::{self, Request};
use super::shared::Shared;

/// Returns the content of the reply, or why there is none; `None` for a request of another type, or if the engine
/// that it needs does not exist yet.
pub fn content(request: &Request, shared: &Shared) -> Option<Result<Value, String>> {
    Some(match request.kind() {
        "complete_request" => request.fields().map(|wanted| complete::complete(&wanted, shared)),
        "inspect_request" => request.fields().map(|wanted| complete::inspect(&wanted, shared)),
        "history_request" => request.fields().map(|wanted| history(shared, &wanted)),
        "is_complete_request" => {
            let engine = shared.engine()?;
            request.fields().map(|m: message::IsComplete| complete::is_complete(&m.code, engine))
        }
        _ => return None,
    })
}

/// The Jupyter kernel without sockets: takes the parts of messages, whatever they are, and returns its replies.
pub struct Answers {
    shared: Shared,
}

impl Answers {
    /// Creates a Jupyter kernel for a session of this engine, before its first cell.
    pub fn new(engine: Arc<Engine>) -> Self {
        let shared = Shared::default();
        shared.ready(engine);
        Self { shared }
    }

    /// Returns the content of the reply to a message with these parts, as they come from a socket: identities,
    /// `<IDS|MSG>`, signature (which is not checked), header, parent header, metadata, content. Returns `None` for
    /// messages that only a session answers, and an error text for a malformed message.
    pub fn answer(&self, parts: Vec<Vec<u8>>) -> Result<Option<Value>, String> {
        let mut parts = parts.into_iter();
        let mut whole = zeromq::ZmqMessage::from(parts.next().unwrap_or_default());
        parts.for_each(|part| whole.push_back(part.into()));
        let request = message::decode(RawMessage::from_multipart(whole, &None))?;
        if request.kind() == "execute_request" {
            return request.fields::<message::Execute>().map(|_| None);
        }
        content(&request, &self.shared).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(kind: &str, content: &str) -> Vec<Vec<u8>> {
        let header = format!("{{\"msg_id\": \"1\", \"msg_type\": \"{kind}\"}}");
        ["client", "<IDS|MSG>", "", &header, "{}", "{}", content]
            .map(|part| part.as_bytes().to_vec())
            .to_vec()
    }

    #[test]
    fn messages_are_answered_without_a_socket() {
        let answers = Answers::new(Arc::new(Engine::new()));
        let whole = answers.answer(parts("is_complete_request", "{\"code\": \"1 + 1\"}")).unwrap().unwrap();
        assert_eq!(whole["status"], "complete");
        let found =
            answers.answer(parts("inspect_request", "{\"code\": \"filter::gaussian\"}")).unwrap().unwrap();
        assert_eq!(found["found"], true);
        assert_eq!(answers.answer(parts("execute_request", "{\"code\": \"1\"}")), Ok(None));
        assert_eq!(answers.answer(parts("something_new", "[]")), Ok(None));
    }

    #[test]
    fn what_is_no_message_is_refused_in_words() {
        let answers = Answers::new(Arc::new(Engine::new()));
        let whole = parts("complete_request", "{\"code\": \"a\", \"cursor_pos\": 9}");
        for kept in 0..whole.len() {
            let error = answers.answer(whole[..kept].to_vec()).unwrap_err();
            assert!(error.starts_with("a message was dropped"), "{kept}: {error}");
        }
        for content in ["", "[", "{\"code\": 5}", "{\"code\": \"a\", \"cursor_pos\": -1}"] {
            let error = answers.answer(parts("complete_request", content)).unwrap_err();
            assert!(error.contains("dropped") || error.contains("malformed"), "{content}: {error}");
        }
    }
}

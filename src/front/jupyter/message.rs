//! Lenient parsing of requests, and replies.
//!
//! The protocol's crate requires every field of the specification, so a client that leaves one out would wait
//! forever. Here missing fields have their defaults, and fields of a wrong type are answered with an error.

use std::collections::BTreeMap;

use jupyter_protocol::{Header, JupyterMessage, JupyterMessageContent, ReplyError, UnknownMessage};
use jupyter_zmq_client::{RawMessage, RouterRecvConnection, RuntimeError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeromq::SocketRecv;

/// Supported version of the messaging protocol.
pub const PROTOCOL: &str = "5.4";

/// Message from a client with a valid signature.
#[derive(Clone)]
pub struct Request {
    /// Message that replies refer to; its own content is not read.
    pub parent: JupyterMessage,
    /// Content.
    pub content: Value,
}

impl Request {
    /// Returns the message type, such as `execute_request`.
    pub fn kind(&self) -> &str {
        &self.parent.header.msg_type
    }

    /// Parses the content as the fields of a request.
    pub fn fields<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(self.content.clone())
            .map_err(|error| format!("the {} is malformed: {error}", self.kind().replace('_', " ")))
    }

    /// Creates a message that answers this one.
    pub fn reply(&self, content: impl Into<JupyterMessageContent>) -> JupyterMessage {
        child(content, &self.parent)
    }

    /// Creates a reply with any content to a request of any type.
    pub fn reply_raw(&self, content: Value) -> JupyterMessage {
        let msg_type = self.kind().replace("_request", "_reply");
        self.reply(JupyterMessageContent::UnknownMessage(UnknownMessage { msg_type, content }))
    }

    /// Creates the error reply to a request that cannot be answered.
    pub fn refusal(&self, name: &str, message: &str) -> JupyterMessage {
        self.reply_raw(json!({ "status": "error", "ename": name, "evalue": message, "traceback": [message] }))
    }
}

/// Creates a message with another one as its parent.
pub fn child(content: impl Into<JupyterMessageContent>, parent: &JupyterMessage) -> JupyterMessage {
    let mut message = JupyterMessage::new(content, Some(parent));
    message.header.version = PROTOCOL.to_string();
    message.header.username = "kernel".to_string();
    message
}

/// Waits for the next message. A message that is malformed or not signed correctly returns an error text, and the
/// socket continues.
pub async fn read(socket: &mut RouterRecvConnection) -> Result<Request, String> {
    let parts = socket.socket.recv().await.map_err(|error| format!("the socket failed: {error}"))?;
    decode(RawMessage::from_multipart(parts, &socket.mac))
}

/// Decodes a message into a request: splits its parts and checks its signature.
pub fn decode(raw: Result<RawMessage, RuntimeError>) -> Result<Request, String> {
    let raw = raw.map_err(|error| format!("a message was dropped: {error}"))?;
    let json = |n: usize, what: &str| -> Result<Value, String> {
        serde_json::from_slice(&raw.jparts[n]).map_err(|e| format!("a message was dropped: its {what}: {e}"))
    };
    let header = header(json(0, "header")?)?;
    let msg_type = header.msg_type.clone();
    let (parent_header, metadata, content) =
        (json(1, "parent header")?, json(2, "metadata")?, json(3, "content")?);
    let parent = JupyterMessage {
        zmq_identities: raw.zmq_identities,
        header,
        parent_header: serde_json::from_value(parent_header).ok(),
        metadata,
        content: JupyterMessageContent::UnknownMessage(UnknownMessage { msg_type, content: Value::Null }),
        buffers: Vec::new(),
        channel: None,
    };
    Ok(Request { parent, content })
}

/// Parses a header; a date that cannot be parsed is replaced, so that the client gets an answer.
fn header(mut value: Value) -> Result<Header, String> {
    let fields = value.as_object_mut().ok_or("a message was dropped: its header is no object")?;
    for (name, default) in [("username", ""), ("session", ""), ("version", PROTOCOL)] {
        fields.entry(name).or_insert_with(|| default.into());
    }
    if let Ok(header) = serde_json::from_value(value.clone()) {
        return Ok(header);
    }
    value["date"] = "1970-01-01T00:00:00Z".into();
    serde_json::from_value(value).map_err(|error| format!("a message was dropped: its header: {error}"))
}

/// Returns the fields of an error, for replies and outputs.
pub fn error_fields(name: &str, message: &str, traceback: &str) -> ReplyError {
    ReplyError {
        ename: name.to_string(),
        evalue: message.to_string(),
        traceback: traceback.lines().map(str::to_string).collect(),
    }
}

/// `execute_request`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Execute {
    /// Code of the cell.
    pub code: String,
    /// Whether to run without output, history or number.
    pub silent: bool,
    /// Whether the cell gets a number and is stored in the history; silent cells never are.
    pub store_history: bool,
    /// Expressions to evaluate after the cell, by name.
    pub user_expressions: Option<BTreeMap<String, String>>,
    /// Whether the client can be asked for input.
    pub allow_stdin: bool,
    /// Whether an error drops the cells that wait.
    pub stop_on_error: bool,
}

impl Default for Execute {
    fn default() -> Self {
        Self {
            code: String::new(),
            silent: false,
            store_history: true,
            user_expressions: None,
            allow_stdin: false,
            stop_on_error: true,
        }
    }
}

/// `complete_request` and `inspect_request`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cursor {
    /// Code of the cell.
    pub code: String,
    /// Cursor position in characters; the end of the cell if missing.
    pub cursor_pos: Option<usize>,
    /// Level of detail of an inspection: 1 includes the source.
    pub detail_level: u8,
}

impl Cursor {
    /// Returns the cursor position in bytes; positions beyond the end count as the end.
    pub fn bytes(&self) -> usize {
        let wanted = self.cursor_pos.unwrap_or(usize::MAX);
        self.code.char_indices().nth(wanted).map_or(self.code.len(), |(at, _)| at)
    }

    /// Converts a position in bytes to characters.
    pub fn characters(&self, bytes: usize) -> usize {
        self.code.get(..bytes).map_or(0, |start| start.chars().count())
    }
}

/// `is_complete_request`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IsComplete {
    /// Code of the cell.
    pub code: String,
}

/// `history_request`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct History {
    /// `tail`, `range` or `search`.
    pub hist_access_type: String,
    /// Whether to include results.
    pub output: bool,
    /// Number of entries for `tail` and `search`.
    pub n: Option<usize>,
    /// First cell of a range; negative numbers count from the end.
    pub start: i64,
    /// Cell after the last of a range, counted in the same way.
    pub stop: Option<i64>,
    /// Search pattern, with `*` and `?`.
    pub pattern: Option<String>,
    /// Whether a search lists equal cells once.
    pub unique: bool,
}

/// `shutdown_request`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Shutdown {
    /// Whether the client starts the Jupyter kernel again.
    pub restart: bool,
}

/// `comm_open`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CommOpen {
    /// Id of the comm.
    pub comm_id: String,
}

/// `input_reply`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Input {
    /// What was typed.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(header: Value, content: Value) -> Result<Request, String> {
        let bytes = |v: &Value| serde_json::to_vec(v).unwrap().into();
        let jparts = vec![bytes(&header), bytes(&json!({})), bytes(&json!({})), bytes(&content)];
        decode(Ok(RawMessage { zmq_identities: Vec::new(), jparts }))
    }

    #[test]
    fn fields_that_are_missing_have_their_defaults() {
        let header = json!({ "msg_id": "1", "msg_type": "execute_request", "date": "yesterday" });
        let request = request(header, json!({ "code": "1 + 1", "surprise": 3 })).unwrap();
        let fields: Execute = request.fields().unwrap();
        assert_eq!(fields.code, "1 + 1");
        assert!(fields.store_history && fields.stop_on_error && !fields.silent);
        let reply = request.refusal("wrong", "no");
        assert_eq!(reply.header.msg_type, "execute_reply");
        assert_eq!(reply.parent_header.unwrap().msg_id, "1");
    }

    #[test]
    fn contents_of_a_wrong_type_are_named() {
        let header = json!({ "msg_id": "1", "msg_type": "execute_request" });
        let error = request(header, json!({ "code": 5 })).unwrap().fields::<Execute>().unwrap_err();
        assert!(error.starts_with("the execute request is malformed"), "{error}");
        assert!(request(json!([]), json!({})).is_err());
        assert!(request(json!({ "msg_type": 3 }), json!({})).is_err());
    }

    #[test]
    fn the_cursor_counts_characters() {
        let cursor = Cursor { code: "let α = β.".to_string(), cursor_pos: Some(10), ..Cursor::default() };
        assert_eq!(cursor.bytes(), 12);
        assert_eq!(cursor.characters(11), 9);
        assert_eq!(Cursor { cursor_pos: Some(99), ..cursor.clone() }.bytes(), 12);
        assert_eq!(Cursor { cursor_pos: None, ..cursor }.bytes(), 12);
    }
}

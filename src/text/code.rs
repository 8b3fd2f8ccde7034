//! Comparison of stored code: data with the texts of functions.

use super::tokens::{Kind, tokens};
use crate::declare::Value;

/// Key of the source texts of stored code.
pub const PIECES: &str = "pieces";

/// Returns a text as it is compared: its tokens, without comments and layout.
pub fn compared(text: &str) -> String {
    let kept = tokens(text).into_iter().filter(|token| token.kind != Kind::Comment);
    kept.map(|token| token.text).collect::<Vec<_>>().join("\n")
}

/// Returns a hash of all texts in stored code, in 16 hexadecimal digits.
pub fn hash(data: &Value) -> String {
    let mut all = String::new();
    collect(data, &mut all);
    super::sha256(&all)[..16].to_string()
}

fn collect(data: &Value, all: &mut String) {
    match data {
        Value::Map(map) => map.iter().for_each(|(name, value)| match value {
            Value::List(pieces) if name == PIECES => pieces.iter().for_each(|piece| {
                if let Value::Str(text) = piece {
                    all.push_str(&compared(text));
                    all.push('\0');
                }
            }),
            value => collect(value, all),
        }),
        Value::List(list) => list.iter().for_each(|value| collect(value, all)),
        _ => {}
    }
}

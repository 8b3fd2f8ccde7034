//! Whether a loss reads the velocity that the model predicts.

use crate::declare::{Function, Value};
use crate::flow::Loss;

/// Returns whether the code of a loss mentions `v` or what parts kept, or calls a ready loss; true if its code is unknown.
///
/// Of code in a cell, which has no stored form, the text of the cell counts. The velocity of such a loss is computed before
/// it runs. The order of forward passes is the order in which gradients are summed and random numbers drawn, so it must not
/// depend on where the loss reads the velocity.
pub(in crate::train) fn reads_velocity(loss: &Loss) -> bool {
    match loss {
        Loss::Function(function) => function_reads(function),
        _ => true,
    }
}

fn function_reads(function: &Function) -> bool {
    match function.to_compared() {
        Ok(code) => reads(&code),
        Err(_) => function.text().is_none_or(|text| mentions(&text)),
    }
}

fn reads(code: &Value) -> bool {
    match code {
        Value::Str(text) => mentions(text),
        Value::List(list) => list.iter().any(reads),
        Value::Map(map) => map.values().any(reads),
        Value::Function(function) => function_reads(function),
        _ => false,
    }
}

/// Returns whether a text has `.v`, `"v"`, `.kept`, `"kept"` or `.of`.
fn mentions(text: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut from = 0;
    text.split(|c| !in_word(c)).any(|word| {
        let start = from;
        // The separator may take several bytes.
        from = start + word.len() + text[start + word.len()..].chars().next().map_or(0, char::len_utf8);
        let before = text[..start].trim_end().chars().next_back();
        match word {
            "v" | "kept" => matches!(before, Some('.' | '"' | '`')),
            "of" => before == Some('.'),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_they_name_a_value() {
        let read = ["(s.v - s.target)", "s . v", "s[\"v\"]", "s.kept.r", "é loss::mse().of(s)", "x?.v"];
        let unread =
            ["let v = s.model.forward(s.x_t, s.t, s.y); v", "s.vv", "s.velocity", "1 of 2", "kept(v)"];
        read.iter().for_each(|text| assert!(mentions(text), "{text}"));
        unread.iter().for_each(|text| assert!(!mentions(text), "{text}"));
        assert!(reads_velocity(&Loss::Function(Function::new(|_| Ok(Value::Unit)))));
    }
}

//! Which entries of its argument a function reads, as far as its code tells.

use crate::declare::{Function, Value};
use crate::flow::Loss;
use crate::text::tokens::{Kind, tokens};

/// Returns whether the code of a loss mentions `v` or what parts kept, or calls a ready loss; true if its code is unknown.
///
/// Of code in a cell, which has no stored form, the text of the cell counts. The velocity of such a loss is computed before
/// it runs. The order of forward passes is the order in which gradients are summed and random numbers drawn, so it must not
/// depend on where the loss reads the velocity.
pub(in crate::train) fn reads_velocity(loss: &Loss) -> bool {
    match loss {
        Loss::Function(function) => function_reads(function, &mentions),
        _ => true,
    }
}

/// Returns whether the code of a function mentions an entry of its argument, by any expression with that word; true if its
/// code is unknown.
pub(in crate::train) fn reads_key(function: &Function, key: &str) -> bool {
    let mentioned = |text: &str| {
        let all = tokens(text);
        all.iter().any(|token| token.kind != Kind::Comment && token.text.contains(key))
    };
    function.to_compared().map_or(true, |code| reads(&code, &mentioned))
}

fn function_reads(function: &Function, mentions: &dyn Fn(&str) -> bool) -> bool {
    match function.to_compared() {
        Ok(code) => reads(&code, mentions),
        Err(_) => function.text().is_none_or(|text| mentions(&text)),
    }
}

fn reads(code: &Value, mentions: &dyn Fn(&str) -> bool) -> bool {
    match code {
        Value::Str(text) => mentions(text),
        Value::List(list) => list.iter().any(|part| reads(part, mentions)),
        Value::Map(map) => map.values().any(|part| reads(part, mentions)),
        Value::Function(function) => function_reads(function, mentions),
        _ => false,
    }
}

/// Returns whether code has `.v`, `"v"`, `.kept`, `"kept"` or `.of`, outside of comments and other strings.
fn mentions(text: &str) -> bool {
    let all: Vec<_> = tokens(text).into_iter().filter(|token| token.kind != Kind::Comment).collect();
    all.iter().enumerate().any(|(i, token)| {
        let after = |symbols: &[&str]| i > 0 && symbols.contains(&all[i - 1].text);
        match (token.kind, token.text) {
            (Kind::Text(_), "\"v\"" | "\"kept\"" | "`v`" | "`kept`") => true,
            (Kind::Text(_), text) if text.starts_with('`') => text.split("${").skip(1).any(mentions),
            (_, "v" | "kept") => after(&[".", "?."]),
            (_, "of") => after(&["."]),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_they_name_a_value() {
        let read = [
            "(s.v - s.target)",
            "s . v",
            "s[\"v\"]",
            "s.kept.r",
            "é loss::mse().of(s)",
            "x?.v",
            "s // of\n .v",
            "print(`${s.v}`)",
        ];
        let unread = [
            "let v = s.model.forward(s.x_t, s.t, s.y); v",
            "s.vv",
            "s.velocity",
            "1 of 2",
            "kept(v)",
            "// s.v",
            "/* s.kept */ s",
            "\"as s.v\"",
            "`s.v`",
        ];
        read.iter().for_each(|text| assert!(mentions(text), "{text}"));
        unread.iter().for_each(|text| assert!(!mentions(text), "{text}"));
        assert!(reads_velocity(&Loss::Function(Function::new(|_| Ok(Value::Unit)))));
    }
}

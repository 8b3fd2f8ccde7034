//! Entries that a map does not have, where an operator or a function gets nothing.

use super::line::Line;
use crate::error::{Error, list, nearest};

/// Returns the hint which entries may be missing, if the error is about `()`, and some stand at the column
/// of the line or beside it. The text shows what else is read from the map.
pub fn missing(error: &Error, line: &str, column: usize, text: &str) -> Option<String> {
    let line = &Line::new(line);
    let message = error.message();
    let nothing = ["found `()`", "between () and", "and ()", "found ()", "`()` has no property"];
    // rhai takes the first argument of `f.call(x)` for the function if `f` is none.
    let called = message.starts_with("expected function, found");
    if !called && !nothing.iter().any(|n| message.contains(n)) {
        return None;
    }
    let at = line.parts.iter().position(|p| p.start < column && column <= p.end)?;
    let at = match called {
        false => at,
        true => (1..at).rev().find(|i| line.is(i - 1, ".") && line.is(*i, "call") && line.is(i + 1, "("))?,
    };
    let chains = match line.is_word(at) {
        true if at >= 2 && line.is(at - 1, ".") => vec![backward(line, at - 2)],
        true => vec![forward(line, at)],
        false => vec![at.checked_sub(1).and_then(|end| backward(line, end)), forward(line, at + 1)],
    };
    let chains: Vec<(String, String)> = chains.into_iter().flatten().collect();
    if chains.is_empty() {
        return None;
    }
    let names: Vec<String> = chains.iter().map(|(of, entry)| format!("`{of}.{entry}`")).collect();
    // What is read from the same map elsewhere may be what was meant.
    let others = chains.iter().flat_map(|(of, _)| read(text, of));
    let others: Vec<String> = others.filter(|name| chains.iter().all(|(_, entry)| entry != name)).collect();
    let near = chains.iter().find_map(|(_, entry)| nearest(entry, others.iter().map(String::as_str)));
    let hint = match near {
        Some(near) => format!(": did you mean `{near}`?"),
        None => kept(text, &chains),
    };
    Some(format!("{} may be a missing entry of its map{hint}", names.join(" or ")))
}

/// Returns what the parts of a text keep, if an entry of `kept` is missing.
fn kept(text: &str, chains: &[(String, String)]) -> String {
    if !chains.iter().any(|(of, _)| of.rsplit('.').next() == Some("kept")) {
        return String::new();
    }
    let names = text.split(".keep(\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let mut names: Vec<String> = names.map(|(name, _)| name.to_string()).collect();
    names.sort();
    names.dedup();
    match names.is_empty() {
        true => "; a part keeps one with `c.keep(\"name\", x)`".to_string(),
        false => format!("; parts keep {}", list(&names)),
    }
}

/// Returns the map and the entry of `a.b.c` that starts at a part.
fn forward(line: &Line, start: usize) -> Option<(String, String)> {
    let mut end = start;
    while line.is_word(start) && line.is(end + 1, ".") && line.is_word(end + 2) {
        end += 2;
    }
    entry(line, start, end)
}

/// Returns the map and the entry of `a.b.c` that ends with a part.
fn backward(line: &Line, end: usize) -> Option<(String, String)> {
    let mut start = end;
    while start >= 2 && line.is(start - 1, ".") && line.is_word(start - 2) {
        start -= 2;
    }
    let whole = start == 0 || !line.is(start - 1, ".");
    if whole { entry(line, start, end) } else { None }
}

fn entry(line: &Line, start: usize, end: usize) -> Option<(String, String)> {
    let called = line.is(end + 1, "(") || line.is(end + 1, "[");
    (end > start && !called).then(|| (line.text(start, end - 1), line.part(end)))
}

/// Returns the entries that a text reads from a map.
fn read(text: &str, of: &str) -> Vec<String> {
    let start = format!("{of}.");
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let places = text.match_indices(&start).filter(|(i, _)| !text[..*i].ends_with(|c| word(c) || c == '.'));
    let names =
        places.map(|(i, _)| text[i + start.len()..].chars().take_while(|c| word(*c)).collect::<String>());
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_beside_an_operator_and_in_an_argument_are_named() {
        let text = "let f = |s| s.v - s.targt;\nlet g = |s| s.target;";
        let hint = |message: &str, line: &str, at: &str| {
            let column = line.find(at).unwrap() + 1;
            missing(&Error::argument(message), line, column, text)
        };
        let nothing = "`-`: expected a tensor or a number, found `()`";
        let found = hint(nothing, "let f = |s| s.v - s.targt;", "-").unwrap();
        assert_eq!(found, "`s.v` or `s.targt` may be a missing entry of its map: did you mean `target`?");
        let found = hint(nothing, "s.v.matmul(s.targt)", "s.targt").unwrap();
        assert!(found.contains("`s.targt` may"), "{found}");
        let found = hint("`()` has no property `x`", "s.also.x", "x").unwrap();
        assert_eq!(found, "`s.also` may be a missing entry of its map");
        let text = "c.keep(\"attn\", x); c.keep(\"mlp\", x); s.kept.h.mean()";
        let method = Error::argument("`mean` is a method of tensor, found ()");
        let found = missing(&method, "s.kept.h.mean()", 10, text).unwrap();
        assert_eq!(found, "`s.kept.h` may be a missing entry of its map; parts keep `attn`, `mlp`");
        let called = "expected function, found tensor";
        let found = hint(called, "|s| s.also.spce.call(s.v).square()", "s.v").unwrap();
        assert_eq!(found, "`s.also.spce` may be a missing entry of its map");
        assert_eq!(hint(called, "[1].map(s.v)", "s.v"), None);
        assert_eq!(hint(nothing, "f(1) - g(2)", "-"), None);
        assert_eq!(hint("expected int, found float", "s.v - s.targt", "-"), None);
    }
}

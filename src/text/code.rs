//! Comparison of stored code: data with the texts of functions.

use super::tokens::{Kind, tokens};
use crate::declare::{Map, Value};

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

/// Describes the first line of stored code that differs from other code: `line 3 of own.rhai was .. and is ..`. Lines are numbered
/// as in `new`; comments and layout make no difference.
pub fn changed_line(old: &Map, new: &Map) -> Option<String> {
    let (a, b) = (words(old), words(new));
    let text = |words: &'_ [Word<'_>], i: usize| words.get(i).map(|word| word.text.to_string());
    let first = (0..a.len().max(b.len())).find(|i| text(&a, *i) != text(&b, *i))?;
    // Where one text goes on in a line that ends in the other, both lines are shown.
    let follows = |word: Option<&Word>| word.is_some_and(|w| !w.starts_line);
    let at = |own: &'_ [Word<'_>], other: &[Word<'_>]| {
        let before = follows(other.get(first)) && !follows(own.get(first));
        if before { first.saturating_sub(1) } else { first }
    };
    let (was, is) = (a.get(at(&a, &b)), b.get(at(&b, &a)));
    let shown = |word: Option<&Word>| word.map_or("missing".to_string(), |w| format!("`{}`", cut(w.line)));
    let (number, map) = match (is, was) {
        (Some(word), _) => (word.number, new),
        (None, word) => (word.map_or(0, |w| w.number), old),
    };
    let file = match map.get("file") {
        Some(Value::Str(file)) => format!(" of {file}"),
        _ => String::new(),
    };
    Some(format!("line {number}{file} was {} and is {}", shown(was), shown(is)))
}

/// A token of stored code, its line, and the number of that line in the file.
struct Word<'a> {
    number: usize,
    line: &'a str,
    starts_line: bool,
    text: &'a str,
}

/// Returns the tokens of stored code without its comments.
fn words(code: &Map) -> Vec<Word<'_>> {
    let Some(Value::List(pieces)) = code.get(PIECES) else { return Vec::new() };
    let start = |piece: usize| match code.get("lines") {
        Some(Value::List(starts)) => match starts.get(piece) {
            Some(Value::Int(start)) => usize::try_from(*start).unwrap_or(1),
            _ => 1,
        },
        _ => 1,
    };
    let mut found = Vec::new();
    for (piece, text) in pieces.iter().enumerate() {
        let Value::Str(text) = text else { continue };
        let (mut number, mut seen) = (start(piece), 0);
        for token in tokens(text).into_iter().filter(|token| token.kind != Kind::Comment) {
            number = number.saturating_add(text[seen..token.start].matches('\n').count());
            seen = token.start;
            let before = text[..seen].rfind('\n').map_or(0, |i| i + 1);
            let line = text[before..].lines().next().unwrap_or_default().trim();
            let starts_line = text[before..seen].trim().is_empty() && before > 0;
            found.push(Word { number, line, starts_line, text: token.text });
        }
    }
    found
}

/// Cuts a line of code, so that a message stays on one line.
pub fn cut(line: &str) -> String {
    const MOST: usize = 60;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_string(),
    }
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

//! Syntax highlighting: code of scripts as lines whose words have roles.

use std::ops::Range;

use super::tokens::{Kind, Token, tokens};
use crate::document::{Line, Role};

/// Returns code of a script with the roles of its words.
pub fn highlighted(code: &str) -> Vec<Line> {
    marked(code, &[])
}

/// Returns code of a script with the roles of its words; `brackets` are the ranges of brackets to mark.
pub fn marked(code: &str, brackets: &[Range<usize>]) -> Vec<Line> {
    let pieces = tokens(code);
    let (mut lines, mut end) = (vec![Line::new()], 0);
    let mut add = |role: Role, text: &str| {
        for (i, part) in text.split('\n').enumerate() {
            if i > 0 {
                lines.push(Line::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(role, part);
            }
        }
    };
    for (i, piece) in pieces.iter().enumerate() {
        add(Role::Plain, &code[end..piece.start]);
        let marked = brackets.contains(&piece.range());
        add(if marked { Role::Marked } else { role(piece, pieces.get(i + 1)) }, piece.text);
        end = piece.end();
    }
    add(Role::Plain, &code[end..]);
    lines
}

fn role(piece: &Token, next: Option<&Token>) -> Role {
    let next = next.map_or("", |next| next.text);
    match piece.kind {
        Kind::Name | Kind::Text(_) if next == ":" => Role::Key,
        Kind::Name if next == "::" => Role::Key,
        Kind::Name if next == "(" => Role::Call,
        Kind::Number => Role::Number,
        Kind::Text(_) => Role::Text,
        Kind::Keyword => Role::Keyword,
        Kind::Comment => Role::Faint,
        Kind::Symbol if matches!(piece.text, ".." | "…") => Role::Faint,
        Kind::Name | Kind::Symbol => Role::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_roles_and_no_character_changes() {
        let text = "let a = f::g(1, \"x\"); // é\n`b\nc` /* open";
        let lines = highlighted(text);
        assert_eq!(crate::document::joined(&lines), text);
        let first: Vec<(Role, &str)> = lines[0].spans().iter().map(|s| (s.role, s.text.as_str())).collect();
        assert_eq!(first[0], (Role::Keyword, "let"));
        for part in [(Role::Key, "f"), (Role::Call, "g"), (Role::Number, "1"), (Role::Text, "\"x\"")] {
            assert!(first.contains(&part), "{part:?} in {first:?}");
        }
        // A string over several lines has its role in each, since each may be drawn alone.
        assert_eq!((lines[1].spans()[0].role, lines[2].spans()[0].role), (Role::Text, Role::Text));
        let brackets = marked("f(1)", &[1..2, 3..4]);
        assert_eq!(brackets[0].spans().iter().filter(|s| s.role == Role::Marked).count(), 2);
    }
}

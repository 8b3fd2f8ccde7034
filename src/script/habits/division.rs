//! `n // 2` of Python, which here is `n` and a comment.

use rhai::{Engine, Token};

use super::line::{Line, Sort};
use crate::script::code::pieces::{closes, opens};
use crate::script::rewrite::{At, tokens};

/// What to write instead.
pub const HINT: &str = "`//` starts a comment: integers divide with `/`, tensors with `floor_divide`";

/// Returns whether the comment at the end of a line looks like the rest of an expression.
pub fn in_line(text: &str) -> bool {
    let line = Line::new(text);
    let Some(last) = line.parts.len().checked_sub(1).filter(|last| line.ends_value(*last)) else {
        return false;
    };
    let rest: String = line.chars().skip(line.parts[last].end).collect();
    let Some(comment) = comment_of(&rest) else { return false };
    let comment = Line::new(comment);
    let operand = comment.parts.first().is_some_and(|p| matches!(p.sort, Sort::Word | Sort::Number));
    let goes_on = comment
        .parts
        .get(1)
        .is_none_or(|p| p.sort == Sort::Symbol && !matches!(comment.part(1).as_str(), ":" | "="));
    operand && goes_on
}

/// A division that is a comment.
pub struct Division {
    /// Line, from 1.
    pub line: usize,
    /// Column of the comment, from 1.
    pub column: usize,
    /// The comment with its slashes.
    pub comment: String,
}

/// Returns the comments that are only an operand right after another one. Those that may be remarks are left out:
/// entries of arrays and maps, results of calls at the outermost level, names of no variable.
pub fn all(engine: &Engine, text: &str) -> Vec<Division> {
    let lines: Vec<Vec<char>> = text.lines().map(|l| l.chars().collect()).collect();
    let tokens = tokens(engine, text);
    let mut open: Vec<&Token> = Vec::new();
    let mut found = Vec::new();
    for (i, at) in tokens.iter().enumerate() {
        match &at.token {
            token if opens(token) => open.push(token),
            token if closes(token) => _ = open.pop(),
            _ => {}
        }
        let last = tokens.get(i + 1).is_none_or(|next| next.line > at.line);
        let (Some(length), true) = (length(at), last) else { continue };
        let Some(line) = lines.get(at.line - 1) else { continue };
        let end = (at.column - 1 + length).min(line.len());
        let rest: String = line[end..].iter().collect();
        let Some(comment) = comment_of(&rest) else { continue };
        let closers = |c: char| matches!(c, ')' | ']' | '}' | ';' | ',');
        let operand = comment.trim_end_matches(closers).trim_end();
        let closed = operand.len() < comment.len();
        let number = operand.parse::<f64>().is_ok() && operand.starts_with(|c: char| c.is_ascii_digit());
        let name = |t: &&At| matches!(&t.token, Token::Identifier(name) if name.as_str() == operand);
        let variable = tokens[..i].iter().filter(name).any(|t| t.line < at.line);
        let call = matches!(at.token, Token::RightParen);
        let entry = matches!(open.last(), Some(Token::LeftBracket | Token::MapStart));
        let divides = closed && (number || variable)
            || number && !entry && !(call && open.is_empty())
            || variable && !entry && !call;
        if divides {
            let column = end + rest.chars().take_while(|c| c.is_whitespace()).count() + 1;
            found.push(Division { line: at.line, column, comment: format!("// {comment}") });
        }
    }
    found
}

/// Returns the text of the comment that the rest of a line is.
fn comment_of(rest: &str) -> Option<&str> {
    let comment = rest.trim().strip_prefix("//")?;
    (!comment.starts_with(['/', '!'])).then(|| comment.trim())
}

/// Returns the number of characters of a token with which an operand ends.
fn length(at: &At) -> Option<usize> {
    match &at.token {
        Token::Identifier(name) => Some(name.chars().count()),
        Token::RightParen | Token::RightBracket => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comments(text: &str) -> Vec<String> {
        all(&Engine::new(), text).into_iter().map(|d| d.comment).collect()
    }

    #[test]
    fn a_comment_that_is_an_operand_is_found() {
        for (text, comment) in [
            ("fn half(n) {\n    n // 2\n}", "// 2"),
            ("fn part(n, k) {\n    n // k\n}", "// k"),
            ("fn half(n) {\n    (n + 1) // 2\n}", "// 2"),
            ("let h = n // 2;\n", "// 2;"),
            ("f(n // 2)\n", "// 2)"),
            ("let m = #{\n    steps: n // 2,\n};", "// 2,"),
            ("let h = xs[0] // 2", "// 2"),
        ] {
            assert_eq!(comments(text), [comment], "{text}");
        }
    }

    #[test]
    fn remarks_are_left_alone() {
        for text in [
            "let a = x // 2 steps",
            "let a = x // in",
            "let a = x; // 2",
            "let a = x / 2; // n;",
            "let m = [\n    n, // 1\n    k // 2\n];",
            "f(n) // 120",
            "let a = `${n} // 2`;",
            "let a = x // width",
            "fn f(x) {\n    g(x) // x\n}",
            "x /// 2",
        ] {
            assert_eq!(comments(text), Vec::<String>::new(), "{text}");
        }
    }
}

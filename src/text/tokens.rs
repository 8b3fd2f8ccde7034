//! Lexer that splits a script into words, numbers, strings, comments and symbols, even if it is unfinished.
//!
//! rhai's own lexer stops at unfinished text and drops comments, but the REPL highlights and completes exactly such
//! text. Rooms below `script` compare code with it.

use std::ops::Range;

/// Type of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name.
    Name,
    /// A keyword.
    Keyword,
    /// A number.
    Number,
    /// A string or character with its quotes; the flag says whether it is closed.
    Text(bool),
    /// A comment.
    Comment,
    /// An operator or bracket.
    Symbol,
}

/// A token and its position in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'a> {
    /// Type of the token.
    pub kind: Kind,
    /// Text of the token.
    pub text: &'a str,
    /// Start of the text.
    pub start: usize,
}

impl Token<'_> {
    /// Returns the end of the text.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Returns the byte range of the token.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end()
    }
}

/// Keywords of the language.
pub const KEYWORDS: &[&str] = &[
    "as", "break", "catch", "const", "continue", "do", "else", "export", "false", "fn", "for", "if",
    "import", "in", "let", "loop", "private", "return", "switch", "this", "throw", "true", "try", "until",
    "while",
];

/// Symbols of more than one character, longest first.
const SYMBOLS: &[&str] = &[
    "..=", "<<=", ">>=", "**=", "::", "..", "#{", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=", "*=",
    "/=", "%=", "**", "<<", ">>", "??", "?.", "?[",
];

/// Splits a text into its tokens, without the whitespace between them.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (kind, length) = first(&text[at..], c, 0);
        found.push(Token { kind, text: &text[at..at + length], start: at });
        at += length;
    }
    found
}

/// Returns the kind and length of the token that a text starts with; `c` is its first character, which is no whitespace. It
/// is inside of `depth` strings.
fn first(rest: &str, c: char, depth: usize) -> (Kind, usize) {
    match c {
        '/' if rest.starts_with("//") => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (Kind::Comment, comment(rest)),
        '"' | '`' | '\'' => {
            let (length, closed) = string(rest, c, depth);
            (Kind::Text(closed), length)
        }
        '#' if rest.trim_start_matches('#').starts_with('"') => {
            let (length, closed) = raw_string(rest);
            (Kind::Text(closed), length)
        }
        c if c.is_ascii_digit() => (Kind::Number, number(rest)),
        c if is_word(c) => {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let keyword = KEYWORDS.contains(&&rest[..length]);
            (if keyword { Kind::Keyword } else { Kind::Name }, length)
        }
        c => {
            let symbol = SYMBOLS.iter().find(|s| rest.starts_with(**s));
            (Kind::Symbol, symbol.map_or(c.len_utf8(), |s| s.len()))
        }
    }
}

/// Returns whether a character may occur in a name.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn number(text: &str) -> usize {
    let (bytes, mut end) = (text.as_bytes(), 0);
    while let Some(&byte) = bytes.get(end) {
        let next = bytes.get(end + 1).copied().unwrap_or(b' ');
        let sign = matches!(byte, b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        match byte {
            b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {}
            // `0..4` is a range and `2.max(3)` a method call.
            b'.' if next.is_ascii_digit() => {}
            _ if sign && next.is_ascii_digit() && !text.starts_with("0x") => {}
            _ => break,
        }
        end += 1;
    }
    end.max(1)
}

/// Returns the length of a string, and whether it is closed. Strings in backquotes may span lines and contain code.
fn string(text: &str, quote: char, depth: usize) -> (usize, bool) {
    let mut at = 1;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '\n' if quote != '`' => return (at, false),
            '\\' if quote != '`' => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
            '$' if quote == '`' && text[at..].starts_with("${") => {
                match code_in(&text[at + 2..], depth + 1) {
                    Some(length) => at += 2 + length,
                    None => return (text.len(), false),
                }
            }
            c => {
                at += c.len_utf8();
                if c == quote {
                    return (at, true);
                }
            }
        }
    }
    (text.len(), false)
}

/// Returns the length of the code in a string, up to behind the brace that closes it; `None` if none does. The code may have
/// strings of its own, which are followed as far as anybody writes them.
fn code_in(text: &str, strings: usize) -> Option<usize> {
    const MOST: usize = 50;
    let (mut at, mut depth) = (0, 1usize);
    if strings > MOST {
        return None;
    }
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (kind, length) = first(&text[at..], c, strings);
        match (kind, &text[at..at + length]) {
            (Kind::Symbol, "{" | "#{") => depth += 1,
            (Kind::Symbol, "}") => depth -= 1,
            (Kind::Text(false), _) => return None,
            _ => {}
        }
        at += length;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Returns the length of a string such as `#"a\b"#`, and whether it is closed.
fn raw_string(text: &str) -> (usize, bool) {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let inside = &text[hashes + 1..];
    match inside.find(&format!("\"{}", &text[..hashes])) {
        Some(end) => (2 * hashes + 2 + end, true),
        None => (text.len(), false),
    }
}

fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Returns the bracket that matches the one at a byte of the text, if that is a bracket of code.
pub fn matching_bracket(text: &str, at: usize) -> Option<Range<usize>> {
    let tokens = tokens(text);
    let here = tokens.iter().position(|t| t.kind == Kind::Symbol && t.start == at)?;
    let step = |i: usize| match tokens[i].text {
        _ if tokens[i].kind != Kind::Symbol => 0,
        "(" | "[" | "{" | "#{" | "?[" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    };
    let mut depth = step(here);
    let order: Box<dyn Iterator<Item = usize>> = match depth {
        1 => Box::new(here + 1..tokens.len()),
        -1 => Box::new((0..here).rev()),
        _ => return None,
    };
    for i in order {
        depth += step(i);
        if depth == 0 {
            return Some(tokens[i].range());
        }
    }
    None
}

/// Returns the number of open brackets at the end of the text.
pub fn open_brackets(text: &str) -> usize {
    let symbols = tokens(text).into_iter().filter(|t| t.kind == Kind::Symbol);
    symbols.fold(0, |depth: usize, t| match t.text {
        "(" | "[" | "{" | "#{" | "?[" => depth + 1,
        ")" | "]" | "}" => depth.saturating_sub(1),
        _ => depth,
    })
}

/// Returns whether the last token of a cell that is not a comment is a semicolon, which hides its result.
pub fn ends_with_semicolon(code: &str) -> bool {
    tokens(code).iter().rfind(|token| token.kind != Kind::Comment).is_some_and(|token| token.text == ";")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(&str, Kind)> {
        tokens(text).into_iter().map(|t| (t.text, t.kind)).collect()
    }

    #[test]
    fn a_call_is_cut_into_its_parts() {
        use Kind::*;
        let text = "let g = filter::gaussian(#{ sigma: 1.5e-3 }); // low\n`a ${b{}} c`";
        let expected = [
            ("let", Keyword),
            ("g", Name),
            ("=", Symbol),
            ("filter", Name),
            ("::", Symbol),
            ("gaussian", Name),
            ("(", Symbol),
            ("#{", Symbol),
            ("sigma", Name),
            (":", Symbol),
            ("1.5e-3", Number),
            ("}", Symbol),
            (")", Symbol),
            (";", Symbol),
            ("// low", Comment),
            ("`a ${b{}} c`", Text(true)),
        ];
        assert_eq!(cut(text), expected);
    }

    #[test]
    fn what_is_unfinished_is_still_cut() {
        assert_eq!(cut("\"abc"), [("\"abc", Kind::Text(false))]);
        assert_eq!(cut("/* a /* b */ c"), [("/* a /* b */ c", Kind::Comment)]);
        assert_eq!(cut("0..4").len(), 3);
        assert_eq!(cut("##\"a \\\"# // b\n\"##.len")[0], ("##\"a \\\"# // b\n\"##", Kind::Text(true)));
        assert_eq!(cut("#\"a"), [("#\"a", Kind::Text(false))]);
        assert_eq!(cut("\"a\\\"b\" x")[0], ("\"a\\\"b\"", Kind::Text(true)));
    }

    #[test]
    fn code_in_a_string_may_have_strings() {
        let text = Kind::Text(true);
        for whole in [
            "`a ${`b ${c} }`} d`",
            "`${\"}`\"}`",
            "`${'`'} ${ #{ a: `{` } }`",
            "`${/* ` } */ a // `\n} b`",
            "`a\\`",
            "`$ {`",
            "\"${`\"",
        ] {
            assert_eq!(cut(&format!("{whole} + x")), [(whole, text), ("+", Kind::Symbol), ("x", Kind::Name)]);
        }
        for open in ["`a ${`b`", "`a ${b{} c`", "`${\"}`"] {
            assert_eq!(cut(open), [(open, Kind::Text(false))]);
        }
        let deep = "`${".repeat(100_000);
        assert_eq!(cut(&deep), [(deep.as_str(), Kind::Text(false))]);
    }

    #[test]
    fn brackets_find_their_partner_past_strings() {
        let text = "f(\")\", [1, #{ a: 2 }])";
        assert_eq!(matching_bracket(text, 1), Some(21..22));
        assert_eq!(matching_bracket(text, 21), Some(1..2));
        assert_eq!(matching_bracket(text, 19), Some(11..13));
        assert_eq!(matching_bracket(text, 0), None);
        assert_eq!(open_brackets("fn f(x) { if a { [1,"), 3);
    }
}

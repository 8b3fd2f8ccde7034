//! Changes to a text before rhai parses it, for syntax that rhai's grammar lacks.
//!
//! - `x[0, 1]` and `x[1.., ..3]`: one index per dimension, and ranges with an open end
//! - a `for` that makes closures gives each iteration variables of its own, so that a closure keeps their values
//! - a method runs on a copy of a value that its closure reads, see `receivers`
//! - `switch` compares the value of a variable that a closure has captured, which rhai compares with nothing
//! - an assignment into what a mask selects is an error, see `places`
//! - `catch (e)` gets an error value, and `_` a name that rhai accepts
//!
//! Everything is inserted within its line, so that [`Sources::locate`](super::source::Sources::locate) can subtract
//! it from columns.

use rhai::{Engine, LexError, Token};

use super::receivers::OWN;
use super::source::{CAUGHT, LATEST, is_result};

/// Function called with the entries of `x[i, j]`, so that they reach the tensor as one index.
pub const SEVERAL: &str = "__several";

/// Open end of a range such as `1..`; a slice stops at the size of the dimension.
const OPEN: &str = "9223372036854775807";

/// Text inserted into a line before compiling.
#[derive(Debug, Clone, Copy)]
pub struct Insertion {
    /// The line, from 1.
    pub line: usize,
    /// Start column in the changed line, from 0.
    pub column: usize,
    /// Number of characters.
    pub length: usize,
}

/// Returns the text as it is compiled, for checks that only compile it.
pub fn compiled_form(engine: &Engine, text: &str) -> String {
    prepare(engine, text).0
}

/// Returns the text as it is compiled, and what was inserted into it.
pub fn prepare(engine: &Engine, text: &str) -> (String, Vec<Insertion>) {
    if !["catch", "_", "for", "switch", "[", "("].iter().any(|word| text.contains(word)) {
        return (text.to_string(), Vec::new());
    }
    let tokens = tokens(engine, text);
    let mut added: Vec<Addition> = names_and_catches(&tokens);
    added.extend(rounds(&tokens));
    added.extend(switches(&tokens));
    let (before, after) = super::places::places(&tokens);
    added.extend(before);
    added.extend(indices(&tokens));
    added.extend(after);
    added.extend(super::receivers::copies(&tokens));
    // Additions at one position keep their order.
    added.sort_by_key(|a| (a.line, a.column));
    let mut insertions = Vec::new();
    let mut lines: Vec<Vec<char>> = text.split('\n').map(|l| l.chars().collect()).collect();
    let (mut line, mut shift) = (0, 0);
    for Addition { line: at, column, code } in added {
        if at != line {
            (line, shift) = (at, 0);
        }
        let (column, length) = (column + shift, code.chars().count());
        if let Some(target) = lines.get_mut(line - 1).filter(|l| column <= l.len()) {
            target.splice(column..column, code.chars());
            insertions.push(Insertion { line, column, length });
            shift += length;
        }
    }
    let joined = lines.into_iter().map(|l| l.into_iter().collect::<String>()).collect::<Vec<_>>().join("\n");
    (joined, insertions)
}

/// Code to insert: line from 1, column from 0 in the original line.
pub(super) struct Addition {
    line: usize,
    column: usize,
    code: String,
}

/// A token and its start: line and column from 1.
pub(super) struct At {
    pub token: Token,
    pub line: usize,
    pub column: usize,
    /// The token that closes the bracket which this one opens.
    close: Option<usize>,
}

impl At {
    /// Returns an addition before the token.
    pub fn before(&self, code: impl Into<String>) -> Addition {
        self.after(0, code)
    }

    /// Returns an addition after this many characters of the token.
    pub fn after(&self, length: usize, code: impl Into<String>) -> Addition {
        Addition { line: self.line, column: self.column - 1 + length, code: code.into() }
    }

    /// Returns whether a value may end with the token, so that a `[` after it is an index.
    pub fn ends_value(&self) -> bool {
        matches!(
            self.token,
            Token::Identifier(_)
                | Token::StringConstant(_)
                | Token::CharConstant(_)
                | Token::IntegerConstant(_)
                | Token::FloatConstant(_)
                | Token::RightParen
                | Token::RightBracket
                | Token::Underscore
                | Token::True
                | Token::False
                | Token::Unit
        ) || matches!(&self.token, Token::Reserved(word) if word.as_str() == "this")
    }
}

/// Returns all tokens up to the end, with the comments of the documentation, which may stand anywhere.
pub(super) fn tokens(engine: &Engine, text: &str) -> Vec<At> {
    paired(lexed(engine, text))
}

/// Returns all tokens up to the end that are no comments.
pub(super) fn tokens_of_code(engine: &Engine, text: &str) -> Vec<At> {
    let mut found = lexed(engine, text);
    found.retain(|at| !matches!(at.token, Token::Comment(_)));
    paired(found)
}

/// In a text with `${..}` the parser tells the lexer where the code ends; here braces are counted instead.
fn lexed(engine: &Engine, text: &str) -> Vec<At> {
    let mut found = Vec::new();
    let texts = [text];
    let (tokens, control) = engine.lex(&texts);
    let mut interpolations: Vec<usize> = Vec::new();
    for (token, position) in tokens {
        match &token {
            Token::EOF => break,
            Token::InterpolatedString(_) => interpolations.push(0),
            Token::LeftBrace | Token::MapStart => {
                if let Some(depth) = interpolations.last_mut() {
                    *depth += 1;
                }
            }
            Token::RightBrace => match interpolations.last_mut() {
                Some(1) => {
                    interpolations.pop();
                    control.borrow_mut().is_within_text = true;
                }
                Some(depth) => *depth = depth.saturating_sub(1),
                None => {}
            },
            _ => {}
        }
        if let (Some(line), Some(column)) = (position.line(), position.position()) {
            found.push(At { token, line, column, close: None });
        }
    }
    found
}

/// Returns the number of tokens of the parameters of a closure or function that begin with the first of `rest`.
fn parameters(before: &[At], rest: &[At]) -> Option<usize> {
    let length = |closes: fn(&Token) -> bool| Some(rest[1..].iter().position(|at| closes(&at.token))? + 1);
    let function = before.iter().rev().nth(1).is_some_and(|at| matches!(at.token, Token::Fn));
    match &rest.first()?.token {
        Token::LeftParen if function => length(|token| matches!(token, Token::RightParen)),
        Token::Pipe if !before.last().is_some_and(At::ends_value) => {
            length(|token| matches!(token, Token::Pipe))
        }
        _ => None,
    }
}

/// Returns the additions for the internal names of results, and those that make a caught `e` an error value.
fn names_and_catches(tokens: &[At]) -> Vec<Addition> {
    let mut found = Vec::new();
    // Where the parameters of a closure or function end, and how many of them are `_`.
    let (mut end, mut unnamed) = (0, 0);
    for (i, at) in tokens.iter().enumerate() {
        if let Some(length) = parameters(&tokens[..i], &tokens[i..]).filter(|_| i >= end) {
            (end, unnamed) = (i + length, 0);
        }
        match &at.token {
            // rhai requires different names; the first one keeps the usual one.
            Token::Underscore if i < end => {
                unnamed += 1;
                let number = if unnamed > 1 { format!("_{unnamed}") } else { String::new() };
                found.push(at.after(1, format!("{}{number}", &LATEST[1..])));
            }
            // As a case of `switch` it stays as it is.
            Token::Underscore
                if !matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::DoubleArrow | Token::If)) =>
            {
                found.push(at.after(1, &LATEST[1..]));
            }
            Token::LexError(error) => {
                if let LexError::MalformedIdentifier(name) = &**error
                    && is_result(name)
                {
                    found.push(at.after(1, &LATEST[1..]));
                }
            }
            Token::LeftBrace if i >= 4 => {
                let before = [&tokens[i - 4].token, &tokens[i - 3].token, &tokens[i - 2].token];
                if let [Token::Catch, Token::LeftParen, Token::Identifier(name)] = before
                    && matches!(tokens[i - 1].token, Token::RightParen)
                {
                    found.push(at.after(1, format!("{name}={CAUGHT}({name});")));
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns, for each `for` whose body makes closures, `let` statements that give an iteration variables of its own:
/// rhai writes the next value into the variable itself, which closures of earlier iterations share.
fn rounds(tokens: &[At]) -> Vec<Addition> {
    let mut found = Vec::new();
    for (i, at) in tokens.iter().enumerate() {
        if !matches!(at.token, Token::For) {
            continue;
        }
        let end = tokens[i..].iter().take(7).position(|t| matches!(t.token, Token::In));
        let Some(head) = end.map(|end| &tokens[i + 1..i + end]) else { continue };
        let Some(open) = body(tokens, i + head.len() + 2) else { continue };
        let closures =
            tokens[open..closing(tokens, open)].iter().any(|t| matches!(t.token, Token::Pipe | Token::Or));
        if closures {
            let own = head.iter().filter_map(|t| match &t.token {
                Token::Identifier(name) => Some(format!("let {name}={name};")),
                _ => None,
            });
            found.push(tokens[open].after(1, own.collect::<String>()));
        }
    }
    found
}

/// Returns the additions that copy what a `switch` compares: the hash of a variable that a closure shares differs from that of
/// its value, so that no case would be taken.
fn switches(tokens: &[At]) -> Vec<Addition> {
    let mut found = Vec::new();
    for (i, at) in tokens.iter().enumerate() {
        let Some(open) = body(tokens, i + 1).filter(|_| matches!(at.token, Token::Switch)) else { continue };
        if tokens[i + 1..open].iter().any(|t| matches!(t.token, Token::Identifier(_))) {
            found.push(tokens[i + 1].before(format!("{OWN}(")));
            found.push(tokens[open].before(")"));
        }
    }
    found
}

/// Returns the brace that opens the body of a `for` or `switch` whose sequence or value starts at a token.
fn body(tokens: &[At], start: usize) -> Option<usize> {
    let mut i = start;
    // An `if` or `switch` in the sequence has braces of its own.
    let mut inner = false;
    while let Some(at) = tokens.get(i) {
        match &at.token {
            Token::LeftBrace if i == start || inner => {
                i = closing(tokens, i);
                inner = false;
            }
            Token::LeftBrace => return Some(i),
            Token::If | Token::Switch | Token::Else => inner = true,
            Token::LeftParen | Token::LeftBracket | Token::QuestionBracket | Token::MapStart => {
                i = closing(tokens, i);
            }
            // Its code is between braces.
            Token::InterpolatedString(_) => i = closing(tokens, i + 1),
            Token::SemiColon => return None,
            _ => {}
        }
        i += 1;
    }
    None
}

/// Notes at each opening bracket where it closes, in one pass: texts of deep brackets would take long otherwise.
fn paired(mut tokens: Vec<At>) -> Vec<At> {
    let mut open = Vec::new();
    for i in 0..tokens.len() {
        match &tokens[i].token {
            Token::LeftBrace
            | Token::MapStart
            | Token::LeftParen
            | Token::LeftBracket
            | Token::QuestionBracket => open.push(i),
            Token::RightBrace | Token::RightParen | Token::RightBracket => {
                if let Some(first) = open.pop() {
                    tokens[first].close = Some(i);
                }
            }
            _ => {}
        }
    }
    tokens
}

/// Returns the token that closes the bracket at a token, or the last one.
pub(super) fn closing(tokens: &[At], open: usize) -> usize {
    tokens.get(open).and_then(|at| at.close).unwrap_or(tokens.len().saturating_sub(1))
}

/// Returns the additions that make `x[i, j]` one index, and those that close ranges with an open end.
fn indices(tokens: &[At]) -> Vec<Addition> {
    let mut found = Vec::new();
    for (open, at) in tokens.iter().enumerate() {
        let index = match at.token {
            Token::QuestionBracket => true,
            Token::LeftBracket => open.checked_sub(1).is_some_and(|i| tokens[i].ends_value()),
            _ => false,
        };
        if !index {
            continue;
        }
        let close = closing(tokens, open);
        if !matches!(tokens[close].token, Token::RightBracket) {
            continue;
        }
        let (mut commas, mut ranges, mut i) = (false, Vec::new(), open + 1);
        while i < close {
            match &tokens[i].token {
                Token::Comma => commas = true,
                Token::ExclusiveRange => ranges.extend(open_range(tokens, open, i, close)),
                Token::LeftParen
                | Token::LeftBracket
                | Token::QuestionBracket
                | Token::LeftBrace
                | Token::MapStart => i = closing(tokens, i),
                _ => {}
            }
            i += 1;
        }
        let length = if matches!(at.token, Token::QuestionBracket) { 2 } else { 1 };
        // Additions at one position are inserted in this order.
        found.extend(commas.then(|| at.after(length, format!("{SEVERAL}(["))));
        found.extend(ranges);
        found.extend(commas.then(|| tokens[close].before("])")));
    }
    found
}

/// Returns the ends that the range at a token lacks.
fn open_range(tokens: &[At], open: usize, range: usize, close: usize) -> Vec<Addition> {
    let mut found = Vec::new();
    if range == open + 1 || matches!(tokens[range - 1].token, Token::Comma) {
        found.push(tokens[range].before("0"));
    }
    if range + 1 == close || matches!(tokens[range + 1].token, Token::Comma) {
        found.push(tokens[range].after(2, OPEN));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> String {
        compiled_form(&Engine::new(), text)
    }

    #[test]
    fn a_catch_in_a_string_or_comment_is_left_alone() {
        let engine = Engine::new();
        for text in ["\"catch (e) {\"", "// catch (e) {", "`a ${ 1 + 2 } catch (e) { `"] {
            assert_eq!(prepare(&engine, text).0, text);
        }
        let nested = "let s = `v: ${ try { 1 } catch (e) { 2 } } end`; try {} catch (x) {}";
        assert_eq!(prepare(&engine, nested).0.matches(CAUGHT).count(), 2);
    }

    #[test]
    fn deep_brackets_are_rewritten_in_one_pass() {
        let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(30_000), close.repeat(30_000));
        for text in [deep("[", "]"), deep("x[", "]"), deep("(", ")"), "x[".repeat(30_000)] {
            assert_eq!(form(&text), text);
        }
    }

    #[test]
    fn a_lone_underscore_is_a_name_but_in_a_switch() {
        let engine = Engine::new();
        let text = "switch _ { 1 => _ + a_b, _ => `${_}`, 2 => _3 - _12 }";
        assert_eq!(prepare(&engine, text).0, "switch _r { 1 => _r + a_b, _ => `${_r}`, 2 => _r3 - _r12 }");
    }

    #[test]
    fn a_switch_compares_a_copy() {
        assert_eq!(form("switch p { 1 => 2 }"), "switch __own(p ){ 1 => 2 }");
        assert_eq!(
            form("switch if a { b } else { c } { _ => 2 }"),
            "switch __own(if a { b } else { c } ){ _ => 2 }"
        );
        for plain in
            ["switch 1 { 1 => 2 }", "let s = \"switch p { }\";", "// switch p { 1 => 2 }", "switch p"]
        {
            assert_eq!(form(plain), plain);
        }
    }

    #[test]
    fn each_parameter_without_a_name_gets_one() {
        assert_eq!(form("|_, x, _, _| _ + f(_ | _, _)"), "|_r, x, _r_2, _r_3| _r + f(_r | _r, _r)");
        assert_eq!(form("fn f(_, _) { |_, _| 1 }"), "fn f(_r, _r_2) { |_r, _r_2| 1 }");
        assert!(Engine::new().compile(form("fn f(_, _) { 1 } let g = |_, _| 3;")).is_ok());
    }

    #[test]
    fn a_loop_that_makes_closures_gives_each_round_its_own_variables() {
        assert_eq!(form("for c in xs { f.push(|| c) }"), "for c in xs {let c=c; f.push(|| c) }");
        assert_eq!(form("for (c, i) in xs { g(|a| a) }"), "for (c, i) in xs {let c=c;let i=i; g(|a| a) }");
        for plain in
            ["for c in xs { c + 1 }", "let s = \"for c in xs { || c }\";", "// for c in [1] { || c }"]
        {
            assert_eq!(form(plain), plain);
        }
        let nested = form("for a in #{ b: 1 }.keys() { for b in if a { x } else { y } { || a } }");
        assert_eq!(
            nested,
            "for a in #{ b: 1 }.keys() {let a=a; for b in if a { x } else { y } {let b=b; || a } }"
        );
        assert_eq!(form("for a in xs.map(|x| { x }) { 1 }"), "for a in xs.map(|x| { x }) { 1 }");
    }

    #[test]
    fn an_index_for_each_dimension_is_one_index() {
        assert_eq!(form("x[0, 1]"), "x[__several([0, 1])]");
        assert_eq!(
            form("a.b[0, 1] = f(x)[i, j][k];"),
            "a.b[__several([0, 1])] = f(x)[__several([i, j])][k];"
        );
        assert_eq!(form("x[y[0, 1], 2]"), "x[__several([y[__several([0, 1])], 2])]");
        assert_eq!(form("x?[0, 1]"), "x?[__several([0, 1])]");
        for plain in [
            "[0, 1]",
            "f([0, 1])",
            "x[[0, 1]]",
            "return [1, 2];",
            "|x| [x, 1]",
            "\"x[0, 1]\"",
            "// x[0, 1]",
            "x[f(1, 2)]",
            "if a { b } [1, 2]",
        ] {
            assert_eq!(form(plain), plain);
        }
        assert_eq!(form("`${x[0, 1]} x[0, 1]`"), "`${x[__several([0, 1])]} x[0, 1]`");
    }

    #[test]
    fn ranges_in_an_index_may_have_open_ends() {
        assert_eq!(form("x[..]"), format!("x[0..{OPEN}]"));
        assert_eq!(form("x[2..]"), format!("x[2..{OPEN}]"));
        assert_eq!(form("x[..-1]"), "x[0..-1]");
        assert_eq!(form("x[.., 0]"), format!("x[__several([0..{OPEN}, 0])]"));
        assert_eq!(form("x[n.., ..2]"), format!("x[__several([n..{OPEN}, 0..2])]"));
        assert_eq!(form("x[0..2]; for i in 0..3 {}"), "x[0..2]; for i in 0..3 {}");
    }
}

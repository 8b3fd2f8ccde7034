//! Parts of a text that a function consists of: its own, and the functions of the file that it calls.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{Engine, Token};

use crate::script::rewrite::{At, closing, tokens, tokens_of_code};

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Line on which it starts, from 1.
    pub line: usize,
    /// The part itself.
    pub text: String,
}

/// What a function calls.
pub struct Called {
    /// Functions of its own text, in the order of the text.
    pub pieces: Vec<Piece>,
    /// Names in imported files.
    pub outside: Vec<Outside>,
}

/// A name in an imported file.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// The name of the import.
    pub import: String,
    /// The file as the import names it.
    pub path: String,
    /// The name in that file.
    pub name: String,
}

/// A tokenized text, with the functions that it has.
pub struct Text<'a> {
    text: &'a str,
    tokens: Vec<At>,
    /// Start of each line, in bytes.
    lines: Vec<usize>,
}

/// Tokens of a function: from the first to before the last, and the start of its body.
#[derive(Debug, Clone)]
struct Span {
    first: usize,
    body: usize,
    end: usize,
    params: Vec<String>,
}

impl<'a> Text<'a> {
    /// Tokenizes a text.
    pub fn new(engine: &Engine, text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(i, _)| i + 1);
        Self { text, tokens: tokens_of_code(engine, text), lines: std::iter::once(0).chain(starts).collect() }
    }

    fn token(&self, i: usize) -> Option<&Token> {
        self.tokens.get(i).map(|t| &t.token)
    }

    fn word(&self, i: usize) -> Option<&str> {
        match self.token(i) {
            Some(Token::Identifier(name)) => Some(name),
            _ => None,
        }
    }

    /// Returns the start of a token, in bytes.
    fn offset(&self, i: usize) -> usize {
        let Some(at) = self.tokens.get(i) else { return self.text.len() };
        let start = self.lines.get(at.line - 1).copied().unwrap_or(self.text.len());
        let line = &self.text[start..];
        start + line.char_indices().nth(at.column - 1).map_or(line.len(), |(i, _)| i)
    }

    fn piece(&self, first: usize, end: usize) -> Piece {
        let text = self.text[self.offset(first)..self.offset(end)].trim_end().to_string();
        Piece { line: self.tokens[first].line, text }
    }

    /// Returns the token after the bracket that closes the one at `open`. `()` is one token.
    fn behind(&self, open: usize) -> usize {
        match self.token(open) {
            Some(Token::Unit) => open + 1,
            _ => closing(&self.tokens, open) + 1,
        }
    }

    /// Returns the first token after an expression that starts at `start`.
    fn end_of_expression(&self, start: usize) -> usize {
        let mut i = start;
        while let Some(token) = self.token(i) {
            match token {
                Token::Comma | Token::SemiColon => return i,
                token if closes(token) => return i,
                token if opens(token) => i = self.behind(i),
                // The parameters of a closure inside have commas of their own.
                Token::Pipe if self.starts_closure(i) => i = self.behind_parameters(i).unwrap_or(i + 1),
                _ => i += 1,
            }
        }
        i
    }

    /// Returns whether a `|` does not follow a value.
    fn starts_closure(&self, i: usize) -> bool {
        i == 0 || !self.tokens[i - 1].ends_value()
    }

    /// Returns the token after the parameters that the `|` at `first` opens.
    fn behind_parameters(&self, first: usize) -> Option<usize> {
        let length = self.tokens[first + 1..].iter().position(|t| matches!(t.token, Token::Pipe))?;
        Some(first + length + 2)
    }

    /// Returns all closures, in the order in which they start.
    fn closures(&self) -> Vec<Span> {
        let mut found = Vec::new();
        for first in 0..self.tokens.len() {
            if !self.starts_closure(first) {
                continue;
            }
            let (body, params) = match self.token(first) {
                Some(Token::Or) => (first + 1, Vec::new()),
                Some(Token::Pipe) => {
                    let Some(body) = self.behind_parameters(first) else { continue };
                    let inside = &self.tokens[first + 1..body - 1];
                    if !inside
                        .iter()
                        .all(|t| matches!(t.token, Token::Identifier(_) | Token::Comma | Token::Underscore))
                    {
                        continue;
                    }
                    let name = |t: &At| match &t.token {
                        Token::Identifier(name) => Some(name.to_string()),
                        _ => None,
                    };
                    (body, inside.iter().filter_map(name).collect())
                }
                _ => continue,
            };
            let end = match self.token(body) {
                Some(Token::LeftBrace) => self.behind(body),
                _ => self.end_of_expression(body),
            };
            found.push(Span { first, body, end, params });
        }
        found
    }

    /// Returns all named functions. `fn tensor.twice()` is called `twice`.
    fn functions(&self) -> Vec<(String, Span)> {
        let mut found = Vec::new();
        for first in 0..self.tokens.len() {
            if !matches!(self.token(first), Some(Token::Fn)) {
                continue;
            }
            let name = match self.token(first + 2) {
                Some(Token::Period) => first + 3,
                _ => first + 1,
            };
            let Some(word) = self.word(name) else { continue };
            let body = self.behind(name + 1);
            let span = Span { first, body, end: self.behind(body), params: Vec::new() };
            found.push((word.to_string(), span));
        }
        found
    }

    /// Returns a function without what follows it up to the next token.
    fn of_function(&self, span: &Span) -> Piece {
        let Piece { line, text } = self.piece(span.first, span.end);
        let brace = self.offset(span.end - 1) - self.offset(span.first);
        Piece { line, text: text.get(..=brace).unwrap_or(&text).to_string() }
    }

    /// Returns the closure whose body contains a line and column and which takes the last of `params`.
    pub fn closure(&self, (line, column): (usize, usize), params: &[String]) -> Option<Piece> {
        let place = (line, column);
        let of = |i: usize| self.tokens.get(i).map_or((usize::MAX, 0), |t| (t.line, t.column));
        let fits =
            |span: &&Span| params.ends_with(&span.params) && of(span.body) <= place && place < of(span.end);
        // Of nested closures, it is the innermost.
        let found = self.closures();
        let span = found.iter().filter(fits).max_by_key(|span| span.first)?;
        Some(self.piece(span.first, span.end))
    }

    /// Returns the first function of that name.
    pub fn function(&self, name: &str) -> Option<Piece> {
        let found = self.functions();
        let (_, span) = found.iter().find(|(n, _)| n == name)?;
        Some(self.of_function(span))
    }

    /// Returns the function that the text starts with, without what follows it.
    pub fn first_function(&self) -> Option<Piece> {
        let (_, span) = self.functions().into_iter().find(|(_, span)| span.first == 0)?;
        Some(self.of_function(&span))
    }

    /// Returns the functions that `start` calls, and those that they call. Of functions of one name it returns all, since
    /// the number of arguments decides only in a call which one runs.
    pub fn called(&self, engine: &Engine, start: &str) -> Called {
        let functions = self.functions();
        let imports = self.imports();
        let mut needed: BTreeSet<usize> = BTreeSet::new();
        let mut outside: Vec<Outside> = Vec::new();
        let mut open = vec![start.to_string()];
        while let Some(text) = open.pop() {
            let tokens = tokens(engine, &text);
            for (i, at) in tokens.iter().enumerate() {
                let name = match &at.token {
                    Token::Identifier(name) => name.as_str(),
                    Token::StringConstant(name) => name.as_str(),
                    _ => continue,
                };
                let space = matches!(tokens.get(i + 1).map(|t| &t.token), Some(Token::DoubleColon));
                if let (true, Some(path)) = (space, imports.get(name)) {
                    let of = match tokens.get(i + 2).map(|t| &t.token) {
                        Some(Token::Identifier(of)) => of.to_string(),
                        _ => String::new(),
                    };
                    let found = Outside { import: name.to_string(), path: path.clone(), name: of };
                    if !outside.contains(&found) {
                        outside.push(found);
                    }
                }
                for (index, (_, span)) in functions.iter().enumerate().filter(|(_, (n, _))| n == name) {
                    if needed.insert(index) {
                        open.push(self.of_function(span).text);
                    }
                }
            }
        }
        let pieces = needed.into_iter().map(|i| self.of_function(&functions[i].1)).collect();
        Called { pieces, outside }
    }

    /// Returns the names of imports with the files as they name them; one that is computed has an empty name.
    fn imports(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for i in 0..self.tokens.len() {
            if !matches!(self.token(i), Some(Token::Import)) {
                continue;
            }
            let path = match (self.token(i + 1), self.token(i + 2)) {
                (Some(Token::StringConstant(path)), Some(Token::As)) => path.to_string(),
                _ => String::new(),
            };
            let names =
                (i..self.tokens.len()).take_while(|j| !matches!(self.token(*j), Some(Token::SemiColon)));
            for j in names {
                if let (Some(Token::As), Some(name)) = (self.token(j), self.word(j + 1)) {
                    found.insert(name.to_string(), path.clone());
                }
            }
        }
        found
    }
}

/// Returns whether a token opens a bracket.
pub fn opens(token: &Token) -> bool {
    matches!(
        token,
        Token::LeftParen | Token::LeftBracket | Token::LeftBrace | Token::MapStart | Token::QuestionBracket
    )
}

/// Returns whether a token closes a bracket.
pub fn closes(token: &Token) -> bool {
    matches!(token, Token::RightParen | Token::RightBracket | Token::RightBrace)
}

/// Joins all pieces to one text, each on its own line if that is free.
pub fn joined(pieces: &[Piece]) -> String {
    let mut sorted: Vec<&Piece> = pieces.iter().collect();
    sorted.sort_by_key(|piece| piece.line);
    let mut text = String::new();
    for piece in sorted {
        let here = text.matches('\n').count() + 1;
        let needed = if text.is_empty() { 0 } else { 1 };
        text.push_str(&"\n".repeat(piece.line.saturating_sub(here).max(needed)));
        text.push_str(&piece.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "import \"other\" as other;\n\
        fn twice(x) { helper(x) * 2 }\n\
        private fn helper(x) { x + 1 }\n\
        fn unused(x) { twice(x) }\n\
        let s = 3;\n\
        let part = nn::part(|b| { let g = `${b.width}`; |r, c| r * s + twice(r) // why\n\
        }, #{ name: \"x\" });\n\
        let more = [|x| x | 1, || helper(2), |x| other::f(x), |o| |p, q| p | q];";

    fn find(needle: &str) -> (usize, usize) {
        let at = FILE.find(needle).unwrap();
        let before = &FILE[..at];
        (before.matches('\n').count() + 1, before.len() - before.rfind('\n').map_or(0, |i| i + 1) + 1)
    }

    #[test]
    fn closures_and_functions_are_cut_out_whole() {
        let engine = Engine::new();
        let text = Text::new(&engine, FILE);
        let cut = |needle: &str, params: &[&str]| {
            let params: Vec<String> = params.iter().map(ToString::to_string).collect();
            text.closure(find(needle), &params).unwrap().text
        };
        assert_eq!(cut("* s +", &["s", "r", "c"]), "|r, c| r * s + twice(r) // why");
        let outer = cut("{ let g", &["s", "b"]);
        assert!(outer.starts_with("|b| { let g") && outer.ends_with('}'), "{outer}");
        assert_eq!(cut("| 1,", &["x"]), "|x| x | 1");
        assert_eq!(cut("helper(2)", &[]), "|| helper(2)");
        assert_eq!(cut("|p, q| p", &["o"]), "|o| |p, q| p | q");
        assert_eq!(
            text.function("helper").unwrap(),
            Piece { line: 3, text: "fn helper(x) { x + 1 }".into() }
        );
        let text = Text::new(&engine, "fn one() { 1 }\nfn two(x) { x }");
        assert_eq!(text.function("one").unwrap(), Piece { line: 1, text: "fn one() { 1 }".into() });
    }

    #[test]
    fn what_a_function_calls_comes_with_it() {
        let engine = Engine::new();
        let text = Text::new(&engine, FILE);
        let called: Vec<usize> =
            text.called(&engine, "|r| twice(r)").pieces.iter().map(|piece| piece.line).collect();
        assert_eq!(called, [2, 3]);
        assert!(text.called(&engine, "|r| r + 1").pieces.is_empty());
        let outside = text.called(&engine, "|x| other::f(x) + other::f(2)").outside;
        assert_eq!(outside, [Outside { import: "other".into(), path: "other".into(), name: "f".into() }]);
    }

    #[test]
    fn a_function_ends_with_its_body_however_it_is_written() {
        let engine = Engine::new();
        let more = "\n// about what follows\nfn other() { g(1) } let x = #{ a: 1 };";
        for own in [
            "fn f() { 1.0 }",
            "fn f ( ) {\n 1 }",
            "fn f(/* none */)\n// here\n{ [1, #{ a: () }] }",
            "fn\nf()\n/// doc\n{ `a ${ g() } }` }",
            "fn f(a, b) { let h = || f(); |x| { h.call() } }",
            "fn tensor.f() { this * 2 }",
            "fn f() { if g() { \"}\" } else { '}' } }",
            "fn f() {}",
        ] {
            for text in [format!("private {own}{more}"), format!("let a = ();{more} {own}"), own.to_string()]
            {
                let text = Text::new(&engine, &text);
                assert_eq!(text.function("f").unwrap().text, own);
                let called = text.called(&engine, "|r| r * f()").pieces;
                assert_eq!(called.iter().filter(|piece| piece.text == own).count(), 1, "{own}");
                assert_eq!(called.len(), 1, "{called:?}");
            }
            assert_eq!(Text::new(&engine, &format!("{own}{more}")).first_function().unwrap().text, own);
        }
        assert!(Text::new(&engine, "|r| f()").first_function().is_none());
    }

    #[test]
    fn all_functions_of_a_name_belong_together() {
        let engine = Engine::new();
        let text =
            Text::new(&engine, "fn f(x) { f(x, 2) }\nfn other() {}\nfn f(x, y) { g(x) * y }\nfn g(x) { x }");
        for start in ["|x| f(x)", "f"] {
            let called = text.called(&engine, start).pieces;
            assert_eq!(called.iter().map(|piece| piece.line).collect::<Vec<_>>(), [1, 3, 4], "{start}");
        }
    }

    #[test]
    fn pieces_keep_their_lines_where_they_can() {
        let piece = |line, text: &str| Piece { line, text: text.to_string() };
        assert_eq!(joined(&[piece(3, "b"), piece(1, "a")]), "a\n\nb");
        assert_eq!(joined(&[piece(2, "a\nb\nc"), piece(3, "d")]), "\na\nb\nc\nd");
    }
}

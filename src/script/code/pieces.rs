//! Parts of a text that a function consists of: its own, and the functions of the file that it calls.

use std::collections::BTreeSet;
use std::ops::Range;

use rhai::{Engine, Token};

use crate::script::rewrite::{At, closing, tokens_of_code};

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Line on which it starts, from 1.
    pub line: usize,
    /// The part itself.
    pub text: String,
}

/// What a function needs.
#[derive(Debug, Default)]
pub struct Called {
    /// Functions of its own text, in the order of the text.
    pub pieces: Vec<Piece>,
    /// Names in imported files.
    pub outside: Vec<Outside>,
    /// Constants of its file, which it reads as `global::NAME`.
    pub constants: BTreeSet<String>,
}

/// A name in an imported file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The name of the import; empty if it has none.
    pub import: String,
    /// The file as the import names it; `None` if that is computed.
    pub path: Option<String>,
    /// The names after that of the import: `f` of `lib::f`; none if it is only imported.
    pub names: Vec<String>,
    /// Whether the function itself imports the file when it runs.
    pub inside: bool,
}

/// An import, and the tokens of the block that it is in.
struct Import {
    at: usize,
    block: Range<usize>,
    name: String,
    path: Option<String>,
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

    /// Returns the tokens of the closure whose body contains a line and column and which takes the last of `params`.
    pub fn closure(&self, (line, column): (usize, usize), params: &[String]) -> Option<Range<usize>> {
        let place = (line, column);
        let of = |i: usize| self.tokens.get(i).map_or((usize::MAX, 0), |t| (t.line, t.column));
        let fits =
            |span: &&Span| params.ends_with(&span.params) && of(span.body) <= place && place < of(span.end);
        // Of nested closures, it is the innermost.
        let found = self.closures();
        let span = found.iter().filter(fits).max_by_key(|span| span.first)?;
        Some(span.first..span.end)
    }

    /// Returns a part of the text.
    pub fn cut(&self, tokens: &Range<usize>) -> Piece {
        self.piece(tokens.start, tokens.end)
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

    /// Returns what the functions of a name need, themselves included. Of functions of one name these are all, since the
    /// number of arguments decides only in a call which one runs.
    pub fn called_by(&self, name: &str) -> Called {
        let own = self.functions().into_iter().enumerate().filter(|(_, (n, _))| n == name);
        self.needs(own.map(|(i, (_, span))| (Some(i), span.first..span.end)).collect())
    }

    /// Returns what some tokens need, without their own text.
    pub fn called(&self, tokens: Range<usize>) -> Called {
        self.needs(vec![(None, tokens)])
    }

    /// Returns what the whole text needs.
    pub fn called_by_all(&self) -> Called {
        Called { pieces: Vec::new(), ..self.called(0..self.tokens.len()) }
    }

    /// Returns what some tokens need, and what the functions need that they call.
    fn needs(&self, mut open: Vec<(Option<usize>, Range<usize>)>) -> Called {
        let functions = self.functions();
        let imports = self.imports();
        let mut needed: BTreeSet<usize> = open.iter().filter_map(|(i, _)| *i).collect();
        let mut called = Called::default();
        while let Some((_, range)) = open.pop() {
            let mut add = |import: &Import, names: Vec<String>| {
                let (name, path) = (import.name.clone(), import.path.clone());
                let inside = range.contains(&import.at);
                let found = Outside { import: name, path, names, inside };
                if !called.outside.contains(&found) {
                    called.outside.push(found);
                }
            };
            imports.iter().filter(|i| range.contains(&i.at)).for_each(|import| add(import, Vec::new()));
            for i in range.clone() {
                let name = match self.token(i) {
                    Some(Token::Identifier(name)) => name.as_str(),
                    Some(Token::StringConstant(name)) => name.as_str(),
                    _ => continue,
                };
                // `tensor::rand` calls no `rand` of the file, but `global::rand` does.
                let after = i > 0 && matches!(self.token(i - 1), Some(Token::DoubleColon));
                if after && (i < 2 || self.word(i - 2) != Some("global")) {
                    continue;
                }
                let names = self.path_after(i);
                match visible(&imports, name, i).filter(|_| !names.is_empty()) {
                    Some(import) => add(import, names),
                    None if name == "global" && names.len() == 1 => {
                        called.constants.extend(names);
                    }
                    None => {}
                }
                for (index, (_, span)) in functions.iter().enumerate().filter(|(_, (n, _))| n == name) {
                    if needed.insert(index) {
                        open.push((Some(index), span.first..span.end));
                    }
                }
            }
        }
        let declared = |name: &String| !functions.iter().any(|(function, _)| function == name);
        called.constants.retain(declared);
        called.pieces = needed.into_iter().map(|i| self.of_function(&functions[i].1)).collect();
        called
    }

    /// Returns the names that follow a token after `::`.
    fn path_after(&self, at: usize) -> Vec<String> {
        let mut names = Vec::new();
        while let (Some(Token::DoubleColon), Some(name)) =
            (self.token(at + 1 + 2 * names.len()), self.word(at + 2 + 2 * names.len()))
        {
            names.push(name.to_string());
        }
        names
    }

    /// Returns the imports outside of functions and blocks, as a module has them: their names and files.
    pub fn import_of_file(&self, name: &str) -> Option<Outside> {
        let imports = self.imports();
        let import = imports.iter().rfind(|i| i.name == name && i.block == (0..self.tokens.len()))?;
        let (import, path) = (import.name.clone(), import.path.clone());
        Some(Outside { import, path, names: Vec::new(), inside: false })
    }

    fn imports(&self) -> Vec<Import> {
        let mut found: Vec<Import> = Vec::new();
        let mut blocks = Vec::new();
        for i in 0..self.tokens.len() {
            match self.token(i) {
                Some(Token::LeftBrace) => blocks.push(i..self.behind(i)),
                Some(Token::Import) => {
                    while blocks.last().is_some_and(|block: &Range<usize>| block.end <= i) {
                        blocks.pop();
                    }
                    let block = blocks.last().cloned().unwrap_or(0..self.tokens.len());
                    let end = (i..block.end).find(|j| matches!(self.token(*j), Some(Token::SemiColon)));
                    let end = end.unwrap_or(block.end);
                    let alias = (i..end).find(|j| matches!(self.token(*j), Some(Token::As)));
                    let name = alias.and_then(|j| self.word(j + 1)).unwrap_or_default().to_string();
                    let path = match self.token(i + 1) {
                        Some(Token::StringConstant(path)) if alias.unwrap_or(end) == i + 2 => {
                            Some(path.to_string())
                        }
                        _ => None,
                    };
                    found.push(Import { at: i, block, name, path });
                }
                _ => {}
            }
        }
        found
    }
}

/// Returns the import that a name means at a token: the one of the innermost block, and there the latest before it. A
/// function may stand before the import of its file.
fn visible<'a>(imports: &'a [Import], name: &str, at: usize) -> Option<&'a Import> {
    let named = imports.iter().filter(|import| import.name == name && import.block.contains(&at));
    named.max_by_key(|import| {
        let before = import.at < at;
        (import.block.start, before, if before { import.at as i64 } else { -(import.at as i64) })
    })
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
            text.cut(&text.closure(find(needle), &params).unwrap()).text
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
        let file = format!("{FILE} let a = |r| twice(r); let b = |r| tensor::twice(r);");
        let text = Text::new(&engine, &file);
        let of = |needle: &str| {
            let at = file.find(needle).unwrap();
            let line = file[..at].matches('\n').count() + 1;
            let column = at - file[..at].rfind('\n').unwrap();
            text.called(text.closure((line, column), &["r".to_string()]).unwrap())
        };
        let called: Vec<usize> = of("twice(r);").pieces.iter().map(|piece| piece.line).collect();
        assert_eq!(called, [2, 3]);
        assert!(of("tensor::twice").pieces.is_empty());
    }

    #[test]
    fn names_in_other_files_are_those_of_the_import_that_is_seen_there() {
        let engine = Engine::new();
        let text = "fn early(x) { a::f(x) + global::N + global::early(global::M) }
            import \"one\" as a;
            import \"two\" as b;
            fn own(x) { import \"three\" as a; if x { import \"four\"; } || a::g(x) + b::c::d(1) }
            fn last(x) { import \"f\" + x as c; c::f() + `${a::h}` + `${`${b::k()}`}` }";
        let text = Text::new(&engine, text);
        let of = |name: &str| {
            let called = text.called_by(name);
            let shown = |o: &Outside| {
                format!("{} {} {:?} {}", o.import, o.path.as_deref().unwrap_or("?"), o.names, o.inside)
            };
            called.outside.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(of("early"), ["a one [\"f\"] false"]);
        let constants = text.called_by("early").constants;
        assert_eq!(constants.iter().collect::<Vec<_>>(), ["M", "N"]);
        assert_eq!(
            of("own"),
            ["a three [] true", " four [] true", "a three [\"g\"] true", "b two [\"c\", \"d\"] false"]
        );
        assert_eq!(
            of("last"),
            ["c ? [] true", "c ? [\"f\"] true", "a one [\"h\"] false", "b two [\"k\"] false"]
        );
        assert_eq!(text.import_of_file("a").unwrap().path.as_deref(), Some("one"));
        assert!(text.import_of_file("c").is_none());
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
                let called = text.called_by("f").pieces;
                assert_eq!(called.iter().filter(|piece| piece.text == own).count(), 1, "{own}");
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
        let called = text.called_by("f").pieces;
        assert_eq!(called.iter().map(|piece| piece.line).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn pieces_keep_their_lines_where_they_can() {
        let piece = |line, text: &str| Piece { line, text: text.to_string() };
        assert_eq!(joined(&[piece(3, "b"), piece(1, "a")]), "a\n\nb");
        assert_eq!(joined(&[piece(2, "a\nb\nc"), piece(3, "d")]), "\na\nb\nc\nd");
    }
}

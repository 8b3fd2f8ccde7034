//! A line of code split into words, numbers, strings and symbols, in any language.

/// Kind of a part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Word,
    Number,
    Text,
    Symbol,
}

/// A part of a line: characters from `start` to before `end`.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub sort: Sort,
    pub start: usize,
    pub end: usize,
}

/// A line and its parts, without the content of a `//` comment.
pub struct Line {
    chars: Vec<char>,
    pub parts: Vec<Part>,
}

/// Symbols of more than one character, longest first.
const LONG: [&str; 20] = [
    "...", "**=", "..=", "::", "..", "==", "!=", "<=", ">=", "->", "=>", "+=", "-=", "*=", "/=", "%=", "**",
    ":=", "&&", "||",
];

impl Line {
    pub fn new(line: &str) -> Self {
        let chars: Vec<char> = line.chars().collect();
        let mut parts = Vec::new();
        let mut i = 0;
        let word = |c: char| c.is_alphanumeric() || c == '_';
        while let Some(&c) = chars.get(i) {
            let start = i;
            let sort = if c.is_whitespace() {
                i += 1;
                continue;
            } else if c == '/' && chars.get(i + 1) == Some(&'/') {
                break;
            } else if c.is_ascii_digit() || c == '.' && chars.get(i + 1).is_some_and(char::is_ascii_digit) {
                i += 1;
                while let Some(&d) = chars.get(i) {
                    let dots = d == '.' && chars.get(i + 1) == Some(&'.');
                    let exponent = matches!(d, '+' | '-') && matches!(chars[i - 1], 'e' | 'E');
                    if !(word(d) || d == '.' && !dots || exponent) {
                        break;
                    }
                    i += 1;
                }
                Sort::Number
            } else if word(c) {
                while chars.get(i).is_some_and(|c| word(*c)) {
                    i += 1;
                }
                Sort::Word
            } else if matches!(c, '"' | '\'' | '`') {
                i += 1;
                while chars.get(i).is_some_and(|d| *d != c) {
                    i += if chars[i] == '\\' { 2 } else { 1 };
                }
                i = (i + 1).min(chars.len());
                Sort::Text
            } else {
                let rest: String = chars[i..].iter().take(3).collect();
                i += LONG.iter().find(|s| rest.starts_with(**s)).map_or(1, |s| s.len());
                Sort::Symbol
            };
            parts.push(Part { sort, start, end: i });
        }
        Self { chars, parts }
    }

    /// Returns the characters of the line, its comment included.
    pub fn chars(&self) -> impl Iterator<Item = char> + '_ {
        self.chars.iter().copied()
    }

    /// Returns the text of a part; empty after the last one.
    pub fn part(&self, i: usize) -> String {
        self.parts.get(i).map_or_else(String::new, |p| self.chars[p.start..p.end].iter().collect())
    }

    /// Returns whether the part is this symbol or word.
    pub fn is(&self, i: usize, text: &str) -> bool {
        self.parts.get(i).is_some_and(|p| p.sort != Sort::Text) && self.part(i) == text
    }

    pub fn is_word(&self, i: usize) -> bool {
        self.parts.get(i).is_some_and(|p| p.sort == Sort::Word)
    }

    pub fn is_text(&self, i: usize) -> bool {
        self.parts.get(i).is_some_and(|p| p.sort == Sort::Text)
    }

    /// Returns the text from a part to before another, as it is written.
    pub fn text(&self, from: usize, to: usize) -> String {
        match (self.parts.get(from), to.checked_sub(1).and_then(|i| self.parts.get(i))) {
            (Some(first), Some(last)) if from < to => self.chars[first.start..last.end].iter().collect(),
            _ => String::new(),
        }
    }

    /// Returns the line with the parts from one to before another replaced.
    pub fn with(&self, from: usize, to: usize, code: &str) -> String {
        let (Some(first), Some(last)) =
            (self.parts.get(from), to.checked_sub(1).and_then(|i| self.parts.get(i)))
        else {
            return code.to_string();
        };
        let before: String = self.chars[..first.start].iter().collect();
        let after: String = self.chars[last.end..].iter().collect();
        format!("{before}{code}{after}").trim().to_string()
    }

    /// Returns the first part, from a part on, that is this word or symbol.
    pub fn find(&self, from: usize, text: &str) -> Option<usize> {
        (from..self.parts.len()).find(|i| self.is(*i, text))
    }

    /// Like [`Line::find`], outside of brackets that open after `from`, and before the surrounding bracket closes.
    pub fn find_level(&self, from: usize, wanted: &[&str]) -> Option<usize> {
        let mut i = from;
        while i < self.parts.len() {
            if wanted.iter().any(|w| self.is(i, w)) {
                return Some(i);
            }
            match self.part(i).as_str() {
                "(" | "[" | "{" => i = self.closing(i)?,
                ")" | "]" | "}" if self.parts[i].sort == Sort::Symbol => return None,
                _ => {}
            }
            i += 1;
        }
        None
    }

    /// Returns the part that closes the bracket at a part.
    pub fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0usize;
        for i in open..self.parts.len() {
            if self.parts[i].sort != Sort::Symbol {
                continue;
            }
            match self.part(i).as_str() {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Some(i);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Returns whether a value may end with the part.
    pub fn ends_value(&self, i: usize) -> bool {
        const WORDS: [&str; 12] =
            ["return", "else", "if", "in", "let", "and", "or", "not", "for", "while", "lambda", "print"];
        match self.parts.get(i) {
            Some(p) if p.sort == Sort::Symbol => matches!(self.part(i).as_str(), ")" | "]" | "}"),
            Some(p) if p.sort == Sort::Word => !WORDS.contains(&self.part(i).as_str()),
            Some(_) => true,
            None => false,
        }
    }

    /// Returns the parts between brackets, split at commas: pairs of the first part and the one after the last.
    pub fn arguments(&self, open: usize) -> Option<Vec<(usize, usize)>> {
        let close = self.closing(open)?;
        let mut found = Vec::new();
        let mut start = open + 1;
        while start < close {
            let end = self.find_level(start, &[","]).filter(|i| *i < close).unwrap_or(close);
            if start < end {
                found.push((start, end));
            }
            start = end + 1;
        }
        Some(found)
    }
}

/// Converts Python words and values in a piece of code to our syntax.
pub fn ours(code: &str) -> String {
    let line = Line::new(code);
    let mut out = String::new();
    let mut end = 0;
    let mut i = 0;
    while i < line.parts.len() {
        let part = line.parts[i];
        out.extend(&line.chars[end.min(part.start)..part.start]);
        end = part.end;
        let text = line.part(i);
        let tuple = text == "(" && part.sort == Sort::Symbol && (i == 0 || !line.ends_value(i - 1));
        let close = tuple.then(|| line.closing(i)).flatten();
        match (part.sort, text.as_str()) {
            (_, "(") if close.is_some_and(|c| line.find_level(i + 1, &[","]).is_some_and(|k| k < c)) => {
                let close = close.unwrap_or(i);
                let inside = ours(&line.text(i + 1, close));
                out.push_str(&format!("[{}]", inside.trim_end_matches(',')));
                end = line.parts[close].end;
                i = close;
            }
            (Sort::Word, module) if super::modules::MODULES.contains(&module) && line.is(i + 1, ".") => {
                match super::modules::dtype(&line.part(i + 2)).filter(|_| !line.is(i + 3, "(")) {
                    Some(dtype) => {
                        out.push_str(&format!("\"{dtype}\""));
                        end = line.parts[i + 2].end;
                        i += 2;
                    }
                    None => out.push_str(module),
                }
            }
            (Sort::Word, "True") => out.push_str("true"),
            (Sort::Word, "False") => out.push_str("false"),
            // In an index it is a new dimension.
            (Sort::Symbol, "[") if i > 0 && line.ends_value(i - 1) => {
                match new_axes(&line, i).zip(line.closing(i)) {
                    Some((code, close)) => {
                        out.push_str(&code);
                        end = line.parts[close].end;
                        i = close;
                    }
                    None => out.push('['),
                }
            }
            (Sort::Word, "None") => out.push_str("()"),
            (Sort::Word, "and") => out.push_str("&&"),
            (Sort::Word, "or") => out.push_str("||"),
            (Sort::Word, "not") => {
                out.push('!');
                end += usize::from(line.chars.get(end) == Some(&' '));
            }
            (Sort::Word, "range") if line.is(i + 1, "(") => match range(&line, i + 1) {
                Some((code, close)) => {
                    out.push_str(&code);
                    end = line.parts[close].end;
                    i = close;
                }
                None => out.push_str("range"),
            },
            (Sort::Text, text) if text.starts_with('\'') && text.chars().count() > 3 => {
                out.push_str(&format!("\"{}\"", text.trim_matches('\'')));
            }
            (_, text) => out.push_str(text),
        }
        i += 1;
    }
    out.trim().to_string()
}

/// Returns the part that opens an index with `None` as an entry.
pub fn index_with_none(line: &Line) -> Option<usize> {
    (1..line.parts.len()).find(|i| {
        let entries = || line.arguments(*i).unwrap_or_default();
        line.is(*i, "[")
            && line.ends_value(i - 1)
            && entries().iter().any(|(a, b)| *b == a + 1 && line.is(*a, "None"))
    })
}

/// Converts an index with `None`, which is a new dimension; `None` if it has none, or if the number of dimensions
/// before it is not certain.
pub fn new_axes(line: &Line, open: usize) -> Option<String> {
    let close = line.closing(open)?;
    let entries = line.arguments(open)?;
    let (mut rest, mut added, mut dims) = (Vec::new(), Vec::new(), Some(0i64));
    for (i, (from, to)) in entries.iter().enumerate() {
        let text = line.text(*from, *to);
        match text.as_str() {
            "None" => match dims {
                Some(dim) => {
                    added.push(dim);
                    dims = Some(dim + 1);
                }
                // After `...` the last dimension has a certain place.
                None if i + 1 == entries.len() => added.push(-1),
                None => return None,
            },
            "..." if dims.is_some() => dims = None,
            _ => {
                let range = line.find_level(*from, &[":", "..", "..="]).is_some_and(|k| k < *to);
                if !range && text.trim_start_matches('-').parse::<u32>().is_err() {
                    return None;
                }
                dims = Some(dims? + i64::from(range));
                rest.push(match text.split(':').map(str::trim).collect::<Vec<_>>().as_slice() {
                    [start, end] => format!("{}..{}", ours(start), ours(end)),
                    [_] => ours(&text),
                    _ => return None,
                });
            }
        }
    }
    // What is assigned to needs another form.
    if added.is_empty() || line.is(close + 1, "=") {
        return None;
    }
    let index = match rest.iter().all(|entry| entry == "..") {
        true => String::new(),
        false => format!("[{}]", rest.join(", ")),
    };
    Some(added.iter().fold(index, |code, dim| format!("{code}.unsqueeze({dim})")))
}

/// Converts `range(..)` with its bracket at a part; returns the code and the part that closes it.
fn range(line: &Line, open: usize) -> Option<(String, usize)> {
    let arguments = line.arguments(open)?;
    let text = |n: usize| arguments.get(n).map(|(a, b)| ours(&line.text(*a, *b)));
    let code = match (text(0)?, text(1), text(2)) {
        (end, None, _) => format!("0..{end}"),
        (start, Some(end), None) => format!("{start}..{end}"),
        (start, Some(end), Some(step)) => format!("range({start}, {end}, {step})"),
    };
    Some((code, line.closing(open)?))
}

//! Colours of results: the sixteen colours of the terminal's theme; colour is never the only difference.

use super::terminal;
use crate::session::tokens::{Kind, Token, tokens};

/// Type of a piece of text, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text in the terminal's default colour.
    Plain,
    /// A number.
    Number,
    /// A string with its quotes.
    Text,
    /// A keyword of the language, such as `true`.
    Keyword,
    /// The key of a map, the name of a property.
    Key,
    /// A heading.
    Head,
    /// The dtype of a tensor.
    Type,
    /// Borders, brackets and notes of low importance.
    Faint,
    /// Something that needs attention.
    Warning,
    /// An error.
    Error,
}

impl Ink {
    /// Returns the parameters of the escape sequence; empty for plain text.
    pub fn code(self) -> &'static str {
        match self {
            Ink::Plain => "",
            Ink::Number => "36",
            Ink::Text => "32",
            Ink::Keyword => "35",
            Ink::Key => "34",
            Ink::Head => "1",
            Ink::Type => "33",
            Ink::Faint => "2",
            Ink::Warning => "1;33",
            Ink::Error => "1;31",
        }
    }

    /// Returns the text in this ink; each line is closed separately, as pagers require.
    pub fn on(self, text: &str) -> String {
        if self == Ink::Plain || text.trim().is_empty() {
            return text.to_string();
        }
        let line = |line: &str| match line.is_empty() {
            true => String::new(),
            false => format!("\x1b[{}m{line}\x1b[0m", self.code()),
        };
        text.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Returns the text of a result in colours, if standard output shows them; `value_type` is the result of `type_of`.
pub fn paint(text: &str, value_type: &str) -> String {
    match terminal::colour(&std::io::stdout()) {
        true => painted(text, value_type),
        false => text.to_string(),
    }
}

/// Returns the text of a result in colours.
pub fn painted(text: &str, value_type: &str) -> String {
    match value_type {
        // An array of records is shown as a table.
        _ if text.starts_with(['─', '┌']) => table(text),
        // A string may be broken over lines; the last line may state its length.
        "string" => lines(text, |i, line| match line.starts_with("a string of ") && i > 0 {
            true => Ink::Faint.on(line),
            false => Ink::Text.on(line),
        }),
        "int" | "float" | "bool" | "array" | "map" | "range" | "filter" | "gate" | "correction"
        | "timesteps" | "path" | "loss" => code(text),
        "tensor" => tensor(text),
        "comparison" => lines(text, comparison),
        "help" => help(text),
        "table" | "model" | "error" | "function" | "figure" => text.to_string(),
        _ => lines(text, properties),
    }
}

fn lines(text: &str, paint: impl Fn(usize, &str) -> String) -> String {
    text.split('\n').enumerate().map(|(i, line)| paint(i, line)).collect::<Vec<_>>().join("\n")
}

/// Colours text as script code.
pub fn code(text: &str) -> String {
    let pieces = tokens(text);
    let (mut out, mut end) = (String::new(), 0);
    for (i, piece) in pieces.iter().enumerate() {
        out += &text[end..piece.start];
        out += &ink(piece, pieces.get(i + 1)).on(piece.text);
        end = piece.end();
    }
    out + &text[end..]
}

fn ink(piece: &Token, next: Option<&Token>) -> Ink {
    let key = next.is_some_and(|next| next.text == ":");
    match piece.kind {
        Kind::Name | Kind::Text(_) if key => Ink::Key,
        Kind::Number => Ink::Number,
        Kind::Text(_) => Ink::Text,
        Kind::Keyword => Ink::Keyword,
        Kind::Comment => Ink::Faint,
        Kind::Symbol if matches!(piece.text, ".." | "…") => Ink::Faint,
        Kind::Name | Kind::Symbol => Ink::Plain,
    }
}

/// Colours a line about a tensor, then its values, of which only those that are not finite stand out.
fn tensor(text: &str) -> String {
    let body = text.find("\n[").map_or(text.len(), |at| at + 1);
    let (head, body) = text.split_at(body);
    let close = head.find(']').map_or(0, |at| at + 1);
    let (shape, rest) = head.split_at(close);
    let mut out = Ink::Head.on(shape);
    // The device follows the type, and statistics follow a comma.
    let mut words = rest.splitn(3, ' ');
    let (before, dtype, after) = (words.next(), words.next(), words.next());
    out += before.unwrap_or_default();
    if let Some(dtype) = dtype {
        out += &format!(" {}", Ink::Type.on(dtype));
    }
    if let Some(after) = after {
        let (device, statistics) = after.split_at(after.find([',', ':']).unwrap_or(after.len()));
        // A single value follows a colon.
        let ink = if statistics.starts_with(':') { Ink::Plain } else { Ink::Faint };
        out += &format!(" {device}{}", ink.on(statistics));
    }
    out += &marked(body, |word| match word {
        "nan" | "inf" | "-inf" => Ink::Warning,
        word if word.chars().all(|c| matches!(c, '[' | ']' | ',' | '.')) => Ink::Faint,
        _ => Ink::Plain,
    });
    out
}

/// Colours words of letters, digits, points and signs, and runs of brackets and commas.
fn marked(text: &str, ink: impl Fn(&str) -> Ink) -> String {
    let class = |c: char| match c {
        '[' | ']' | ',' => 0,
        c if c.is_whitespace() => 1,
        _ => 2,
    };
    let (mut out, mut start) = (String::new(), 0);
    let mut previous = None;
    for (i, c) in text.char_indices().chain([(text.len(), '\0')]) {
        let here = (i < text.len()).then(|| class(c));
        if here != previous {
            out += &ink(&text[start..i]).on(&text[start..i]);
            (start, previous) = (i, here);
        }
    }
    out
}

/// Colours a table: faint borders, bold headings.
fn table(text: &str) -> String {
    let border = |line: &str| line.chars().all(|c| ('─'..='╿').contains(&c) || c.is_whitespace());
    let all: Vec<&str> = text.split('\n').collect();
    let rules: Vec<usize> = (0..all.len()).filter(|i| border(all[*i])).collect();
    let last = rules.last().copied().unwrap_or(0);
    let line = |i: usize, line: &str| match rules.binary_search(&i) {
        Ok(_) => Ink::Faint.on(line),
        Err(0) => line.to_string(),
        Err(1) => framed(line, Ink::Head),
        _ if i > last => Ink::Faint.on(line),
        _ => framed(line, Ink::Plain),
    };
    lines(text, line)
}

/// Colours a row between two borders.
fn framed(line: &str, ink: Ink) -> String {
    line.split_inclusive('│')
        .map(|part| match part.strip_suffix('│') {
            Some(cell) => format!("{}{}", ink.on(cell), Ink::Faint.on("│")),
            None => ink.on(part),
        })
        .collect()
}

fn comparison(_: usize, line: &str) -> String {
    let word = line.split_whitespace().next().unwrap_or_default();
    match word {
        "metric" => Ink::Head.on(line),
        "note:" => line.replacen("note:", &Ink::Warning.on("note:"), 1),
        "made" | "features" => Ink::Faint.on(line),
        _ => line.to_string(),
    }
}

/// Colours a first line that names the value, then a name and a value per line.
fn properties(i: usize, line: &str) -> String {
    let name = line.trim_start();
    let indent = &line[..line.len() - name.len()];
    match name.find("  ") {
        _ if i == 0 => Ink::Head.on(line),
        Some(end) if !indent.is_empty() => format!("{indent}{}{}", Ink::Key.on(&name[..end]), &name[end..]),
        _ => line.to_string(),
    }
}

/// Colours a signature or title, headings of one word, code in backquotes, and examples as scripts.
fn help(text: &str) -> String {
    let mut example = false;
    let mut line = |(i, line): (usize, &str)| {
        let heading = !line.is_empty() && line.chars().all(|c| c.is_ascii_lowercase());
        if heading {
            example = line.starts_with("example");
        }
        match line {
            _ if i == 0 || heading => Ink::Head.on(line),
            _ if example => code(line),
            _ => quoted(line),
        }
    };
    text.split('\n').enumerate().map(&mut line).collect::<Vec<_>>().join("\n")
}

/// Colours text between backquotes; a backquote without a partner in its line stays as it is.
fn quoted(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some(start) = rest.find('`')
        && let Some(length) = rest[start + 1..].find('`')
    {
        let end = start + length + 2;
        out += &rest[..start];
        out += &Ink::Number.on(&rest[start..end]);
        rest = &rest[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text with colours as words: `{36 42}`.
    fn shown(text: &str, value_type: &str) -> String {
        let painted = painted(text, value_type);
        assert_eq!(bare(&painted), text, "colours change no text");
        let mut parts = painted.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_string();
        parts.fold(first, |out, part| match part.split_once('m').unwrap() {
            ("0", rest) => format!("{out}}}{rest}"),
            (code, rest) => format!("{out}{{{code} {rest}"),
        })
    }

    fn bare(text: &str) -> String {
        let mut parts = text.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_string();
        parts.fold(first, |out, part| out + part.split_once('m').unwrap().1)
    }

    #[test]
    fn data_is_coloured_as_in_a_script() {
        assert_eq!(shown("42", "int"), "{36 42}");
        assert_eq!(
            shown("#{ a: \"x\", \"b c\": true }", "map"),
            "#{ {34 a}: {32 \"x\"}, {34 \"b c\"}: {35 true} }"
        );
        assert_eq!(shown("[1, .., 9] (9 n)", "array"), "[{36 1}, {2 ..}, {36 9}] ({36 9} n)");
        // A string that was broken or cut is closed in each line.
        assert_eq!(shown("\"a\nb…\na string of 9", "string"), "{32 \"a}\n{32 b…}\n{2 a string of 9}");
    }

    #[test]
    fn tensors_show_what_is_not_finite() {
        let text = "tensor [2, 2] float32 cpu, 1 to 3, 1 NaN\n[[nan, 1.0],\n ..., ]";
        let expected = "{1 tensor [2, 2]} {33 float32} cpu{2 , 1 to 3, 1 NaN}\n{2 [[}{1;33 nan}{2 ,} 1.0{2 ],}\n {2 ...}{2 ,} {2 ]}";
        assert_eq!(shown(text, "tensor"), expected);
        assert_eq!(shown("tensor [] int64 cpu: 3", "tensor"), "{1 tensor []} {33 int64} cpu: 3");
        assert_eq!(shown("tensor", "tensor"), "tensor");
    }

    #[test]
    fn tables_have_faint_borders_and_bold_heads() {
        let text = "───\n a \n───\n 1 \n───\n3 rows";
        assert_eq!(shown(text, "table"), "{2 ───}\n{1  a }\n{2 ───}\n 1 \n{2 ───}\n{2 3 rows}");
        let text = "┌──┐\n│ab│\n╞══╡\n│1 │\n└──┘";
        let expected = "{2 ┌──┐}\n{2 │}{1 ab}{2 │}\n{2 ╞══╡}\n{2 │}1 {2 │}\n{2 └──┘}";
        assert_eq!(shown(text, "model"), expected);
    }

    #[test]
    fn properties_comparisons_and_help() {
        assert_eq!(shown("run of 2\n  loss   0.9, x\nend", "run"), "{1 run of 2}\n  {34 loss}   0.9, x\nend");
        let text = "made 3\n  metric  made\n  fid  1\nnote: few";
        assert_eq!(shown(text, "comparison"), "{2 made 3}\n{1   metric  made}\n  fid  1\n{1;33 note:} few");
        let text = "f(x)\n\nGives `x` or ` alone.\n\nexample\n  f(1) // it's";
        let expected = "{1 f(x)}\n\nGives {36 `x`} or ` alone.\n\n{1 example}\n  f({36 1}) {2 // it's}";
        assert_eq!(shown(text, "help"), expected);
    }
}

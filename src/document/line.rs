//! Lines of spans.

use std::ops::Range;

use super::width::{pieces, width};

/// What a piece of text is, which decides how it looks; color is never the only difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Text.
    #[default]
    Plain,
    /// A number.
    Number,
    /// A string with its quotes.
    Text,
    /// The name of a function that is called.
    Call,
    /// A bracket at the cursor, and its partner.
    Marked,
    /// A keyword of the language, such as `true`.
    Keyword,
    /// The key of a map, the name of a property.
    Key,
    /// A heading.
    Head,
    /// The dtype of a tensor.
    Type,
    /// A word in code.
    Code,
    /// A word that is stressed.
    Emphasis,
    /// A word that is stressed more.
    Strong,
    /// Borders, brackets and notes of low importance.
    Faint,
    /// Something that works as it should.
    Good,
    /// Something that needs attention.
    Warning,
    /// Something that does not work.
    Error,
    /// The label of a hint.
    Hint,
    /// The frame of a quoted line of code.
    Frame,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    /// The text, without line breaks.
    pub text: String,
    /// What it is.
    pub role: Role,
    /// Address that it leads to.
    pub link: Option<String>,
}

/// A line of spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    spans: Vec<Span>,
}

impl Line {
    /// Creates an empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a line of one span.
    pub fn of(role: Role, text: impl Into<String>) -> Self {
        Self::new().with(role, text)
    }

    /// Returns the line with a span added.
    #[must_use]
    pub fn with(mut self, role: Role, text: impl Into<String>) -> Self {
        self.push(role, text);
        self
    }

    /// Reads a text in which code stands between backquotes; a backquote without a partner is text.
    pub fn quoted(text: &str) -> Self {
        let (mut line, mut rest) = (Line::new(), text);
        while let Some(start) = rest.find('`')
            && let Some(length) = rest[start + 1..].find('`')
        {
            let end = start + length + 2;
            line.push(Role::Plain, &rest[..start]);
            line.push(Role::Code, &rest[start..end]);
            rest = &rest[end..];
        }
        line.with(Role::Plain, rest)
    }

    /// Adds a span; text of the same role as the last span joins it.
    pub fn push(&mut self, role: Role, text: impl Into<String>) {
        self.add(Span { text: text.into(), role, link: None });
    }

    /// Adds a span that leads to an address.
    pub fn push_link(&mut self, text: impl Into<String>, address: impl Into<String>) {
        self.add(Span { text: text.into(), role: Role::Plain, link: Some(address.into()) });
    }

    /// Returns the line with all of it leading to an address.
    #[must_use]
    pub fn leading_to(mut self, address: &str) -> Self {
        self.spans.iter_mut().for_each(|span| span.link = Some(address.to_string()));
        self
    }

    /// Adds the spans of another line.
    pub fn append(&mut self, other: Line) {
        other.spans.into_iter().for_each(|span| self.add(span));
    }

    fn add(&mut self, span: Span) {
        match self.spans.last_mut() {
            _ if span.text.is_empty() => {}
            Some(last) if last.role == span.role && last.link == span.link => last.text += &span.text,
            _ => self.spans.push(span),
        }
    }

    /// Returns the spans.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Returns the text without roles.
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }

    /// Returns the number of terminal columns that the line takes.
    pub fn width(&self) -> usize {
        self.spans.iter().map(|span| width(&span.text)).sum()
    }

    /// Returns the line with a role for all text that has none.
    #[must_use]
    pub fn as_role(mut self, role: Role) -> Self {
        for span in &mut self.spans {
            if span.role == Role::Plain {
                span.role = role;
            }
        }
        self
    }

    /// Returns the line with plain text in the place of a role.
    #[must_use]
    pub fn without(mut self, role: Role) -> Self {
        for span in &mut self.spans {
            if span.role == role {
                span.role = Role::Plain;
            }
        }
        self
    }

    /// Returns the line without spaces at its end.
    #[must_use]
    pub fn trimmed(self) -> Self {
        let length = self.text().trim_end().len();
        self.part(0..length)
    }

    /// Returns a part of the line, given in bytes of its text.
    pub fn part(&self, range: Range<usize>) -> Self {
        let (mut part, mut start) = (Line::new(), 0);
        for span in &self.spans {
            let end = start + span.text.len();
            let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
            if from < to {
                part.add(Span { text: span.text[from - start..to - start].to_string(), ..span.clone() });
            }
            start = end;
        }
        part
    }

    /// Breaks the line between words so that no line has more than this many columns; continuation lines are
    /// indented by two more columns.
    pub fn wrapped(&self, columns: usize) -> Vec<Line> {
        let cut = |(indent, range): (usize, Range<usize>)| {
            let mut line = Line::of(Role::Plain, " ".repeat(indent));
            line.append(self.part(range));
            line
        };
        pieces(&self.text(), columns, None).into_iter().map(cut).collect()
    }

    /// Like [`Line::wrapped`], with continuation lines that are not indented.
    pub fn flowed(&self, columns: usize) -> Vec<Line> {
        pieces(&self.text(), columns, Some(0)).into_iter().map(|(_, range)| self.part(range)).collect()
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Line::of(Role::Plain, text)
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Line::of(Role::Plain, text)
    }
}

/// Returns the text of lines, with breaks between them.
pub fn joined(lines: &[Line]) -> String {
    lines.iter().map(Line::text).collect::<Vec<_>>().join("\n")
}

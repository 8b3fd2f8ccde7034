//! Documents as text with ANSI escapes: the sixteen colors of the terminal's theme.

use super::{Document, Line, Role};

impl Role {
    /// Returns the parameters of the escape sequence; empty for text without a style.
    fn code(self) -> &'static str {
        match self {
            Role::Plain => "",
            Role::Number | Role::Code => "36",
            Role::Text | Role::Good => "32",
            Role::Keyword => "35",
            Role::Key => "34",
            Role::Call => "94",
            Role::Marked => "1;7",
            Role::Head | Role::Strong => "1",
            Role::Type => "33",
            Role::Emphasis => "3",
            Role::Faint => "2",
            Role::Warning => "1;33",
            Role::Error => "1;31",
            Role::Hint => "1;36",
            Role::Frame => "1;34",
        }
    }
}

impl Line {
    /// Formats the line with escapes, which all end within it, as pagers require.
    pub fn to_ansi(&self) -> String {
        let mut out = String::new();
        for span in self.spans() {
            match span.role.code() {
                code if code.is_empty() || span.text.trim().is_empty() => out += &span.text,
                code => out += &format!("\x1b[{code}m{}\x1b[0m", span.text),
            }
        }
        out
    }

    /// Formats the line with escapes or without.
    pub fn shown(&self, color: bool) -> String {
        if color { self.to_ansi() } else { self.text() }
    }
}

impl Document {
    /// Formats the document as [`Document::to_text`], with ANSI escapes if `color` is set.
    pub fn shown(&self, width: Option<usize>, color: bool) -> String {
        self.lines(width).iter().map(|line| line.shown(color)).collect::<Vec<_>>().join("\n")
    }
}

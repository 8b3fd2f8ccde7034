//! Language-aware keys: Enter indents, a closing bracket unindents, Ctrl-X Ctrl-E opens an editor.

use std::sync::atomic::Ordering;

use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, Helper, InputMode, KeyCode,
    KeyEvent, Modifiers, RepeatCount,
};

use super::line::Shared;
use crate::session::tokens::{self, Kind, Token};

/// Number of spaces per level of indentation.
const INDENT: usize = 4;

/// Binds the keys.
pub fn bind<H: Helper, I: rustyline::history::History>(editor: &mut Editor<H, I>, shared: &Shared) {
    let enter = |alt| EventHandler::Conditional(Box::new(Enter { shared: shared.clone(), alt }));
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::NONE), enter(false));
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), enter(true));
    for bracket in ['}', ']', ')'] {
        let key = KeyEvent(KeyCode::Char(bracket), Modifiers::NONE);
        editor.bind_sequence(
            key,
            EventHandler::Conditional(Box::new(Close { shared: shared.clone(), bracket })),
        );
    }
    let open = Event::KeySeq(vec![KeyEvent::ctrl('X'), KeyEvent::ctrl('E')]);
    editor.bind_sequence(open, EventHandler::Conditional(Box::new(Edit(shared.clone()))));
}

/// Runs a complete cell; starts an indented line in an incomplete one.
struct Enter {
    shared: Shared,
    alt: bool,
}

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        if !self.alt && self.shared.is_whole(context.line()) {
            return Some(Cmd::AcceptLine);
        }
        let before = context.line().get(..context.pos()).unwrap_or_default();
        let indent = Open::at(before, before.len()).levels() * INDENT;
        Some(Cmd::Insert(1, format!("\n{}", " ".repeat(indent))))
    }
}

/// Types a closing bracket; if it is the first in its line, at the indentation of the matching bracket.
struct Close {
    shared: Shared,
    bracket: char,
}

impl ConditionalEventHandler for Close {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let before = context.line().get(..context.pos())?;
        let indent = less_indented(before).filter(|_| context.input_mode() == InputMode::Insert)?;
        // Among the commands of the line editor, only completion replaces text and moves behind it.
        let start = before.rfind('\n')? + 1;
        self.shared.replace_next(start, format!("{}{}", " ".repeat(indent), self.bracket));
        Some(Cmd::Complete)
    }
}

/// Returns how many spaces belong before a closing bracket at the end of the text, if its line has more spaces and
/// nothing else.
fn less_indented(before: &str) -> Option<usize> {
    let (_, spaces) = before.rsplit_once('\n')?;
    let wanted = INDENT * Open::at(before, before.len() - spaces.len()).of_closing()?;
    (spaces.chars().all(|c| c == ' ') && spaces.len() > wanted).then_some(wanted)
}

/// Returns the text with each closing bracket that starts its line one level too deep moved to its place; for text
/// that was pasted or did not come from keys.
pub fn tidied(text: &str) -> String {
    let (mut out, mut start) = (String::new(), 0);
    let mut open = Open::new(text);
    for line in text.split_inclusive('\n') {
        open.go_to(start);
        start += line.len();
        let inner = line.trim_start_matches(' ');
        let deep = line.len() - inner.len() == open.levels() * INDENT;
        let wanted = open.of_closing().filter(|_| deep && inner.starts_with(['}', ']', ')']));
        match wanted {
            Some(levels) => out += &format!("{}{inner}", " ".repeat(levels * INDENT)),
            None => out += line,
        }
    }
    out
}

/// Open brackets at a position of a text. Brackets opened in the same line count as one level, as in `f(#{`.
struct Open<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    text: &'a str,
    /// Start of the line of each open bracket; lines with several open brackets are repeated.
    lines: Vec<usize>,
    /// Whether the position lies in a string or a comment.
    within: bool,
}

impl<'a> Open<'a> {
    fn new(text: &'a str) -> Self {
        Self { tokens: tokens::tokens(text), next: 0, text, lines: Vec::new(), within: false }
    }

    fn at(text: &'a str, place: usize) -> Self {
        let mut open = Self::new(text);
        open.go_to(place);
        open
    }

    /// Moves forward to a later position.
    fn go_to(&mut self, place: usize) {
        while let Some(token) = self.tokens.get(self.next).filter(|t| t.start < place) {
            match token.text {
                _ if token.kind != Kind::Symbol => {}
                "(" | "[" | "{" | "#{" | "?[" => {
                    self.lines.push(self.text[..token.start].rfind('\n').map_or(0, |i| i + 1));
                }
                ")" | "]" | "}" => {
                    self.lines.pop();
                }
                _ => {}
            }
            self.next += 1;
        }
        let last = self.next.checked_sub(1).map(|i| &self.tokens[i]);
        self.within = last.is_some_and(|t| t.end() > place);
    }

    /// Returns the level of indentation of a line at the position.
    fn levels(&self) -> usize {
        let mut lines = self.lines.clone();
        lines.dedup();
        lines.len()
    }

    /// Returns the level of indentation of a line that begins with the bracket that closes the innermost one.
    fn of_closing(&self) -> Option<usize> {
        let line = self.lines.last().filter(|_| !self.within)?;
        let mut outer: Vec<usize> = self.lines.iter().copied().filter(|l| l < line).collect();
        outer.dedup();
        Some(outer.len())
    }
}

/// Ends the line so that the main loop opens it in an editor.
struct Edit(Shared);

impl ConditionalEventHandler for Edit {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, _: &EventContext) -> Option<Cmd> {
        self.0.edit.store(true, Ordering::Relaxed);
        Some(Cmd::AcceptLine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_brackets_go_one_level_back() {
        let typed = "fn f(a) {\n    if a {\n        1\n        }\n    }";
        assert_eq!(tidied(typed), "fn f(a) {\n    if a {\n        1\n    }\n}");
        assert_eq!(less_indented("fn f(a) {\n    if a {\n        1\n        "), Some(4));
        assert_eq!(less_indented("if a {\n    b\n  "), Some(0));
        assert_eq!(less_indented("f(#{\n    "), Some(0));
        assert_eq!(less_indented("f(#{\n    a: [\n        "), Some(4));
        for own in ["if a {\n    b ", "    ", "let s = [\n    `{\n    ", "if a {\n"] {
            assert_eq!(less_indented(own), None, "{own:?}");
        }
        let call = "train(#{\n    steps: 3,\n    })";
        assert_eq!(tidied(call), "train(#{\n    steps: 3,\n})");
        let own = "let s = [\n    `{\n    }`,\n]";
        assert_eq!(tidied(own), own);
    }
}

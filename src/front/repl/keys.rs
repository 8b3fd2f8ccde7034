//! Keys that know the language: Enter indents, a closing bracket goes back a level, Ctrl-X Ctrl-E opens an editor.

use std::sync::atomic::Ordering;

use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, Helper, InputMode, KeyCode,
    KeyEvent, Modifiers, RepeatCount,
};

use super::line::Shared;
use crate::session::tokens::{self, Kind, Token};

/// How far a level is indented.
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

/// Runs a whole cell; starts an indented line in an unfinished one.
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

/// Types a closing bracket; where it is the first in its line, at the depth of the bracket that it closes.
struct Close {
    shared: Shared,
    bracket: char,
}

impl ConditionalEventHandler for Close {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let before = context.line().get(..context.pos())?;
        let indent = less_indented(before).filter(|_| context.input_mode() == InputMode::Insert)?;
        // Of all commands of the line editor only completion replaces text and goes behind it.
        let start = before.rfind('\n')? + 1;
        self.shared.replace_next(start, format!("{}{}", " ".repeat(indent), self.bracket));
        Some(Cmd::Complete)
    }
}

/// How many spaces belong before a closing bracket at the end of the text, where there are more, and nothing else
/// in its line.
fn less_indented(before: &str) -> Option<usize> {
    let (_, spaces) = before.rsplit_once('\n')?;
    let wanted = INDENT * Open::at(before, before.len() - spaces.len()).of_closing()?;
    (spaces.chars().all(|c| c == ' ') && spaces.len() > wanted).then_some(wanted)
}

/// The text with each closing bracket that is first in its line, and one level too deep, where it belongs: for what
/// was pasted or came another way than by keys.
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

/// The brackets that are open at a place of a text. Those that were opened in one line make one level together, as in
/// `f(#{`.
struct Open<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    text: &'a str,
    /// Where each line begins in which a bracket was opened that is still open; as often as there are such.
    lines: Vec<usize>,
    /// Whether the place lies in a string or a comment.
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

    /// Goes on to a place further down.
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

    /// How deep a line here is indented.
    fn levels(&self) -> usize {
        let mut lines = self.lines.clone();
        lines.dedup();
        lines.len()
    }

    /// How deep a line is indented that begins with the bracket which closes the innermost one.
    fn of_closing(&self) -> Option<usize> {
        let line = self.lines.last().filter(|_| !self.within)?;
        let mut outer: Vec<usize> = self.lines.iter().copied().filter(|l| l < line).collect();
        outer.dedup();
        Some(outer.len())
    }
}

/// Ends the line so that the loop opens it in an editor.
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

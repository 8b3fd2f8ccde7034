//! Keys that know the language: Enter indents, Ctrl-X Ctrl-E opens an editor.

use std::sync::atomic::Ordering;

use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, Helper, KeyCode, KeyEvent,
    Modifiers, RepeatCount,
};

use super::line::Shared;
use crate::session::tokens::{self, Kind};

/// How far a level is indented.
const INDENT: usize = 4;

/// Binds the keys.
pub fn bind<H: Helper, I: rustyline::history::History>(editor: &mut Editor<H, I>, shared: &Shared) {
    let enter = |alt| EventHandler::Conditional(Box::new(Enter { shared: shared.clone(), alt }));
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::NONE), enter(false));
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), enter(true));
    let open = Event::KeySeq(vec![KeyEvent::ctrl('X'), KeyEvent::ctrl('E')]);
    editor.bind_sequence(open, EventHandler::Conditional(Box::new(Open(shared.clone()))));
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
        let indent = tokens::open_brackets(before) * INDENT;
        Some(Cmd::Insert(1, format!("\n{}", " ".repeat(indent))))
    }
}

/// The text with each closing bracket that is first in its line one level back. The line editor cannot move
/// what is typed already, so this is for what is run and kept.
pub fn tidied(text: &str) -> String {
    let mut out = String::new();
    for line in text.split('\n') {
        let before = out.clone();
        if !out.is_empty() {
            out.push('\n');
        }
        let inner = line.trim_start_matches(' ');
        let depth = tokens::open_brackets(&before);
        let in_text = tokens::tokens(&before).last().is_some_and(|t| t.kind == Kind::Text(false));
        let deep = line.len() - inner.len() == depth * INDENT && depth > 0;
        match inner.starts_with(['}', ']', ')']) && deep && !in_text {
            true => out.push_str(&line[INDENT..]),
            false => out.push_str(line),
        }
    }
    out
}

/// Ends the line so that the loop opens it in an editor.
struct Open(Shared);

impl ConditionalEventHandler for Open {
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
        let own = "let s = [\n    `{\n    }`,\n]";
        assert_eq!(tidied(own), own);
    }
}

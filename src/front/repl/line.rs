//! The line being typed: colors, completion, hints, and whether it is a complete cell.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rhai::Engine;
use rustyline::completion::{Candidate, Completer};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Context, Helper};

use crate::document::{Line, Role};
use crate::front::terminal;
use crate::script::catalog::Catalog;
use crate::script::syntax;
use crate::session::commands::{self, Takes};
use crate::session::complete::{self, Surroundings};
use crate::session::highlight::marked;
use crate::session::tokens;

/// State that the line and its keys share with the main loop.
#[derive(Clone)]
pub struct Shared {
    engine: Arc<Engine>,
    catalog: Arc<OnceLock<Catalog>>,
    around: Arc<Mutex<Surroundings>>,
    /// Whether the line is to be opened in an editor instead of being run.
    pub edit: Arc<AtomicBool>,
    /// Replacement that the next completion makes instead: the text from a byte to the cursor, and its new content.
    replacement: Arc<Mutex<Option<(usize, String)>>>,
}

impl Shared {
    /// Starts to collect what completion needs, in parallel to the first prompt.
    pub fn new(engine: Arc<Engine>) -> Self {
        let (catalog, around, edit, replacement) = Default::default();
        let shared = Self { engine, catalog, around, edit, replacement };
        let catalog = Arc::clone(&shared.catalog);
        std::thread::spawn(move || catalog.get_or_init(Catalog::new).entries().len());
        shared
    }

    /// Returns the catalogue that completion searches.
    pub fn catalog(&self) -> &Catalog {
        self.catalog.get_or_init(Catalog::new)
    }

    /// Replaces the session's state that completion sees.
    pub fn update(&self, around: Surroundings) {
        *self.around.lock().unwrap_or_else(PoisonError::into_inner) = around;
    }

    /// Makes the next completion replace the text from `start` to the cursor.
    pub fn replace_next(&self, start: usize, text: String) {
        *self.replacement.lock().unwrap_or_else(PoisonError::into_inner) = Some((start, text));
    }

    /// Returns whether Enter runs the text.
    pub fn is_whole(&self, text: &str) -> bool {
        let line = text.trim();
        if line.starts_with(':') {
            // `:time for x in list {` is incomplete.
            return match commands::parse(line) {
                Ok((command, cell)) if command.takes == Takes::Code && !cell.is_empty() => {
                    syntax::is_complete(&self.engine, cell)
                }
                _ => true,
            };
        }
        complete::question(line).is_some() || syntax::is_complete(&self.engine, text)
    }
}

/// Helper of the line editor.
pub struct Typed {
    shared: Shared,
    hints: Option<HistoryHinter>,
    color: bool,
    cursor: Cell<usize>,
}

impl Typed {
    /// Creates a helper; `hints` enables hints from the history.
    pub fn new(shared: Shared, hints: bool, color: bool) -> Self {
        Self { shared, hints: hints.then(HistoryHinter::new), color, cursor: Cell::new(0) }
    }
}

/// A candidate with the line that a list shows.
pub struct Listed {
    text: String,
    shown: String,
}

impl Candidate for Listed {
    fn display(&self) -> &str {
        &self.shown
    }

    fn replacement(&self) -> &str {
        &self.text
    }
}

impl Completer for Typed {
    type Candidate = Listed;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Listed>)> {
        let replacement = self.shared.replacement.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((start, text)) = replacement {
            return Ok((start, vec![Listed { shown: text.clone(), text }]));
        }
        let around = self.shared.around.lock().unwrap_or_else(PoisonError::into_inner);
        let found = complete::complete(line, pos, self.shared.catalog(), &around);
        let widest = found.candidates.iter().map(|c| c.label.chars().count()).max().unwrap_or(0).min(40);
        let room = terminal::width().saturating_sub(widest + 3);
        let listed = found.candidates.into_iter().map(|c| {
            let about: String = match c.about.chars().count() > room {
                true => c.about.chars().take(room.saturating_sub(2)).collect::<String>() + "..",
                // As wide as the terminal, so that each candidate has its own line.
                false => format!("{:room$}", c.about),
            };
            Listed { shown: format!("{:widest$} {about}", c.label), text: c.text }
        });
        Ok((found.start, listed.collect()))
    }
}

impl Hinter for Typed {
    type Hint = String;

    fn hint(&self, line: &str, pos: usize, context: &Context<'_>) -> Option<String> {
        if pos < line.len() {
            return None;
        }
        let past = self.hints.as_ref().and_then(|h| h.hint(line, pos, context)).filter(|h| !h.contains('\n'));
        past.or_else(|| {
            let around = self.shared.around.lock().unwrap_or_else(PoisonError::into_inner);
            complete::signature(line, pos, self.shared.catalog.get()?, &around)
        })
    }
}

impl Highlighter for Typed {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.color {
            return Cow::Borrowed(line);
        }
        // The bracket under or before the cursor, and the matching one.
        let cursor = self.cursor.get();
        let before = line.get(..cursor).and_then(|t| t.chars().next_back()).map(|c| cursor - c.len_utf8());
        let pair = [Some(cursor), before].into_iter().flatten().find_map(|at| {
            let partner = tokens::matching_bracket(line, at)?;
            Some([at..at + if line[at..].starts_with("#{") { 2 } else { 1 }, partner])
        });
        let lines = marked(line, pair.as_ref().map_or(&[], |pair| pair.as_slice()));
        Cow::Owned(lines.iter().map(Line::to_ansi).collect::<Vec<_>>().join("\n"))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        match self.color {
            true => Cow::Owned(Line::of(Role::Frame, prompt).to_ansi()),
            false => Cow::Borrowed(prompt),
        }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        match self.color {
            true => Cow::Owned(Line::of(Role::Faint, hint).to_ansi()),
            false => Cow::Borrowed(hint),
        }
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        match candidate.split_once(' ') {
            Some((name, about)) if self.color => {
                let name = Line::of(Role::Head, name);
                Cow::Owned(name.with(Role::Plain, " ").with(Role::Faint, about).to_ansi())
            }
            _ => Cow::Borrowed(candidate),
        }
    }

    fn highlight_char(&self, line: &str, pos: usize, kind: CmdKind) -> bool {
        // The final drawing does not mark brackets.
        self.cursor.set(if kind == CmdKind::ForcedRefresh { usize::MAX } else { pos.min(line.len()) });
        self.color
    }
}

impl Validator for Typed {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let edited = self.shared.edit.load(Ordering::Relaxed);
        Ok(match edited || self.shared.is_whole(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Helper for Typed {}

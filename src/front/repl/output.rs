//! Output of the REPL, and what it keeps for `:last`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::context::Interrupt;
use crate::declare::{Display, Value};
use crate::document::{Line, Role};
use crate::error::{Error, Result};
use crate::front::picture::{self, Canvas, Protocol};
use crate::front::run::Filter;
use crate::front::{export, pager, terminal};
use crate::plot::Figure;
use crate::session::Outcome;
use crate::session::highlight::highlighted;

/// Number of printed lines of a cell that reach the screen; the others are only kept.
const PRINTED: usize = 2_000;

/// Number of bytes of a cell's output that are kept.
const KEPT: usize = 32 << 20;

#[derive(Default)]
struct Kept {
    text: String,
    lines: usize,
    hidden: usize,
}

/// The screen, and what was written to it since the last cell began.
pub struct Output {
    kept: Arc<Mutex<Kept>>,
    images: Option<Protocol>,
    value: Option<Value>,
}

impl Output {
    /// Creates the output, and the filter through which cells print. `images` is the user's choice of a protocol.
    pub fn new(images: Option<Protocol>) -> (Self, Filter) {
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let seen = Arc::clone(&kept);
        let filter = move |text: &str| {
            let kept = &mut *seen.lock().unwrap_or_else(PoisonError::into_inner);
            keep(kept, text);
            kept.lines += text.lines().count().max(1);
            let shown = kept.lines <= PRINTED;
            kept.hidden += if shown { 0 } else { text.lines().count().max(1) };
            shown
        };
        (Self { kept, images, value: None }, Arc::new(filter))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a cell: drops the kept output of the previous one.
    pub fn begin(&mut self) {
        *self.kept() = Kept::default();
    }

    /// Ends a cell: reports lines that were printed but not shown.
    pub fn end(&mut self) {
        let hidden = std::mem::take(&mut self.kept().hidden);
        if hidden > 0 {
            self.quiet(&format!(".. {hidden} more lines were printed; :last shows all"));
        }
    }

    /// Prints a line in the default color, without keeping it.
    pub fn line(&self, text: &str) {
        terminal::out(text);
    }

    /// Prints a line in a faint color.
    pub fn quiet(&self, text: &str) {
        terminal::out(&Line::of(Role::Faint, text).shown(terminal::color(&std::io::stdout())));
    }

    /// Returns code in colors, if standard output shows them.
    pub fn code(&self, text: &str) -> String {
        let color = terminal::color(&std::io::stdout());
        highlighted(text).iter().map(|line| line.shown(color)).collect::<Vec<_>>().join("\n")
    }

    /// Shows the result of a cell with its name, and its picture if it is a figure; cuts long results.
    ///
    /// Drawing a picture takes time and stops at the interrupt.
    pub fn result(
        &mut self,
        outcome: &Outcome,
        number: Option<usize>,
        lines: usize,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let width = terminal::width();
        let Some(document) = outcome.document(width) else { return Ok(()) };
        self.value = outcome.value().cloned();
        keep(&mut self.kept(), &document.to_text(Some(width)));
        if let Some(picture) = self.picture(outcome, interrupt)? {
            terminal::out(&picture);
            return Ok(());
        }
        let color = terminal::color(&std::io::stdout());
        let all = document.lines(Some(width));
        let cut = all.len() > lines.saturating_add(lines / 4);
        let shown = if cut { &all[..lines] } else { &all };
        let shown = shown.iter().map(|line| line.shown(color)).collect::<Vec<_>>().join("\n");
        let data = matches!(outcome.value(), Some(Value::Object(_)) | None);
        let name = number.map(|n| format!("_{n} = ")).unwrap_or_default();
        let name = Line::of(Role::Faint, name).shown(color);
        match all.len() {
            // Results with columns start on a line of their own.
            2.. if data => terminal::out(&format!("{}\n{shown}", name.trim_end())),
            _ => terminal::out(&format!("{name}{shown}")),
        }
        if cut {
            self.quiet(&format!(".. {} more lines; :last shows all", all.len() - lines));
        }
        Ok(())
    }

    fn picture(&self, outcome: &Outcome, interrupt: &Interrupt) -> Result<Option<String>> {
        // Other values can draw pictures too, but are easier to read as text.
        let Some(figure) = outcome.value().and_then(Value::downcast::<Figure>) else { return Ok(None) };
        let protocol = match std::io::stdout().is_terminal() {
            true => self.images.unwrap_or_else(Protocol::of_terminal),
            false => Protocol::None,
        };
        if protocol == Protocol::None {
            return Ok(None);
        }
        let (interrupt, (width, height)) = (interrupt.clone(), figure.size());
        let png = figure.watched(move || interrupt.check()).to_png(width, height)?;
        let display = Display { png: Some(png), ..Display::default() };
        Ok(picture::draw(&display, protocol, Canvas::of_terminal()))
    }

    /// Shows a text that may be longer than the screen.
    pub fn page(&mut self, text: &str, lines: usize) {
        keep(&mut self.kept(), text);
        let rows = Canvas::of_terminal().rows.saturating_sub(2).max(10).max(lines);
        if text.lines().count() <= rows {
            return terminal::out(text.trim_end());
        }
        pager::page(text);
    }

    /// Shows all output of the last cell in a pager.
    pub fn last(&self) {
        let text = self.kept().text.clone();
        match text.is_empty() {
            true => terminal::out("nothing was shown yet"),
            false => pager::page(&text),
        }
    }

    /// Writes the last result to a file, in the format of its extension.
    pub fn export(&self, file: &str) -> Result<()> {
        let value = self.value.as_ref();
        let value = value
            .ok_or_else(|| Error::argument("there is no result yet").hint("run a cell that has a value"))?;
        export::export(value, Path::new(file.trim_matches('"')))
    }
}

fn keep(kept: &mut Kept, text: &str) {
    if kept.text.len() + text.len() < KEPT {
        kept.text += text;
        kept.text.push('\n');
    }
}

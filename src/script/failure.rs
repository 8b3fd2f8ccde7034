//! Errors of scripts: where they happened, what was called, what to try.

use std::sync::{Arc, Mutex};

use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};

use super::fix::Fix;
use super::source::Place;
use super::stops::Stop;
use crate::declare::{Display, Value};
use crate::document::width::width;
use crate::document::{Block, Document, Line, Role};
use crate::error::{Error, Kind};
use crate::scripted;

/// Location of a call to a native function.
#[derive(Debug, Clone, Default)]
pub struct At {
    /// Name of the source.
    pub source: String,
    /// Position in the source.
    pub position: Position,
}

impl At {
    /// Returns the location of the running call.
    pub fn of(context: &NativeCallContext) -> Self {
        Self {
            source: context.call_source().unwrap_or_default().to_string(),
            position: context.call_position(),
        }
    }
}

/// An error as scripts see it in `catch (e)`: `e.message`, `e.hint`, `e.kind`, `e.value`.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// Kind of the error, as one word.
    pub kind: &'static str,
    /// Where it was first raised.
    pub at: At,
    /// Value passed to `throw`.
    pub value: Option<Value>,
}

scripted!(
    Failure,
    "error",
    |f| Display::text(f.error.message()),
    document = |f, _| Document::plain(&f.error.message()),
    bytes = |f| f.value.as_ref().map_or(0, Value::bytes),
    facts = |f| vec![("kind", f.kind.to_string())],
);

impl Failure {
    /// Makes the failure of a native error raised at a location.
    pub fn new(error: Error, at: At) -> Self {
        let kind = word(error.kind());
        Self { error, kind, at, value: None }
    }
}

/// Returns the word that scripts see for a kind of error.
pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Argument => "argument",
        Kind::Usage => "usage",
        Kind::File => "file",
        Kind::Torch => "torch",
        Kind::Interrupted => "interrupted",
        Kind::Internal => "internal",
    }
}

/// An error of a callback, kept inside a native error until it returns to rhai.
type Carried = Mutex<Option<Box<EvalAltResult>>>;

/// Converts a native error to a rhai error. An error that came from a script's callback is returned unchanged, but for a hint that
/// native code gave it.
pub fn raise(error: Error, at: At) -> Box<EvalAltResult> {
    raise_in(error, "", at)
}

/// Like [`raise`], with the name of the native function, which the call chain shows if a callback failed.
pub fn raise_in(error: Error, function: &str, at: At) -> Box<EvalAltResult> {
    let carried = error.origin().and_then(|o| o.downcast_ref::<Carried>());
    if let Some(mut original) = carried.and_then(|c| c.lock().ok().and_then(|mut c| c.take())) {
        pass_hint(&mut original, &error);
        return match *original {
            // Native code called the callback, so only the call of that code has a position.
            EvalAltResult::ErrorInFunctionCall(_, source, inner, position) if position.is_none() => {
                let name = match function {
                    "" => "a callback".to_string(),
                    function => format!("a function given to `{function}`"),
                };
                EvalAltResult::ErrorInFunctionCall(name, source, inner, at.position).into()
            }
            mut other => {
                // An interrupt is noticed between two statements and has no position of its own.
                if other.position().is_none() {
                    other.set_position(at.position);
                }
                other.into()
            }
        };
    }
    match error.kind() {
        Kind::Interrupted => Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, at.position)),
        _ => {
            let position = at.position;
            Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(Failure::new(error, at)), position))
        }
    }
}

/// Gives the error of a callback the hint of the native error that was made of it.
fn pass_hint(original: &mut EvalAltResult, error: &Error) {
    match original {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            pass_hint(inner, error);
        }
        EvalAltResult::ErrorRuntime(value, _) => {
            let Some(mut failure) = value.write_lock::<Failure>() else { return };
            if let Some(hint) = error.hint_text().filter(|hint| failure.error.hint_text() != Some(*hint)) {
                failure.error = failure.error.clone().hint(hint);
            }
        }
        _ => {}
    }
}

/// Converts an error of a script's callback to a native error.
pub fn native(error: Box<EvalAltResult>) -> Error {
    let summary = match innermost(&error) {
        EvalAltResult::ErrorTerminated(token, _) => {
            Stop::of(token).map_or_else(Error::interrupted, |stop| stop.error().0)
        }
        EvalAltResult::ErrorRuntime(value, _) if value.is::<Failure>() => value.clone_cast::<Failure>().error,
        // What a script throws is its message; rhai adds a place in the compiled text.
        EvalAltResult::ErrorRuntime(value, _) if value.is_string() => Error::argument(value.to_string()),
        other => Error::argument(other.to_string()),
    };
    let carried: Carried = Mutex::new(Some(error));
    summary.with_origin(Arc::new(carried))
}

/// Returns the error inside all calls that it passed through.
pub fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        other => other,
    }
}

/// One step of the call chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Description of the step: `` called from .. in `train` ``.
    pub text: String,
    /// Where the step was taken.
    pub place: Option<Place>,
}

/// How a run ended, if not successfully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// An error in the script or in what it called: exit code 1.
    Failed,
    /// A wrong command line: exit code 2.
    Usage,
    /// Ctrl-C: exit code 130.
    Interrupted,
    /// The script called `exit(code)`.
    Exit(u8),
}

/// An error for display: what went wrong, where, how execution got there, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// How the run ended.
    pub end: End,
    /// Whether it is a warning, since the code may be intended.
    pub warning: bool,
    /// What went wrong.
    pub message: String,
    /// Where it happened.
    pub place: Option<Box<Place>>,
    /// Call chain, innermost call first.
    pub frames: Box<[Frame]>,
    /// What to try.
    pub hint: Option<String>,
    /// Kind of the error, as one word, as in `e.kind` of a script.
    pub kind: &'static str,
    /// Full message of libtorch, if the message above is a part of it.
    pub detail: Option<Box<str>>,
    /// Change to the cell that corrects the error, if exactly one does.
    pub fix: Option<Box<Fix>>,
}

impl From<Error> for Diagnosis {
    fn from(error: Error) -> Self {
        let end = match error.kind() {
            Kind::Usage => End::Usage,
            Kind::Interrupted => End::Interrupted,
            _ => End::Failed,
        };
        Self {
            end,
            warning: false,
            message: error.message(),
            place: None,
            frames: Box::default(),
            hint: error.hint_text().map(str::to_string),
            kind: word(error.kind()),
            detail: error.detail_text().map(Into::into),
            fix: None,
        }
    }
}

/// Number of steps of a call chain shown at each end.
const FRAMES: usize = 6;

impl Diagnosis {
    /// Returns the diagnosis with a hint that names what a prompt or a notebook answers instead of commands of the shell.
    #[must_use]
    pub fn at_prompt(self) -> Self {
        Self { hint: self.hint.map(|hint| super::help::at_prompt(&hint)), ..self }
    }

    /// Returns the exit code of a front end.
    pub fn exit_code(&self) -> u8 {
        match self.end {
            End::Failed => 1,
            End::Usage => 2,
            End::Interrupted => 130,
            End::Exit(code) => code,
        }
    }

    /// Formats the diagnosis as text ending in a newline; with `color` it contains ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        format!("{}\n", self.document(FRAMES).shown(None, color))
    }

    /// Like [`Diagnosis::render`], with every step of the call chain, the kind of error, and libtorch's full message.
    pub fn render_full(&self, color: bool) -> String {
        let mut document = self.document(usize::MAX / 2);
        let kind = Line::of(Role::Hint, "kind:").with(Role::Plain, format!(" {}", self.kind));
        document.push(Block::Lines(vec![kind]));
        if let Some(detail) = &self.detail {
            document.push(Block::Lines(vec![Line::of(Role::Hint, "libtorch said:")]));
            document.extend(Document::plain(detail.trim_end()));
        }
        format!("{}\n", document.shown(None, color))
    }

    /// Returns the diagnosis with at most `shown` steps of the call chain at each end.
    fn document(&self, shown: usize) -> Document {
        let title = |role: Role, word: &str| {
            let message = self.message.split('\n').map(|line| Line::of(Role::Head, line));
            let mut lines: Vec<Line> = message.collect();
            if let Some(first) = lines.first_mut() {
                let rest = std::mem::replace(first, Line::of(role, word).with(Role::Plain, ": "));
                first.append(rest);
            }
            lines
        };
        let mut lines = match self.end {
            End::Interrupted => vec![Line::of(Role::Error, self.message.as_str())],
            _ if self.warning => title(Role::Warning, "warning"),
            _ => title(Role::Error, "error"),
        };
        let numbers =
            self.place.as_deref().into_iter().chain(self.frames.iter().filter_map(|f| f.place.as_ref()));
        let margin = numbers.map(|p| p.line.to_string().len()).max().unwrap_or(1);
        let bar = |number: &str| Line::of(Role::Frame, format!(" {number:>margin$} |"));
        let quote = |place: &Place, mark: &str| {
            // A tab becomes one space, so that the mark is below its token.
            let text = place.text.replace('\t', " ");
            let (text, column) = window(&text, place.column);
            let length = place.length.min(text.chars().count().saturating_sub(column - 1)).max(1);
            // Characters may take two columns of the terminal, or none.
            let columns =
                |from: usize, count: usize| width(&text.chars().skip(from).take(count).collect::<String>());
            let code = bar(&place.line.to_string()).with(Role::Plain, format!(" {text}"));
            let before =
                " ".repeat(1 + columns(0, column - 1) + column.saturating_sub(text.chars().count() + 1));
            let marks = mark.repeat(columns(column - 1, length).max(1));
            [code, bar("").with(Role::Plain, before).with(Role::Error, marks)]
        };
        let arrow = |text: String| {
            let before = Line::from(" ".repeat(margin + 1));
            before.with(Role::Frame, "-->").with(Role::Plain, format!(" {text}"))
        };
        if let Some(place) = &self.place {
            lines.push(arrow(format!("{}:{}:{}", place.file, place.line, place.column)));
            lines.push(bar(""));
            lines.extend(quote(place, "^"));
        }
        for (i, frame) in self.frames.iter().enumerate() {
            let hidden = self.frames.len().saturating_sub(2 * shown);
            if hidden > 1 && (shown..shown + hidden).contains(&i) {
                if i == shown {
                    lines.push(format!("{} {hidden} more calls", " ".repeat(margin + 3)).into());
                }
                continue;
            }
            let at = frame.place.as_ref().map(|p| format!(" at {}:{}:{}", p.file, p.line, p.column));
            lines.push(arrow(format!("{}{}", frame.text, at.unwrap_or_default())));
            lines.extend(frame.place.iter().flat_map(|place| quote(place, "-")));
        }
        for (i, line) in self.hint.iter().flat_map(|hint| hint.lines()).enumerate() {
            let label = if i == 0 { "hint:" } else { "     " };
            lines.push(Line::of(Role::Hint, label).with(Role::Plain, format!(" {line}")));
        }
        Document::of(Block::Lines(lines))
    }
}

/// Returns the part of a long line around the column, and the column in it.
fn window(text: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 80;
    let length = text.chars().count();
    if length <= WIDTH {
        return (text.to_string(), column);
    }
    let start = column.saturating_sub(WIDTH / 2).min(length - WIDTH);
    let part: String = text.chars().skip(start).take(WIDTH).collect();
    let more = if start + WIDTH < length { ".." } else { "" };
    match start {
        0 => (part + more, column),
        _ => (format!("..{part}{more}"), column - start + 2),
    }
}

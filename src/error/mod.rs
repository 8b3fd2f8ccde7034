//! Error type of the crate: what went wrong, what to try, and where.
//!
//! Messages are lower case without a final full stop. They say what was expected and what was found; the hint says
//! what to try. The script module adds the location (file, line, call chain) from rhai's positions, so native code
//! never carries one.

mod brought;
mod near;
mod problem;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

pub use brought::brought_names;
pub use near::{candidates, closest, did_you_mean, list, names, nearest};
pub use problem::{Problem, Subject};

/// Result of every fallible function in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of failure; determines the exit code and whether a session may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that the function does not take: wrong type, shape, range or option.
    Argument,
    /// A wrong command line: exit code 2.
    Usage,
    /// A file that could not be read or written, or whose content is not what it claims to be.
    File,
    /// libtorch refused an operation.
    Torch,
    /// The user pressed Ctrl-C: exit code 130.
    Interrupted,
    /// A defect of this program: a caught panic.
    Internal,
}

/// An error: what went wrong and with what, what to try, and the context added on its way up.
///
/// The message is made from these fields when it is shown; programs ask for the fields.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Fields>);

#[derive(Clone, PartialEq, Eq)]
struct Fields {
    kind: Kind,
    /// Where it went wrong, outermost first; the message starts with it.
    within: Vec<Subject>,
    /// What it is about, if the problem does not say it.
    about: Option<Subject>,
    problem: Problem,
    hint: Option<String>,
    suggestion: Option<String>,
    detail: Option<String>,
    meant: Option<Meant>,
    origin: Origin,
}

/// A wrong word and its only possible correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// The text as written, such as `gausian` or `model::preset`.
    pub wrong: String,
    /// What to write instead.
    pub right: String,
}

/// What raised an error outside native code. It stays attached, so that an error of a script's callback keeps its
/// location in the script.
#[derive(Clone, Default)]
struct Origin(Option<Arc<dyn Any + Send + Sync>>);

/// Origins always compare equal, so that errors are equal if they read the same.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Error {
    /// Creates an error of any kind; prefer the named constructors.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self::of(kind, Problem::Said(message.into()))
    }

    /// Creates an error of a problem.
    pub fn of(kind: Kind, problem: Problem) -> Self {
        Self(Box::new(Fields {
            kind,
            within: Vec::new(),
            about: None,
            problem,
            hint: None,
            suggestion: None,
            detail: None,
            meant: None,
            origin: Origin::default(),
        }))
    }

    /// Creates an error for a value that the function does not take.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Kind::Argument, message)
    }

    /// Creates the error of an unknown key of an option map, with the known one that it stands for in PyTorch and the
    /// like as hint, or the nearest one.
    pub fn unknown_option<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let error = Self::of(Kind::Argument, Problem::UnknownOption(name.to_string()));
        let Some((ours, note)) = brought::brought(name, &known) else {
            return error.did_you_mean(name, known);
        };
        let mut error = match note {
            "" => error.hint(format!("did you mean `{ours}`?")).meant(name, ours),
            note => error.hint(format!("did you mean `{ours}`? {note}")),
        };
        error.0.suggestion = Some(ours.to_string());
        error
    }

    /// Creates the error of an option or argument whose value is not allowed: `` `name` must be .., found .. ``.
    pub fn not_allowed(name: &str, expected: impl Into<String>, found: impl fmt::Display) -> Self {
        let (expected, found) = (expected.into(), found.to_string());
        Self::of(Kind::Argument, Problem::NotAllowed { name: name.to_string(), expected, found })
    }

    /// Creates an error for a wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Creates an error for a file that could not be read or written; the message starts with `path`.
    pub fn file(path: impl AsRef<std::path::Path>, message: impl fmt::Display) -> Self {
        Self::new(Kind::File, message.to_string()).within(Subject::File(path.as_ref().to_path_buf()))
    }

    /// Creates the error of an interrupt.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// Creates an error for a defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds a hint; replaces an earlier one, with its correction unless this one names it too.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.0.meant = self.0.meant.filter(|meant| names(&hint, &meant.right));
        (self.0.hint, self.0.suggestion) = (Some(hint), None);
        self
    }

    /// Adds where it went wrong, around what is known already. An interrupt keeps its one word.
    #[must_use]
    pub fn within(mut self, subject: Subject) -> Self {
        if self.0.kind != Kind::Interrupted {
            self.0.within.insert(0, subject);
        }
        self
    }

    /// Prepends the context: `context: message`. An interrupt keeps its one word.
    #[must_use]
    pub fn context(self, context: impl fmt::Display) -> Self {
        self.within(Subject::Other(context.to_string()))
    }

    /// Says that the content of a file is wrong. A correction of the script does not help any more; an interrupt
    /// stays unchanged.
    #[must_use]
    pub fn in_file(mut self, path: impl AsRef<std::path::Path>) -> Self {
        if self.0.kind == Kind::Interrupted {
            return self;
        }
        (self.0.kind, self.0.meant) = (Kind::File, None);
        self.within(Subject::File(path.as_ref().to_path_buf()))
    }

    /// Adds the function whose call failed. The receiver of a method is no argument of the call.
    #[must_use]
    pub fn in_function(mut self, path: impl Into<String>, receiver: bool) -> Self {
        if let (true, Some(Subject::Argument { index, .. })) = (receiver, self.0.within.first_mut()) {
            *index = index.and_then(|i| i.checked_sub(1));
        }
        self.within(Subject::Function(path.into()))
    }

    /// Replaces the operand that it is about by the operator, since operands have no names that a user could know.
    #[must_use]
    pub fn in_operator(mut self, symbol: &str) -> Self {
        if let Some(operand @ Subject::Argument { .. }) = self.0.within.first_mut() {
            *operand = Subject::Operator(symbol.to_string());
        }
        self
    }

    /// Records what a message made of a sentence is about.
    #[must_use]
    pub fn about(mut self, subject: Subject) -> Self {
        self.0.about = Some(subject);
        self
    }

    /// Replaces the error by one made from it; an interrupt stays unchanged.
    #[must_use]
    pub fn recast(self, other: impl FnOnce(&Self) -> Self) -> Self {
        if self.0.kind == Kind::Interrupted { self } else { other(&self) }
    }

    /// Adds a hint with the entries of `known` nearest to `name`, or with all entries if none is near and they are
    /// few.
    #[must_use]
    pub fn did_you_mean<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let near = candidates(name, known.iter().copied());
        match &near[..] {
            _ if known.is_empty() => self,
            [] if known.len() <= 16 => self.hint(format!("it takes {}", list(&known))),
            [] => self,
            [first, more @ ..] => {
                let mut error = self.hint(did_you_mean(&near));
                error.0.suggestion = Some(first.to_string());
                if more.is_empty() { error.meant(name, *first) } else { error }
            }
        }
    }

    /// Records that `wrong`, as written in the script, can only mean `right`.
    #[must_use]
    pub fn meant(mut self, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        self.0.meant = Some(Meant { wrong: wrong.into(), right: right.into() });
        self
    }

    /// Keeps a longer message, such as libtorch's full one, for detailed reports.
    #[must_use]
    pub fn detail(mut self, detail: Option<&str>) -> Self {
        self.0.detail = detail.map(Into::into);
        self
    }

    /// Replaces what went wrong and where by a sentence; hint, correction and origin stay.
    #[must_use]
    pub fn message_as(mut self, message: impl Into<String>) -> Self {
        self.0.problem = Problem::Said(message.into());
        (self.0.within, self.0.about) = (Vec::new(), None);
        self
    }

    /// Attaches what raised the error outside native code.
    #[must_use]
    pub fn with_origin(mut self, origin: Arc<dyn Any + Send + Sync>) -> Self {
        self.0.origin = Origin(Some(origin));
        self
    }

    /// Returns what raised the error outside native code, if anything.
    pub fn origin(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.0.origin.0.as_ref()
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns what went wrong.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// Returns where it went wrong, outermost first.
    pub fn path(&self) -> &[Subject] {
        &self.0.within
    }

    /// Returns what the error is about: the innermost argument, option, entry or function that is known.
    pub fn subject(&self) -> Option<Subject> {
        let named = |s: &&Subject| !matches!(s, Subject::Other(_));
        let outside = || self.0.within.iter().rev().find(named).cloned();
        self.0.about.clone().or_else(|| self.0.problem.subject()).or_else(outside)
    }

    /// Returns the option that the error is about: the innermost one, if there are several.
    pub fn option(&self) -> Option<String> {
        let own = self.0.about.clone().or_else(|| self.0.problem.subject());
        own.iter().chain(self.0.within.iter().rev()).find_map(|subject| match subject {
            Subject::Option(name) => Some(name.clone()),
            _ => None,
        })
    }

    /// Returns the index of the entry of an array whose map has the option that the error is about.
    pub fn entry_with_option(&self) -> Option<usize> {
        let within = &self.0.within;
        let place = match &self.0.about {
            Some(Subject::Option(_)) => within.len(),
            _ => within
                .iter()
                .rposition(|subject| matches!(subject, Subject::Option(_)))
                .unwrap_or(within.len()),
        };
        match within.get(place.checked_sub(1)?)? {
            Subject::Entry(index) | Subject::Named(index, _) => Some(*index),
            _ => None,
        }
    }

    /// Returns the index of the argument that the error is about, in the call that failed.
    pub fn argument_index(&self) -> Option<usize> {
        match (self.0.within.as_slice(), &self.0.about) {
            ([Subject::Function(_), Subject::Argument { index, .. }, ..], _)
            | ([Subject::Function(_)], Some(Subject::Argument { index, .. })) => *index,
            _ => None,
        }
    }

    /// Returns what was expected, if it is known.
    pub fn expected(&self) -> Option<&str> {
        self.0.problem.expected()
    }

    /// Returns what was found, if it is known.
    pub fn found(&self) -> Option<&str> {
        self.0.problem.found()
    }

    /// Returns what went wrong, in one sentence without a full stop.
    pub fn message(&self) -> String {
        let around: String = self.0.within.iter().map(|subject| format!("{subject}: ")).collect();
        format!("{around}{}", self.0.problem)
    }

    /// Returns the longer message, if this one was shortened.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Returns the correction, if it is certain.
    pub fn correction(&self) -> Option<&Meant> {
        self.0.meant.as_ref()
    }

    /// Returns the known name that the hint suggests, certain or not.
    pub fn suggestion(&self) -> Option<&str> {
        self.0.suggestion.as_deref()
    }

    /// Returns what to try, if there is a hint.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match &self.0.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Formats as [`Display`](fmt::Display) does, since Rust prints an error that `main` returns, or that `unwrap` finds,
/// in this form.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// An error of the system without the file that it is about; [`Error::file`] names it.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(Kind::File, error.to_string())
    }
}

/// An error of JSON, such as an unknown option in a file of options.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Kind::Argument, error.to_string())
    }
}

/// Fails with [`Error::not_allowed`] unless the value of the option or argument `name` is allowed.
pub fn allow(holds: bool, name: &str, expected: &str, found: impl fmt::Display) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::not_allowed(name, expected, found)) }
}

/// Fails with an argument error unless the condition holds; the rest is a format string.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err($crate::error::Error::argument(format!($($message)+)));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_made_of_the_fields() {
        let error = Error::not_allowed("sigma", "at least 0.05", 0)
            .within(Subject::Entry(3))
            .within(Subject::Argument { name: "data".to_string(), index: Some(1) })
            .in_function("plot", true);
        assert_eq!(error.message(), "plot: argument `data`: entry 3: `sigma` must be at least 0.05, found 0");
        assert_eq!((error.option().as_deref(), error.argument_index()), (Some("sigma"), Some(0)));
        assert_eq!(error.subject(), Some(Subject::Option("sigma".to_string())));
        assert_eq!((error.expected(), error.found()), (Some("at least 0.05"), Some("0")));
        // An argument of an inner call has no place in the outer one.
        assert_eq!(error.context("outer").in_function("f", false).argument_index(), None);
    }

    #[test]
    fn an_operator_takes_the_place_of_its_operand() {
        let operand = Subject::Argument { name: "b".to_string(), index: Some(1) };
        let error = Error::argument("expected x").within(operand).in_operator("+");
        assert_eq!(error.message(), "`+`: expected x");
        assert_eq!(Error::argument("no").in_operator("+").message(), "no");
    }

    #[test]
    fn a_file_keeps_the_hint_but_no_correction_of_the_script() {
        let error = Error::unknown_option("sigm", ["sigma"]).in_file("a.json");
        assert_eq!(error.to_string(), "a.json: unknown option `sigm`\nhint: did you mean `sigma`?");
        assert_eq!((error.kind(), error.correction()), (Kind::File, None));
        assert_eq!(Error::interrupted().in_file("a.json"), Error::interrupted());
    }

    #[test]
    fn a_hint_follows_the_message_on_its_own_line() {
        let error = Error::argument("unknown option `sigm`").did_you_mean("sigm", ["sigma"]);
        assert_eq!(error.to_string(), "unknown option `sigm`\nhint: did you mean `sigma`?");
        // Rust prints this form of an error that `main` returns.
        assert_eq!(format!("{error:?}"), error.to_string());
    }

    #[test]
    fn a_correction_is_what_the_hint_names() {
        let error = Error::argument("no `radn`").hint("did you mean `rand`?").meant("radn", "rand");
        assert!(error.clone().hint("write `x = tensor.rand([2])`").correction().is_some());
        assert!(error.hint("did you mean `randn`?").correction().is_none());
    }
}

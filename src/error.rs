//! Error type of the crate: what went wrong, what to try, and where.
//!
//! Messages are lower case without a final full stop. They say what was expected and what was found; the hint says
//! what to try. The script module adds the location (file, line, call chain) from rhai's positions, so native code
//! never carries one.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

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

/// An error: a message, an optional hint, and the context added on its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    detail: Option<Box<str>>,
    meant: Option<Box<Meant>>,
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

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Origin(..)" } else { "Origin" })
    }
}

/// Origins always compare equal, so that errors are equal if they read the same.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Error {
    /// Makes an error of any kind; prefer the named constructors.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            detail: None,
            meant: None,
            origin: Origin::default(),
        }
    }

    /// Makes an error for a value that the function does not take.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Kind::Argument, message)
    }

    /// Makes an error for a wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Makes an error for a file that could not be read or written; the message starts with `path`.
    pub fn file(path: impl AsRef<std::path::Path>, message: impl fmt::Display) -> Self {
        Self::new(Kind::File, format!("{}: {message}", path.as_ref().display()))
    }

    /// Makes the error of an interrupt.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// Makes an error for a defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds a hint; replaces an earlier one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prepends the context: `context: message`. An interrupt keeps its one word.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        if self.kind == Kind::Interrupted {
            return self;
        }
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Replaces the error by one made from it; an interrupt stays unchanged.
    #[must_use]
    pub fn recast(self, other: impl FnOnce(&Self) -> Self) -> Self {
        if self.kind == Kind::Interrupted { self } else { other(&self) }
    }

    /// Adds a hint with the entry of `known` nearest to `name`, or with all entries if none is near and they are
    /// few.
    #[must_use]
    pub fn did_you_mean<'a>(self, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match (closest(name, known.iter().copied()), known.is_empty()) {
            (_, true) => self,
            (Some((near, only)), _) => {
                let error = self.hint(format!("did you mean `{near}`?"));
                if only { error.meant(name, near) } else { error }
            }
            (None, _) if known.len() <= 16 => self.hint(format!("it takes {}", list(&known))),
            (None, _) => self,
        }
    }

    /// Records that `wrong`, as written in the script, can only mean `right`.
    #[must_use]
    pub fn meant(mut self, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        self.meant = Some(Box::new(Meant { wrong: wrong.into(), right: right.into() }));
        self
    }

    /// Keeps a longer message, such as libtorch's full one, for detailed reports.
    #[must_use]
    pub fn detail(mut self, detail: Option<&str>) -> Self {
        self.detail = detail.map(Into::into);
        self
    }

    /// Replaces only the message.
    #[must_use]
    pub fn message_as(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Attaches what raised the error outside native code.
    #[must_use]
    pub fn with_origin(mut self, origin: Arc<dyn Any + Send + Sync>) -> Self {
        self.origin = Origin(Some(origin));
        self
    }

    /// Returns what raised the error outside native code, if anything.
    pub fn origin(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.origin.0.as_ref()
    }

    /// Returns the kind of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns what went wrong, in one sentence without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the longer message, if this one was shortened.
    pub fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Returns the correction, if it is certain.
    pub fn correction(&self) -> Option<&Meant> {
        self.meant.as_deref()
    }

    /// Returns what to try, if there is a hint.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

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

/// Returns the entry of `known` that `name` was probably meant to be, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known).map(|(near, _)| near)
}

/// Like [`nearest`], and returns whether no other entry is as near.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, bool)> {
    let wanted = name.to_lowercase();
    let length = |text: &str| text.chars().count();
    let near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&wanted, &k.to_lowercase()), k))
        .filter(|(distance, k)| {
            // At most one edit per three letters, and never all letters.
            let near = *distance <= (length(name).max(length(k)) / 3).max(1)
                && *distance < length(name).min(length(k));
            *distance == 0 || near || (length(name) >= 3 && k.to_lowercase().starts_with(&wanted))
        })
        .collect();
    let (least, best) = *near.iter().min_by_key(|(distance, _)| *distance)?;
    Some((best, near.iter().all(|(distance, k)| *distance > least || *k == best)))
}

/// Formats names in backquotes, separated by commas, for messages.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typos_and_prefixes_but_not_strangers() {
        let known = ["gaussian", "binomial", "box", "butterworth"];
        assert_eq!(nearest("gausian", known), Some("gaussian"));
        assert_eq!(nearest("butter", known), Some("butterworth"));
        assert_eq!(nearest("laplace", known), None);
        assert_eq!(nearest("y", ["%", "E"]), None);
        assert_eq!(closest("gausian", known), Some(("gaussian", true)));
        assert_eq!(closest("bx", ["box", "bux"]), Some(("box", false)));
        assert_eq!(closest("boxes", ["boxed", "bixes", "boxen"]), Some(("boxed", false)));
    }

    #[test]
    fn a_hint_follows_the_message_on_its_own_line() {
        let error = Error::argument("unknown option `sigm`").did_you_mean("sigm", ["sigma"]);
        assert_eq!(error.to_string(), "unknown option `sigm`\nhint: did you mean `sigma`?");
    }
}

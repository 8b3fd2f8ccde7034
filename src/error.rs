//! One error type for the whole program: what went wrong, what to try, and where.
//!
//! Messages are lower case without a final full stop. They say what was expected and what was found;
//! the hint says what to try. The script room adds the place (file, line, call chain) from rhai's own
//! positions, so native code never carries one.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The result of every fallible function in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is: decides the exit code and whether a session may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value is not what the function takes: wrong type, shape, range or option.
    Argument,
    /// A command line is wrong: exit code 2.
    Usage,
    /// A file could not be read or written, or is not what it says.
    File,
    /// libtorch refused an operation.
    Torch,
    /// The user pressed Ctrl-C: exit code 130.
    Interrupted,
    /// A defect of this program: a panic that was caught.
    Internal,
}

/// An error: a message, perhaps a hint, and the steps it passed through on its way up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    detail: Option<Box<str>>,
    meant: Option<Box<Meant>>,
    origin: Origin,
}

/// A word that is wrong, and the only one that can have been meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// What was written, such as `gausian` or `model::preset`.
    pub wrong: String,
    /// What to write instead.
    pub right: String,
}

/// What raised an error outside native code; it travels along, so that an error of a script's callback
/// keeps its place in the script.
#[derive(Clone, Default)]
struct Origin(Option<Arc<dyn Any + Send + Sync>>);

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Origin(..)" } else { "Origin" })
    }
}

/// Two errors are equal when they read the same.
impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

impl Error {
    /// An error of any kind; prefer the named constructors.
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

    /// A value that the function does not take.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Kind::Argument, message)
    }

    /// A wrong command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file that could not be read or written; `path` is named in front of the message.
    pub fn file(path: impl AsRef<std::path::Path>, message: impl fmt::Display) -> Self {
        Self::new(Kind::File, format!("{}: {message}", path.as_ref().display()))
    }

    /// The user asked to stop.
    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// A defect of this program.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds what the user may try; replaces an earlier hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts where it happened in front of the message: `context: message`. An interrupt keeps its one word.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        if self.kind == Kind::Interrupted {
            return self;
        }
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Says it in other words, made from the old ones; an interrupt stays what it is.
    #[must_use]
    pub fn recast(self, other: impl FnOnce(&Self) -> Self) -> Self {
        if self.kind == Kind::Interrupted { self } else { other(&self) }
    }

    /// Hints at the entry of `known` nearest to `name`, or lists them when none is near.
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

    /// Says that `wrong`, where it stands in the script, can only have been meant as `right`.
    #[must_use]
    pub fn meant(mut self, wrong: impl Into<String>, right: impl Into<String>) -> Self {
        self.meant = Some(Box::new(Meant { wrong: wrong.into(), right: right.into() }));
        self
    }

    /// Keeps a longer message, such as the whole of libtorch's, for those who ask for everything.
    #[must_use]
    pub fn detail(mut self, detail: Option<&str>) -> Self {
        self.detail = detail.map(Into::into);
        self
    }

    /// Replaces the message alone.
    #[must_use]
    pub fn message_as(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Attaches what raised it outside native code.
    #[must_use]
    pub fn with_origin(mut self, origin: Arc<dyn Any + Send + Sync>) -> Self {
        self.origin = Origin(Some(origin));
        self
    }

    /// What raised it outside native code, if anything.
    pub fn origin(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.origin.0.as_ref()
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What went wrong, in one sentence without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The longer message, where this one was cut.
    pub fn detail_text(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// The one correction, where it is certain.
    pub fn correction(&self) -> Option<&Meant> {
        self.meant.as_deref()
    }

    /// What to try, if there is something.
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

/// The entry of `known` that `name` was probably meant to be, if one is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known).map(|(near, _)| near)
}

/// As [`nearest`], and whether no other entry is as near.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, bool)> {
    let wanted = name.to_lowercase();
    let length = |text: &str| text.chars().count();
    let near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&wanted, &k.to_lowercase()), k))
        .filter(|(distance, k)| {
            // One edit in three letters, and never all of them.
            let near = *distance <= (length(name).max(length(k)) / 3).max(1)
                && *distance < length(name).min(length(k));
            *distance == 0 || near || (length(name) >= 3 && k.to_lowercase().starts_with(&wanted))
        })
        .collect();
    let (least, best) = *near.iter().min_by_key(|(distance, _)| *distance)?;
    Some((best, near.iter().all(|(distance, k)| *distance > least || *k == best)))
}

/// Names in backquotes with commas between them, for messages.
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

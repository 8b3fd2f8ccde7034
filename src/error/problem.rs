//! What an error is about and what went wrong, as data. The text of a message is made here and nowhere read back.

use std::fmt;
use std::path::PathBuf;

/// What an error is about, or where in a nested value it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A function, by its path: `filter::gaussian`.
    Function(String),
    /// An operator, by its symbol.
    Operator(String),
    /// An argument of a function.
    Argument {
        /// Name of the parameter.
        name: String,
        /// Index in the call, from 0, without the receiver of a method; `None` if the call is not one of a script.
        index: Option<usize>,
    },
    /// A key of an option map.
    Option(String),
    /// The entry of an array with this index.
    Entry(usize),
    /// The entry of an array with this index, which has a name.
    Named(usize, String),
    /// A file.
    File(PathBuf),
    /// Anything else, in words.
    Other(String),
}

impl Subject {
    /// Returns the argument with this name and index; the receiver of a method counts as the first.
    pub fn argument(name: &str, index: usize) -> Self {
        Subject::Argument { name: name.to_string(), index: Some(index) }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Function(path) => f.write_str(path),
            Subject::Operator(symbol) => write!(f, "`{symbol}`"),
            Subject::Argument { name, .. } => write!(f, "argument `{name}`"),
            Subject::Option(name) => write!(f, "option `{name}`"),
            Subject::Entry(index) => write!(f, "entry {index}"),
            Subject::Named(index, name) => write!(f, "entry {index} (`{name}`)"),
            Subject::File(path) => write!(f, "{}", path.display()),
            Subject::Other(text) => f.write_str(text),
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A problem that no program needs to tell from others, as a sentence.
    Said(String),
    /// A value of another type or shape.
    Mismatch {
        /// What the function takes.
        expected: String,
        /// What it was given.
        found: String,
    },
    /// A value where an option map is expected.
    NotOptions {
        /// What was given.
        found: String,
    },
    /// A value of an option or argument that is not allowed.
    NotAllowed {
        /// The option or argument.
        name: String,
        /// The allowed values.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A key that the option map does not have.
    UnknownOption(String),
    /// An argument that cannot be omitted.
    MissingArgument {
        /// Name of the parameter.
        name: String,
        /// What the function takes.
        expected: String,
    },
    /// A variable that does not exist.
    NoVariable(String),
    /// A function that does not exist.
    NoFunction(String),
    /// A namespace that does not exist.
    NoSpace(String),
    /// A method of other types.
    WrongReceiver {
        /// The method.
        name: String,
        /// Types that have the method.
        owners: String,
        /// Type of the value.
        found: String,
    },
    /// A call with arguments of other types.
    WrongTypes {
        /// The function.
        path: String,
        /// Types of the arguments.
        found: String,
    },
    /// A call with another number of arguments.
    WrongCount {
        /// The function.
        path: String,
        /// Numbers of arguments that the function takes.
        takes: String,
        /// Number of arguments.
        found: usize,
    },
    /// A symbol that the grammar expects here.
    MissingToken {
        /// The symbol.
        token: String,
        /// What it is for.
        purpose: String,
    },
    /// Operands whose sizes do not fit, in libtorch's words.
    Sizes(String),
    /// An allocation that a device could not meet.
    OutOfMemory {
        /// The device: `the cpu`, `cuda:0`.
        device: String,
        /// Size of the allocation.
        wanted: String,
        /// Free memory, if known.
        free: Option<String>,
    },
}

impl Problem {
    /// Returns what the problem is about, if that is an argument, an option or a function.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Problem::UnknownOption(name) | Problem::NotAllowed { name, .. } => {
                Some(Subject::Option(name.clone()))
            }
            Problem::MissingArgument { name, .. } => {
                Some(Subject::Argument { name: name.clone(), index: None })
            }
            Problem::NoFunction(path)
            | Problem::WrongReceiver { name: path, .. }
            | Problem::WrongTypes { path, .. }
            | Problem::WrongCount { path, .. } => Some(Subject::Function(path.clone())),
            _ => None,
        }
    }

    /// Returns what was expected, if it is known.
    pub fn expected(&self) -> Option<&str> {
        match self {
            Problem::Mismatch { expected, .. }
            | Problem::NotAllowed { expected, .. }
            | Problem::MissingArgument { expected, .. } => Some(expected),
            Problem::NotOptions { .. } => Some("a map of options #{ .. }"),
            Problem::WrongReceiver { owners, .. } => Some(owners),
            Problem::WrongCount { takes, .. } => Some(takes),
            Problem::MissingToken { token, .. } => Some(token),
            _ => None,
        }
    }

    /// Returns what was found, if it is known.
    pub fn found(&self) -> Option<&str> {
        match self {
            Problem::Mismatch { found, .. }
            | Problem::NotOptions { found }
            | Problem::NotAllowed { found, .. }
            | Problem::WrongReceiver { found, .. }
            | Problem::WrongTypes { found, .. } => Some(found),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Said(text) | Problem::Sizes(text) => f.write_str(text),
            Problem::Mismatch { expected, found } => write!(f, "expected {expected}, found {found}"),
            Problem::NotOptions { found } => write!(f, "expected a map of options #{{ .. }}, found {found}"),
            Problem::NotAllowed { name, expected, found } => {
                write!(f, "`{name}` must be {expected}, found {found}")
            }
            Problem::UnknownOption(name) => write!(f, "unknown option `{name}`"),
            Problem::MissingArgument { name, expected } => {
                write!(f, "argument `{name}` is missing: expected {expected}")
            }
            Problem::NoVariable(name) => write!(f, "there is no variable `{name}`"),
            Problem::NoFunction(path) => write!(f, "there is no function `{path}`"),
            Problem::NoSpace(path) => write!(f, "there is no namespace `{path}`"),
            Problem::WrongReceiver { name, owners, found } => {
                write!(f, "`{name}` is a method of {owners}, found {found}")
            }
            Problem::WrongTypes { path, found } => write!(f, "`{path}` does not take ({found})"),
            Problem::WrongCount { path, takes, found } => write!(f, "`{path}` takes {takes}, found {found}"),
            Problem::MissingToken { token, purpose } if purpose.is_empty() => write!(f, "expected `{token}`"),
            Problem::MissingToken { token, purpose } => write!(f, "expected `{token}` {purpose}"),
            Problem::OutOfMemory { device, wanted, free } => {
                write!(f, "out of memory on {device}: an allocation of {wanted} failed")?;
                match free {
                    Some(free) => write!(f, ", where {free} are free"),
                    None => Ok(()),
                }
            }
        }
    }
}

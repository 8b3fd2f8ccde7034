//! Error type of this crate: what went wrong and what to try.

use std::fmt;

/// A failure that ends the command with exit code 1.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: Option<String>,
}

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Creates a failure. `what` says what was expected and what was found, in lower case and without a final full
    /// stop.
    pub fn new(what: impl Into<String>) -> Self {
        Failure { what: what.into(), hint: None }
    }

    /// Adds a hint that says what to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {}", hint.replace('\n', "\n        ")),
            None => Ok(()),
        }
    }
}

/// Conversion of I/O errors into a [`Failure`] that names the action.
pub trait Doing<T> {
    /// Names the failed action, such as `create /tmp/x`.
    fn doing(self, action: impl fmt::Display) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, action: impl fmt::Display) -> Result<T> {
        self.map_err(|cause| Failure::new(format!("could not {action}: {cause}")))
    }
}

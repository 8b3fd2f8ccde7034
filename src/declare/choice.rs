//! Closed sets of words as enums.

use super::convert::FromValue;
use super::value::Value;
use crate::error::{Error, Result, list};

/// An enum whose variants are words in scripts and files; derived.
///
/// ```
/// use spectral::declare::Choice;
///
/// /// What happens at the edge.
/// #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
/// pub enum Edge {
///     /// The outermost value is repeated.
///     #[default]
///     Replicate,
///     /// The grid is a torus.
///     Periodic,
/// }
///
/// assert_eq!(Edge::named("periodic")?, Edge::Periodic);
/// assert_eq!(Edge::default().to_string(), "replicate");
/// # Ok::<(), spectral::error::Error>(())
/// ```
///
/// The derive also writes `Display` and the conversions. A word is the variant in snake case, unless
/// `#[choice(name = "..")]` says otherwise.
pub trait Choice: Copy + 'static {
    /// All values, in order of declaration.
    const ALL: &'static [Self];
    /// Their words.
    const NAMES: &'static [&'static str];
    /// The documentation of each word.
    const DOCS: &'static [&'static str];
    /// The documentation of the whole.
    const DOC: &'static str;

    /// Returns the word.
    fn name(self) -> &'static str;

    /// Returns the value of a word.
    fn named(word: &str) -> Result<Self> {
        let at = Self::NAMES.iter().position(|name| *name == word);
        at.and_then(|i| Self::ALL.get(i)).copied().ok_or_else(|| {
            Error::argument(format!("expected one of {}, found \"{word}\"", list(Self::NAMES)))
                .did_you_mean(word, Self::NAMES.iter().copied())
        })
    }
}

/// Reads the word of a choice.
pub fn read<T: Choice>(value: &Value) -> Result<T> {
    T::named(&String::from_value(value)?)
}

//! The usual two halves of a data set.

use crate::declare::Choice;

/// Split of a data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Split {
    /// Training images.
    #[default]
    Train,
    /// Held-out test images.
    Test,
}

//! Sizes that libtorch does not check before it computes with them.

use crate::error::{Error, Result};

/// One or several numbers.
pub(in crate::torch) trait Numbers {
    /// Returns the numbers as a slice.
    fn numbers(&self) -> &[i64];
}

impl Numbers for i64 {
    fn numbers(&self) -> &[i64] {
        std::slice::from_ref(self)
    }
}

impl Numbers for &[i64] {
    fn numbers(&self) -> &[i64] {
        self
    }
}

/// Checks numbers that libtorch multiplies and adds before it validates them. If those products overflow, libtorch
/// reads out of bounds and the process crashes.
pub(in crate::torch) fn small(name: &str, numbers: impl Numbers) -> Result<()> {
    const MOST: i64 = i32::MAX as i64;
    match numbers.numbers().iter().find(|n| n.unsigned_abs() > MOST.unsigned_abs()) {
        Some(large) => Err(Error::argument(format!("expected a `{name}` of at most {MOST}, found {large}"))),
        None => Ok(()),
    }
}

//! Functions that belong to no namespace.

use crate::declare::Value;
use crate::error::Error;
use crate::functions;

functions! { global;
    /// Fails unless the condition holds.
    ///
    /// ```rhai
    /// assert(1 + 1 == 2, "arithmetic works");
    /// ```
    fn assert(condition: bool, message: Option<String>) -> () {
        if condition {
            return Ok(());
        }
        Err(Error::argument(message.unwrap_or_else(|| "the condition does not hold".to_string())))
    }

    /// Fails unless both values are equal.
    ///
    /// ```rhai
    /// assert_eq([1, 2].len(), 2);
    /// ```
    fn assert_eq(found: Value, expected: Value) -> () {
        match format!("{found:?}") == format!("{expected:?}") {
            true => Ok(()),
            false => Err(Error::argument(format!("expected {expected:?}, found {found:?}"))),
        }
    }
}

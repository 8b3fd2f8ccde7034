//! Functions that belong to no namespace.

use super::checks;
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
    /// The integer 1 and the float 1.0 differ. Tensors must agree in shape, dtype, device and every
    /// element; NaN equals NaN.
    ///
    /// ```rhai
    /// assert_eq([1, 2].len(), 2);
    /// assert_eq(tensor::zeros([2]), tensor::zeros([2]));
    /// ```
    fn assert_eq(found: Value, expected: Value) -> () { checks::equal(&found, &expected) }

    /// Fails unless two numbers, or arrays or tensors of them, differ by at most `tolerance` everywhere.
    ///
    /// Shapes must agree; dtypes and the two kinds of numbers need not. A tensor may be compared with
    /// nested arrays, one of one element with a number.
    ///
    /// ```rhai
    /// assert_close(0.1 + 0.2, 0.3, 1e-12);
    /// assert_close(tensor::zeros([2]), [0.0, 0.001], 0.01);
    /// ```
    fn assert_close(found: Value, expected: Value, tolerance: f64) -> () {
        checks::close(&found, &expected, tolerance)
    }
}

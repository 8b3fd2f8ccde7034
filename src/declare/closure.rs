//! Rust closures where a script passes a function.

use super::arguments::Arguments;
use super::convert::{FromValue, IntoValue};
use super::value::Function;
use crate::error::Result;

/// Wraps a Rust closure where a script passes one: `filter::response(function(|r: f64| Ok(1.0 / (1.0 + r))))`.
///
/// ```
/// use spectral::prelude::*;
/// let notch = filter::response(function(|r: f64| Ok(if r > 0.3 && r < 0.6 { 0.0 } else { 1.0 })))?;
/// assert_eq!(notch.gain(0.4)?, 0.0);
/// # Ok::<(), Error>(())
/// ```
pub fn function<A>(closure: impl Closure<A>) -> Function {
    closure.into_function()
}

/// Rust closures of up to five arguments that return a [`Result`].
pub trait Closure<Arguments> {
    /// Converts the closure to a script function.
    fn into_function(self) -> Function;
}

macro_rules! closures {
    ($($($name:ident)+;)*) => {$(
        impl<F, R, $($name),+> Closure<($($name,)+)> for F
        where
            F: Fn($($name),+) -> Result<R> + Send + Sync + 'static,
            R: IntoValue,
            $($name: FromValue),+
        {
            fn into_function(self) -> Function {
                Function::new(move |values| {
                    let mut arguments = Arguments::new(values);
                    self($(arguments.take_next::<$name>()?),+).map(IntoValue::into_value)
                })
                .taking(Some([$(stringify!($name)),+].len()))
            }
        }
    )*};
}

closures! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
}

//! Rust interface of declared functions: arguments as in scripts, typed results.
//!
//! [`functions!`](crate::functions) makes a Rust function of every function declared in a namespace or globally, in
//! a module `rust`; `spectral::prelude` collects them by namespace. An argument is anything that converts to a
//! script value, [`map!`](crate::map) makes an option map, and `()` stands for an omitted argument.

use super::convert::{FromValue, IntoValue};
use super::evcxr;
use super::function::Declaration;
use super::value::{Function, Value};
use crate::error::{Error, Result};

/// Calls one of `declarations` by its name. Trailing units stand for omitted arguments.
pub fn call<T: FromValue>(declarations: &[Declaration], name: &str, mut arguments: Vec<Value>) -> Result<T> {
    let Some(declared) = declarations.iter().find(|d| d.name == name) else {
        return Err(Error::internal(format!("`{name}` is not declared")));
    };
    let (least, _) = declared.arity();
    while arguments.len() > least && matches!(arguments.last(), Some(Value::Unit)) {
        arguments.pop();
    }
    let value = (declared.body)(&evcxr::context(), &arguments)
        .map_err(|error| error.context(format!("`{}`", declared.path())))?;
    T::from_value(&value)
}

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

/// Rust closures of one to three arguments that return a [`Result`].
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
                    let mut arguments = super::convert::Arguments::new(values);
                    self($(arguments.take::<$name>(stringify!($name))?),+).map(IntoValue::into_value)
                })
            }
        }
    )*};
}

closures! {
    A;
    A B;
    A B C;
}

/// Converts an entry of [`map!`](crate::map) to its key and script value.
pub fn entry(name: &'static str, value: impl IntoValue) -> (String, Value) {
    (super::function::plain(name).to_string(), value.into_value())
}

/// Makes an option map: `map! { sigma: 1.5 }` is `#{ sigma: 1.5 }` in a script.
///
/// The function that takes the map checks names and values, with the same messages as in a script. To let the
/// compiler check them, pass the option struct instead: `filter::Gaussian { sigma: 1.5 }`.
///
/// ```
/// use spectral::prelude::*;
/// let low = filter::gaussian(map! { sigma: 1.5 })?;
/// assert_eq!(low, filter::gaussian(spectral::filter::Gaussian { sigma: 1.5 })?);
/// let error = filter::gaussian(map! { sigm: 1.5 }).unwrap_err();
/// assert_eq!(error.hint_text(), Some("did you mean `sigma`?"));
/// # Ok::<(), Error>(())
/// ```
#[macro_export]
macro_rules! map {
    ($($name:ident : $value:expr),* $(,)?) => {
        $crate::declare::Map::from([$($crate::declare::rust::entry(stringify!($name), $value)),*])
    };
}

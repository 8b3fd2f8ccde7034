//! Declared functions as Rust calls them: arguments as scripts write them, results typed.
//!
//! [`functions!`](crate::functions) makes a Rust function of every declared function with a name of its own, in a
//! module `rust`; `spectral::prelude` collects them by namespace. An argument is anything that a script value can be
//! made of, a map of options is [`map!`](crate::map), and `()` stands for what is left out.

use super::convert::{FromValue, IntoValue};
use super::evcxr;
use super::function::Declaration;
use super::value::{Function, Value};
use crate::error::{Error, Result};

/// Calls one of `declarations` by its name. Units at the end stand for arguments that are left out.
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

/// A Rust closure where a script gives one: `filter::response(function(|r: f64| Ok(1.0 / (1.0 + r))))`.
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
    /// The closure as scripts hold it.
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

/// The entries of [`map!`](crate::map), in the form that scripts have.
pub fn entry(name: &'static str, value: impl IntoValue) -> (String, Value) {
    (super::function::plain(name).to_string(), value.into_value())
}

/// Options as a script writes them, `#{ sigma: 1.5 }`: `map! { sigma: 1.5 }`.
///
/// Names and values are checked by the function that takes them, with the same messages as in a script. Where the
/// compiler is to check them, the struct of options does as well: `filter::Gaussian { sigma: 1.5 }`.
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

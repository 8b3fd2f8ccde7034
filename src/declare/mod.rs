//! The declaration layer: a function, option or kind is declared once, with its documentation.
//!
//! From a declaration come the script function, its argument checks and messages, `help(..)`,
//! completion, the reference page, the stored form of filters and gates, and a test that runs its
//! example. This room knows neither rhai nor libtorch: values cross it as [`Value`], and the script
//! room turns declarations into rhai functions.
//!
//! - [`value`]: what a script value is on the native side
//! - [`Code`]: a function that is called later, alive or as a file has it
//! - [`convert`]: typed arguments from values and back
//! - [`options`]: option maps as typed structs, by [`options!`](crate::options)
//! - [`function`]: functions, methods and properties, by [`functions!`](crate::functions)
//! - [`rust`]: the same functions for Rust programs; [`evcxr`]: values in Rust notebooks

mod code;
pub mod convert;
pub mod evcxr;
pub mod function;
mod json;
pub mod options;
pub mod rust;
pub mod value;

pub use code::Code;
pub use convert::{FromValue, IntoValue, Number, OneOrMany, entry};
pub use function::{Declaration, Form, Param};
pub use options::{Allowed, Field, Options, at_least, one_of, range};
pub use value::{Display, Function, Map, Object, Scripted, Value};

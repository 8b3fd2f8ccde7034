//! Declaration layer: declares each function, option and kind once, with its documentation.
//!
//! A declaration provides the script function, its argument checks and error messages, `help(..)`, completion, the
//! reference page, the stored form of filters and gates, and a test that runs its example. This module uses neither
//! rhai nor libtorch: it works on [`Value`], and the script module turns declarations into rhai functions.
//!
//! - [`value`]: script values on the native side
//! - [`Code`]: a user function that is called later, live or stored in a file
//! - [`convert`]: conversion between script values and typed arguments; [`arguments`]: those of one call in order
//! - [`options`]: option maps as typed structs, with their former names in [`renamed`]; [`choice`]: closed sets of words as
//!   enums; both derived
//! - [`function`](mod@function): functions, methods and properties, declared with [`functions!`](crate::functions)
//! - `record!`: structs that are maps in scripts
//! - [`TypeRegistry`] and [`api!`](crate::api): what a room adds to scripts
//! - [`function()`]: Rust closures where a script passes a function

mod api;
pub mod arguments;
pub mod choice;
mod closure;
mod code;
pub mod convert;
pub mod function;
mod json;
mod lists;
pub mod options;
mod record;
pub mod renamed;
pub mod serial;
pub mod value;

pub use api::TypeRegistry;
pub use choice::Choice;
pub use closure::{Closure, function};
pub use code::Code;
pub use convert::{Argument, FromValue, IntoValue, Named, Number, OneOrMany, entry, singular};
pub use function::{Declaration, Form, Param};
pub use lists::{count, joined};
pub use options::{Allowed, Field, Options, Preset, check_count};
pub(crate) use record::record;
#[doc(hidden)]
pub use serde;
pub use spectral_derive::{Choice, Options};
pub use value::{ADVICE, Display, Function, INCOMPLETE, Map, Object, Scripted, Value};

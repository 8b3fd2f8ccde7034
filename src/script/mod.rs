//! Scripting with rhai; only this module and those above it name `rhai`.
//!
//! - [`engine`]: an engine with all declared functions, limits and the import resolver
//! - [`bridge`]: registration of declarations as rhai functions; [`values`]: conversion between rhai values and
//!   native ones
//! - [`rewrite`]: changes to a text before it is parsed; [`source`]: the texts of cells and files; [`call_text`]:
//!   locations in the text of a call; [`resolver`]: `import`
//! - [`failure`]: an error with file, line, caret, call chain and hint; [`diagnose`] makes it from the messages of
//!   [`translate`] and [`syntax`] and the nearest of all [`names`]
//! - [`attempts`]: errors as data, for sweeps that go on
//! - [`fix`]: a correction as a change to the cell; [`habits`]: Python syntax and what to write instead
//! - `arrays`, `lengths`: functions of rhai in a stricter form; `stops`: ends of scripts that leave no stack or [`memory`]
//! - [`help`]: documentation pages from the declarations
//! - [`check`]: mistakes that can be found without running a script; `kinds`: types that are certain; `replaced`: parts
//!   that run or replace a module; `temporaries`, `copies`: changes of values that nothing keeps
//! - [`std_lib`]: the library written in rhai; [`entries`]: all functions, native or not, with documentation;
//!   [`catalog`]: these and rhai's own, for lookup; [`mod@reference`]: the reference pages
//! - [`code`]: script functions stored in files; [`stored`]: the files that these import; `captured`: handles that
//!   a function captured
//!
//! The functions themselves are declared in the rooms that implement them; [`registry`] lists them.

pub mod attempts;
pub mod bridge;
pub mod call_text;
mod captured;
pub mod catalog;
pub mod check;
pub mod code;
mod copies;
pub mod diagnose;
pub mod engine;
pub mod entries;
pub mod failure;
pub mod fix;
pub mod habits;
pub mod help;
mod kinds;
mod lengths;
pub mod memory;
pub mod names;
mod places;
mod precedence;
mod receivers;
pub mod reference;
mod replaced;
pub mod resolver;
mod results;
pub mod rewrite;
pub mod source;
mod stack;
pub mod std_lib;
mod stops;
pub mod stored;
pub mod syntax;
mod temporaries;
pub mod translate;
pub mod values;

mod arrays;
mod assertions;
mod cli;
mod core;
mod errors;
mod indexing;
mod options;

use crate::declare::{Declaration, TypeRegistry};
use crate::registry;

/// What the host itself adds to scripts.
mod host {
    use super::{cli, core, errors, failure, help, options};

    crate::api! {
        types: [failure::Failure, help::Help],
        functions: [core, errors, options, cli::native, help],
    }
}

/// Returns every declared function, in the order of the reference.
pub fn declarations() -> Vec<&'static Declaration> {
    [host::declarations(), registry::declarations()].concat()
}

/// Adds every type that scripts can hold.
pub fn types(registry: &mut impl TypeRegistry) {
    host::types(registry);
    registry::types(registry);
}

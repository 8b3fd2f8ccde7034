//! The rhai language: the only room, with those above it, that names `rhai`.
//!
//! - [`engine`]: an engine with every declared function, our limits and our resolver
//! - [`bridge`]: declarations to rhai functions; [`values`]: rhai values to native ones and back
//! - [`report`]: an error with file, line, caret, call chain and hint
//! - one thin file per namespace, each with `declarations()`

pub mod bridge;
pub mod engine;
pub mod report;
pub mod values;

mod checks;
mod core;
mod data;
mod eval;
mod files;
mod filter;
mod flow;
mod gate;
mod model;
mod optim;
mod plot;
mod table;
mod tensor;
mod text;
mod train;

use crate::declare::Declaration;

/// Every declared function, in the order of the reference.
pub fn declarations() -> Vec<&'static Declaration> {
    let namespaces = [
        core::declarations(),
        tensor::create::declarations(),
        tensor::props::declarations(),
        tensor::ops::declarations(),
        filter::declarations(),
        gate::declarations(),
        model::declarations(),
        data::space::declarations(),
        data::properties::declarations(),
        data::methods::declarations(),
        data::loaders::declarations(),
        flow::declarations(),
        optim::declarations(),
        train::declarations(),
        eval::declarations(),
        plot::declarations(),
        table::make::declarations(),
        table::properties::declarations(),
        table::rows::declarations(),
        table::transform::declarations(),
        table::write::declarations(),
        files::text_files::declarations(),
        files::folders::declarations(),
        files::time::declarations(),
        text::numbers::declarations(),
        text::strings::declarations(),
        text::data::declarations(),
    ];
    namespaces.into_iter().flatten().collect()
}

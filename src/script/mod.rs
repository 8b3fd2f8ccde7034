//! Scripting with rhai; only this module and those above it name `rhai`.
//!
//! - [`engine`]: an engine with all declared functions, limits and the import resolver
//! - [`bridge`]: registration of declarations as rhai functions; [`values`]: conversion between rhai values and
//!   native ones
//! - [`rewrite`]: changes to a text before it is parsed; [`source`]: the texts of cells and files; [`call_text`]:
//!   locations in the text of a call; [`resolver`]: `import`
//! - [`report`]: an error with file, line, caret, call chain and hint; [`diagnose`] makes it from the messages of
//!   [`translate`] and [`syntax`] and the nearest of all [`names`]
//! - [`fix`]: a correction as a change to the cell; [`habits`]: Python syntax and what to write instead
//! - [`help`]: documentation pages from the declarations
//! - [`check`]: mistakes that can be found without running a script
//! - [`std_lib`]: the library written in rhai; [`entries`]: all functions, native or not, with documentation;
//!   [`catalog`]: these and rhai's own, for lookup; [`mod@reference`]: the reference pages
//! - [`code`]: script functions stored in files
//! - [`rust`]: the namespaces as Rust modules
//! - one small file per namespace, each with `declarations()`

pub mod bridge;
pub mod call_text;
pub mod catalog;
pub mod check;
pub mod code;
pub mod diagnose;
pub mod engine;
pub mod entries;
pub mod fix;
pub mod habits;
pub mod help;
pub mod names;
pub mod reference;
pub mod report;
pub mod resolver;
pub mod rewrite;
pub mod rust;
pub mod source;
pub mod std_lib;
pub mod syntax;
pub mod translate;
pub mod values;

mod checkpoint;
mod checks;
mod cli;
mod core;
mod data;
mod errors;
mod eval;
mod files;
mod filter;
mod flow;
mod gate;
mod model;
mod optim;
mod options;
mod plot;
mod reports;
mod table;
mod tensor;
mod text;
mod train;
mod vae;

use crate::declare::Declaration;
use crate::flow::losses::api as losses;
use crate::model::parts;
use crate::nn;
use crate::spectral::basis::api as basis;

/// Returns every declared function, in the order of the reference.
pub fn declarations() -> Vec<&'static Declaration> {
    let namespaces = [
        core::declarations(),
        errors::declarations(),
        options::declarations(),
        cli::native::declarations(),
        help::declarations(),
        basis::make::declarations(),
        basis::methods::declarations(),
        basis::properties::declarations(),
        filter::methods::declarations(),
        filter::properties::declarations(),
        gate::global::declarations(),
        gate::methods::declarations(),
        gate::properties::declarations(),
        nn::maker::space::declarations(),
        nn::maker::methods::declarations(),
        nn::maker::properties::declarations(),
        nn::layer::methods::declarations(),
        parts::api::space::declarations(),
        parts::api::methods::declarations(),
        parts::api::properties::declarations(),
        parts::api::of_correction::declarations(),
        parts::api::nested::declarations(),
        parts::call::methods::declarations(),
        parts::call::properties::declarations(),
        model::networks::declarations(),
        model::namespace::declarations(),
        model::methods::declarations(),
        model::properties::declarations(),
        data::space::declarations(),
        data::properties::declarations(),
        data::methods::declarations(),
        data::loaders::declarations(),
        flow::space::declarations(),
        flow::methods::declarations(),
        losses::space::declarations(),
        losses::methods::declarations(),
        optim::space::declarations(),
        optim::methods::declarations(),
        optim::averaging::declarations(),
        optim::properties::declarations(),
        optim::averages::declarations(),
        train::space::declarations(),
        train::properties::declarations(),
        checkpoint::space::declarations(),
        vae::space::declarations(),
        vae::properties::declarations(),
        vae::methods::declarations(),
        plot::charts::declarations(),
        plot::maps::declarations(),
        plot::figure::methods::declarations(),
        plot::figure::properties::declarations(),
        eval::space::declarations(),
        eval::measures::space::declarations(),
        eval::features::space::declarations(),
        eval::summaries::space::declarations(),
        eval::features::feature_properties::declarations(),
        eval::features::feature_methods::declarations(),
        eval::features::classifier_methods::declarations(),
        eval::records::comparison_properties::declarations(),
        eval::records::comparison_methods::declarations(),
        table::make::declarations(),
        table::properties::declarations(),
        table::rows::declarations(),
        table::transform::declarations(),
        table::write::declarations(),
        files::text_files::declarations(),
        files::folders::declarations(),
        files::locks::declarations(),
        files::time::declarations(),
        text::numbers::declarations(),
        text::strings::declarations(),
        text::data::declarations(),
        reports::make::declarations(),
        reports::parts::declarations(),
        reports::output::declarations(),
    ];
    // Filters, gates and timestep samplers declare their constructors in their own files.
    let kinds = [
        crate::spectral::filter::declarations(),
        crate::spectral::gate::declarations(),
        crate::flow::timesteps::declarations(),
    ];
    let own = namespaces.into_iter().flatten().chain(kinds.into_iter().flatten());
    own.chain(tensor::declarations()).collect()
}

//! DiT and SpectralDiT: configuration, presets, forward, trace, accounting, weights in and out.
//!
//! - [`config`]: what a model is made of, with all checks; [`presets`]: named sizes
//! - [`dit`]: the network and its forward; [`trace`]: what happened inside each block
//! - [`options`]: a model from a preset and whatever differs from it
//! - [`handle`]: [`Model`], the network with its named parameters
//! - [`accounting`]: parameters and floating-point operations, each against the plain DiT

pub mod accounting;
pub mod config;
pub mod dit;
pub mod handle;
pub mod options;
pub mod presets;
pub mod trace;

pub use config::Config;
pub use handle::Model;
pub use options::{DitOptions, dit};

#[cfg(test)]
mod tests;

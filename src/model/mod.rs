//! DiT and SpectralDiT: configuration, presets, forward, trace, accounting, weights in and out.
//!
//! - [`config`]: what a model is made of, with all checks; [`presets`]: named sizes
//! - [`mod@dit`]: the network and its forward; [`trace`]: what happened inside each block
//! - [`options`]: a model from a preset and whatever differs from it
//! - [`handle`]: [`Model`], the network with its named parameters
//! - [`weights`]: parameters to and from safetensors files under PyTorch names
//! - [`accounting`]: parameters and floating-point operations, each against the plain DiT

pub mod accounting;
pub mod config;
pub mod dit;
pub mod handle;
pub mod options;
pub mod presets;
pub mod trace;
pub mod weights;

pub use config::Config;
pub use handle::Model;
pub use options::{DitOptions, dit};
pub use weights::{LoadOptions, open};

#[cfg(test)]
mod tests;

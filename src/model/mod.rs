//! DiT and SpectralDiT: configuration, presets, forward, trace, accounting, weights in and out.
//!
//! - [`config`]: what a model is made of, with all checks; [`presets`]: named sizes
//! - [`parts`]: modules of one's own at its places
//! - [`mod@dit`]: the network and its forward; [`trace`]: what happened inside each block
//! - [`options`]: a model from a preset and whatever differs from it
//! - [`own`]: networks of one's own; [`design`]: what either is made of
//! - [`handle`]: [`Model`], the network with its named parameters
//! - [`weights`]: parameters to and from safetensors files under PyTorch names
//! - [`accounting`]: parameters and floating-point operations, each against the plain DiT

pub mod accounting;
pub mod config;
pub mod design;
pub mod dit;
pub mod handle;
pub mod options;
pub mod own;
pub mod parts;
pub mod presets;
pub mod trace;
pub mod weights;

pub use config::Config;
pub use design::Design;
pub use handle::Model;
pub use options::{DitOptions, dit};
pub use own::Own;
pub use parts::{Kept, Part, Pass};
pub use weights::{LoadOptions, open};

#[cfg(test)]
mod tests;

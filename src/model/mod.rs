//! DiT and SpectralDiT: configuration, presets, forward pass, trace, accounting, loading and saving.
//!
//! - [`config`]: the configuration of a DiT, with all checks; [`presets`]: named sizes
//! - [`parts`]: user-defined modules at places of a DiT
//! - [`mod@dit`]: the network and its forward pass; [`trace`]: the intermediate results of each block
//! - [`options`]: models from a preset and overrides
//! - [`own`]: user-defined networks; [`design`]: the description of any model
//! - [`handle`]: [`Model`], the network with its named parameters
//! - [`weights`]: loading and saving of parameters as safetensors files under PyTorch names
//! - [`accounting`]: parameters and floating-point operations, compared with the plain DiT

pub mod accounting;
pub(crate) mod api;
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

pub use api::namespace::*;
pub use api::{AttachOptions, ObserveOptions, OpenOptions, PickOptions};
pub use config::Config;
pub use design::Design;
pub use handle::Model;
pub use options::DitOptions;
pub use own::Own;
pub use parts::{Kept, Part, Pass};
pub use presets::Size;
pub use weights::{LoadOptions, Weights};

#[cfg(test)]
mod tests;

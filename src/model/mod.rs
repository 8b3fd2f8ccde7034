//! DiT and SpectralDiT: configuration, presets, forward pass, trace, accounting, loading and saving.
//!
//! - [`config`]: the configuration of a DiT, with all checks; [`presets`](mod@presets): named sizes
//! - [`family`]: families of public models
//! - [`parts`]: user-defined modules at places of a DiT
//! - [`mod@dit`]: the network and its forward pass; `modules`: its attention and MLP; `positions`: position embeddings of grids
//!   of any size; `diffusion`: steps of DiT's diffusion and their times; `times`: times of pixels; [`trace`]: the intermediate
//!   results of each block
//! - [`options`]: models from a preset and overrides
//! - [`custom`]: user-defined networks; [`design`]: the description of any model
//! - [`handle`]: [`Model`], the network with its named parameters; `inside`: a model as a module of another network
//! - [`weights`]: loading and saving of parameters as safetensors files under PyTorch names; `advice`: hints when they
//!   do not fit; `unseen`: differences of models whose weights fit
//! - [`mod@open`]: opening of model files; `public`: configurations of public models from the shapes of their parameters
//! - [`accounting`]: parameters and floating-point operations, compared with the plain DiT

pub mod accounting;
mod advice;
pub(crate) mod api;
pub mod config;
pub mod custom;
pub mod design;
pub(crate) mod diffusion;
pub mod dit;
pub mod family;
pub mod handle;
pub(crate) mod inside;
mod modules;
pub mod open;
pub mod options;
pub mod parts;
mod positions;
pub mod presets;
mod public;
mod times;
pub mod trace;
mod unseen;
pub mod weights;

pub use api::namespace::*;
pub use api::{AttachOptions, ForwardOptions, ObserveOptions, PickOptions, PlainOptions};
pub use config::Config;
pub use custom::{CustomNetwork, Interface};
pub use design::Design;
pub use family::{Family, Position, PositionScaling};
pub use handle::Model;
pub(crate) use open::part_of_average;
pub use open::{OpenOptions, Weights};
pub use options::DitOptions;
pub use parts::{Kept, Part, Pass, Rows};
pub use presets::Size;
pub(crate) use times::check_times;
pub use weights::{LoadOptions, SaveOptions};

pub use crate::nn::embed::FeatureOrder;
pub use crate::nn::{MlpKind, QkNorm, TokenNorm};

#[cfg(test)]
mod tests;

//! The image autoencoder of latent diffusion, which maps images to latents and back, with weights from the user.
//!
//! It is the AutoencoderKL of Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752), of any size, with the
//! parameter names of diffusers.
//!
//! - [`options`]: sizes and their checks
//! - [`blocks`]: residual, attention and resampling blocks; [`network`]: encoder and decoder
//! - [`handle`]: [`Vae`], the network with its named parameters, encoding and decoding
//! - [`weights`]: loading and saving of parameters; `names` converts the public names
//! - [`cached`]: latents of a data set, encoded once and cached in a file

pub(crate) mod api;
pub mod blocks;
pub mod cached;
pub mod handle;
mod names;
pub mod network;
pub mod options;
pub mod weights;

pub use api::space::*;
pub use cached::latents;
pub use handle::{DecodeOptions, EncodeOptions, Posterior, Vae};
pub use options::VaeOptions;
pub use weights::{LoadOptions, load_noted};

#[cfg(test)]
mod tests;

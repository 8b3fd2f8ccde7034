//! The image autoencoder of latent diffusion: images to latents and back, with weights of the user's.
//!
//! It is the AutoencoderKL of Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752) under the parameter names of
//! diffusers, and of any size.
//!
//! - [`options`]: what it is made of, with all checks
//! - [`blocks`]: residual, attention and resampling blocks; [`network`]: the encoder and the decoder of them
//! - [`handle`]: [`Vae`], the network with its named parameters, and what it does with images
//! - [`weights`]: parameters to and from files
//! - [`cached`]: the latents of a data set, encoded once and kept in a file

pub mod blocks;
pub mod cached;
pub mod handle;
pub mod network;
pub mod options;
pub mod weights;

pub use cached::{CacheOptions, latents};
pub use handle::{DecodeOptions, EncodeOptions, Posterior, Vae};
pub use options::VaeOptions;
pub use weights::{LoadOptions, load, load_noted};

#[cfg(test)]
mod tests;

//! Models from a preset and overrides.

use super::{Config, Model};
use crate::declare::Options;
use crate::error::Result;
use crate::torch::Device;

/// Options of `model::dit`. Every field that is given replaces the preset's.
#[derive(Debug, Clone, Options)]
pub struct DitOptions {
    /// The hyperparameters.
    #[option(flatten)]
    pub config: Config,
    /// Seed of the weights, which depend on it and on their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::Cpu)]
    pub device: Device,
}

/// Creates a DiT or SpectralDiT.
pub fn dit(options: DitOptions) -> Result<Model> {
    Model::new(options.config, options.seed, options.device)
}

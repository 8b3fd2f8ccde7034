//! Models from a preset and overrides.

use super::presets::Size;
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
    #[option(default = Device::of_new())]
    pub device: Device,
}

impl From<Config> for DitOptions {
    /// Returns the model of that configuration, with the defaults of the other options.
    fn from(config: Config) -> Self {
        Self { config, ..Self::default() }
    }
}

impl From<Size> for DitOptions {
    /// Returns the plain DiT of that size, with the defaults of the other options.
    fn from(size: Size) -> Self {
        Config::from(size).into()
    }
}

/// Creates a DiT or SpectralDiT.
pub(crate) fn dit(options: DitOptions) -> Result<Model> {
    Model::new(options.config, options.seed, options.device)
}

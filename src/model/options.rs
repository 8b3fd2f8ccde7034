//! Models from a preset and overrides.

use super::parts::Part;
use super::{Config, Model};
use crate::declare::{OneOrMany, Options};
use crate::error::Result;
use crate::spectral::Correction;
use crate::torch::{DType, Device};

/// Options of `model::dit`. Every field that is given replaces the preset's.
#[derive(Debug, Clone, Options)]
pub struct DitOptions {
    /// Named size to start from; `model::presets()` lists them.
    #[option(default = "fashion_tiny", one_of = &super::presets::NAMES)]
    pub preset: String,
    /// Corrections of the MLP residual in every block, in order; an empty list makes a plain DiT.
    pub corrections: OneOrMany<Correction>,
    /// User-defined modules, `nn::part(..).at(..)`, and corrections at a place, `correction(..).at(..)`, in
    /// order.
    pub parts: OneOrMany<Part>,
    /// Height and width of the images, in pixels.
    #[option(range = 1..)]
    pub image_size: Option<i64>,
    /// Height and width of a patch, in pixels; must divide `image_size`.
    #[option(range = 1..)]
    pub patch_size: Option<i64>,
    /// Channels of the images.
    #[option(range = 1..)]
    pub in_channels: Option<i64>,
    /// Number of classes K; label K is the null label.
    #[option(range = 1..)]
    pub num_classes: Option<i64>,
    /// Number of blocks.
    #[option(range = 1..)]
    pub depth: Option<i64>,
    /// Width of a token; must be divisible by 4 and by `num_heads`.
    #[option(range = 4..)]
    pub hidden_size: Option<i64>,
    /// Attention heads per block.
    #[option(range = 1..)]
    pub num_heads: Option<i64>,
    /// Width of the MLP's inner layer as a multiple of `hidden_size`; presets have 4.
    #[option(range = 0.01..=64.0)]
    pub mlp_ratio: Option<f64>,
    /// Probability with which training replaces a label by the null label; presets have 0.1.
    #[option(range = 0.0..=1.0)]
    pub class_dropout_prob: Option<f64>,
    /// Seed of the weights, which depend on it and on their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::Cpu)]
    pub device: Device,
    /// Element type of the parameters.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

impl DitOptions {
    /// Returns the checked configuration that these options describe.
    pub fn config(&self) -> Result<Config> {
        let preset = Config::preset(&self.preset)?;
        let config = Config {
            image_size: self.image_size.unwrap_or(preset.image_size),
            patch_size: self.patch_size.unwrap_or(preset.patch_size),
            in_channels: self.in_channels.unwrap_or(preset.in_channels),
            num_classes: self.num_classes.unwrap_or(preset.num_classes),
            depth: self.depth.unwrap_or(preset.depth),
            hidden_size: self.hidden_size.unwrap_or(preset.hidden_size),
            num_heads: self.num_heads.unwrap_or(preset.num_heads),
            mlp_ratio: self.mlp_ratio.unwrap_or(preset.mlp_ratio),
            class_dropout_prob: self.class_dropout_prob.unwrap_or(preset.class_dropout_prob),
            corrections: self.corrections.0.clone(),
            parts: self.parts.0.clone(),
            dtype: self.dtype,
        };
        config.check()?;
        Ok(config)
    }
}

/// Creates a DiT or SpectralDiT.
pub fn dit(options: DitOptions) -> Result<Model> {
    Model::new(options.config()?, options.seed, options.device)
}

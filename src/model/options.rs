//! Models from a preset and overrides.

use super::parts::Part;
use super::{Config, Model};
use crate::declare::OneOrMany;
use crate::error::Result;
use crate::options;
use crate::spectral::Correction;
use crate::torch::{DType, Device};

options! {
    /// Options of `model::dit`. Every field that is given replaces the preset's.
    pub struct DitOptions {
        /// Named size to start from; `model::presets()` lists them.
        preset: String = "fashion_tiny".to_string() => one_of(&super::presets::NAMES);
        /// Corrections of the MLP residual in every block, in order; an empty list makes a plain DiT.
        corrections: OneOrMany<Correction> = OneOrMany(Vec::new());
        /// User-defined modules, `nn::part(..).at(..)`, and corrections at a place, `correction(..).at(..)`, in
        /// order.
        parts: OneOrMany<Part> = OneOrMany(Vec::new());
        /// Height and width of the images, in pixels.
        image_size: Option<i64> = None => at_least(1.0);
        /// Height and width of a patch, in pixels; must divide `image_size`.
        patch_size: Option<i64> = None => at_least(1.0);
        /// Channels of the images.
        in_channels: Option<i64> = None => at_least(1.0);
        /// Number of classes K; label K is the null label.
        num_classes: Option<i64> = None => at_least(1.0);
        /// Number of blocks.
        depth: Option<i64> = None => at_least(1.0);
        /// Width of a token; must be divisible by 4 and by `num_heads`.
        hidden_size: Option<i64> = None => at_least(4.0);
        /// Attention heads per block.
        num_heads: Option<i64> = None => at_least(1.0);
        /// Width of the MLP's inner layer as a multiple of `hidden_size`; presets have 4.
        mlp_ratio: Option<f64> = None => range(0.01, 64.0);
        /// Probability with which training replaces a label by the null label; presets have 0.1.
        class_dropout_prob: Option<f64> = None => range(0.0, 1.0);
        /// Seed of the weights, which depend on it and on their names and shapes.
        seed: i64 = 0;
        /// Device of the model: "auto", "cpu", "cuda" or "cuda:N".
        device: Device = Device::Cpu;
        /// Element type of the parameters.
        dtype: DType = DType::Float32;
    }
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

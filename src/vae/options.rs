//! Options of an autoencoder.

use crate::data::scale::Scale;
use crate::declare::Options;
use crate::ensure;
use crate::error::{Error, Result, Subject};
use crate::torch::{DType, Device};

/// Sizes and scale of an autoencoder; the defaults are those of Stable Diffusion.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct VaeOptions {
    /// Channels of the images.
    #[option(default = 3, range = 1..=1024)]
    pub in_channels: i64,
    /// Channels of the latents.
    #[option(default = 4, range = 1..=1024)]
    pub latent_channels: i64,
    /// Channels of each stage of the encoder; height and width are halved between stages, so four stages reduce
    /// them by a factor of 8.
    #[option(default = vec![128, 256, 512, 512], range = 1..=65536)]
    pub block_out_channels: Vec<i64>,
    /// Residual blocks in each stage of the encoder; each stage of the decoder has one more.
    #[option(default = 2, range = 1..=64)]
    pub layers_per_block: i64,
    /// Number of groups of the group normalization; it must divide the channels of every stage.
    #[option(default = 32, range = 1..=65536)]
    pub norm_num_groups: i64,
    /// Factor of the latents, so that their variance is near 1.
    #[option(default = 0.18215, range = 1e-6..=1e6)]
    pub scaling_factor: f64,
    /// Number subtracted from the latents before the factor, as in Stable Diffusion 3 and FLUX.
    #[option(default = 0.0, range = -1e6..=1e6)]
    pub shift_factor: f64,
    /// Mean of each channel of the latents; with `latents_std` latents become `(x - mean) / std * scaling_factor`.
    pub latents_mean: Vec<f64>,
    /// Standard deviation of each channel of the latents.
    pub latents_std: Vec<f64>,
    /// Whether a 1 x 1 convolution follows the encoder and another precedes the decoder; Stable Diffusion 3 and
    /// FLUX have none.
    #[option(default = true)]
    pub use_quant_conv: bool,
    /// Seed of the weights, which also depend on their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the weights: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::of_new())]
    pub device: Device,
    /// Dtype of the weights and of all computations.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

impl VaeOptions {
    /// Returns an error if the sizes are invalid.
    pub fn check_sizes(&self) -> Result<()> {
        self.check()?;
        let stages = self.block_out_channels.len();
        ensure!(
            (1..=8).contains(&stages),
            "`block_out_channels` must name the widths of 1 to 8 stages, found {stages}"
        );
        let groups = self.norm_num_groups;
        if let Some(width) = self.block_out_channels.iter().find(|width| *width % groups != 0) {
            return Err(Error::argument(format!(
                "a width of {width} channels cannot be divided into {groups} groups"
            ))
            .hint("`norm_num_groups` divides every width in `block_out_channels`"));
        }
        let channels = self.latents_mean.len();
        ensure!(
            channels == 0 || channels as i64 == self.latent_channels,
            "expected a mean of each of {} channels of the latents, found {channels}",
            self.latent_channels
        );
        self.scale()?;
        if self.dtype.is_float() {
            return Ok(());
        }
        let text = format!("expected a float type as option `dtype`, found {}", self.dtype.name());
        Err(Error::argument(text).about(Subject::Option("dtype".to_string())))
    }

    /// Returns the normalization of the latents.
    pub fn scale(&self) -> Result<Scale> {
        match self.latents_mean.is_empty() && self.latents_std.is_empty() {
            true => Ok(Scale::of_all(self.scaling_factor, self.shift_factor)),
            false if self.shift_factor != 0.0 => {
                Err(Error::argument("`shift_factor` and `latents_mean` both shift the latents")
                    .hint("leave one of them out"))
            }
            false => Scale::of_each(&self.latents_mean, &self.latents_std, self.scaling_factor),
        }
    }

    /// Returns the ratio of image size to latent size along each side.
    pub fn factor(&self) -> i64 {
        1 << (self.block_out_channels.len() as i64 - 1).max(0)
    }
}

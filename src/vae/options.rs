//! What an autoencoder is made of.

use crate::declare::Options;
use crate::ensure;
use crate::error::{Error, Result};
use crate::options;
use crate::torch::{DType, Device};

options! {
    /// Size and scale of an autoencoder; the defaults are those of Stable Diffusion.
    #[derive(PartialEq)]
    pub struct VaeOptions {
        /// Channels of the images.
        in_channels: i64 = 3 => range(1.0, 1024.0);
        /// Channels of the latents.
        latent_channels: i64 = 4 => range(1.0, 1024.0);
        /// Width of each stage of the encoder; between two stages height and width are halved, so that four stages
        /// make them 8 times smaller.
        block_out_channels: Vec<i64> = vec![128, 256, 512, 512] => range(1.0, 65536.0);
        /// Residual blocks in each stage of the encoder; the decoder has one more.
        layers_per_block: i64 = 2 => range(1.0, 64.0);
        /// Groups of channels that are normalised together; they divide every width.
        norm_num_groups: i64 = 32 => range(1.0, 65536.0);
        /// What latents are multiplied by, so that their variance is near 1.
        scaling_factor: f64 = 0.18215 => range(1e-6, 1e6);
        /// Determines the weights, together with their names and shapes.
        seed: i64 = 0;
        /// Where the weights are: "auto", "cpu", "cuda" or "cuda:N".
        device: Device = Device::Cpu;
        /// Element type of the weights, and of all that is computed.
        dtype: DType = DType::Float32;
    }
}

impl VaeOptions {
    /// Fails unless a network of these sizes can be made.
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
        ensure!(
            self.dtype.is_float(),
            "expected a float type as option `dtype`, found {}",
            self.dtype.name()
        );
        Ok(())
    }

    /// How many times smaller latents are than images, along each side.
    pub fn factor(&self) -> i64 {
        1 << (self.block_out_channels.len() as i64 - 1).max(0)
    }
}

//! The encoder and the decoder.

use super::VaeOptions;
use super::blocks::{MidBlock, Resample, Stage};
use crate::error::Result;
use crate::nn::{Builder, Conv2d, GroupNorm};
use crate::torch::Tensor;

/// Encoder: maps images to the moments of their latents.
#[derive(Debug, Clone)]
pub struct Encoder {
    conv_in: Conv2d,
    stages: Vec<Stage>,
    middle: MidBlock,
    norm: GroupNorm,
    conv_out: Conv2d,
    moments: Option<Conv2d>,
}

impl Encoder {
    /// Creates all parameters under `encoder`, and `quant_conv` if the options have it.
    pub fn new(builder: &mut Builder, options: &VaeOptions) -> Result<Self> {
        let VaeOptions { ref block_out_channels, norm_num_groups: groups, layers_per_block: layers, .. } =
            *options;
        let (first, last) = ends(block_out_channels);
        let count = 2 * options.latent_channels;
        let moments = match options.use_quant_conv {
            true => Some(Conv2d::new(builder, "quant_conv", count, count, 1)?),
            false => None,
        };
        builder.within("encoder", |b| {
            Ok(Self {
                conv_in: Conv2d::new(b, "conv_in", options.in_channels, first, 3)?,
                stages: b.within("down_blocks", |b| {
                    stages(b, block_out_channels, groups, layers, Resample::halve)
                })?,
                middle: MidBlock::new(b, groups, last)?,
                norm: GroupNorm::new(b, "conv_norm_out", groups, last)?,
                conv_out: Conv2d::new(b, "conv_out", last, count, 3)?,
                moments,
            })
        })
    }

    /// Maps images [B, C, H, W] to means and log-variances [B, 2 Z, h, w], the means first.
    pub fn forward(&self, x: &Tensor, check: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x)?;
        for stage in &self.stages {
            x = stage.forward(&x, check)?;
        }
        check()?;
        let x = self.norm.forward(&self.middle.forward(&x)?)?.silu()?;
        let x = self.conv_out.forward(&x)?;
        self.moments.as_ref().map_or(Ok(x.clone()), |moments| moments.forward(&x))
    }
}

/// Decoder: maps latents to images.
#[derive(Debug, Clone)]
pub struct Decoder {
    latents: Option<Conv2d>,
    conv_in: Conv2d,
    middle: MidBlock,
    stages: Vec<Stage>,
    norm: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    /// Creates all parameters under `decoder`, and `post_quant_conv` if the options have it.
    pub fn new(builder: &mut Builder, options: &VaeOptions) -> Result<Self> {
        let VaeOptions { norm_num_groups: groups, layers_per_block: layers, latent_channels, .. } = *options;
        let widths: Vec<i64> = options.block_out_channels.iter().rev().copied().collect();
        let (first, last) = ends(&widths);
        let latents = match options.use_quant_conv {
            true => Some(Conv2d::new(builder, "post_quant_conv", latent_channels, latent_channels, 1)?),
            false => None,
        };
        builder.within("decoder", |b| {
            Ok(Self {
                latents,
                conv_in: Conv2d::new(b, "conv_in", latent_channels, first, 3)?,
                middle: MidBlock::new(b, groups, first)?,
                stages: b
                    .within("up_blocks", |b| stages(b, &widths, groups, layers + 1, Resample::double))?,
                norm: GroupNorm::new(b, "conv_norm_out", groups, last)?,
                conv_out: Conv2d::new(b, "conv_out", last, options.in_channels, 3)?,
            })
        })
    }

    /// Maps unscaled latents [B, Z, h, w] to images [B, C, H, W].
    pub fn forward(&self, z: &Tensor, check: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        let z = self.latents.as_ref().map_or(Ok(z.clone()), |latents| latents.forward(z))?;
        let x = self.conv_in.forward(&z)?;
        check()?;
        let mut x = self.middle.forward(&x)?;
        for stage in &self.stages {
            x = stage.forward(&x, check)?;
        }
        self.conv_out.forward(&self.norm.forward(&x)?.silu()?)
    }
}

/// Returns the first and the last width.
fn ends(widths: &[i64]) -> (i64, i64) {
    (widths.first().copied().unwrap_or(1), widths.last().copied().unwrap_or(1))
}

/// Creates one stage for each width; all but the last are resampled.
fn stages(
    builder: &mut Builder,
    widths: &[i64],
    groups: i64,
    layers: i64,
    resample: fn(&mut Builder, i64) -> Result<Resample>,
) -> Result<Vec<Stage>> {
    let mut made = Vec::with_capacity(widths.len());
    let mut inputs = ends(widths).0;
    for (i, outputs) in widths.iter().copied().enumerate() {
        let last = i + 1 == widths.len();
        let resample = if last { |_: &mut Builder, _| Ok(Resample::Keep) } else { resample };
        let stage = builder.within(i, |b| Stage::new(b, groups, (inputs, outputs), layers, resample))?;
        made.push(stage);
        inputs = outputs;
    }
    Ok(made)
}

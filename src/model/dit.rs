//! The network: DiT with adaLN-Zero blocks (Peebles and Xie, arXiv 2212.09748), and SpectralDiT's
//! correction of the MLP residual (arXiv 2606.18765).

use super::Config;
use super::trace::{BlockTrace, Split};
use crate::error::Result;
use crate::nn::embed::{sincos_2d, unpatchify};
use crate::nn::{
    Attention, Builder, Init, LabelEmbed, Linear, Mlp, PatchEmbed, TimestepEmbed, norm_modulate,
};
use crate::spectral::correction::{Layer, add_corrected, add_gated};
use crate::spectral::gate::Condition;
use crate::torch::{Tensor, fused};

/// The velocity field v(x, t, y).
#[derive(Debug)]
pub struct Dit {
    patch_embed: PatchEmbed,
    positions: Tensor,
    time_embed: TimestepEmbed,
    label_embed: LabelEmbed,
    blocks: Vec<Block>,
    final_layer: FinalLayer,
    grid: i64,
    patch: i64,
    channels: i64,
}

impl Dit {
    /// Makes all parameters, under the names of the paper's checkpoints.
    pub fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let (hidden, grid) = (config.hidden_size, config.grid());
        let positions = sincos_2d(hidden, grid)?.to_dtype(builder.dtype())?.to_device(builder.device())?;
        Ok(Self {
            patch_embed: PatchEmbed::new(
                builder,
                "patch_embed",
                config.in_channels,
                config.patch_size,
                hidden,
            )?,
            positions,
            time_embed: TimestepEmbed::new(builder, "time_embed", hidden)?,
            label_embed: LabelEmbed::new(builder, "label_embed", config.num_classes, hidden)?,
            blocks: builder.within("blocks", |b| {
                (0..config.depth).map(|i| b.within(i, |b| Block::new(b, config))).collect()
            })?,
            final_layer: FinalLayer::new(builder, config)?,
            grid,
            patch: config.patch_size,
            channels: config.in_channels,
        })
    }

    /// Where each token is, [N, D]: computed, not trained.
    pub fn positions(&self) -> &Tensor {
        &self.positions
    }

    /// Images [B, C, H, W], times `[B]` and labels `[B]` to velocities [B, C, H, W].
    ///
    /// With `trace`, each block's intermediate results are added to it.
    pub fn forward(
        &self,
        x: &Tensor,
        t: &Tensor,
        y: &Tensor,
        mut trace: Option<&mut Vec<BlockTrace>>,
    ) -> Result<Tensor> {
        let mut tokens = self.patch_embed.forward(x)?.add(&self.positions)?;
        let time = self.time_embed.forward(t)?;
        let time_label = time.add(&self.label_embed.forward(y)?)?;
        let condition = Condition { t, time: &time, time_label: &time_label };
        // Every adaLN starts with the same SiLU.
        let modulation = time_label.silu()?;
        for block in &self.blocks {
            tokens = block.forward(&tokens, &modulation, &condition, trace.as_deref_mut())?;
        }
        unpatchify(&self.final_layer.forward(&tokens, &modulation)?, self.grid, self.patch, self.channels)
    }
}

/// An adaLN's output [B, 6 D] or [B, 2 D] as parts [B, 1, D].
fn parts(layer: &Linear, modulation: &Tensor, count: i64) -> Result<Vec<Tensor>> {
    layer.forward(modulation)?.unsqueeze(1)?.chunk(count, -1)
}

fn ada_ln(builder: &mut Builder, hidden: i64, parts: i64) -> Result<Linear> {
    builder.within("ada_ln", |b| Linear::new(b, 1, hidden, parts * hidden, Init::Zeros))
}

/// One transformer block.
#[derive(Debug)]
struct Block {
    attn: Attention,
    mlp: Mlp,
    ada_ln: Linear,
    corrections: Vec<Layer>,
}

impl Block {
    fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            attn: Attention::new(builder, "attn", hidden, config.num_heads)?,
            mlp: Mlp::new(builder, "mlp", hidden, config.inner_size())?,
            ada_ln: ada_ln(builder, hidden, 6)?,
            corrections: config
                .corrections
                .iter()
                .enumerate()
                .map(|(i, correction)| correction.layer(builder, i, config.grid(), hidden))
                .collect::<Result<_>>()?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        modulation: &Tensor,
        condition: &Condition,
        trace: Option<&mut Vec<BlockTrace>>,
    ) -> Result<Tensor> {
        let adaptive = parts(&self.ada_ln, modulation, 6)?;
        let [shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp] = &adaptive[..] else {
            return Err(crate::error::Error::internal("adaLN did not give six parts"));
        };
        let (x, normal) = fused::stream_norm(x, None, shift_attn, scale_attn)?;
        let attended = self.attn.forward(&normal)?;
        let (x, normal) = fused::stream_norm(&x, Some((&attended, gate_attn)), shift_mlp, scale_mlp)?;
        let made = self.mlp.forward(&normal)?;
        let output = add_gated(&x, &made, gate_mlp, &self.corrections, condition)?;
        if let Some(trace) = trace {
            let residual = gate_mlp.mul(&made)?;
            let bands = self
                .corrections
                .iter()
                .map(|correction| correction.bands(&residual, condition))
                .collect::<Result<Vec<_>>>()?;
            trace.push(BlockTrace {
                corrections: bands.iter().map(|b| Split::of(b, &residual)).collect::<Result<_>>()?,
                corrected: add_corrected(&residual.mul_scalar(0.0)?, &residual, &bands)?,
                attn_residual: gate_attn.mul(&attended)?,
                mlp_residual: residual,
                output: output.clone(),
            });
        }
        Ok(output)
    }
}

/// The last normalisation and the map from tokens to patches.
#[derive(Debug)]
struct FinalLayer {
    ada_ln: Linear,
    linear: Linear,
}

impl FinalLayer {
    fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let hidden = config.hidden_size;
        let outputs = config.patch_size * config.patch_size * config.in_channels;
        builder.within("final_layer", |b| {
            Ok(Self {
                ada_ln: ada_ln(b, hidden, 2)?,
                linear: Linear::new(b, "linear", hidden, outputs, Init::Zeros)?,
            })
        })
    }

    fn forward(&self, x: &Tensor, modulation: &Tensor) -> Result<Tensor> {
        let adaptive = parts(&self.ada_ln, modulation, 2)?;
        let [shift, scale] = &adaptive[..] else {
            return Err(crate::error::Error::internal("adaLN did not give two parts"));
        };
        self.linear.forward(&norm_modulate(x, shift, scale)?)
    }
}

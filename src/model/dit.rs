//! The network: DiT with adaLN-Zero blocks (Peebles and Xie, arXiv 2212.09748), and SpectralDiT's
//! correction of the MLP residual (arXiv 2606.18765).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::Config;
use super::parts::built::{Passing, Running, Steps};
use super::parts::call::Seen;
use super::parts::{Pass, Place};
use super::trace::{BlockTrace, Split};
use crate::error::Result;
use crate::nn::embed::{sincos_2d, unpatchify};
use crate::nn::{
    Attention, Builder, Init, LabelEmbed, Linear, Mlp, PatchEmbed, TimestepEmbed, norm_modulate,
};
use crate::spectral::correction::add_corrected;
use crate::spectral::gate::Condition;
use crate::torch::{Tensor, fused};

/// The velocity field v(x, t, y).
#[derive(Debug)]
pub struct Dit {
    patch_embed: PatchEmbed,
    positions: Tensor,
    time_embed: TimestepEmbed,
    label_embed: LabelEmbed,
    /// Shared with parts around blocks, which run them.
    blocks: Arc<Vec<Block>>,
    final_layer: FinalLayer,
    grid: i64,
    patch: i64,
    channels: i64,
    parts: Parts,
}

/// Parts at the places outside of blocks.
#[derive(Debug)]
struct Parts {
    image: Steps,
    tokens: Steps,
    condition: Steps,
    velocity: Steps,
    spans: Vec<Span>,
    /// Whether there are parts, which see the tensors of the forward pass.
    look: bool,
}

/// A part around blocks.
struct Span {
    blocks: Range<usize>,
    part: Running,
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "part around blocks {:?}", self.blocks)
    }
}

/// List to which a forward pass appends the intermediate results of each block.
pub type Traced = Arc<Mutex<Vec<BlockTrace>>>;

/// State shared by the blocks of one forward pass.
#[derive(Clone)]
struct Forward {
    /// Input of every adaLN, after the SiLU that they all start with.
    modulation: Tensor,
    t: Tensor,
    time: Tensor,
    time_label: Tensor,
    parts: Option<Passing>,
    trace: Option<Traced>,
}

impl Forward {
    fn condition(&self) -> Condition<'_> {
        Condition { t: &self.t, time: &self.time, time_label: &self.time_label }
    }

    /// Applies the parts at a place to a value.
    fn through(&self, steps: &Steps, value: Tensor) -> Result<Tensor> {
        match &self.parts {
            Some(passing) if !steps.is_empty() => steps.apply(value, &self.condition(), passing),
            _ => Ok(value),
        }
    }
}

impl Dit {
    /// Builds all parameters, under the names of the paper's checkpoints.
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
            blocks: Arc::new(builder.within("blocks", |b| {
                (0..config.depth).map(|i| b.within(i, |b| Block::new(b, config, i))).collect::<Result<_>>()
            })?),
            final_layer: FinalLayer::new(builder, config)?,
            grid,
            patch: config.patch_size,
            channels: config.in_channels,
            parts: Parts::new(builder, config)?,
        })
    }

    /// Returns the position embedding of each token, [N, D]: computed, not trained.
    pub fn positions(&self) -> &Tensor {
        &self.positions
    }

    /// Maps images [B, C, H, W], times `[B]` and labels `[B]` to velocities [B, C, H, W].
    ///
    /// If `trace` is given, each block's intermediate results are appended to it.
    pub fn forward(
        &self,
        x: &Tensor,
        t: &Tensor,
        y: &Tensor,
        pass: &Pass,
        trace: Option<Traced>,
    ) -> Result<Tensor> {
        let time = self.time_embed.forward(t)?;
        let label = self.label_embed.forward(y)?;
        let both = time.add(&label)?;
        let seen = |both: &Tensor| Passing {
            seen: Arc::new(Seen {
                x: x.clone(),
                t: t.clone(),
                y: y.clone(),
                time: Some(time.clone()),
                label: Some(label.clone()),
                both: Some(both.clone()),
                grid: self.grid,
            }),
            pass: pass.clone(),
        };
        let parts = self.parts.look.then(|| seen(&both));
        let mut run = Forward {
            modulation: both.clone(),
            t: t.clone(),
            time: time.clone(),
            time_label: both,
            parts,
            trace,
        };
        if !self.parts.condition.is_empty() {
            run.time_label = run.through(&self.parts.condition, run.time_label.clone())?;
            run.parts = self.parts.look.then(|| seen(&run.time_label));
        }
        run.modulation = run.time_label.silu()?;
        let image = run.through(&self.parts.image, x.clone())?;
        let tokens = self.patch_embed.forward(&image)?.add(&self.positions)?;
        let tokens = self.blocks(run.through(&self.parts.tokens, tokens)?, &run)?;
        let patches = self.final_layer.forward(&tokens, &run.modulation)?;
        let velocity = unpatchify(&patches, self.grid, self.patch, self.channels)?;
        run.through(&self.parts.velocity, velocity)
    }

    /// Runs all blocks, including the parts around some of them.
    fn blocks(&self, mut tokens: Tensor, run: &Forward) -> Result<Tensor> {
        let mut next = 0;
        for span in &self.parts.spans {
            tokens = each(&self.blocks[next..span.blocks.start], tokens, run)?;
            let (all, inside, shared) = (Arc::clone(&self.blocks), span.blocks.clone(), run.clone());
            let within = Arc::new(move |x: &Tensor| each(&all[inside.clone()], x.clone(), &shared));
            let Some(passing) = &run.parts else {
                return Err(crate::error::Error::internal("a part around blocks was run without its call"));
            };
            tokens = span.part.run(&tokens, passing, Some(within), None)?;
            next = span.blocks.end;
        }
        each(&self.blocks[next..], tokens, run)
    }
}

/// Runs blocks in sequence.
fn each(blocks: &[Block], tokens: Tensor, run: &Forward) -> Result<Tensor> {
    blocks.iter().try_fold(tokens, |tokens, block| block.forward(&tokens, run))
}

impl Parts {
    fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let mut at = |place| config.steps(builder, place, None);
        let (image, tokens, condition) = (at(Place::Image)?, at(Place::Tokens)?, at(Place::Condition)?);
        let velocity = at(Place::Velocity)?;
        let spans = config.spans(builder)?.into_iter().map(|(blocks, part)| Span { blocks, part }).collect();
        // Corrections at places other than the residuals use only the embeddings, but need the forward pass around
        // them as well.
        let look = !config.parts.is_empty();
        Ok(Self { image, tokens, condition, velocity, spans, look })
    }
}

/// Computes an adaLN's output, [B, 6 D] or [B, 2 D], and splits it into parts [B, 1, D].
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
    norm_attn: Steps,
    qk: Steps,
    attn_residual: Steps,
    /// The corrections of the configuration, followed by the parts.
    mlp_residual: Steps,
    output: Steps,
}

impl Block {
    fn new(builder: &mut Builder, config: &Config, index: i64) -> Result<Self> {
        let hidden = config.hidden_size;
        let attn = Attention::new(builder, "attn", hidden, config.num_heads, config.qkv_bias)?;
        let mlp = Mlp::new(builder, "mlp", hidden, config.inner_size())?;
        let ada_ln = ada_ln(builder, hidden, 6)?;
        let (grid, width) = config.size_at(Place::Mlp);
        let corrections = config
            .corrections
            .iter()
            .enumerate()
            .map(|(i, correction)| correction.layer(builder, i, grid, width))
            .collect::<Result<_>>()?;
        let mut at = |place| config.steps(builder, place, Some(index));
        Ok(Self {
            attn,
            mlp,
            ada_ln,
            norm_attn: at(Place::NormAttn)?,
            qk: at(Place::Qk)?,
            attn_residual: at(Place::Attn)?,
            mlp_residual: at(Place::Mlp)?.with_corrections(corrections),
            output: at(Place::Block)?,
        })
    }

    fn forward(&self, x: &Tensor, run: &Forward) -> Result<Tensor> {
        let adaptive = parts(&self.ada_ln, &run.modulation, 6)?;
        let [shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp] = &adaptive[..] else {
            return Err(crate::error::Error::internal("adaLN did not give six parts"));
        };
        let condition = run.condition();
        let (given, normal) = fused::stream_norm(x, None, shift_attn, scale_attn)?;
        let attended = self.attend(&run.through(&self.norm_attn, normal)?, run)?;
        let (x, normal) = match self.attn_residual.is_empty() {
            true => fused::stream_norm(&given, Some((&attended, gate_attn)), shift_mlp, scale_mlp)?,
            false => {
                let x =
                    self.attn_residual.add(&given, &attended, gate_attn, &condition, run.parts.as_ref())?;
                fused::stream_norm(&x, None, shift_mlp, scale_mlp)?
            }
        };
        let made = self.mlp.forward(&normal)?;
        let sum = self.mlp_residual.add(&x, &made, gate_mlp, &condition, run.parts.as_ref())?;
        let output = run.through(&self.output, sum.clone())?;
        if let Some(trace) = &run.trace {
            let made =
                self.trace((&attended, gate_attn, &given), (&made, gate_mlp), (&x, &sum), &output, run)?;
            trace.lock().unwrap_or_else(PoisonError::into_inner).push(made);
        }
        Ok(output)
    }

    fn attend(&self, normal: &Tensor, run: &Forward) -> Result<Tensor> {
        match &run.parts {
            Some(passing) if !self.qk.is_empty() => {
                self.attn.forward_with(normal, |q, k| self.qk.pair((q, k), passing))
            }
            _ => self.attn.forward(normal),
        }
    }

    /// Collects the trace from the outputs of attention and the MLP with their gates, the stream before and after
    /// the MLP, and the output of the block.
    fn trace(
        &self,
        (attended, gate_attn, given): (&Tensor, &Tensor, &Tensor),
        (made, gate_mlp): (&Tensor, &Tensor),
        (before, behind): (&Tensor, &Tensor),
        output: &Tensor,
        run: &Forward,
    ) -> Result<BlockTrace> {
        let (condition, residual) = (run.condition(), gate_mlp.mul(made)?);
        let bands = self.mlp_residual.corrections().map(|correction| correction.bands(&residual, &condition));
        let bands = bands.collect::<Result<Vec<_>>>()?;
        // A sum minus one of its terms loses bits, so the effect of corrections alone is recomputed.
        let corrected = match self.mlp_residual.has_code() {
            true => behind.sub(before)?,
            false => add_corrected(&residual.mul_scalar(0.0)?, &residual, &bands)?,
        };
        let attn = gate_attn.mul(attended)?;
        Ok(BlockTrace {
            corrections: bands.iter().map(|b| Split::of(b, &residual)).collect::<Result<_>>()?,
            corrected,
            attn_residual: match &run.parts {
                // Parts keep their tensors in the forward pass itself, not here.
                Some(passing) if !self.attn_residual.is_empty() => {
                    let aside = Passing {
                        pass: Pass { step: passing.pass.step, ..Pass::default() },
                        ..passing.clone()
                    };
                    self.attn_residual.apply_to(attn, Some(given), &condition, &aside)?
                }
                _ => attn,
            },
            mlp_residual: residual,
            output: output.clone(),
        })
    }
}

/// Final normalisation and linear map from tokens to patches.
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

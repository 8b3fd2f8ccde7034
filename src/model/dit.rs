//! The network: DiT with adaLN-Zero blocks (Peebles and Xie, arXiv 2212.09748), and SpectralDiT's
//! correction of the MLP residual (arXiv 2606.18765).

pub mod layer;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::family::Family;
use super::modules::{FeedForward, MlpWithParts, SelfAttention};
use super::parts::built::{Passing, Running, Steps};
use super::parts::call::{At, Own, Seen};
use super::parts::module::{Modulation, Module, Surrounded};
use super::parts::{Kept, Pass, Place};
use super::positions::Positions;
use super::trace::{BlockTrace, Split};
use super::{Config, diffusion, times};
use crate::error::{Error, Result};
use crate::nn::embed::{TimeOptions, unpatchify};
use crate::nn::{
    Attention, AttentionOptions, Builder, Init, LabelEmbed, Linear, ModulatedNorm, PatchEmbed, Rope,
    TimestepEmbed, Weight,
};
use crate::spectral::correction::{add_corrected, corrected};
use crate::spectral::gate::Condition;
use crate::torch::autograd::is_recording;
use crate::torch::recompute::recomputed;
use crate::torch::{Tensor, fused};

/// The velocity field v(x, t, y).
#[derive(Debug)]
pub struct Dit {
    patch_embed: PatchEmbed,
    positions: Positions,
    time_embed: TimestepEmbed,
    label_embed: LabelEmbed,
    /// Shared with parts around blocks, which run them.
    blocks: Arc<Vec<Block>>,
    final_layer: FinalLayer,
    /// The null label, which parts compare labels with.
    null: i64,
    patch: i64,
    channels: i64,
    /// Outputs of the network for each pixel, and how many of them a forward pass returns.
    outputs: i64,
    returned: i64,
    /// Diffusion steps per unit of the times of a forward pass, if code sees them and they are steps.
    steps: Option<f64>,
    parts: Parts,
    /// Weights that parts change, by name.
    changed: Vec<(String, Weight)>,
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
pub(super) struct Forward {
    /// Input of every adaLN, after the SiLU that they all start with.
    modulation: Tensor,
    /// Times `[B]`, or those of tokens [B, N].
    t: Tensor,
    time: Tensor,
    time_label: Tensor,
    /// Height and width of the grid of tokens.
    grid: [i64; 2],
    pub rope: Option<Rope>,
    pub parts: Option<Passing>,
    trace: Option<Traced>,
    /// Whether activations of blocks are computed again in the backward pass.
    recompute: bool,
}

impl Forward {
    /// Returns the tensors that blocks read, whose gradients are those of one forward pass.
    fn read(&self) -> [Tensor; 4] {
        [&self.modulation, &self.t, &self.time, &self.time_label].map(Tensor::clone)
    }

    /// Returns the state of a block of its own with the tensors of [`Forward::read`].
    fn alone(&self, [modulation, t, time, time_label]: [Tensor; 4]) -> Self {
        Self { modulation, t, time, time_label, recompute: false, ..self.clone() }
    }

    pub fn condition(&self) -> Condition<'_> {
        let Self { t, time, time_label, grid, .. } = self;
        Condition { t, time, time_label, grid: Some(*grid) }
    }

    /// Returns the embedding of time and label [B, D] or, with times of pixels, [B, N, D], before the SiLU of adaLN.
    pub fn embedding(&self) -> &Tensor {
        &self.time_label
    }

    /// Returns what parts receive, for a place that has one.
    pub fn passing(&self) -> Result<&Passing> {
        self.parts.as_ref().ok_or_else(|| Error::internal("a part was run without its call"))
    }

    /// Applies the parts at a place to a value.
    fn through(&self, steps: &Steps, value: Tensor) -> Result<Tensor> {
        self.within(steps, value, At::default)
    }

    /// Applies the parts at a place, which is described by `at`, to a value.
    pub fn within(&self, steps: &Steps, value: Tensor, at: impl FnOnce() -> At) -> Result<Tensor> {
        match &self.parts {
            Some(passing) if !steps.is_empty() => steps.apply(value, at(), &self.condition(), passing),
            _ => Ok(value),
        }
    }
}

impl Dit {
    /// Builds all parameters, under the names of the family's checkpoints.
    pub fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let (dit, changed) = config.with_changes(builder, |b| Self::build(b, config))?;
        Ok(Self { changed, ..dit })
    }

    fn build(builder: &mut Builder, config: &Config) -> Result<Self> {
        let (hidden, names) = (config.hidden_size, config.family.names());
        let public = config.family.is_public();
        let positions = Positions::new(builder, config)?;
        // The public models draw these weights from narrower distributions.
        let narrow = |usual: Init| if public { Init::Normal(0.02) } else { usual };
        let times = TimeOptions {
            order: config.time_order,
            scale: config.time_scale,
            rounded: public,
            init: narrow(Init::XavierUniform),
        };
        let rows = config.label_rows();
        Ok(Self {
            patch_embed: PatchEmbed::new(
                builder,
                names.patches,
                config.in_channels,
                config.patch_size,
                hidden,
            )?,
            positions,
            time_embed: TimestepEmbed::with(builder, names.times, hidden, times)?,
            label_embed: LabelEmbed::with_rows(
                builder,
                names.labels,
                rows,
                hidden,
                narrow(Init::Normal(1.0)),
            )?,
            blocks: Arc::new(builder.within("blocks", |b| {
                (0..config.depth).map(|i| b.within(i, |b| Block::new(b, config, i))).collect::<Result<_>>()
            })?),
            final_layer: builder.within("final_layer", |b| FinalLayer::new(b, config))?,
            null: config.num_classes,
            patch: config.patch_size,
            channels: config.in_channels,
            outputs: outputs(config),
            returned: config.out_channels(),
            steps: (config.family == Family::Dit && config.calls_code()).then_some(config.time_scale),
            parts: Parts::new(builder, config)?,
            changed: Vec::new(),
        })
    }

    /// Returns the weights that parts change, by name.
    pub fn changed(&self) -> &[(String, Weight)] {
        &self.changed
    }

    /// Returns the tables that the model computes and does not store with its parameters, under their names in files of
    /// other programs: positions [N, D], and the cosines and sines of rotary positions [N, head size].
    pub fn computed(&self) -> Vec<(&'static str, &Tensor)> {
        self.positions.computed()
    }

    /// Maps images [B, C, H, W], times `[B]` and labels `[B]` to velocities [B, C, H, W]; a DiT with variances returns
    /// [B, 2 C, H, W]. The size of a patch must divide the height and width.
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
        let grid = [x.size(2)? / self.patch, x.size(3)? / self.patch];
        let placed = self.positions.of(grid)?;
        let label = self.label_embed.forward(y)?;
        // One embedding for each image [B, D] or, with times of pixels, for each token [B, N, D].
        let (own, label) = match t.rank() {
            1 => (t.clone(), label),
            _ => (times::of_tokens(t, &x.shape(), self.patch)?, label.unsqueeze(1)?),
        };
        let time = self.time_embed.forward(&own)?;
        let both = time.add(&label)?;
        // Gates and parts are written for times, and do the same in every family.
        let as_times = |t: &Tensor| match self.steps {
            Some(scale) => diffusion::times(&t.mul_scalar(scale)?),
            None => Ok(t.clone()),
        };
        let t = &as_times(t)?;
        let seen = |both: &Tensor| Passing {
            seen: Arc::new(Seen {
                x: x.clone(),
                t: t.clone(),
                y: y.clone(),
                time: Some(time.clone()),
                label: Some(label.clone()),
                both: Some(both.clone()),
                grid,
                null: self.null,
                own: Own::default(),
            }),
            pass: pass.clone(),
        };
        let parts = self.parts.look.then(|| seen(&both));
        let mut run = Forward {
            modulation: both.clone(),
            t: if own.rank() == 1 { t.clone() } else { as_times(&own)? },
            time: time.clone(),
            time_label: both,
            grid,
            rope: placed.rope,
            parts,
            // Parts may keep tensors or draw numbers, and a trace holds what blocks compute.
            recompute: pass.recompute && !self.parts.look && trace.is_none() && is_recording(),
            trace,
        };
        if !self.parts.condition.is_empty() {
            run.time_label = run.through(&self.parts.condition, run.time_label.clone())?;
            run.parts = self.parts.look.then(|| seen(&run.time_label));
        }
        run.modulation = run.time_label.silu()?;
        let image = run.through(&self.parts.image, x.clone())?;
        let tokens = self.patch_embed.forward(&image)?.add(&placed.table)?;
        let tokens = self.blocks(run.through(&self.parts.tokens, tokens)?, &run)?;
        let patches = self.final_layer.forward(&tokens, &run.modulation)?;
        let output = unpatchify(&patches, grid, self.patch, self.outputs)?;
        if self.outputs == self.channels {
            return run.through(&self.parts.velocity, output);
        }
        let velocity = run.through(&self.parts.velocity, output.narrow(1, 0, self.channels)?)?;
        match self.returned == self.channels {
            true => Ok(velocity),
            false => {
                let variance = output.narrow(1, self.channels, self.outputs - self.channels)?;
                Tensor::cat(&[velocity, variance], 1)
            }
        }
    }

    /// Runs all blocks, including the parts around some of them.
    fn blocks(&self, mut tokens: Tensor, run: &Forward) -> Result<Tensor> {
        let mut next = 0;
        for span in &self.parts.spans {
            tokens = each(&self.blocks, next..span.blocks.start, tokens, run)?;
            let (all, inside, shared) = (Arc::clone(&self.blocks), span.blocks.clone(), run.clone());
            let part = span.part.what();
            let within = Arc::new(move |x: &Tensor, tokens: Option<&Tensor>| {
                let run = some_tokens(x, tokens, &all[inside.clone()], &shared);
                each(&all, inside.clone(), x.clone(), &run.map_err(|e| e.context(format!("the {part}")))?)
            });
            let at = At { within: Some(within), ..At::default() };
            tokens = span.part.run(&tokens, run.passing()?, at)?;
            next = span.blocks.end;
        }
        each(&self.blocks, next..self.blocks.len(), tokens, run)
    }
}

/// Returns the state of blocks that run on tokens x [B, M, D] of a grid, whose indices are `tokens`.
fn some_tokens(x: &Tensor, tokens: Option<&Tensor>, blocks: &[Block], run: &Forward) -> Result<Forward> {
    let (found, all) = (x.size(1)?, run.grid[0] * run.grid[1]);
    if let Some(passing) = &run.parts {
        let (images, given) = (passing.seen.x.size(0)?, x.size(0)?);
        if images != given {
            return Err(Error::argument(format!(
                "`c.inner` needs the tokens of all {images} images, found those of {given}"
            ))
            .hint("each image has its own time and label: compute all images, and select afterwards"));
        }
    }
    if tokens.is_none() && found == all {
        return Ok(run.clone());
    }
    if run.modulation.rank() > 2 {
        return Err(Error::argument(format!(
            "with times of pixels each of the {all} tokens has a time of its own, and the blocks inside need all, found {found}"
        ))
        .hint("give the model one time per image, t of shape [B]"));
    }
    if blocks.iter().any(Block::needs_grid) {
        return Err(Error::argument(format!(
            "a correction in the blocks inside needs all {all} tokens of the grid, found {found}"
        ))
        .hint("place the correction in other blocks with `.at(place, #{ blocks })`, or the part around other blocks"));
    }
    let rope = match (&run.rope, tokens) {
        (Some(_), None) => {
            return Err(Error::argument(format!(
                "rotary positions need to know which {found} of the {all} tokens these are"
            ))
            .hint("pass their indices: `c.inner(x, indices)`"));
        }
        (Some(rope), Some(tokens)) => Some(rope.of(tokens, x)?),
        (None, _) => None,
    };
    Ok(Forward { rope, ..run.clone() })
}

/// Runs blocks in sequence.
fn each(blocks: &Arc<Vec<Block>>, which: Range<usize>, tokens: Tensor, run: &Forward) -> Result<Tensor> {
    if !run.recompute {
        return blocks[which].iter().try_fold(tokens, |tokens, block| block.forward(&tokens, run));
    }
    which.into_iter().try_fold(tokens, |tokens, block| {
        let (blocks, run) = (Arc::clone(blocks), run.clone());
        let inputs: Vec<Tensor> = [tokens].into_iter().chain(run.read()).collect();
        // The state that the code holds must not hold the tensors of the graph, or neither would be freed.
        let run = run.alone(detached(run.read())?);
        recomputed(&inputs, move |inputs| match inputs {
            [tokens, modulation, t, time, time_label] => {
                let read = [modulation, t, time, time_label].map(Tensor::clone);
                blocks[block].forward(tokens, &run.alone(read))
            }
            _ => Err(Error::internal("a block reads five tensors")),
        })
    })
}

/// Returns tensors with the same elements that belong to no graph.
fn detached(tensors: [Tensor; 4]) -> Result<[Tensor; 4]> {
    let [a, b, c, d] = tensors;
    Ok([a.detach()?, b.detach()?, c.detach()?, d.detach()?])
}

impl Parts {
    fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let mut at = |place| config.steps(builder, place, None);
        let (image, tokens, condition) = (at(Place::Image)?, at(Place::Tokens)?, at(Place::Condition)?);
        let velocity = at(Place::Velocity)?;
        let spans = config.spans(builder)?.into_iter().map(|(blocks, part)| Span { blocks, part }).collect();
        // Corrections at places other than the residuals use only the embeddings, but need the forward pass around
        // them as well. Changes of weights do not.
        let look = config.parts.iter().any(|part| !part.changes_weights());
        Ok(Self { image, tokens, condition, velocity, spans, look })
    }
}

/// Computes an adaLN's output, [B, 6 D] or [B, 2 D], and splits it into parts [B, 1, D]; with a modulation for each token into
/// parts [B, N, D], which the fused operators leave to their references.
fn parts(layer: &Linear, modulation: &Tensor, count: i64) -> Result<Vec<Tensor>> {
    let all = layer.forward(modulation)?;
    if all.rank() == 2 { all.unsqueeze(1)?.chunk(count, -1) } else { all.chunk(count, -1) }
}

fn ada_ln(builder: &mut Builder, config: &Config, parts: i64) -> Result<Linear> {
    let (name, hidden) = (config.family.names().ada_ln, config.hidden_size);
    builder.within(name, |b| Linear::new(b, 1, hidden, parts * hidden, Init::Zeros))
}

/// Returns the outputs of the network for each pixel.
fn outputs(config: &Config) -> i64 {
    config.in_channels * if config.learn_sigma() { 2 } else { 1 }
}

/// One transformer block.
#[derive(Debug)]
struct Block {
    norms: [Module<ModulatedNorm>; 2],
    attention: Surrounded<SelfAttention>,
    feed_forward: Surrounded<MlpWithParts>,
    modulation: Modulation<Linear>,
    shift: bool,
    norm_attn: Steps,
    attn_residual: Steps,
    norm_mlp: Steps,
    /// The corrections of the configuration, followed by the parts.
    mlp_residual: Steps,
    output: Steps,
}

impl Block {
    fn new(builder: &mut Builder, config: &Config, index: i64) -> Result<Self> {
        let hidden = config.hidden_size;
        let norms = [("norm1", Place::NormAttn), ("norm2", Place::NormMlp)].map(|(name, place)| {
            config.unless_replaced(place, index, || ModulatedNorm::new(builder, name, config.norm(), hidden))
        });
        let [first, second] = norms;
        let attention = AttentionOptions {
            heads: config.num_heads,
            qkv_bias: config.qkv_bias,
            qk_norm: config.qk_norm(),
            eps: config.family.is_public().then_some(1e-6),
        };
        let attn = config.unless_replaced(Place::Attention, index, || {
            Attention::new(builder, "attn", hidden, attention)
        })?;
        let mlp = config.unless_replaced(Place::FeedForward, index, || FeedForward::new(builder, config))?;
        let ada_ln = config.unless_replaced(Place::Modulation, index, || {
            ada_ln(builder, config, if config.shift { 6 } else { 4 })
        })?;
        let (grid, width) = config.size_at(Place::Mlp);
        let corrections = builder.unchanged(|b| {
            let all = config.corrections.iter().enumerate();
            all.map(|(i, correction)| correction.layer(b, i, grid, width)).collect::<Result<_>>()
        })?;
        // Parts are built in this order, which is that of their parameters.
        let mut at = |place| config.steps(builder, place, Some(index));
        let norm_attn = at(Place::NormAttn)?;
        let (qk, attend, heads) = (at(Place::Qk)?, Arc::new(at(Place::Attend)?), at(Place::Heads)?);
        let attn_residual = at(Place::Attn)?;
        let (norm_mlp, hidden) = (at(Place::NormMlp)?, at(Place::Hidden)?);
        let mlp_residual = at(Place::Mlp)?.with_corrections(corrections);
        let output = at(Place::Block)?;
        let steps = at(Place::Modulation)?;
        let (around_attn, around_mlp) = (at(Place::Attention)?, at(Place::FeedForward)?);
        let attn = attn.map(|attn| SelfAttention { attn, qk, attend, heads });
        let mlp = mlp.map(|mlp| MlpWithParts { mlp, hidden });
        let ada_ln = Module::new(ada_ln, builder, config, (Place::Modulation, index))?;
        let first = Module::new(first?, builder, config, (Place::NormAttn, index))?;
        let attn = Module::new(attn, builder, config, (Place::Attention, index))?;
        let second = Module::new(second?, builder, config, (Place::NormMlp, index))?;
        let mlp = Module::new(mlp, builder, config, (Place::FeedForward, index))?;
        Ok(Self {
            norms: [first, second],
            attention: Surrounded::new(attn, around_attn),
            feed_forward: Surrounded::new(mlp, around_mlp),
            modulation: Modulation { ada_ln, steps },
            shift: config.shift,
            norm_attn,
            attn_residual,
            norm_mlp,
            mlp_residual,
            output,
        })
    }

    /// Returns whether a correction here filters the whole grid.
    fn needs_grid(&self) -> bool {
        let inside = [
            self.attention.usual().map(|attention| &attention.heads),
            self.feed_forward.usual().map(|mlp| &mlp.hidden),
        ];
        [&self.norm_attn, &self.attn_residual, &self.norm_mlp, &self.mlp_residual, &self.output]
            .into_iter()
            .chain(inside.into_iter().flatten())
            .any(|steps| steps.corrections().next().is_some())
    }

    /// Computes the shift, scale and gate of attention, then those of the MLP; missing shifts are zeros.
    fn adaptive(&self, ada_ln: &Linear, modulation: &Tensor) -> Result<[Tensor; 6]> {
        let mut all = parts(ada_ln, modulation, if self.shift { 6 } else { 4 })?;
        if !self.shift {
            let scale = all[0].detach()?;
            let zeros = Tensor::zeros(&scale.shape(), scale.dtype(), scale.device())?;
            all.insert(2, zeros.clone());
            all.insert(0, zeros);
        }
        all.try_into().map_err(|_| Error::internal("adaLN did not give six parts"))
    }

    fn forward(&self, x: &Tensor, run: &Forward) -> Result<Tensor> {
        let [shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp] =
            &self.modulation.forward(run, |ada_ln| self.adaptive(ada_ln, &run.modulation))?;
        let condition = run.condition();
        let stream = |x: &Tensor| At { stream: Some(x.clone()), ..At::default() };
        let [norm_attn, norm_mlp] = &self.norms;
        let (given, normal) = match (self.norm_attn.only_corrections(), norm_attn.usual()) {
            // On a GPU the stream with its norm saves more.
            (Some(all), Some(norm)) if !x.device().is_cuda() => {
                (x.clone(), corrected(&norm.tokens(x, shift_attn, scale_attn)?, all, &condition)?)
            }
            _ => {
                let (given, normal) = norm_attn.forward(x, None, (shift_attn, scale_attn), run)?;
                let normal = run.within(&self.norm_attn, normal, || stream(&given))?;
                (given, normal)
            }
        };
        let attended = self.attention.forward(&normal, &given, run)?;
        let (x, normal) = match self.attn_residual.is_empty() {
            true => norm_mlp.forward(&given, Some((&attended, gate_attn)), (shift_mlp, scale_mlp), run)?,
            false => {
                let x =
                    self.attn_residual.add(&given, &attended, gate_attn, &condition, run.parts.as_ref())?;
                norm_mlp.forward(&x, None, (shift_mlp, scale_mlp), run)?
            }
        };
        let normal = run.within(&self.norm_mlp, normal, || stream(&x))?;
        let made = self.feed_forward.forward(&normal, &x, run)?;
        if let (Some(all), true, None) =
            (self.output.only_corrections(), self.mlp_residual.is_empty(), &run.trace)
        {
            let sum = fused::Tokens::Sum { x, m: made, gate: gate_mlp.clone() };
            return corrected(&sum, all, &condition);
        }
        let sum = self.mlp_residual.add(&x, &made, gate_mlp, &condition, run.parts.as_ref())?;
        let output = run.through(&self.output, sum.clone())?;
        if let Some(trace) = &run.trace {
            let made =
                self.trace((&attended, gate_attn, &given), (&made, gate_mlp), (&x, &sum), &output, run)?;
            trace.lock().unwrap_or_else(PoisonError::into_inner).push(made);
        }
        Ok(output)
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
                        pass: Pass { kept: Kept::default(), ..passing.pass.clone() },
                        ..passing.clone()
                    };
                    let at = At { stream: Some(given.clone()), ..At::default() };
                    self.attn_residual.apply(attn, at, &condition, &aside)?
                }
                _ => attn,
            },
            mlp_residual: residual,
            output: output.clone(),
        })
    }
}

/// Final normalization and linear map from tokens to patches.
#[derive(Debug)]
struct FinalLayer {
    norm: ModulatedNorm,
    ada_ln: Linear,
    linear: Linear,
}

impl FinalLayer {
    fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let hidden = config.hidden_size;
        let outputs = config.patch_size * config.patch_size * outputs(config);
        Ok(Self {
            norm: ModulatedNorm::new(builder, "norm_final", config.norm(), hidden)?,
            ada_ln: ada_ln(builder, config, 2)?,
            linear: Linear::new(builder, "linear", hidden, outputs, Init::Zeros)?,
        })
    }

    fn forward(&self, x: &Tensor, modulation: &Tensor) -> Result<Tensor> {
        let adaptive = parts(&self.ada_ln, modulation, 2)?;
        let [shift, scale] = &adaptive[..] else {
            return Err(Error::internal("adaLN did not give two parts"));
        };
        self.linear.forward(&self.norm.alone(x, shift, scale)?)
    }
}

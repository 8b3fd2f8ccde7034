//! Blocks and the final layer of a DiT, as layers of networks that are written with a builder.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Block, FinalLayer, Forward, each};
use crate::declare::{Display, FromValue, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::{Error, Result};
use crate::model::parts::built::Passing;
use crate::model::parts::call::Seen;
use crate::model::parts::{self, Call, Part, Place};
use crate::model::{Config, Family};
use crate::nn::embed::THETA;
use crate::nn::{Builder, MlpKind, QkNorm, Rope, SharedBuilder, TokenNorm};
use crate::spectral::Correction;
use crate::torch::Tensor;
use crate::torch::autograd::{is_autocasting, is_recording};
use crate::torch::ops::vision::Pair;
use crate::{ensure, functions, scripted};

/// Largest width of a token, as in `model::dit`.
const LARGEST: i64 = 1 << 20;

/// Options of `b.dit_block`.
#[derive(Debug, Clone, Options)]
pub struct DitBlockOptions {
    /// Width of the MLP's inner layer as a multiple of the width.
    #[option(default = 4.0, range = 0.01..=64.0)]
    pub mlp_ratio: f64,
    /// Whether the map to queries, keys and values has a bias.
    #[option(default = true)]
    pub qkv_bias: bool,
    /// Family, which decides the names of the parameters and the defaults of the next three options, as in `model::dit`.
    #[option(default = Family::SpectralDit)]
    pub family: Family,
    /// Norm of the queries and keys of each head: `none`, `rms` or `layer`. The default is `rms` in the family
    /// `spectraldit` and `none` in others.
    pub qk_norm: Option<QkNorm>,
    /// Norm of the tokens before their modulation, `layer` without a weight or `rms` with one. The default is `rms` in the
    /// family `lightningdit` and `layer` in others.
    pub norm: Option<TokenNorm>,
    /// MLP: `gelu`, or `swiglu` with an inner width of two thirds of `mlp_ratio * width`. The default is `swiglu` in the
    /// family `lightningdit` and `gelu` in others.
    pub mlp: Option<MlpKind>,
    /// Whether adaLN adds a shift.
    #[option(default = true)]
    pub shift: bool,
    /// Grid [height, width] of the tokens for rotary positions, as in `b.attention`; by default there are none.
    #[option(range = 1..=4096)]
    pub rope: Option<(i64, i64)>,
    /// Base of the frequencies of rotary positions.
    #[option(default = THETA, range = 1.0..=1e12)]
    pub rope_theta: f64,
    /// Height and width of the grid of tokens, or one integer for both, which corrections filter and parts read as
    /// `c.grid_size`.
    #[option(range = 1.0..=4096.0)]
    pub grid: Option<Pair>,
    /// Corrections of the MLP residual, in order.
    #[option(default = OneOrMany::default())]
    pub corrections: OneOrMany<Correction>,
    /// Parts at places in a block, in order.
    #[option(default = OneOrMany::default())]
    pub parts: OneOrMany<Part>,
    /// Index of the block, which `blocks` of parts select and parts read as `c.block`.
    #[option(default = 0, range = 0..=65535)]
    pub index: i64,
    /// Number of blocks of the network, for `blocks` of parts such as `"last"`; by default the block is the last one.
    #[option(range = 1..=65536)]
    pub depth: Option<i64>,
}

/// Options of `b.final_layer`.
#[derive(Debug, Clone, Options)]
pub struct FinalLayerOptions {
    /// Family, which decides the names of the parameters and the default of `norm`, as in `model::dit`.
    #[option(default = Family::SpectralDit)]
    pub family: Family,
    /// Norm of the tokens before their modulation, `layer` without a weight or `rms` with one. The default is `rms` in the
    /// family `lightningdit` and `layer` in others.
    pub norm: Option<TokenNorm>,
}

impl DitBlockOptions {
    /// Returns a configuration with such blocks; `fact` gives the properties of the network around the block.
    fn config(&self, width: i64, heads: i64, fact: impl Fn(&str) -> Option<i64>) -> Result<Config> {
        Options::check(self)?;
        check_sizes([width, heads])?;
        ensure!(width % heads == 0, "the number of heads must divide {width}, found {heads}");
        let config = Config {
            corrections: self.corrections.clone(),
            parts: self.parts.clone(),
            // A token is a patch of one pixel, so that the grid is that of the tokens.
            image_size: self.grid.as_ref().map(|grid| grid.0[0]).or_else(|| fact("grid")).unwrap_or(1),
            patch_size: 1,
            in_channels: fact("channels").unwrap_or(1),
            num_classes: fact("classes").unwrap_or(1),
            depth: self.depth.unwrap_or(self.index + 1),
            hidden_size: width,
            num_heads: heads,
            mlp_ratio: self.mlp_ratio,
            qkv_bias: self.qkv_bias,
            family: self.family,
            qk_norm: self.qk_norm,
            norm: self.norm,
            mlp: self.mlp,
            shift: self.shift,
            ..Config::default()
        };
        ensure!(
            config.inner_size() >= 1,
            "`mlp_ratio` times the width {width} must be at least 1, found a ratio of {}",
            self.mlp_ratio
        );
        let (index, depth) = (self.index, config.depth);
        ensure!(index < depth, "`index` must be below the `depth` {depth}, found {index}");
        for part in &self.parts.0 {
            let place = part.place()?;
            if !place.in_blocks() || matches!(place, Place::Span | Place::Weight) {
                return Err(Error::argument(format!("the {part} is not inside of a block")).hint(
                    "`parts` of `nn::model` takes parts at `image`, `velocity` and `weight`; the network's own code can do \
                     what other parts do",
                ));
            }
        }
        parts::check(&self.parts, depth)?;
        let filtered =
            !self.corrections.is_empty() || self.parts.iter().any(|part| part.correction().is_some());
        if filtered && self.grid.is_none() {
            return Err(Error::argument("corrections filter the grid of the tokens, which is not given")
                .hint("give the height and width of the grid: `#{ grid: [14, 14], corrections: .. }`"));
        }
        Ok(config)
    }
}

fn check_sizes(sizes: [i64; 2]) -> Result<()> {
    match sizes.iter().find(|size| !(1..=LARGEST).contains(*size)) {
        None => Ok(()),
        Some(wrong) => Err(Error::argument(format!("expected sizes from 1 to {LARGEST}, found {wrong}"))),
    }
}

/// A block or the final layer of a DiT with its parameters. Clones share the parameters.
#[derive(Debug, Clone)]
pub struct DitLayer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    what: String,
    kind: Kind,
    width: i64,
    parameters: Vec<(String, Tensor)>,
}

#[derive(Debug)]
enum Kind {
    Block(BlockLayer),
    Final(FinalLayer),
}

/// A block, and what a model would know of it.
#[derive(Debug)]
struct BlockLayer {
    /// The block alone.
    blocks: Arc<Vec<Block>>,
    rope: Option<Rope>,
    grid: Option<[i64; 2]>,
    /// Whether it has corrections or parts, which read more than the sum of the embeddings.
    reads_call: bool,
    /// Whether it has parts, which see the tensors of the forward pass.
    look: bool,
    /// Whether a correction or part calls user code.
    calls_code: bool,
}

scripted!(
    DitLayer,
    "dit_layer",
    |l| Display::text(l.to_string()),
    describe = |l| ("the", l.to_string()),
    bytes = |l| l.0.parameters.iter().map(|(_, p)| p.bytes()).sum(),
);

impl fmt::Display for DitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes = self.0.parameters.iter().map(|(name, p)| format!("{name} {:?}", p.shape()));
        write!(f, "layer {}: {}", self.0.what, shapes.collect::<Vec<_>>().join(", "))
    }
}

/// What a layer of a DiT is conditioned on: the sum c of the embeddings, [B, D], or the call with its embeddings.
#[derive(Debug, Clone)]
pub enum Conditioning {
    /// The sum of the embeddings.
    Embedding(Tensor),
    /// The call of the forward pass.
    Call(Call),
}

impl From<&Tensor> for Conditioning {
    fn from(c: &Tensor) -> Self {
        Self::Embedding(c.clone())
    }
}

impl From<&Call> for Conditioning {
    fn from(c: &Call) -> Self {
        Self::Call(c.clone())
    }
}

impl FromValue for Conditioning {
    fn label() -> String {
        "tensor or call".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let embedding = value.downcast::<Tensor>().map(Self::Embedding);
        embedding
            .or_else(|| value.downcast::<Call>().map(Self::Call))
            .ok_or_else(|| value.mismatch("the embedding c [B, D], or the call"))
    }
}

/// Layers of a DiT.
impl SharedBuilder {
    /// Creates a block of a DiT for tokens [B, N, width].
    pub fn dit_block(
        &self,
        name: &str,
        width: i64,
        heads: i64,
        options: &DitBlockOptions,
    ) -> Result<DitLayer> {
        let config = options.config(width, heads, |name| self.fact(name).ok())?;
        self.dit_layer(name, ("dit_block", width), |b| {
            let (dtype, device) = (b.dtype(), b.device());
            let rope = |(rows, columns)| {
                Rope::of_grid(width / heads, [rows, columns], options.rope_theta, dtype, device)
            };
            Ok(Kind::Block(BlockLayer {
                rope: options.rope.map(rope).transpose()?,
                blocks: Arc::new(vec![Block::new(b, &config, options.index)?]),
                grid: options.grid.as_ref().map(|grid| grid.0),
                reads_call: !config.corrections.is_empty() || !config.parts.is_empty(),
                look: !config.parts.is_empty(),
                calls_code: config.calls_code(),
            }))
        })
    }

    /// Creates the final layer of a DiT, which maps tokens [B, N, width] to [B, N, outputs].
    pub fn final_layer(
        &self,
        name: &str,
        width: i64,
        outputs: i64,
        options: &FinalLayerOptions,
    ) -> Result<DitLayer> {
        check_sizes([width, outputs])?;
        let config = Config {
            hidden_size: width,
            patch_size: 1,
            in_channels: outputs,
            learn_sigma: Some(false),
            family: options.family,
            norm: options.norm,
            ..Config::default()
        };
        self.dit_layer(name, ("final_layer", width), |b| Ok(Kind::Final(FinalLayer::new(b, &config)?)))
    }

    fn dit_layer(
        &self,
        name: &str,
        (what, width): (&str, i64),
        build: impl FnOnce(&mut Builder) -> Result<Kind>,
    ) -> Result<DitLayer> {
        self.network(name, |b| {
            let before = b.made().len();
            let kind = b.within(name, build)?;
            let parameters = b.made()[before..].to_vec();
            Ok(DitLayer(Arc::new(Inner { what: format!("{what} `{name}`"), kind, width, parameters })))
        })
    }
}

impl DitLayer {
    /// Applies the layer to tokens x [B, N, D]: a block returns [B, N, D], the final layer [B, N, outputs].
    ///
    /// `c` is the sum of the embeddings of time and label, [B, D], or the call of the forward pass with its embeddings.
    /// Blocks with corrections or parts need the call, and only blocks that get it can compute their activations again in
    /// the backward pass and be traced.
    pub fn forward(&self, x: &Tensor, c: impl Into<Conditioning>) -> Result<Tensor> {
        self.run(x, &c.into()).map_err(|e| e.context(&self.0.what))
    }

    /// Returns its parameters with their full names.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }

    fn run(&self, x: &Tensor, c: &Conditioning) -> Result<Tensor> {
        let (both, modulation) = match c {
            Conditioning::Embedding(c) => (c.clone(), None),
            Conditioning::Call(call) => (call.both()?, call.around().0.own.modulation.clone()),
        };
        self.check(x, &both)?;
        let modulation = modulation.map_or_else(|| both.silu(), Ok)?;
        match &self.0.kind {
            Kind::Final(layer) => layer.forward(x, &modulation),
            Kind::Block(block) => {
                let run = block.state(x, c, both, modulation)?;
                each(&block.blocks, 0..1, x.clone(), &run)
            }
        }
    }

    fn check(&self, x: &Tensor, c: &Tensor) -> Result<()> {
        let (width, shape) = (self.0.width, x.shape());
        ensure!(
            shape.len() == 3 && shape[2] == width,
            "expected tokens [B, N, {width}], found a {}",
            x.signature()
        );
        ensure!(
            c.shape() == [shape[0], width],
            "expected an embedding c [{}, {width}], found a {}",
            shape[0],
            c.signature()
        );
        let Some((_, own)) = self.0.parameters.first() else { return Ok(()) };
        for (name, tensor) in [("tokens", x), ("an embedding c", c)] {
            if tensor.dtype() != own.dtype() && !is_autocasting(x.device()) {
                let (own, found) = (own.dtype().name(), tensor.dtype().name());
                return Err(Error::argument(format!(
                    "expected {name} of {own}, the dtype of the layer, found {found}"
                ))
                .hint(format!("convert with `.to(\"{own}\")`")));
            }
        }
        Ok(())
    }
}

impl BlockLayer {
    /// Returns the state of a forward pass with the block alone.
    fn state(&self, x: &Tensor, c: &Conditioning, both: Tensor, modulation: Tensor) -> Result<Forward> {
        let tokens = x.size(1)?;
        self.rope.as_ref().map_or(Ok(()), |rope| rope.fits(tokens))?;
        if let (Some([height, width]), true) = (self.grid, self.blocks.iter().any(Block::needs_grid)) {
            let all = height * width;
            ensure!(
                tokens == all,
                "expected the {all} tokens of its {height} x {width} grid, found {tokens}"
            );
        }
        let mut run = Forward {
            modulation,
            t: both.clone(),
            time: both.clone(),
            time_label: both,
            grid: self.grid.unwrap_or([1, tokens]),
            rope: self.rope.clone(),
            parts: None,
            trace: None,
            recompute: false,
        };
        let call = match c {
            Conditioning::Call(call) => call,
            // The block reads the modulation alone.
            Conditioning::Embedding(_) if !self.reads_call => return Ok(run),
            Conditioning::Embedding(_) => {
                return Err(Error::argument(
                    "corrections and parts of a block read the call of the forward pass, found the embedding c",
                )
                .hint(
                    "in `|x, t, y, c| ..`, pass `c.with_embeddings(time, label)`, the call with its embeddings, instead",
                ));
            }
        };
        let (seen, pass) = call.around();
        run.t.clone_from(&seen.t);
        run.time = call.time()?;
        run.trace.clone_from(&seen.own.trace);
        run.parts = self.look.then(|| Passing {
            seen: match self.grid {
                Some(grid) if grid != seen.grid => Arc::new(Seen { grid, ..(**seen).clone() }),
                _ => Arc::clone(seen),
            },
            pass: pass.clone(),
        });
        run.recompute = pass.recompute && run.trace.is_none() && is_recording();
        if run.recompute && (self.look || self.calls_code) {
            return Err(Error::argument(
                "`checkpoint_activations` cannot compute a block with code or parts again: they could keep tensors or draw \
                 numbers",
            )
            .hint("save memory with `accumulate: 2` or more"));
        }
        seen.own.recomputed.fetch_or(run.recompute, Ordering::Relaxed);
        Ok(run)
    }
}

/// Methods of the builder and of the call.
pub mod of_network {
    use super::*;
    functions! { methods;
        /// Creates a block of a DiT with adaLN-Zero for tokens [B, N, width].
        ///
        /// It is the block of `model::dit`: the same operators and, below `name`, the same parameters with the same initial
        /// values. Call it with the tokens and the sum c of the embeddings of time and label, [B, width].
        ///
        /// Instead of c it takes the call of the forward pass, to which `c.with_embeddings(time, label)` gives the
        /// embeddings. Blocks with corrections or parts need the call. Blocks that get it are computed again in the backward
        /// pass with `checkpoint_activations` of `train::fit`, and are returned by `model.trace`.
        ///
        /// ```rhai
        /// let net = nn::model(#{ image_shape: [1, 8, 8], num_classes: 2, make: |b| {
        ///     let patches = b.patch_embed("patches", 1, 2, 16);
        ///     let times = b.timestep_embed("times", 16);
        ///     let labels = b.label_embed("labels", 2, 16);
        ///     let paper = correction(filter::binomial(), gate::time());
        ///     let blocks = [];
        ///     for i in 0..2 { blocks.push(b.dit_block(`blocks.${i}`, 16, 2, #{ grid: 4, corrections: paper })); }
        ///     let last = b.final_layer("last", 16, 4);
        ///     |x, t, y, c| {
        ///         let c = c.with_embeddings(times.forward(t), labels.forward(y));
        ///         let h = patches.forward(x) + nn::sincos_positions(16, [4, 4]);
        ///         for block in blocks { h = block.forward(h, c); }
        ///         nn::unpatchify(last.forward(h, c), 2, [1, 8, 8])
        ///     }
        /// }});
        /// assert_eq(net.parameters()["blocks.1.attn.qkv.weight"].shape, [48, 16]);
        /// assert_eq(net.trace(tensor::zeros([1, 1, 8, 8]), tensor([0.5]), tensor([1])).len(), 2);
        /// ```
        fn dit_block(builder: SharedBuilder, name: String, width: i64, heads: i64, options: DitBlockOptions) -> DitLayer {
            builder.dit_block(&name, width, heads, &options)
        }

        /// Creates the final layer of a DiT: a norm, adaLN with shift and scale, and a linear map to `outputs` numbers for each
        /// token, which starts at zero.
        ///
        /// It takes tokens [B, N, width] and, as a block does, the sum c of the embeddings or the call. With `outputs` of
        /// patch * patch * channels, `nn::unpatchify` makes images of the result.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let last = b.final_layer("final_layer", 16, 12);
        /// assert_eq(last.forward(tensor::rand([2, 9, 16]), tensor::rand([2, 16])).shape, [2, 9, 12]);
        /// ```
        fn final_layer(builder: SharedBuilder, name: String, width: i64, outputs: i64, options: FinalLayerOptions) -> DitLayer {
            builder.final_layer(&name, width, outputs, &options)
        }

        /// Returns the call with embeddings of a custom network: `c.time`, `c.label` and their sum `c.both`.
        ///
        /// Each is [B, D]; without a label, `c.both` is the embedding of time. The layers of `b.dit_block` and
        /// `b.final_layer` take the returned call.
        ///
        /// ```rhai
        /// let net = nn::model(#{ image_shape: [1, 8, 8], num_classes: 2, make: |b| {
        ///     let times = b.timestep_embed("times", 4);
        ///     |x, t, y, c| { let c = c.with_embeddings(times.forward(t)); c.keep("both", c.both); x }
        /// }});
        /// let seen = net.observe(tensor::zeros([3, 1, 8, 8]), tensor([0.1, 0.2, 0.3]), tensor([0, 1, 2]));
        /// assert_eq(seen.kept.both.shape, [3, 4]);
        /// ```
        fn with_embeddings(call: Call, time: Tensor, label: Option<Tensor>) -> Call {
            call.with_embeddings(&time, label.as_ref())
        }
    }
}

/// Methods of a layer.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Applies the layer to tokens x [B, N, D]: a block returns [B, N, D], the final layer [B, N, outputs].
        ///
        /// `c` is the sum of the embeddings, [B, D], or the call with its embeddings.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let block = b.dit_block("block", 8, 2, #{ rope: [2, 3] });
        /// let x = tensor::rand([2, 6, 8]);
        /// // Gates start at zero, so a new block changes nothing.
        /// assert_eq(block.forward(x, tensor::rand([2, 8])), x);
        /// ```
        fn forward(layer: DitLayer, x: Tensor, c: Conditioning) -> Tensor { layer.forward(&x, c) }

        /// Returns the layer's parameters by their full names.
        ///
        /// The tensors are the layer's own: writing into one in place changes the layer.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.dit_block("blocks.0", 8, 2).parameters()["blocks.0.ada_ln.1.weight"].shape, [48, 8]);
        /// ```
        fn parameters(layer: DitLayer) -> Map {
            Ok(layer.parameters().iter().map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
        }
    }
}

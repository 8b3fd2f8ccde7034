//! Information that a part can read when it is called.

mod inside;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use self::inside::Inside;
use crate::declare::{Display, IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::model::dit::Traced;
use crate::nn::Heads;
use crate::torch::fields::GivenFields;
use crate::torch::rng::mix;
use crate::torch::{Fields, Tensor, flops};
use crate::{functions, scripted};

/// Separates the seeds of parts from those of everything else that is drawn for a step.
const PARTS: u64 = u64::MAX - 1;

/// The same for losses.
const LOSSES: u64 = u64::MAX - 2;

/// Tensors that parts keep by name during one forward pass, for a loss or for later parts. Clones share them.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<BTreeMap<String, Tensor>>>);

impl Kept {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Tensor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a tensor, replacing any tensor of the same name.
    pub fn keep(&self, name: &str, tensor: Tensor) {
        self.all().insert(name.to_string(), tensor);
    }

    /// Returns all kept tensors by name.
    pub fn to_map(&self) -> Map {
        self.all().iter().map(|(name, tensor)| (name.clone(), tensor.clone().into_value())).collect()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().keys()).finish()
    }
}

/// Context of a forward pass, in addition to its inputs.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// Training step, from 0; `None` outside of training.
    pub step: Option<i64>,
    /// Seed of the run.
    pub seed: i64,
    /// Place of the images in the batch of the step, unless they are all of it.
    pub rows: Option<Rows>,
    /// Tensors kept by parts.
    pub kept: Kept,
    /// Tensors that belong to the images.
    pub fields: Fields,
    /// Whether the backward pass computes the activations of each block again instead of keeping them.
    pub recompute: bool,
    /// Whether [`Model::forward`](crate::model::Model::forward) computes matrix products in bfloat16, as the training step does.
    pub autocast: bool,
}

impl Pass {
    /// Returns the seed of the step for what a loss draws, unrelated to that of parts; `None` outside of training.
    pub fn seed_of_loss(&self) -> Option<i64> {
        self.seed_of(LOSSES)
    }

    fn seed_of(&self, what: u64) -> Option<i64> {
        // A seed is not negative.
        self.step.map(|step| (mix(mix(self.seed as u64, what), step as u64) >> 1) as i64)
    }
}

/// Place of some images in the batch of a step, which may be computed in parts or on several ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Index of the first image.
    pub first: i64,
    /// Number of images.
    pub count: i64,
    /// Number of images of the whole batch.
    pub batch: i64,
}

/// Tensors of a forward pass that every part can read.
#[derive(Debug, Clone)]
pub(in crate::model) struct Seen {
    pub x: Tensor,
    pub t: Tensor,
    pub y: Tensor,
    pub time: Option<Tensor>,
    pub label: Option<Tensor>,
    pub both: Option<Tensor>,
    /// Height and width of the grid of tokens, or of the pixels of a custom network.
    pub grid: [i64; 2],
    /// The null label.
    pub null: i64,
    pub own: Own,
}

/// What the blocks that a custom network calls itself share in a forward pass.
#[derive(Debug, Clone, Default)]
pub(in crate::model) struct Own {
    /// Input of every adaLN, if it is known: the sum of the embeddings after its SiLU.
    pub modulation: Option<Tensor>,
    /// Intermediate results of the blocks, if they are wanted.
    pub trace: Option<Traced>,
    /// Whether a block has left its activations to the backward pass.
    pub recomputed: Arc<AtomicBool>,
}

/// Runs the blocks or the module that a part surrounds, on tokens and, if they are some of those of the blocks, their
/// indices.
pub(in crate::model) type Within = Arc<dyn Fn(&Tensor, Option<&Tensor>) -> Result<Tensor> + Send + Sync>;

/// Runs the attention that a part at `attend` surrounds, on queries, keys and values.
pub(in crate::model) type Attend = Arc<dyn Fn(&Heads) -> Result<Tensor> + Send + Sync>;

/// One call of a part, with the tensors of the surrounding forward pass.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

struct Inner {
    seen: Arc<Seen>,
    at: At,
    pass: Pass,
}

/// Location of a call.
#[derive(Clone, Default)]
pub(in crate::model) struct At {
    pub block: Option<i64>,
    /// Whether the part replaces what it would surround.
    pub replaces: bool,
    /// Blocks that a part at `span` surrounds, or the module of one at `attention` or `feed_forward`.
    pub within: Option<Within>,
    /// Attention that a part at `attend` surrounds.
    pub attend: Option<Attend>,
    /// Residual stream, for a part at or around a norm, a module or a residual.
    pub stream: Option<Tensor>,
    /// Input of the attention or MLP that computes the value.
    pub input: Option<Tensor>,
}

impl At {
    /// Returns itself, and a function that tells how many operations it has run inside.
    pub fn counted(self) -> (Self, impl Fn() -> f64) {
        let sum = Arc::new(Mutex::new(0.0));
        let count = |sum: &Mutex<f64>, (made, flops): (Result<Tensor>, f64)| {
            *sum.lock().unwrap_or_else(PoisonError::into_inner) += flops;
            made
        };
        let within = self.within.map(|within| -> Within {
            let sum = Arc::clone(&sum);
            Arc::new(move |x, tokens| count(&sum, flops::spent(|| within(x, tokens))))
        });
        let attend = self.attend.map(|attend| -> Attend {
            let sum = Arc::clone(&sum);
            Arc::new(move |heads| count(&sum, flops::spent(|| attend(heads))))
        });
        let total = move || *sum.lock().unwrap_or_else(PoisonError::into_inner);
        (Self { within, attend, ..self }, total)
    }
}

scripted!(
    Call,
    "call",
    |c| Display::text(format!("{c:?}")),
    describe = |_| ("the call", "of a part".to_string()),
);

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.at.block.map_or("outside of blocks".to_string(), |b| format!("in block {b}"));
        write!(
            f,
            "call with x, t, y, dropped, fields, time, label, both, block, stream, input, grid, grid_size, step, seed, row, \
             batch, kept; {place}"
        )
    }
}

impl Call {
    pub(in crate::model) fn new(seen: &Arc<Seen>, pass: &Pass, at: At) -> Self {
        Self(Arc::new(Inner { seen: Arc::clone(seen), at, pass: pass.clone() }))
    }

    fn embedding(&self, name: &str, of: impl Fn(&Seen) -> Option<Tensor>) -> Result<Tensor> {
        of(&self.0.seen).ok_or_else(|| {
            Error::argument(format!("a custom network has no embedding `{name}`")).hint(
                "create it with `b.timestep_embed` or `b.label_embed`, and give it to the call with \
                     `c.with_embeddings(time, label)`",
            )
        })
    }

    /// Returns the tensors and the context of the forward pass.
    pub(in crate::model) fn around(&self) -> (&Arc<Seen>, &Pass) {
        (&self.0.seen, &self.0.pass)
    }

    /// Returns the same call with the embeddings of times and, if there are any, of labels, [B, D] each, which blocks of
    /// this network read.
    pub fn with_embeddings(&self, time: &Tensor, label: Option<&Tensor>) -> Result<Self> {
        let images = self.0.seen.x.size(0)?;
        for (name, embedding) in [("time", Some(time)), ("label", label)] {
            let Some(embedding) = embedding else { continue };
            crate::ensure!(
                embedding.rank() == 2
                    && embedding.size(0)? == images
                    && embedding.size(1)? == time.size(-1)?,
                "expected an embedding `{name}` of shape [{images}, {}], found a {}",
                time.size(-1)?,
                embedding.signature()
            );
        }
        let both = label.map_or_else(|| Ok(time.clone()), |label| time.add(label))?;
        let own = Own { modulation: Some(both.silu()?), ..self.0.seen.own.clone() };
        let (time, label) = (Some(time.clone()), label.cloned());
        let seen = Seen { time, label, both: Some(both), own, ..(*self.0.seen).clone() };
        Ok(Self::new(&Arc::new(seen), &self.0.pass, self.0.at.clone()))
    }
}

/// Properties and methods, as in scripts.
impl Call {
    /// Returns the noisy images, `[B, C, H, W]`.
    pub fn x(&self) -> Tensor {
        self.0.seen.x.clone()
    }

    /// Returns the times in [0, 1], `[B]`, even if the model takes diffusion steps.
    pub fn t(&self) -> Tensor {
        self.0.seen.t.clone()
    }

    /// Returns the labels, `[B]`.
    pub fn y(&self) -> Tensor {
        self.0.seen.y.clone()
    }

    /// Returns whether each label is the null label, bool `[B]`.
    pub fn dropped(&self) -> Result<Tensor> {
        self.0.seen.y.eq_scalar(self.0.seen.null as f64)
    }

    /// Returns the tensors that belong to the images, `[B, ..]`.
    pub fn fields(&self) -> &Fields {
        &self.0.pass.fields
    }

    /// Returns the embedding of the times, `[B, D]`; an error in a user-defined network.
    pub fn time(&self) -> Result<Tensor> {
        self.embedding("time", |s| s.time.clone())
    }

    /// Returns the embedding of the labels, `[B, D]`; an error in a user-defined network.
    pub fn label(&self) -> Result<Tensor> {
        self.embedding("label", |s| s.label.clone())
    }

    /// Returns the sum of both embeddings, `[B, D]`; an error in a user-defined network.
    pub fn both(&self) -> Result<Tensor> {
        self.embedding("both", |s| s.both.clone())
    }

    /// Returns the index of the block, from 0; `None` outside of blocks.
    pub fn block(&self) -> Option<i64> {
        self.0.at.block
    }

    /// Returns the tokens that attention or the MLP normalizes and adds its residual to; an error elsewhere.
    pub fn stream(&self) -> Result<Tensor> {
        self.0.at.stream.clone().ok_or_else(|| {
            Error::argument("there is no residual here, so there is no stream to add it to").hint(
                "`c.stream` is available at `norm_attn`, `attention`, `attn`, `norm_mlp`, `feed_forward` and `mlp`",
            )
        })
    }

    /// Returns the input of the attention or MLP that computes the value; an error elsewhere.
    pub fn input(&self) -> Result<Tensor> {
        self.0.at.input.clone().ok_or_else(|| {
            Error::argument("the value here is not inside of attention or an MLP, so it has no input")
                .hint("`c.input` is available at `qk`, `attend`, `heads` and `hidden`")
        })
    }

    /// Returns the number of tokens along one side of a square image, and the number of rows of others, see
    /// [`Call::grid_size`].
    pub fn grid(&self) -> i64 {
        self.0.seen.grid[0]
    }

    /// Returns the same as [`Call::grid`], or an error if the image is not square. A custom network has no tokens of ours,
    /// and the height of its images here.
    fn side(&self) -> Result<i64> {
        let [height, width] = self.0.seen.grid;
        if height != width && self.0.seen.time.is_some() {
            return Err(Error::argument(format!(
                "the grid has {height} x {width} tokens, so no single side"
            ))
            .hint("`c.grid_size` is [height, width]: `low.apply(r, c.grid_size)`"));
        }
        Ok(height)
    }

    /// Returns the height and width of the grid of tokens; for a custom network, those of its images.
    pub fn grid_size(&self) -> [i64; 2] {
        self.0.seen.grid
    }

    /// Returns the training step, from 0; `None` outside of training.
    pub fn step(&self) -> Option<i64> {
        self.0.pass.step
    }

    /// Returns the seed of the step, which depends on the seed of the run and the step alone; `None` outside of
    /// training. The numbers are unrelated to those that training draws itself.
    pub fn seed(&self) -> Option<i64> {
        self.0.pass.seed_of(PARTS)
    }

    /// Returns the place of the images in the batch of the step. Images of another number, as when a loss calls the model
    /// with several copies of them, are a batch of their own.
    pub fn rows(&self) -> Rows {
        let count = self.0.seen.x.shape().first().copied().unwrap_or(0);
        let own = Rows { first: 0, count, batch: count };
        self.0.pass.rows.filter(|rows| rows.count == count).unwrap_or(own)
    }

    /// Returns the tensors that parts have kept in this forward pass.
    pub fn kept(&self) -> &Kept {
        &self.0.pass.kept
    }

    /// Runs the blocks that a part at `span` surrounds, on the tokens with the given indices, or the module that one at
    /// `attention` or `feed_forward` surrounds; an error elsewhere.
    pub fn inner(&self, x: &Tensor, tokens: Option<&Tensor>) -> Result<Tensor> {
        match (&self.0.at.within, &self.0.at.attend) {
            (Some(within), _) => within(x, tokens),
            (None, Some(_)) => Err(Error::argument("expected a map `#{ q, k, v }`, found a tensor")
                .hint("at `attend`, `c.inner(x)` runs attention on the map that the part was given, or on another one")),
            (None, None) => Err(self.outside()),
        }
    }

    /// Runs the attention that a part at `attend` surrounds: the next part there, or scaled dot-product attention; an
    /// error elsewhere.
    pub fn attend(&self, heads: &Heads) -> Result<Tensor> {
        match (&self.0.at.attend, &self.0.at.within) {
            (Some(attend), _) => {
                for (name, x) in [("q", &heads.q), ("k", &heads.k), ("v", &heads.v)] {
                    crate::ensure!(
                        x.rank() == 4,
                        "expected `{name}` of shape [B, heads, N, D / heads], found {:?}",
                        x.shape()
                    );
                }
                attend(heads)
            }
            (None, Some(_)) => Err(Error::argument("expected tokens [B, M, D], found a map")
                .hint("here `c.inner(x)` runs blocks or a module on tokens")),
            (None, None) => Err(self.outside()),
        }
    }

    fn outside(&self) -> Error {
        match self.0.at.replaces {
            true => inner_of_replaced(),
            false => Error::argument("there is nothing inside of this part")
                .hint("`c.inner(x)` is for parts at `span`, `attention`, `attend` and `feed_forward`"),
        }
    }

    /// Keeps a tensor under a name.
    pub fn keep(&self, name: &str, tensor: Tensor) {
        self.0.pass.kept.keep(name, tensor);
    }
}

/// Returns the error for a part that replaces a module and runs it.
pub(crate) fn inner_of_replaced() -> Error {
    Error::argument(
        "the part replaces a module, so the model is built without it, and `c.inner` has nothing to run",
    )
    .hint("leave `replaces` out of `nn::part` to keep the module and run it with `c.inner(x)`")
}

/// Methods of a call.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Keeps a tensor under a name, for a loss or for later parts.
        ///
        /// A loss of `train::fit` reads it as `s.kept.NAME`, later parts read it as `c.kept.NAME`, and
        /// `model.observe` returns it.
        ///
        /// ```rhai
        /// let look = nn::part(|b| |r, c| { c.keep("attn", r); r }).at("attn", #{ blocks: "last" });
        /// let net = model::dit(#{ depth: 2, parts: [look] });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3]));
        /// assert_eq(seen.kept.attn.shape, [1, 196, 128]);
        /// ```
        fn keep(call: Call, name: String, tensor: Tensor) -> () {
            call.keep(&name, tensor);
            Ok(())
        }

        /// Runs the code that the part surrounds: the blocks of a part at `span`, or the module of one at `attention`
        /// or `feed_forward`, on tokens [B, M, D], or attention for a part at `attend`, on a map `#{ q, k, v }`.
        ///
        /// Several parts at a place of a block run one inside the other, the first in the list outside. If the tokens or the
        /// map are those that the part was given, the result has the same bits as without the part. At `attention` and
        /// `feed_forward` it may be called any number of times, on other tokens too; with rotary positions attention needs as many
        /// as the part was given.
        ///
        /// At `span`, M may be smaller than the model's number of tokens if no correction or other part inside needs the grid. With
        /// rotary positions, as in LightningDiT, pass the indices of the tokens too, int64 [B, M] or [M]: row
        /// `i / grid` and column `i % grid`. A token that is on no grid, such as a register, takes index 0, where
        /// queries and keys are not rotated.
        ///
        /// ```rhai
        /// // Half of the tokens take the way around the middle blocks.
        /// let route = nn::part(|b| |x, c| {
        ///     let half = x.size(1) / 2;
        ///     tensor::cat([c.inner(x.narrow(1, 0, half)), x.narrow(1, half, x.size(1) - half)], 1)
        /// }).at("span", #{ blocks: 1..3 });
        /// let net = model::dit(#{ depth: 4, parts: [route] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// // With rotary positions, blocks need to know which tokens these are.
        /// let first = nn::part(|b| |x, c| {
        ///     let kept = tensor::arange(100);
        ///     tensor::cat([c.inner(x.narrow(1, 0, 100), kept), x.narrow(1, 100, 96)], 1)
        /// }).at("span", #{ blocks: 1..3 });
        /// let net = model::dit(#{ depth: 4, position: "rope", parts: [first] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// // A norm after attention, as in a sandwich.
        /// let sandwich = nn::part(|b| {
        ///     let norm = b.rms_norm("norm", b.width);
        ///     |x, c| norm.forward(c.inner(x))
        /// }, #{ name: "sandwich" }).at("attention");
        /// let net = model::dit(#{ depth: 1, parts: sandwich });
        /// assert_eq(net.num_parameters - model::dit(#{ depth: 1 }).num_parameters, 128);
        /// // Attention with a learned temperature for each head.
        /// let warm = nn::part(|b| {
        ///     let s = b.parameter("s", [b.heads, 1, 1], #{ init: "zeros" });
        ///     |x, c| { x.q = x.q * s.exp(); c.inner(x) }
        /// }).at("attend");
        /// assert_eq(model::dit(#{ depth: 1, parts: [warm] }).parameters()["blocks.0.parts.0.s"].shape, [4, 1, 1]);
        /// ```
        fn inner(call: Call, x: Inside, tokens: Option<Tensor>) -> Tensor {
            match (x, tokens) {
                (Inside::Tokens(x), tokens) => call.inner(&x, tokens.as_ref()),
                (Inside::Heads(heads), None) => call.attend(&heads),
                (Inside::Heads(_), Some(_)) => {
                    Err(Error::argument("attention takes no indices of tokens").hint("`c.inner(x)`"))
                }
            }
        }
    }
}

/// Properties of a call.
pub mod properties {
    use super::*;
    functions! { properties;
        /// Noisy images of the forward pass, [B, C, H, W].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.x).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::ones([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])).mean(), 1.0, 1e-6);
        /// ```
        fn x(call: Call) -> Tensor { Ok(call.x()) }

        /// Times of the forward pass, [B] in [0, 1]: 0 is noise and 1 is data. Times of pixels are [B, 1, H, W].
        ///
        /// For the diffusion steps of the family `dit` they are the times of the straight path with the same
        /// signal-to-noise ratios.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.t.reshape([-1, 1, 1, 1])).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.25]), tensor([3])).mean(), 0.25, 1e-6);
        /// ```
        fn t(call: Call) -> Tensor { Ok(call.t()) }

        /// Labels of the forward pass, int64 [B]; K is the null label.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.y.reshape([-1, 1, 1, 1])).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.25]), tensor([3])).mean(), 3.0, 1e-6);
        /// ```
        fn y(call: Call) -> Tensor { Ok(call.y()) }

        /// Whether the label of each image is the null label, bool [B].
        ///
        /// Training drops labels with the model's `class_dropout_prob`, and guidance computes a velocity without label. A part
        /// that reads a field replaces it there by a learned null value, so that guidance guides the field too.
        ///
        /// ```rhai
        /// let part = nn::part(|b| {
        ///     let none = b.parameter("null", [b.width], #{ init: "zeros" });
        ///     |e, c| e + tensor::where(c.dropped.unsqueeze(1), none, c.fields.text)
        /// }, #{ name: "text" }).at("condition");
        /// let net = model::dit(#{ depth: 1, num_classes: 1, parts: part });
        /// let text = tensor::randn([3, 128]);
        /// let images = flow::sample(net, #{ labels: [0, 0, 0], fields: #{ text: text }, steps: 2, guidance: 3.0 });
        /// assert_eq(images.shape, [3, 1, 28, 28]);
        /// ```
        fn dropped(call: Call) -> Tensor { call.dropped() }

        /// Fields of the images by name, [B, ..]: `c.fields.text`. Like no map, it says how to give a field that is missing.
        ///
        /// They are those of the data set (`set.with_fields`) in training, and those of the option `fields` of
        /// `flow::sample`, `flow::log_likelihood`, `forward` and `observe`. Their dtypes are as they were given. Guidance
        /// evaluates the model with the fields of each image twice; see `c.dropped`.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| x * (1.0 - c.fields.mask)).at("image");
        /// let net = model::dit(#{ depth: 1, parts: part });
        /// let set = data::fashion_mnist().take(8).with_fields(#{ mask: tensor::zeros([8, 1, 28, 28]) });
        /// train::fit(net, set, #{ steps: 1, batch: 4 });
        /// let told = "";
        /// try { net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])); } catch (e) { told = `${e}`; }
        /// assert(told.contains("the field `mask` is not given"), told);
        /// ```
        fn fields(call: Call) -> GivenFields { Ok(GivenFields(call.fields().clone())) }

        /// Embedding of the times, [B, D].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("time", c.time); x }).at("tokens");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// let seen = net.observe(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.9]), tensor([3, 4]));
        /// assert_eq(seen.kept.time.shape, [2, 128]);
        /// ```
        fn time(call: Call) -> Tensor { call.time() }

        /// Embedding of the labels, [B, D].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("label", c.label); x }).at("tokens");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// let seen = net.observe(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.9]), tensor([3, 3]));
        /// assert_close(seen.kept.label[0], seen.kept.label[1], 0.0);
        /// ```
        fn label(call: Call) -> Tensor { call.label() }

        /// Sum of the embeddings of times and labels, [B, D], called c in DiT.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("rest", c.both - c.time - c.label); x }).at("tokens");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// let seen = net.observe(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.9]), tensor([3, 4]));
        /// assert_close(seen.kept.rest, tensor::zeros([2, 128]), 1e-5);
        /// ```
        fn both(call: Call) -> Tensor { call.both() }

        /// Index of the block that contains the part, from 0; `()` outside of blocks.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("seen", x * 0.0 + c.block); x }).at("block", #{ blocks: 1 });
        /// let net = model::dit(#{ depth: 2, parts: [part] });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3]));
        /// assert_close(seen.kept.seen.mean(), 1.0, 1e-6);
        /// ```
        fn block(call: Call) -> Value { Ok(call.block().map_or(Value::Unit, Value::Int)) }

        /// Residual stream before the norm, to which the block adds its residual, [B, N, D], for a part at
        /// `norm_attn`, `attention`, `attn`, `norm_mlp`, `feed_forward` or `mlp`.
        ///
        /// ```rhai
        /// // The mean over tokens stays what it is.
        /// let centered = nn::part(|b| |r, c| r - r.mean(1, #{ keepdim: true })).at("mlp");
        /// let look = nn::part(|b| |r, c| { c.keep("sum", c.stream + r); r }).at("mlp", #{ blocks: "last" });
        /// let net = model::dit(#{ depth: 1, parts: [centered, look] });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3]));
        /// assert_eq(seen.kept.sum.shape, [1, 196, 128]);
        /// ```
        fn stream(call: Call) -> Tensor { call.stream() }

        /// Input of the attention or MLP that the value belongs to, [B, N, D], for a part at `qk`, `attend`, `heads` or
        /// `hidden`: the normalized and modulated tokens.
        ///
        /// ```rhai
        /// // Hidden units that a token does not need are switched off.
        /// let gated = nn::part(|b| {
        ///     let gate = b.linear("gate", b.width, b.inner);
        ///     |h, c| h * gate.forward(c.input).sigmoid()
        /// }).at("hidden");
        /// let net = model::dit(#{ depth: 1, parts: [gated] });
        /// assert_eq(net.parameters()["blocks.0.parts.0.gate.weight"].shape, [512, 128]);
        /// ```
        fn input(call: Call) -> Tensor { call.input() }

        /// Number of tokens along one side of a square image; an error for others, see `grid_size`.
        ///
        /// ```rhai
        /// let low = filter::gaussian(#{ sigma: 2.0 });
        /// let part = nn::part(|b| |r, c| low.apply(r, c.grid)).at("mlp");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// ```
        fn grid(call: Call) -> i64 { call.side() }

        /// Height and width of the grid of tokens of these images, `[rows, columns]`.
        ///
        /// ```rhai
        /// let low = filter::gaussian(#{ sigma: 2.0 });
        /// let part = nn::part(|b| |r, c| low.apply(r, c.grid_size)).at("mlp");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 20]), tensor([0.1]), tensor([3])).shape, [1, 1, 28, 20]);
        /// ```
        fn grid_size(call: Call) -> Vec<i64> { Ok(call.grid_size().to_vec()) }

        /// Training step, from 0; `()` outside of training, for example during sampling.
        ///
        /// In a loss of `train::fit`, `s.model.forward` runs in the step too.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| if c.step == () { v + 1.0 } else { v }).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3])).mean(), 1.0, 1e-6);
        /// ```
        fn step(call: Call) -> Value { Ok(call.step().map_or(Value::Unit, Value::Int)) }

        /// Seed of the training step, for random numbers of a part; `()` outside of training.
        ///
        /// It depends on the seed of the run and the step alone, so a resumed run draws the same numbers. All blocks and
        /// parts have the same seed: add `c.block` for other numbers in each block. A batch may be
        /// computed in parts (`accumulate`) or on several ranks: draw the numbers of all `c.batch` images and take
        /// those from `c.row` on, so that they do not depend on it.
        ///
        /// ```rhai
        /// // A dropout of whole images.
        /// let drop = nn::part(|b| |r, c| {
        ///     if c.step == () { return r; }
        ///     let all = tensor::rand([c.batch, 1, 1], #{ seed: c.seed + c.block });
        ///     r * (all.narrow(0, c.row, r.size(0)) < 0.9).to(r.device)
        /// }).at("mlp");
        /// let net = model::dit(#{ depth: 1, hidden_size: 16, num_heads: 2, parts: [drop] });
        /// let images = data::fashion_mnist().take(8);
        /// let run = |parts| train::fit(net.copy(), images, #{ steps: 2, batch: 8, lr: 1e-2, accumulate: parts }).loss;
        /// assert_close(run.call(1), run.call(4), 1e-4);
        /// ```
        fn seed(call: Call) -> Value { Ok(call.seed().map_or(Value::Unit, Value::Int)) }

        /// Index of the first image of the forward pass in the batch of the training step, from 0.
        ///
        /// It is above 0 with `accumulate` and on several ranks; outside of training it is 0. See `c.seed`.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.row + c.batch).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.2]), tensor([3, 4])).mean(), 2.0, 1e-6);
        /// ```
        fn row(call: Call) -> i64 { Ok(call.rows().first) }

        /// Number of images in the whole batch of the training step; outside of training, of the forward pass.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.batch).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3])).mean(), 1.0, 1e-6);
        /// ```
        fn batch(call: Call) -> i64 { Ok(call.rows().batch) }

        /// Tensors that parts have kept so far in this forward pass, by name.
        ///
        /// ```rhai
        /// let first = nn::part(|b| |x, c| { c.keep("skip", x); x }).at("block", #{ blocks: "first" });
        /// let last = nn::part(|b| |x, c| x + c.kept.skip).at("block", #{ blocks: "last" });
        /// let net = model::dit(#{ depth: 3, parts: [first, last] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// ```
        fn kept(call: Call) -> Map { Ok(call.kept().to_map()) }
    }
}

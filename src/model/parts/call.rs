//! What a part may look at when it is called.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::declare::{Display, IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;
use crate::{functions, scripted};

/// Tensors that parts keep by name during one forward, for a loss or for parts further on. Clones share them.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<BTreeMap<String, Tensor>>>);

impl Kept {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Tensor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a tensor; one of that name is replaced.
    pub fn keep(&self, name: &str, tensor: Tensor) {
        self.all().insert(name.to_string(), tensor);
    }

    /// Everything that was kept, by name.
    pub fn to_map(&self) -> Map {
        self.all().iter().map(|(name, tensor)| (name.clone(), tensor.clone().into_value())).collect()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all().keys()).finish()
    }
}

/// What a forward is made with, beside its inputs.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// The training step, from 0; nothing outside of training.
    pub step: Option<i64>,
    /// Where parts keep tensors.
    pub kept: Kept,
}

/// The tensors of a forward that every part sees.
#[derive(Debug, Clone)]
pub(in crate::model) struct Seen {
    pub x: Tensor,
    pub t: Tensor,
    pub y: Tensor,
    pub time: Option<Tensor>,
    pub label: Option<Tensor>,
    pub both: Option<Tensor>,
    pub grid: i64,
}

/// Runs the blocks that a part of the place `span` stands around.
pub(in crate::model) type Within = Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// One call of a part: the tensors of the forward around it.
#[derive(Clone)]
pub struct Call(Arc<Inner>);

struct Inner {
    seen: Arc<Seen>,
    at: At,
    pass: Pass,
}

/// Where a part is called.
#[derive(Clone, Default)]
pub(in crate::model) struct At {
    pub block: Option<i64>,
    /// The blocks that a part at `span` stands around.
    pub within: Option<Within>,
    /// The tokens that the residual is added to, for a part at `attn` or `mlp`.
    pub stream: Option<Tensor>,
}

scripted!(
    Call,
    "call",
    |c| Display::text(format!("{c:?}")),
    describe = |_| "the facts of a call".to_string(),
);

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.at.block.map_or("outside of blocks".to_string(), |b| format!("in block {b}"));
        write!(f, "call with x, t, y, time, label, both, block, stream, grid, step, kept; {place}")
    }
}

impl Call {
    pub(in crate::model) fn new(seen: &Arc<Seen>, pass: &Pass, at: At) -> Self {
        Self(Arc::new(Inner { seen: Arc::clone(seen), at, pass: pass.clone() }))
    }

    fn embedding(&self, name: &str, of: impl Fn(&Seen) -> Option<Tensor>) -> Result<Tensor> {
        of(&self.0.seen).ok_or_else(|| {
            Error::argument(format!("a network of one's own has no embedding `{name}`"))
                .hint("make one with `b.timestep_embed` or `b.label_embed`")
        })
    }
}

/// What scripts read as properties and call as methods.
impl Call {
    /// The noisy images, `[B, C, H, W]`.
    pub fn x(&self) -> Tensor {
        self.0.seen.x.clone()
    }

    /// The times, `[B]`.
    pub fn t(&self) -> Tensor {
        self.0.seen.t.clone()
    }

    /// The labels, `[B]`.
    pub fn y(&self) -> Tensor {
        self.0.seen.y.clone()
    }

    /// The embedding of the times, `[B, D]`; an error in a network of one's own.
    pub fn time(&self) -> Result<Tensor> {
        self.embedding("time", |s| s.time.clone())
    }

    /// The embedding of the labels, `[B, D]`, or the same error.
    pub fn label(&self) -> Result<Tensor> {
        self.embedding("label", |s| s.label.clone())
    }

    /// The sum of both embeddings, `[B, D]`, or the same error.
    pub fn both(&self) -> Result<Tensor> {
        self.embedding("both", |s| s.both.clone())
    }

    /// The block, from 0; nothing outside of blocks.
    pub fn block(&self) -> Option<i64> {
        self.0.at.block
    }

    /// The tokens that a residual is going to be added to; an error elsewhere.
    pub fn stream(&self) -> Result<Tensor> {
        self.0.at.stream.clone().ok_or_else(|| {
            Error::argument("there is no residual here, and so no stream that it is added to")
                .hint("`c.stream` is for parts at `attn` and `mlp`")
        })
    }

    /// How many tokens lie along one side of the image.
    pub fn grid(&self) -> i64 {
        self.0.seen.grid
    }

    /// The training step, from 0; nothing outside of training.
    pub fn step(&self) -> Option<i64> {
        self.0.pass.step
    }

    /// Where parts keep tensors in this forward.
    pub fn kept(&self) -> &Kept {
        &self.0.pass.kept
    }

    /// Runs the blocks that a part at `span` stands around; an error elsewhere.
    pub fn inner(&self, x: &Tensor) -> Result<Tensor> {
        match &self.0.at.within {
            Some(within) => within(x),
            None => Err(Error::argument("there are no blocks inside of this part")
                .hint("`c.inner(x)` is for parts at `span`")),
        }
    }

    /// Keeps a tensor under a name.
    pub fn keep(&self, name: &str, tensor: Tensor) {
        self.0.pass.kept.keep(name, tensor);
    }
}

/// The methods of a call.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Keeps a tensor under a name, for a loss or for parts further on.
        ///
        /// A loss of `train::fit` finds it as `s.kept.NAME`, later parts as `c.kept.NAME`, and `model.observe` gives it.
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

        /// Runs the blocks that a part at `span` stands around, on tokens [B, M, D].
        ///
        /// M may be less than the model has tokens, where no part within needs the grid.
        ///
        /// ```rhai
        /// // Half of the tokens take the way around the middle blocks.
        /// let route = nn::part(|b| |x, c| {
        ///     let half = x.size(1) / 2;
        ///     tensor::cat([c.inner(x.narrow(1, 0, half)), x.narrow(1, half, x.size(1) - half)], 1)
        /// }).at("span", #{ blocks: 1..3 });
        /// let net = model::dit(#{ depth: 4, parts: [route] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// ```
        fn inner(call: Call, x: Tensor) -> Tensor { call.inner(&x) }
    }
}

/// The facts of a call.
pub mod properties {
    use super::*;
    functions! { properties;
        /// The noisy images of the forward, [B, C, H, W].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.x).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::ones([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])).mean(), 1.0, 1e-6);
        /// ```
        fn x(call: Call) -> Tensor { Ok(call.x()) }

        /// The times of the forward, [B] in [0, 1].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.t.reshape([-1, 1, 1, 1])).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.25]), tensor([3])).mean(), 0.25, 1e-6);
        /// ```
        fn t(call: Call) -> Tensor { Ok(call.t()) }

        /// The labels of the forward, int64 [B]; K is no label.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| v + c.y.reshape([-1, 1, 1, 1])).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.25]), tensor([3])).mean(), 3.0, 1e-6);
        /// ```
        fn y(call: Call) -> Tensor { Ok(call.y()) }

        /// The embedding of the times, [B, D].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("time", c.time); x }).at("tokens");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// let seen = net.observe(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.9]), tensor([3, 4]));
        /// assert_eq(seen.kept.time.shape, [2, 128]);
        /// ```
        fn time(call: Call) -> Tensor { call.time() }

        /// The embedding of the labels, [B, D].
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("label", c.label); x }).at("tokens");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// let seen = net.observe(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.9]), tensor([3, 3]));
        /// assert_close(seen.kept.label[0], seen.kept.label[1], 0.0);
        /// ```
        fn label(call: Call) -> Tensor { call.label() }

        /// The sum of the embeddings of times and labels, [B, D], which DiT calls c.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("rest", c.both - c.time - c.label); x }).at("tokens");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// let seen = net.observe(tensor::zeros([2, 1, 28, 28]), tensor([0.1, 0.9]), tensor([3, 4]));
        /// assert_close(seen.kept.rest, tensor::zeros([2, 128]), 1e-5);
        /// ```
        fn both(call: Call) -> Tensor { call.both() }

        /// The block in which the part stands, from 0; `()` outside of blocks.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |x, c| { c.keep("seen", x * 0.0 + c.block); x }).at("block", #{ blocks: 1 });
        /// let net = model::dit(#{ depth: 2, parts: [part] });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3]));
        /// assert_close(seen.kept.seen.mean(), 1.0, 1e-6);
        /// ```
        fn block(call: Call) -> Value { Ok(call.block().map_or(Value::Unit, Value::Int)) }

        /// The tokens that the residual is going to be added to, [B, N, D], for a part at `attn` or `mlp`.
        ///
        /// ```rhai
        /// // The mean over tokens stays what it is.
        /// let centred = nn::part(|b| |r, c| r - r.mean(1, #{ keepdim: true })).at("mlp");
        /// let look = nn::part(|b| |r, c| { c.keep("sum", c.stream + r); r }).at("mlp", #{ blocks: "last" });
        /// let net = model::dit(#{ depth: 1, parts: [centred, look] });
        /// let seen = net.observe(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3]));
        /// assert_eq(seen.kept.sum.shape, [1, 196, 128]);
        /// ```
        fn stream(call: Call) -> Tensor { call.stream() }

        /// How many tokens lie along one side of the image.
        ///
        /// ```rhai
        /// let low = filter::gaussian(#{ sigma: 2.0 });
        /// let part = nn::part(|b| |r, c| low.apply(r, c.grid)).at("mlp");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// ```
        fn grid(call: Call) -> i64 { Ok(call.grid()) }

        /// The training step, from 0; `()` outside of training, as when images are sampled.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |v, c| if c.step == () { v + 1.0 } else { v }).at("velocity");
        /// let net = model::dit(#{ depth: 1, parts: [part] });
        /// assert_close(net.forward(tensor::zeros([1, 1, 28, 28]), tensor([0.1]), tensor([3])).mean(), 1.0, 1e-6);
        /// ```
        fn step(call: Call) -> Value { Ok(call.step().map_or(Value::Unit, Value::Int)) }

        /// What parts have kept so far in this forward, by name.
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

//! Builder type of scripts, which creates named layers and parameters.

use std::sync::{Arc, Mutex, PoisonError};

use super::conv::Windows;
use super::init::Distribution;
use super::layer::{Input, Kind};
use super::{
    Attention, AttentionOptions, Builder, Conv2d, Embedding, GroupNorm, Init, LabelEmbed, Layer, LayerNorm,
    Linear, Mlp, PatchEmbed, QkNorm, RmsNorm, TimestepEmbed,
};
use crate::declare::{Display, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Tensor};
use crate::{ensure, functions, scripted};

/// Properties of the network that a builder reports: `width`, `grid`, and so on.
pub type Facts = Vec<(&'static str, i64)>;

/// Builder as scripts hold it. Clones share one builder; it can create parameters while its network is being built.
#[derive(Debug, Clone)]
pub struct SharedBuilder(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// `None` once the network is built.
    builder: Option<Builder>,
    facts: Facts,
}

scripted!(
    SharedBuilder,
    "builder",
    |m| Display::text(m.to_string()),
    describe = |_| ("a builder", String::new()),
    bytes = |m| m.parameters().iter().map(|(_, p)| p.bytes()).sum(),
);

impl std::fmt::Display for SharedBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters = self.parameters();
        let count: usize = parameters.iter().map(|(_, p)| p.count()).sum();
        write!(f, "builder with {} parameters of {count} numbers", parameters.len())
    }
}

impl SharedBuilder {
    /// Creates an independent builder, for networks without a model.
    pub fn new(builder: Builder) -> Self {
        Self(Arc::new(Mutex::new(State { builder: Some(builder), facts: Facts::new() })))
    }

    /// Lends a builder to `body`; handles that a script keeps afterwards can no longer create parameters.
    pub fn lend<T>(builder: &mut Builder, facts: Facts, body: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let lent = Self(Arc::new(Mutex::new(State { builder: Some(builder.take()), facts })));
        let result = body(&lent);
        if let Some(back) = lent.state().builder.take() {
            *builder = back;
        }
        result
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, body: impl FnOnce(&mut Builder) -> Result<T>) -> Result<T> {
        match &mut self.state().builder {
            Some(builder) => body(builder),
            None => Err(Error::argument("the network is already built: parameters can no longer be added").hint(
                "create layers in the function that takes the builder, not in the function that it returns",
            )),
        }
    }

    /// Returns all parameters created so far, or none once the network is built.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.state().builder.as_ref().map_or_else(Vec::new, |b| b.made().to_vec())
    }

    /// Returns a property of the network, or an error if the builder does not have it.
    pub fn fact(&self, name: &str) -> Result<i64> {
        let state = self.state();
        let found = state.facts.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let known: Vec<&str> = state.facts.iter().map(|(name, _)| *name).collect();
            let error = Error::argument(format!("this builder has no `{name}`"));
            match known.is_empty() {
                true => error.hint("only the builder of a part knows the model around it"),
                false => error.hint(format!("it has {}", crate::error::list(&known))),
            }
        })
    }

    /// Runs `body` with names prefixed by `name`.
    pub fn below<T>(&self, name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
        checked_name(name)?;
        self.with(|b| {
            b.enter(name);
            Ok(())
        })?;
        let result = body();
        self.with(|b| {
            b.leave();
            Ok(())
        })?;
        result
    }

    /// Creates a layer; a name that is taken is an error.
    fn layer(
        &self,
        name: &str,
        (what, input): (&'static str, Input),
        make: impl FnOnce(&mut Builder) -> Result<Kind>,
    ) -> Result<Layer> {
        let (kind, made) = self.new_parameters(name, make)?;
        Ok(Layer::new(format!("{what} `{name}`"), (kind, input), made))
    }

    fn new_parameters<T>(
        &self,
        name: &str,
        make: impl FnOnce(&mut Builder) -> Result<T>,
    ) -> Result<(T, Vec<(String, Tensor)>)> {
        checked_name(name)?;
        self.with(|b| {
            let before = b.made().len();
            let made = make(b).map_err(|e| e.context(format!("`{name}`")))?;
            let new = b.made()[before..].to_vec();
            let twice =
                new.iter().find(|(name, _)| b.made()[..before].iter().any(|(taken, _)| taken == name));
            match twice {
                None => Ok((made, new)),
                Some((twice, _)) => Err(Error::argument(format!("parameter `{twice}` already exists"))
                    .hint("give each layer a unique name")),
            }
        })
    }

    /// Creates one parameter.
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        at_least_one(shape)?;
        Ok(self.new_parameters(name, |b| b.parameter(name, shape, init))?.0)
    }
}

/// Layers; initial values depend only on the seed, the name and the shape.
impl SharedBuilder {
    /// Creates a linear map from `inputs` to `outputs` numbers, with a bias.
    pub fn linear(&self, name: &str, inputs: i64, outputs: i64, init: Init) -> Result<Layer> {
        self.linear_with(name, [inputs, outputs], init, true)
    }

    /// Creates a linear map with or without a bias.
    pub fn linear_with(
        &self,
        name: &str,
        [inputs, outputs]: [i64; 2],
        init: Init,
        bias: bool,
    ) -> Result<Layer> {
        at_least_one(&[inputs, outputs])?;
        let make = if bias { Linear::new } else { Linear::without_bias };
        self.layer(name, ("linear", Input::Last(inputs)), |b| {
            Ok(Kind::Linear(make(b, name, inputs, outputs, init)?))
        })
    }

    /// Creates a convolution of images with windows of `size` x `size`.
    pub fn conv2d(
        &self,
        name: &str,
        inputs: i64,
        outputs: i64,
        size: i64,
        options: &ConvOptions,
    ) -> Result<Layer> {
        let ConvOptions { groups, stride, padding, dilation, bias, .. } = *options;
        at_least_one(&[inputs, outputs, size])?;
        ensure!(size < 1024, "the size of a window must be below 1024, found {size}");
        if size % 2 == 0 && padding.is_none() {
            return Err(Error::argument(format!(
                "the size of a window must be odd to keep the size of the image, found {size}"
            ))
            .hint("give `padding`, the zeros on each side of the image"));
        }
        divides("`groups`", groups, inputs)?;
        divides("`groups`", groups, outputs)?;
        let padding = padding.unwrap_or(dilation * (size - 1) / 2);
        let windows = Windows { size, stride, padding, dilation, groups };
        let init = Init::of(options.init, options.std);
        self.layer(name, ("conv2d", Input::Images { channels: inputs, patch: 1 }), |b| {
            Ok(Kind::Conv2d(Conv2d::with(b, name, [inputs, outputs], windows, (init, bias))?))
        })
    }

    /// Creates a layer norm over the last dimension, with or without weight and bias.
    pub fn norm(&self, name: &str, size: i64, affine: bool) -> Result<Layer> {
        at_least_one(&[size])?;
        self.layer(name, ("norm", Input::Last(size)), |b| {
            Ok(Kind::Norm(LayerNorm::new(b, name, size, affine)?))
        })
    }

    /// Creates an RMS norm over the last dimension.
    pub fn rms_norm(&self, name: &str, size: i64) -> Result<Layer> {
        at_least_one(&[size])?;
        self.layer(name, ("rms_norm", Input::Last(size)), |b| Ok(Kind::RmsNorm(RmsNorm::new(b, name, size)?)))
    }

    /// Creates a group norm of images.
    pub fn group_norm(&self, name: &str, groups: i64, channels: i64) -> Result<Layer> {
        divides("`groups`", groups, channels)?;
        let input = Input::Images { channels, patch: 1 };
        self.layer(name, ("group_norm", input), |b| {
            Ok(Kind::GroupNorm(GroupNorm::new(b, name, groups, channels)?))
        })
    }

    /// Creates an embedding table whose rows are selected by int64 indices.
    pub fn embedding(&self, name: &str, rows: i64, width: i64, init: Init) -> Result<Layer> {
        at_least_one(&[rows, width])?;
        self.layer(name, ("embedding", Input::Indices), |b| {
            Ok(Kind::Embedding(Embedding::new(b, name, rows, width, init)?))
        })
    }

    /// Creates self-attention over tokens, with RMS-normalized queries and keys.
    pub fn attention(&self, name: &str, width: i64, heads: i64) -> Result<Layer> {
        divides("the number of heads", heads, width)?;
        let options = AttentionOptions { heads, qkv_bias: true, qk_norm: QkNorm::Rms, eps: None };
        self.layer(name, ("attention", Input::Tokens(width)), |b| {
            Ok(Kind::Attention(Attention::new(b, name, width, options)?))
        })
    }

    /// Creates DiT's MLP.
    pub fn mlp(&self, name: &str, width: i64, inner: i64) -> Result<Layer> {
        at_least_one(&[width, inner])?;
        self.layer(name, ("mlp", Input::Last(width)), |b| Ok(Kind::Mlp(Mlp::new(b, name, width, inner)?)))
    }

    /// Creates a patch embedding, which maps images to one token per patch.
    pub fn patch_embed(&self, name: &str, channels: i64, patch: i64, width: i64) -> Result<Layer> {
        at_least_one(&[channels, patch, width])?;
        self.layer(name, ("patch_embed", Input::Images { channels, patch }), |b| {
            Ok(Kind::PatchEmbed(PatchEmbed::new(b, name, channels, patch, width)?))
        })
    }

    /// Creates DiT's timestep embedding.
    pub fn timestep_embed(&self, name: &str, width: i64) -> Result<Layer> {
        at_least_one(&[width])?;
        self.layer(name, ("timestep_embed", Input::Times), |b| {
            Ok(Kind::TimestepEmbed(TimestepEmbed::new(b, name, width)?))
        })
    }

    /// Creates DiT's label embedding, with a last row for the null label.
    pub fn label_embed(&self, name: &str, classes: i64, width: i64) -> Result<Layer> {
        at_least_one(&[classes, width])?;
        self.layer(name, ("label_embed", Input::Indices), |b| {
            Ok(Kind::LabelEmbed(LabelEmbed::new(b, name, classes, width)?))
        })
    }
}

/// Fails unless `name` is a valid part of a parameter's name.
fn checked_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ensure!(
        !name.is_empty() && name.chars().all(fits),
        "expected a name of letters, digits and `_`, found {name:?}"
    );
    Ok(())
}

fn at_least_one(sizes: &[i64]) -> Result<()> {
    match sizes.iter().find(|s| **s < 1) {
        None => Ok(()),
        Some(wrong) => Err(Error::argument(format!("expected sizes of at least 1, found {wrong}"))),
    }
}

fn divides(what: &str, part: i64, whole: i64) -> Result<()> {
    ensure!(part >= 1 && whole >= 1, "{what} must be at least 1, found {}", part.min(whole));
    ensure!(whole % part == 0, "{what} must divide {whole}, found {part}");
    Ok(())
}

/// Initialization options of a layer.
#[derive(Debug, Clone, Options)]
pub struct InitOptions {
    /// Distribution of the weights: `xavier_uniform` as in DiT, `zeros`, `ones`, `normal`, `kaiming_uniform` as
    /// in PyTorch's layers, or `identity`; biases start at zero.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
}

/// Options of a linear map.
#[derive(Debug, Clone, Options)]
pub struct LinearOptions {
    /// Distribution of the weights: `xavier_uniform` as in DiT, `zeros`, `ones`, `normal`, `kaiming_uniform` as
    /// in PyTorch's layers, or `identity`; biases start at zero.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
    /// Whether it has a bias.
    #[option(default = true)]
    pub bias: bool,
}

/// Options of a convolution.
#[derive(Debug, Clone, Options)]
pub struct ConvOptions {
    /// Distribution of the weights, as in `linear`.
    pub init: Distribution,
    /// Standard deviation of `normal`.
    #[option(default = 0.02, range = 0.0..=1000.0)]
    pub std: f64,
    /// Number of independent groups of channels; as many as channels make the convolution depthwise.
    #[option(default = 1, range = 1..)]
    pub groups: i64,
    /// Pixels from one window to the next.
    #[option(default = 1, range = 1..=65536)]
    pub stride: i64,
    /// Zeros on each side of the image; by default as many as keep its height and width with a stride of 1.
    #[option(range = 0..=65536)]
    pub padding: Option<i64>,
    /// Pixels from one entry of a window to the next.
    #[option(default = 1, range = 1..=65536)]
    pub dilation: i64,
    /// Whether it has a bias.
    #[option(default = true)]
    pub bias: bool,
}

/// Options of a layer norm.
#[derive(Debug, Clone, Options)]
pub struct NormOptions {
    /// Whether it has a weight and a bias; DiT's layer norms have none.
    #[option(default = true)]
    pub affine: bool,
}

/// Options of `nn::builder`.
#[derive(Debug, Clone, Options)]
pub struct BuilderOptions {
    /// Seed of the parameters, which also depend on their names and shapes.
    #[option(default = 0)]
    pub seed: i64,
    /// Device of the parameters: "auto", "cpu", "cuda" or "cuda:N".
    #[option(default = Device::Cpu)]
    pub device: Device,
    /// Element type of the parameters.
    #[option(default = DType::Float32)]
    pub dtype: DType,
}

/// Constructor.
pub mod space {
    use super::*;
    functions! { in "nn";
        /// Creates an independent builder, for layers in your own training loop.
        ///
        /// `nn::part` and `nn::model` pass such a builder to their functions. Initial values depend only on the
        /// seed, the name and the shape. Pass `parameters()` to an optimizer.
        ///
        /// ```rhai
        /// let b = nn::builder(#{ seed: 1 });
        /// let out = b.linear("out", 2, 1);
        /// let opt = optim::adamw(b.parameters(), #{ lr: 0.1 });
        /// for i in 0..100 { opt.step((out.forward(tensor([[1.0, 2.0]])) - 3.0).square().mean()); }
        /// assert_close(out.forward(tensor([[1.0, 2.0]])), [[3.0]], 0.1);
        /// ```
        fn builder(options: BuilderOptions) -> SharedBuilder {
            ensure!(options.dtype.is_float(), "parameters must hold floats, found {}", options.dtype.name());
            Ok(SharedBuilder::new(Builder::seeded(options.seed, options.dtype, options.device)))
        }
    }
}

/// Methods of a builder.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Creates a trainable tensor of a shape.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_close(b.parameter("scale", [3], #{ init: "ones" }), tensor::ones([3]), 0.0);
        /// ```
        fn parameter(builder: SharedBuilder, name: String, shape: Vec<i64>, options: InitOptions) -> Tensor {
            builder.parameter(&name, &shape, Init::of(options.init, options.std))
        }

        /// Creates a linear map `x @ weight^T + bias` from [.., inputs] to [.., outputs].
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let gate = b.linear("gate", 8, 2, #{ init: "zeros" });
        /// assert_close(gate.forward(tensor::ones([5, 8])), tensor::zeros([5, 2]), 0.0);
        /// assert_eq(b.linear("map", 8, 2, #{ bias: false }).parameters().keys(), ["map.weight"]);
        /// ```
        fn linear(builder: SharedBuilder, name: String, inputs: i64, outputs: i64, options: LinearOptions) -> Layer {
            builder.linear_with(&name, [inputs, outputs], Init::of(options.init, options.std), options.bias)
        }

        /// Creates a convolution of images with windows of `size` x `size`.
        ///
        /// The weights are [outputs, inputs / groups, size, size], and the image is padded with zeros. By default it keeps
        /// height and width, for which `size` must be odd; `stride`, `padding` and `dilation` are those of PyTorch.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let depthwise = b.conv2d("mix", 6, 6, 3, #{ groups: 6 });
        /// assert_eq(depthwise.forward(tensor::zeros([2, 6, 5, 7])).shape, [2, 6, 5, 7]);
        /// let half = b.conv2d("half", 6, 12, 4, #{ stride: 2, padding: 1, bias: false });
        /// assert_eq(half.forward(tensor::zeros([2, 6, 8, 8])).shape, [2, 12, 4, 4]);
        /// ```
        fn conv2d(builder: SharedBuilder, name: String, inputs: i64, outputs: i64, size: i64, options: ConvOptions) -> Layer {
            builder.conv2d(&name, inputs, outputs, size, &options)
        }

        /// Creates a layer norm over the last dimension, epsilon 1e-6.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let norm = b.norm("norm", 2);
        /// assert_close(norm.forward(tensor([[1.0, 3.0]])), [[-1.0, 1.0]], 1e-5);
        /// ```
        fn norm(builder: SharedBuilder, name: String, size: i64, options: NormOptions) -> Layer {
            builder.norm(&name, size, options.affine)
        }

        /// Creates an RMS norm over the last dimension, with a weight.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_close(b.rms_norm("norm", 2).forward(tensor([[3.0, 3.0]])), [[1.0, 1.0]], 1e-5);
        /// ```
        fn rms_norm(builder: SharedBuilder, name: String, size: i64) -> Layer {
            builder.rms_norm(&name, size)
        }

        /// Creates a group norm of images [B, C, H, W], epsilon 1e-6.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.group_norm("norm", 2, 6).forward(tensor::rand([1, 6, 4, 4])).shape, [1, 6, 4, 4]);
        /// ```
        fn group_norm(builder: SharedBuilder, name: String, groups: i64, channels: i64) -> Layer {
            builder.group_norm(&name, groups, channels)
        }

        /// Creates an embedding table whose rows are selected by int64 indices: [..] to [.., width].
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.embedding("table", 10, 4).forward(tensor([3, 9])).shape, [2, 4]);
        /// ```
        fn embedding(builder: SharedBuilder, name: String, rows: i64, width: i64, options: InitOptions) -> Layer {
            builder.embedding(&name, rows, width, Init::of(options.init, options.std))
        }

        /// Creates self-attention over tokens [B, N, width], with RMS-normalized queries and keys as in the family
        /// `spectraldit`.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.attention("attn", 8, 2).forward(tensor::rand([1, 9, 8])).shape, [1, 9, 8]);
        /// ```
        fn attention(builder: SharedBuilder, name: String, width: i64, heads: i64) -> Layer {
            builder.attention(&name, width, heads)
        }

        /// Creates DiT's MLP: width to inner to width, with a tanh-approximated GELU between.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.mlp("mlp", 8, 32).forward(tensor::rand([1, 9, 8])).shape, [1, 9, 8]);
        /// ```
        fn mlp(builder: SharedBuilder, name: String, width: i64, inner: i64) -> Layer {
            builder.mlp(&name, width, inner)
        }

        /// Creates a patch embedding from images [B, C, H, W] to one token per patch, [B, N, width] in row-major
        /// order.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.patch_embed("patches", 3, 2, 8).forward(tensor::rand([1, 3, 4, 6])).shape, [1, 6, 8]);
        /// ```
        fn patch_embed(builder: SharedBuilder, name: String, channels: i64, patch: i64, width: i64) -> Layer {
            builder.patch_embed(&name, channels, patch, width)
        }

        /// Creates DiT's embedding of times [B] in [0, 1], of t itself, not of 1000 t as in DiT: 256 sinusoidal
        /// features through a small network, [B, width].
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.timestep_embed("time", 8).forward(tensor([0.0, 0.5])).shape, [2, 8]);
        /// ```
        fn timestep_embed(builder: SharedBuilder, name: String, width: i64) -> Layer {
            builder.timestep_embed(&name, width)
        }

        /// Creates DiT's embedding of int64 labels [B]: a row for each class and a last row for the null label.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.label_embed("label", 10, 8).forward(tensor([0, 10])).shape, [2, 8]);
        /// ```
        fn label_embed(builder: SharedBuilder, name: String, classes: i64, width: i64) -> Layer {
            builder.label_embed(&name, classes, width)
        }

        /// Returns all parameters of the builder by name.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// b.linear("out", 4, 2);
        /// assert_eq(b.parameters().keys(), ["out.bias", "out.weight"]);
        /// ```
        fn parameters(builder: SharedBuilder) -> Map {
            Ok(builder.parameters().into_iter().map(|(name, p)| (name, p.into_value())).collect())
        }
    }
}

/// Properties of the model that a part is built for.
pub mod properties {
    use super::*;
    functions! { properties;
        /// Width of a token in the model that the part belongs to.
        ///
        /// ```rhai
        /// let widths = [];
        /// let part = nn::part(|b| { widths.push(b.width); |x, c| x }).at("attn");
        /// model::dit(#{ depth: 2, parts: [part] });
        /// assert_eq(widths, [128, 128]);
        /// ```
        fn width(builder: SharedBuilder) -> i64 { builder.fact("width") }

        /// Number of blocks in the model that the part belongs to.
        ///
        /// ```rhai
        /// let depths = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { depths.push(b.depth); |x, c| x }).at("tokens")] });
        /// assert_eq(depths, [2]);
        /// ```
        fn depth(builder: SharedBuilder) -> i64 { builder.fact("depth") }

        /// Number of attention heads in the model that the part belongs to.
        ///
        /// ```rhai
        /// let heads = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { heads.push(b.heads); |x, c| x }).at("tokens")] });
        /// assert_eq(heads, [4]);
        /// ```
        fn heads(builder: SharedBuilder) -> i64 { builder.fact("heads") }

        /// Number of hidden units of an MLP in the model that the part belongs to, the width of the values at `hidden`.
        ///
        /// ```rhai
        /// let units = [];
        /// model::dit(#{ depth: 1, parts: [nn::part(|b| { units.push(b.inner); |x, c| x }).at("hidden")] });
        /// assert_eq(units, [512]);
        /// ```
        fn inner(builder: SharedBuilder) -> i64 { builder.fact("inner") }

        /// Number of tokens along one side of the image in the model that the part belongs to.
        ///
        /// ```rhai
        /// let grids = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { grids.push(b.grid); |x, c| x }).at("tokens")] });
        /// assert_eq(grids, [14]);
        /// ```
        fn grid(builder: SharedBuilder) -> i64 { builder.fact("grid") }

        /// Index of the block in which the part is being built, from 0; `()` outside of blocks.
        ///
        /// ```rhai
        /// let blocks = [];
        /// model::dit(#{ depth: 3, parts: [nn::part(|b| { blocks.push(b.block); |x, c| x }).at("mlp", #{ blocks: 1..3 })] });
        /// assert_eq(blocks, [1, 2]);
        /// ```
        fn block(builder: SharedBuilder) -> Value {
            Ok(builder.fact("block").map_or(Value::Unit, Value::Int))
        }

        /// Inputs of the linear map whose weight [outputs, inputs] the part at `weight` changes.
        ///
        /// ```rhai
        /// let sizes = [];
        /// let part = nn::part(|b| { sizes.push([b.outputs, b.inputs, b.block]); |w| w }).at("weight", #{ names: "*.mlp.net.0.*" });
        /// model::dit(#{ depth: 2, parts: part });
        /// assert_eq(sizes, [[512, 128, 0], [512, 128, 1]]);
        /// ```
        fn inputs(builder: SharedBuilder) -> i64 { builder.fact("inputs") }

        /// Outputs of the linear map whose weight [outputs, inputs] the part at `weight` changes.
        ///
        /// ```rhai
        /// // The norm of each row is a parameter of its own.
        /// let part = nn::part(|b| {
        ///     let size = b.parameter("size", [b.outputs, 1], #{ init: "ones" });
        ///     |w| size * w / w.square().sum(1, #{ keepdim: true }).sqrt()
        /// }).at("weight", #{ names: "*.attn.*" });
        /// let net = model::dit(#{ depth: 1, parts: part });
        /// assert_eq(net.parameters()["blocks.0.attn.qkv.parts.0.size"].shape, [384, 1]);
        /// ```
        fn outputs(builder: SharedBuilder) -> i64 { builder.fact("outputs") }

        /// Number of channels of the model's images.
        ///
        /// ```rhai
        /// let channels = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { channels.push(b.channels); |x, c| x }).at("image")] });
        /// assert_eq(channels, [1]);
        /// ```
        fn channels(builder: SharedBuilder) -> i64 { builder.fact("channels") }

        /// Number of bands for which a custom gate computes coefficients.
        ///
        /// ```rhai
        /// let bands = [];
        /// let gate = gate::custom(|b| { bands.push(b.bands); |c| [0.0, 0.0, 0.0] });
        /// let filters = [filter::gaussian(#{ sigma: 2.0 }), filter::gaussian(#{ sigma: 0.5 })];
        /// model::dit(#{ depth: 1, corrections: correction(filters, gate) });
        /// assert_eq(bands, [3]);
        /// ```
        fn bands(builder: SharedBuilder) -> i64 { builder.fact("bands") }

        /// Number of classes K of the model; label K is the null label.
        ///
        /// ```rhai
        /// let classes = [];
        /// model::dit(#{ depth: 2, parts: [nn::part(|b| { classes.push(b.classes); |x, c| x }).at("image")] });
        /// assert_eq(classes, [10]);
        /// ```
        fn classes(builder: SharedBuilder) -> i64 { builder.fact("classes") }
    }
}

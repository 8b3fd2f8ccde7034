//! Builder type of scripts, which creates named layers and parameters.

pub mod api;
mod options;

use std::sync::{Arc, Mutex, PoisonError};

use super::conv::Windows;
use super::layer::{Input, Kind};
use super::{
    Attention, AttentionOptions, Builder, Conv2d, ConvTranspose2d, CrossAttention, Embedding, GroupNorm,
    Init, LabelEmbed, Layer, LayerNorm, Linear, Mlp, MlpKind, PatchEmbed, RmsNorm, Rope, SwiGlu,
    TimestepEmbed,
};
use crate::declare::{Display, Function};
use crate::error::{Error, Result};
use crate::torch::Tensor;
use crate::{ensure, scripted};

pub use options::{
    AttentionLayerOptions, BuilderOptions, ConvOptions, ConvTransposeOptions, CrossAttentionOptions,
    InitOptions, LinearOptions, MlpOptions, NormOptions,
};

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
        let device = builder.device();
        let lent = Self(Arc::new(Mutex::new(State { builder: Some(builder.take()), facts })));
        let result = device.within(|| body(&lent));
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
        let device = self.with(|b| {
            b.enter(name);
            Ok(b.device())
        })?;
        let result = device.within(body);
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
            Ok((made, new_since(b, before)?))
        })
    }

    /// Lends the builder itself to `build`, which may run code; nothing else can create parameters meanwhile.
    pub fn network<T>(&self, name: &str, build: impl FnOnce(&mut Builder) -> Result<T>) -> Result<T> {
        checked_name(name)?;
        let mut lent = self.with(|b| Ok(b.take()))?;
        let taken = self.state().builder.take();
        let before = lent.made().len();
        let built = build(&mut lent).map_err(|e| e.context(format!("`{name}`")));
        let built = built.and_then(|built| new_since(&lent, before).map(|_| built));
        self.state().builder = taken.map(|_| lent);
        built
    }

    /// Records a function of code that forward passes of the network call.
    pub fn calls(&self, function: &Function) {
        if let Some(builder) = &mut self.state().builder {
            builder.calls(function);
        }
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

    /// Creates a transposed convolution of images with windows of `size` x `size`.
    pub fn conv_transpose2d(
        &self,
        name: &str,
        inputs: i64,
        outputs: i64,
        size: i64,
        options: &ConvTransposeOptions,
    ) -> Result<Layer> {
        let ConvTransposeOptions { groups, stride, bias, .. } = *options;
        at_least_one(&[inputs, outputs, size])?;
        ensure!(size < 1024, "the size of a window must be below 1024, found {size}");
        divides("`groups`", groups, inputs)?;
        divides("`groups`", groups, outputs)?;
        let beyond = size - stride;
        let (padding, output_padding) = match options.padding {
            Some(padding) => (padding, options.output_padding),
            // Zeros and rows such that the output is `stride` times as large as the input.
            None => ((beyond.max(0) + 1) / 2, if beyond < 0 { -beyond } else { beyond % 2 }),
        };
        if options.padding.is_none() && options.output_padding != 0 {
            return Err(Error::argument("`output_padding` needs `padding`")
                .hint("without both, the output is `stride` times as large as the input"));
        }
        if output_padding >= stride {
            return Err(match options.padding {
                None => Error::argument(format!(
                    "the size of a window must be odd to keep the size of the image, found {size}"
                ))
                .hint("give `padding`, as in PyTorch"),
                Some(_) => Error::argument(format!(
                    "`output_padding` must be below the stride {stride}, found {output_padding}"
                )),
            });
        }
        let windows = Windows { size, stride, padding, dilation: 1, groups };
        let init = Init::of(options.init, options.std);
        self.layer(name, ("conv_transpose2d", Input::Images { channels: inputs, patch: 1 }), |b| {
            let layer =
                ConvTranspose2d::new(b, name, [inputs, outputs], (windows, output_padding), (init, bias))?;
            Ok(Kind::ConvTranspose2d(layer))
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

    /// Creates self-attention over tokens.
    pub fn attention(
        &self,
        name: &str,
        width: i64,
        heads: i64,
        options: &AttentionLayerOptions,
    ) -> Result<Layer> {
        divides("the number of heads", heads, width)?;
        let AttentionLayerOptions { qk_norm, qkv_bias, rope, rope_theta } = *options;
        let own = AttentionOptions { heads, qkv_bias, qk_norm, eps: None };
        self.layer(name, ("attention", Input::Tokens(width)), |b| {
            let (dtype, device) = (b.dtype(), b.device());
            let rope = rope.map(|(rows, columns)| {
                Rope::of_grid(width / heads, [rows, columns], rope_theta, dtype, device)
            });
            Ok(Kind::Attention(Attention::new(b, name, width, own)?, rope.transpose()?))
        })
    }

    /// Creates attention of tokens to other tokens.
    pub fn cross_attention(
        &self,
        name: &str,
        [width, context]: [i64; 2],
        heads: i64,
        options: &CrossAttentionOptions,
    ) -> Result<Layer> {
        divides("the number of heads", heads, width)?;
        at_least_one(&[context])?;
        let own = AttentionOptions { heads, qkv_bias: options.qkv_bias, qk_norm: options.qk_norm, eps: None };
        self.layer(name, ("cross_attention", Input::Tokens(width)), |b| {
            Ok(Kind::CrossAttention(CrossAttention::new(b, name, [width, context], own)?))
        })
    }

    /// Creates the feed-forward part of a block.
    pub fn mlp(&self, name: &str, width: i64, inner: i64, kind: MlpKind) -> Result<Layer> {
        at_least_one(&[width, inner])?;
        self.layer(name, ("mlp", Input::Last(width)), |b| {
            Ok(match kind {
                MlpKind::Gelu => Kind::Mlp(Mlp::new(b, name, width, inner)?),
                MlpKind::SwiGlu => Kind::SwiGlu(SwiGlu::new(b, name, width, inner)?),
            })
        })
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

/// Returns the parameters that were created since there were `before`; a name that was taken is an error.
fn new_since(builder: &Builder, before: usize) -> Result<Vec<(String, Tensor)>> {
    let (old, new) = builder.made().split_at(before);
    match new.iter().find(|(name, _)| old.iter().any(|(taken, _)| taken == name)) {
        None => Ok(new.to_vec()),
        Some((twice, _)) => Err(Error::argument(format!("parameter `{twice}` already exists"))
            .hint("give each layer a unique name")),
    }
}

/// Fails unless `name` is one or more valid parts of a parameter's name, joined by dots.
fn checked_name(name: &str) -> Result<()> {
    let fits =
        |part: &str| !part.is_empty() && part.chars().all(|c: char| c.is_ascii_alphanumeric() || c == '_');
    ensure!(
        name.split('.').all(fits),
        "expected a name of letters, digits and `_`, or several with dots between them, found {name:?}"
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
